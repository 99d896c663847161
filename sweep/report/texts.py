"""Tables as HTML and as LaTeX; escapes all text and rounds all numbers, and decides nothing else."""

from __future__ import annotations

import html
import re
import textwrap
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


#: A longer table may break over pages.
_LONG = 40

#: A table of more columns is set small, its intervals below their numbers, and says in its caption what is the same in
#: every row.
_WIDE = 4

#: Characters of a head's line, and of a text before it is broken into lines of a paragraph.
_HEAD, _TEXT = 11, 22

#: Where a long name may break.
_BREAKS = re.compile(r"(\\_|[./+](?=\w))")

_INTERVAL = re.compile(r"(\S+) (\[[^\]]*\])")


def latex_table(name: str, caption: str, columns: Sequence[Column], rows: Sequence[Row]) -> str:
    r"""The table with booktabs' rules, for a text of usual width: needs `\usepackage{array,booktabs,longtable}`.

    One of more than forty rows is a `longtable`, which breaks over pages, any other stands in a `table`. A column
    of words without any is left out.
    """
    texts = {column.head: [column.shows(row) for row in rows] for column in columns}
    columns = [column for column in columns if column.numeric or not rows or {*texts[column.head]} - {"", "."}]
    wide = len(columns) > _WIDE
    same = [c for c in columns[1:] if wide and len(rows) > 1 and {texts[c.head][0]} == {*texts[c.head]} != {"."}]
    columns = [column for column in columns if column not in same]
    caption = "; ".join([caption, *(f"{column.head}: {texts[column.head][0]}" for column in same)])
    head = " & ".join(_latex_head(column, small=wide) for column in columns) + r" \\"
    lines = [" & ".join(_latex_cell(column, row, stacked=wide) for column in columns) + r" \\" for row in rows]
    kinds = "".join(_latex_kind(column, texts[column.head], wide=wide) for column in columns)
    kinds = rf"@{{}}{kinds}@{{}}"
    label = rf"\caption{{{latex_text(caption)}}}\label{{tab:{name.replace('_', '-')}}}"
    small = [r"\footnotesize", r"\setlength{\tabcolsep}{2pt}"] if wide else []
    if len(rows) > _LONG:
        lines = [
            r"% \usepackage{array,booktabs,longtable}; in a paper of two columns after \onecolumn",
            r"\begingroup",
            *small,
            rf"\begin{{longtable}}{{{kinds}}}",
            rf"{label}\\",
            *(r"\toprule", head, r"\midrule", r"\endfirsthead"),
            *(r"\toprule", head, r"\midrule", r"\endhead", r"\bottomrule", r"\endfoot"),
            *lines,
            r"\end{longtable}",
            r"\endgroup",
        ]
    else:
        lines = [
            r"% \usepackage{array,booktabs}; table* spans both columns of a paper that has two",
            rf"\begin{{table{'*' * wide}}}",
            r"\centering",
            *small,
            label,
            rf"\begin{{tabular}}{{{kinds}}}",
            *(r"\toprule", head, r"\midrule"),
            *lines,
            *(r"\bottomrule", r"\end{tabular}", rf"\end{{table{'*' * wide}}}"),
        ]
    return "\n".join(lines) + "\n"


def _latex_kind(column: Column, texts: Sequence[str], *, wide: bool) -> str:
    """Right for numbers, left for words, a paragraph for sentences."""
    if column.numeric:
        return "r"
    width = "2.3cm" if wide else "5cm"
    return rf">{{\raggedright\arraybackslash}}p{{{width}}}" if max(map(len, texts), default=0) > _TEXT else "l"


def _latex_head(column: Column, *, small: bool) -> str:
    words = column.head.replace("_", "_\0 ")  # a name may break after an underscore
    lines = textwrap.wrap(words, _HEAD, break_long_words=False)
    texts = [latex_text(line.replace("\0 ", "").replace("\0", "")) for line in lines]
    # Without the braces a bracket after a line break would be read as the size of the break.
    broken = r"\\{}".join(texts)
    if small:
        return rf"\shortstack[{'r' if column.numeric else 'l'}]{{\scriptsize {broken}}}"
    return broken if len(texts) == 1 else rf"\shortstack[{'r' if column.numeric else 'l'}]{{{broken}}}"


def _latex_cell(column: Column, row: Row, *, stacked: bool) -> str:
    text = column.shows(row)
    if text == ".":
        return "--"
    if not column.numeric:
        return _BREAKS.sub(r"\1\\allowbreak{}", latex_text(text)) if len(text) > 14 else latex_text(text)
    # A sign is a minus in mathematics; a hyphen would be shorter than the plus above it.
    signed = latex_text(text).replace("-", "$-$").replace("+", "$+$")
    parts = _INTERVAL.fullmatch(signed) if stacked else None
    return rf"\shortstack[r]{{{parts[1]}\\{{\tiny {parts[2].replace(' ', '')}}}}}" if parts else signed
