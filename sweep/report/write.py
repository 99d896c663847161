"""The files of a report: the page, its figures and its tables; says nothing itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING
from urllib.parse import quote

import pyarrow as pa
import pyarrow.fs as pafs

from sweep import meter, provenance
from sweep.literature import by_iglue
from sweep.report.build import Material, build
from sweep.report.figures import Plot, Row
from sweep.report.page import Page, render
from sweep.report.suite import build_suite
from sweep.tables import export, trials
from trainables.whole_files import clear_left, put_whole

if TYPE_CHECKING:
    from sweep.results import Results
    from sweep.suite_results import SuiteResults

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
        by_iglue=by_iglue(results.scores().to_pylist()) if published else {},
        spent=meter.spent(results.place[0], f"{results.place[1]}/sweeps/{results.name}"),
        notes=(f"{why[0].upper()}{why[1:]}.",) if (why := results.unread()) else (),
    )
    return _written(filesystem, path, *build(material), results.known({**tables, "trials": of_trials}))


def write_suite_report(results: SuiteResults, filesystem: pafs.FileSystem, path: str) -> tuple[str, ...]:
    """Write the page of a suite to `path`, its figure and tables into the folder beside it, which has the reports of
    its sweeps; give all paths.
    """
    results = results.still()
    across = results.across()
    rows = [row for one in results.targets for row in one.per_language().to_pylist()]
    folder = path.rpartition("/")[2].removesuffix(".html") + "_files"
    beside = {one.name: quote(f"{folder}/{one.name}.html") for one in results.targets}
    page, plots = build_suite(results.name, across.to_pylist(), rows, missing=results.missing, beside=beside)
    return _written(filesystem, path, page, plots, {"across": across})


def _written(
    filesystem: pafs.FileSystem, path: str, page: Page, plots: Sequence[Plot], tables: Mapping[str, pa.Table]
) -> tuple[str, ...]:
    folder = f"{path.removesuffix('.html')}_files"
    filesystem.create_dir(folder, recursive=True)
    for one in (folder, path.rpartition("/")[0]):
        clear_left(filesystem, one)
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
    return (*written, *export(filesystem, folder, dict(tables)))
