"""Rows of a table as text: filters by column and writes as a table, Markdown, CSV or JSON; computes nothing."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from trainables.faults import NotThere, nearest


def only(table: pa.Table, conditions: Sequence[str]) -> pa.Table:
    """The rows that hold every `COLUMN=VALUE`; several values of one column are stated as `COLUMN=A,B`.

    Raises:
        NotThere: for an unknown column or a value that the column never has, naming the nearest.
    """
    for condition in conditions:
        name, equals, text = condition.partition("=")
        if not equals:
            raise NotThere(f"a condition must be COLUMN=VALUE, got {condition!r}")
        if name not in table.column_names:
            raise NotThere(f"the table has no column {name!r}; {nearest(name, table.column_names)}")
        column = table[name].cast(pa.string()).fill_null("")
        known = {str(value) for value in column.unique().to_pylist()}
        wanted = text.split(",") if text not in known else [text]
        for value in wanted:
            if value not in known and len(table):
                raise NotThere(f"no row has {name} {value!r}; {nearest(value, known)}")
        table = table.filter(pc.is_in(column, pa.array(wanted, pa.string())))
    return table


def remarks(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """What a reader should know of one cell's rows of `per_language`, each reason once, in the order of the rows.

    The languages that a reason holds for stand behind it where it does not hold for all.
    """
    found: dict[str, list[str]] = {}
    for row in rows:
        reasons = [row["absent_reason"], *row["remark"].split("; ")]
        if row["accuracy"] is not None and row["cell"] != row["baseline"]:
            reasons.append(row["gain_absent_reason"])
        for reason in dict.fromkeys(filter(None, reasons)):
            found.setdefault(reason, []).append(row["language"])
    return [
        reason if len(languages) == len(rows) else f"{reason} ({', '.join(languages)})"
        for reason, languages in found.items()
    ]


def rows_text(table: pa.Table, format: str, columns: Sequence[str]) -> str:
    """The rows as `csv` or `json` with all columns; as a `table` or as `markdown` with those stated, intervals beside
    numbers.

    Raises:
        ValueError: for another format.
    """
    if format in ("csv", "json"):
        return whole_text(table, format)
    rows = table.to_pylist()
    if format not in ("table", "markdown"):
        raise ValueError(f"the format must be table, csv, markdown or json, got {format!r}")
    if format == "markdown":
        shown = [[_value(row, name).replace("|", r"\|") for name in columns] for row in rows]
        rule = ["---:" if _is_number(table, name) else "---" for name in columns]
        lines = [[name.replace("_", " ") for name in columns], rule, *shown]
        return markdown_text(lines)
    printed = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for name in columns:
        number = _is_number(table, name)
        printed.add_column(Text(name.replace("_", " ")), justify="right" if number else "left", no_wrap=number)
    for row in rows:
        printed.add_row(*(Text(_value(row, name)) for name in columns))
    return printed_text(printed)


def whole_text(table: pa.Table, format: str) -> str:
    """All columns of a table, as `csv` or else as `json`, without a newline at the end."""
    if format == "csv":
        from sweep.tables import csv_bytes

        return csv_bytes(table).to_pybytes().decode().rstrip("\n")
    return json.dumps(table.to_pylist(), indent=1, ensure_ascii=False)


def markdown_text(lines: Iterable[Sequence[str]]) -> str:
    """Lines of cells, the second of them the rule, as a table in Markdown."""
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def printed_text(table: Table) -> str:
    """A table as a terminal without a right edge or colours would show it."""
    file = io.StringIO()
    Console(file=file, width=10_000, color_system=None, force_terminal=False).print(table)
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines())


def _is_number(table: pa.Table, name: str) -> bool:
    kind = table.schema.field(name).type
    return pa.types.is_floating(kind) or pa.types.is_integer(kind)


def _value(row: dict[str, Any], name: str) -> str:
    value = row[name]
    if value is None:
        return "."
    if not isinstance(value, float):
        return str(value)
    form = "+.3f" if name == "gain" else ".3f"
    if row.get(f"{name}_low") is not None:
        return f"{value:{form}} [{row[f'{name}_low']:{form}}, {row[f'{name}_high']:{form}}]"
    return f"{value:{form}}"
