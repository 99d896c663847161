"""The files of a report: the page, its figures and its tables; says nothing itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pyarrow.fs as pafs

from sweep import provenance
from sweep.ledger import put_whole
from sweep.report.build import Material, build
from sweep.report.figures import Row
from sweep.report.page import render
from sweep.tables import export, trials

if TYPE_CHECKING:
    from sweep.results import Results

#: Where a report lies in the folder of its sweep.
FOLDER, FILE = "report", "report.html"


def write_report(
    results: Results, filesystem: pafs.FileSystem, path: str, *, published: Sequence[Row] = ()
) -> tuple[str, ...]:
    """Write the page to `path`, and figures and tables into a folder of its name beside it; give all paths.

    Figures are SVG and PNG, tables Parquet, CSV and LaTeX.
    """
    from sweep.findings import findings

    standing = results.standing()
    tables = findings(standing, results.answers(standing), results.definition())
    of_trials = trials(standing)
    material = Material(
        standing=standing,
        findings=tables,
        trials=of_trials,
        stated=results.stated(),
        runs=provenance.runs(*results.place, results.name),
        published=published,
    )
    page, plots = build(material)
    folder = f"{path.removesuffix('.html')}_files"
    filesystem.create_dir(folder, recursive=True)
    put_whole(filesystem, path, render(page).encode())
    written = [path]
    for plot in plots:
        for ending, data in (("svg", plot.svg().encode()), ("png", plot.png())):
            put_whole(filesystem, f"{folder}/{plot.name}.{ending}", data)
            written.append(f"{folder}/{plot.name}.{ending}")
    for section in page.sections:
        for table in section.tables:
            put_whole(filesystem, f"{folder}/{table.name}.tex", table.latex.encode())
            written.append(f"{folder}/{table.name}.tex")
    return (*written, *export(filesystem, folder, {**tables, "trials": of_trials}))
