"""Tables as HTML and as LaTeX; escapes all text and rounds all numbers, and decides nothing else."""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Column:
    """A column of a printed table: its head, what it shows of a row, and whether that is a number."""

    head: str
    shows: Callable[[Row], str]
    numeric: bool = True
    sorts: Callable[[Row], Any] | None = None
    """What the column is sorted by, where its text is no number."""


def share(name: str) -> Callable[[Row], str]:
    """A share of 0 to 1 with three digits; a dot for an absence."""
    return lambda row: "." if row[name] is None else f"{row[name]:.3f}"


def with_interval(name: str, *, signed: bool) -> Callable[[Row], str]:
    """As `0.512 [0.480, 0.544]`, from the columns `name`, `name_low` and `name_high`."""
    form = "+.3f" if signed else ".3f"

    def shown(row: Row) -> str:
        if row[name] is None:
            return "."
        low, high = row[f"{name}_low"], row[f"{name}_high"]
        spread = f" [{low:{form}}, {high:{form}}]" if low is not None else ""
        return f"{row[name]:{form}}{spread}"

    return shown


def plain(name: str) -> Callable[[Row], str]:
    """The value as it is; a dot for an absence."""
    return lambda row: "." if row[name] is None else str(row[name])


def probability(name: str) -> Callable[[Row], str]:
    """A p-value; a dot for an absence."""
    return lambda row: "." if row[name] is None else "< 0.001" if row[name] < 0.001 else f"{row[name]:.3f}"


def html_table(name: str, caption: str, columns: Sequence[Column], rows: Sequence[Row]) -> str:
    """A table that a screen reader can walk: a caption, a scope for every head, the first column as row heads.

    Rows carry their cell and language, so that a page can filter them; heads become buttons that sort.
    """
    head = "".join(f'<th scope="col"{_kind(column)}>{html.escape(column.head)}</th>' for column in columns)
    body = "\n".join(_row(columns, row) for row in rows)
    return (
        f'<div class="wide" tabindex="0" role="region" aria-label="{html.escape(caption)}">\n'
        f'<table id="table-{name}"><caption>{html.escape(caption)}</caption>\n'
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>"
    )


def _row(columns: Sequence[Column], row: Row) -> str:
    about = "".join(f' data-{name}="{html.escape(str(row[name]))}"' for name in ("cell", "language") if row.get(name))
    shown = []
    for place, column in enumerate(columns):
        text = html.escape(column.shows(row)).replace("-", "−" if column.numeric else "-")
        key = f' data-sort="{html.escape(str(column.sorts(row)))}"' if column.sorts else ""
        kind = _kind(column)
        shown.append(f'<th scope="row"{kind}{key}>{text}</th>' if place == 0 else f"<td{kind}{key}>{text}</td>")
    return f"<tr{about}>{''.join(shown)}</tr>"


def _kind(column: Column) -> str:
    return "" if column.numeric else ' class="words"'


_LATEX = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "{": r"\{",
        "}": r"\}",
        "_": r"\_",
        "%": r"\%",
        "&": r"\&",
        "#": r"\#",
        "$": r"\$",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"$<$",
        ">": r"$>$",
    }
)


def latex_text(text: str) -> str:
    """The text as LaTeX prints it."""
    return text.translate(_LATEX)


def latex_table(name: str, caption: str, columns: Sequence[Column], rows: Sequence[Row]) -> str:
    r"""The table in a `table` environment with booktabs' rules; needs `\usepackage{booktabs}`."""
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{latex_text(caption)}}}",
        rf"\label{{tab:{name.replace('_', '-')}}}",
        rf"\begin{{tabular}}{{{''.join('r' if column.numeric else 'l' for column in columns)}}}",
        r"\toprule",
        " & ".join(latex_text(column.head) for column in columns) + r" \\",
        r"\midrule",
        *(" & ".join(_latex_cell(column, row) for column in columns) + r" \\" for row in rows),
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _latex_cell(column: Column, row: Row) -> str:
    text = column.shows(row)
    if text == ".":
        return "--"
    # A sign is a minus in mathematics; a hyphen would be shorter than the plus above it.
    return latex_text(text).replace("-", "$-$").replace("+", "$+$") if column.numeric else latex_text(text)
