"""What the report of a suite says and in which order, from its tables; draws nothing and writes no file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from search_spaces.transfer_grid import CellRole
from sweep.per_language import MEAN
from sweep.report.answer import interval
from sweep.report.build import printed_matrix
from sweep.report.figures import Plot, Row, cells_in_order, targets
from sweep.report.page import Page, PrintedTable, Section
from sweep.report.texts import Column, plain, share, with_interval

#: The values of the column `targets` of the table `across` in words.
_WORDS = {"all": "all targets", "without_retrieval": "without retrieval"}


def build_suite(
    name: str,
    across: Sequence[Row],
    per_language: Sequence[Row],
    *,
    missing: Sequence[str] = (),
    beside: Mapping[str, str] | None = None,
) -> tuple[Page, list[Plot]]:
    """The page of a suite and its figures.

    `across` are the rows of that table, `per_language` those of every sweep of the suite; `missing` are sweeps that
    have not been run; `beside` has the addresses of the sweeps' own pages.
    """
    rows = of_targets(name, per_language)
    drawn = targets(rows)
    roles = {row["cell"]: row["role"] for row in rows}
    columns = (
        Column("cell", plain("cell"), numeric=False),
        Column("mean over", lambda row: f"{_WORDS[row['targets']]} ({row['number']})", numeric=False),
        Column("accuracy", share("accuracy")),
        Column("gain [95%]", with_interval("gain", signed=True)),
        Column("seeds", plain("seeds")),
        Column("absent because", plain("absent_reason"), numeric=False),
        *([Column("remark", plain("remark"), numeric=False)] if any(row.get("remark") for row in across) else []),
    )
    sections = (
        Section(
            name="means",
            title="The means over the targets",
            words=(
                "Each target weighs the same, with its own metric and the mean over its languages. A mean is absent as "
                "soon as one of its targets is. Intervals are for other seeds and other items of these targets, and "
                "not corrected for the number of cells. Retrieval trains nothing, and its scores spread more than all "
                "others.",
            ),
            tables=(PrintedTable(name="across", caption="Means over targets", columns=columns, rows=tuple(across)),),
        ),
        Section(
            name="targets",
            title="Which intermediate training helps which target",
            words=("Gains of the mean over a target's languages, English among them.",),
            plots=(drawn,) if drawn else (),
            tables=(
                printed_matrix(
                    rows,
                    cells_in_order(rows, without=(CellRole.BASELINE,)),
                    with_interval("gain", signed=True),
                    "gains",
                    "Gain over the baseline by target and cell, with 95% intervals",
                    of="target",
                ),
                printed_matrix(
                    rows, cells_in_order(rows), share("accuracy"), "accuracies", "Score by target and cell", of="target"
                ),
            ),
        ),
    )
    page = Page(
        title=f"Suite {name}",
        answer=suite_answer(across, roles),
        notes=(f"Not run: {', '.join(missing)}.",) if missing else (),
        sections=sections,
        cells=tuple(cells_in_order(rows)),
        languages=tuple(sorted({row["language"] for row in rows})),
        places="target",
        beside=beside or {},
    )
    return page, [drawn] if drawn else []


def of_targets(suite: str, per_language: Sequence[Row]) -> list[dict[str, Any]]:
    """One row per cell and sweep: that of the mean over its languages, or of its one language.

    The sweep's name, without the suite's, stands in the column `language`.
    """
    has_mean = {row["sweep"] for row in per_language if row["language"] == MEAN}
    return [
        {**row, "language": row["sweep"].removeprefix(f"{suite}-")}
        for row in per_language
        if row["language"] == MEAN or row["sweep"] not in has_mean
    ]


def suite_answer(across: Sequence[Row], roles: Mapping[str, str]) -> tuple[str, ...]:
    """A sentence for each choice of targets: the transfer cell with the largest mean gain, and how sure that is."""
    sentences = []
    for choice in dict.fromkeys(row["targets"] for row in across):
        rows = [row for row in across if row["targets"] == choice and roles.get(row["cell"]) == CellRole.TRANSFER]
        gained = [row for row in rows if row["gain"] is not None]
        if gained:
            sentences.append(_sentence(gained, len(rows)))
    return tuple(sentences) or ("No answer yet: no cell with intermediate training has a gain on every target.",)


def _sentence(rows: Sequence[Row], planned: int) -> str:
    best = max(rows, key=lambda row: row["gain"])
    over = f"{best['number']} targets" if best["targets"] == "all" else f"the {best['number']} without retrieval"
    of = f"{len(rows)} kind{'s' if len(rows) > 1 else ''} of intermediate training"
    absent = f" ({planned - len(rows)} more lack a target)" if planned > len(rows) else ""
    first = f"Over {over}, the largest mean gain of {of}{absent} is that of {best['cell']}, {interval(best)}"
    tested = [row for row in rows if row["gain_low"] is not None]
    if not tested:
        return f"{first}; one seed cannot say whether it would be there again."
    above, below = sum(row["gain_low"] > 0 for row in tested), sum(row["gain_high"] < 0 for row in tested)
    return (
        f"{first}. Intervals of {above} lie above 0 and of {below} below; they are not corrected for their number, and "
        "the largest of several is too large on average."
    )
