"""Published files as raw tables with the columns that the catalogue expects; knows no task and no labels' meaning."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as csv
import pyarrow.parquet as pq

from trainables.catalogue.task import Layout
from trainables.data import ccgbank
from trainables.data.utf8 import text_of
from trainables.faults import Invalid, nearest

#: So many bytes of a large text file are looked at when a sweep is planned.
_FIRST_BYTES = 1 << 16


def _parquet(files: tuple[Path, ...]) -> pa.Table:
    return pa.concat_tables([pq.read_table(path) for path in files], promote_options="permissive")


_TEXTS = ("id", "context", "question", *(f"answer{number}" for number in range(4)))  # numbers among them are texts
_CSV = {
    "parse_options": csv.ParseOptions(newlines_in_values=True),
    "convert_options": csv.ConvertOptions(column_types=dict.fromkeys(_TEXTS, pa.string()), strings_can_be_null=False),
}


def _csv(files: tuple[Path, ...]) -> pa.Table:
    return pa.concat_tables([csv.read_csv(path, **_CSV) for path in files])


def _squad_json(files: tuple[Path, ...]) -> pa.Table:
    rows = [
        {
            "id": _of(question, "id", path),
            "context": _of(paragraph, "context", path),
            "question": _of(question, "question", path),
            "answers": {
                "text": [_of(answer, "text", path) for answer in _of(question, "answers", path)],
                "answer_start": [_of(answer, "answer_start", path) for answer in question["answers"]],
            },
        }
        for path in files
        for document in _of(json.loads(text_of(path)), "data", path)
        for paragraph in _of(document, "paragraphs", path)
        for question in _of(paragraph, "qas", path)
    ]
    return pa.Table.from_pylist(rows) if rows else _NO_QUESTION


def _of(value: Any, name: str, path: Path) -> Any:
    """The value of a key of SQuAD's JSON.

    Raises:
        Invalid: naming the key that was expected and those that were found.
    """
    if isinstance(value, dict) and name in value:
        return value[name]
    found = ", ".join(value) if isinstance(value, dict) else type(value).__name__
    raise Invalid(
        path.name, [f"it must hold {name!r} where SQuAD 1.1 has it, found {found or 'nothing'}; fetch the file again"]
    )


def lines(path: Path, first_bytes: int = -1) -> list[str]:
    """Lines as a line feed divides them: some sentences hold other characters that Python takes for line ends.

    With `first_bytes`, those among the first of the file.
    """
    text = text_of(path, first_bytes)
    return text.removesuffix("\n").split("\n") if text else []


_DERIVATIONS = pa.schema(
    [("id", pa.string()), ("tokens", pa.list_(pa.string())), ("tags", pa.list_(pa.string()))],
)
_NO_QUESTION = pa.schema(
    [
        *((name, pa.string()) for name in ("id", "context", "question")),
        ("answers", pa.struct([("text", pa.list_(pa.string())), ("answer_start", pa.list_(pa.int64()))])),
    ]
).empty_table()


def _two_texts(files: tuple[Path, ...]) -> pa.Table:
    source, target = (lines(path) for path in files)
    if len(source) != len(target):
        raise Invalid(
            f"{files[0].name}",
            [f"both texts must have as many lines, got {len(source)} and {len(target)}; fetch the files again"],
        )
    sides = {"source_sentence": source, "target_sentence": target}
    return pa.table({name: pa.array(texts, pa.string()) for name, texts in sides.items()})


def _auto(files: tuple[Path, ...]) -> pa.Table:
    rows = [
        {"id": identity, "tokens": words, "tags": tags}
        for path in files
        for identity, words, tags in ccgbank.sentences(path)
    ]
    return pa.Table.from_pylist(rows, schema=_DERIVATIONS)


def first_lines(path: Path) -> list[str]:
    """The lines among the first bytes of a large file."""
    return lines(path, _FIRST_BYTES)


def heads(layout: Layout, files: tuple[Path, ...]) -> Iterator[pa.Table]:
    """Tables with the columns that the files have, and none of their rows where they are large."""
    for path in files if layout is Layout.HUB else ():
        yield pq.read_schema(path).empty_table()
    for path in files if layout is Layout.COSMOS_QA else ():
        with csv.open_csv(path, **_CSV) as reader:
            yield reader.schema.empty_table()
    if layout in (Layout.XQUAD, Layout.LASER):
        yield RAW[layout](files)
    if layout is Layout.CCGBANK:
        yield _auto(files[:1])


RAW: dict[Layout, Callable[[tuple[Path, ...]], pa.Table]] = {
    Layout.HUB: _parquet,
    Layout.COSMOS_QA: _csv,
    Layout.XQUAD: _squad_json,
    Layout.LASER: _two_texts,
    Layout.CCGBANK: _auto,
}


def _strings(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def _listed(kind: pa.DataType, holds: Callable[[pa.DataType], bool]) -> bool:
    return (pa.types.is_list(kind) or pa.types.is_large_list(kind)) and holds(kind.value_type)


def _struct(kind: pa.DataType, **fields: Callable[[pa.DataType], bool]) -> bool:
    return pa.types.is_struct(kind) and all(
        kind.get_field_index(name) >= 0 and _listed(kind.field(name).type, holds) for name, holds in fields.items()
    )


_KINDS: dict[str, tuple[Callable[[pa.DataType], bool], str]] = {
    "string": (_strings, "strings"),
    "integer": (pa.types.is_integer, "integers"),
    "strings": (lambda kind: _listed(kind, _strings), "lists of strings"),
    "tags": (
        lambda kind: _listed(kind, lambda value: pa.types.is_integer(value) or _strings(value)),
        "lists of integers or strings",
    ),
    "answers": (
        lambda kind: _struct(kind, text=_strings, answer_start=pa.types.is_integer),
        "struct<text: list<string>, answer_start: list<integer>>",
    ),
    "choices": (
        lambda kind: _struct(kind, label=_strings, text=_strings),
        "struct<label: list<string>, text: list<string>>",
    ),
}


def column_faults(schema: pa.Schema, columns: tuple[tuple[str, str], ...], where: str) -> Iterator[str]:
    """Why a table does not have the catalogue's columns, naming what was expected and what was found."""
    expected = ", ".join(f"{name} ({_KINDS[kind][1]})" for name, kind in columns)
    found = ", ".join(f"{field.name} ({field.type})" for field in schema)
    for name, kind in columns:
        if name not in schema.names:
            yield (
                f"{where} must have a column {name!r}, {nearest(name, schema.names)}; expected {expected}; found "
                f"{found}; the publisher may have changed it: fetch the revision that the catalogue pins"
            )
        elif not _KINDS[kind][0](schema.field(name).type):
            yield (
                f"{where}: column {name!r} must hold {_KINDS[kind][1]}, got {schema.field(name).type}; expected "
                f"{expected}; found {found}; fetch the revision that the catalogue pins"
            )


def null_rows(column: pa.ChunkedArray) -> list[int]:
    """The rows of a column in which a value is missing, at any depth of lists and structs."""
    if not any(map(_has_null, column.chunks)):
        return []
    return [row for row, value in enumerate(column.to_pylist()) if _is_missing(value)]


def _has_null(values: pa.Array) -> bool:
    if values.null_count:
        return True
    if pa.types.is_struct(values.type):
        return any(map(_has_null, values.flatten()))
    return hasattr(values, "flatten") and pa.types.is_nested(values.type) and _has_null(values.flatten())


def _is_missing(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_is_missing, value.values()))
    return any(map(_is_missing, value)) if isinstance(value, list) else value is None


def label_names(schema: pa.Schema, column: str) -> tuple[str, ...]:
    """The label names that the hub's `datasets` library wrote beside a column of numbers; empty where it wrote none."""
    try:
        feature = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"][column]
        while "names" not in feature:  # a list of labels
            feature = feature[0] if isinstance(feature, list) else feature["feature"]
        return tuple(map(str, feature["names"]))
    except (KeyError, ValueError, TypeError, IndexError):
        return ()
