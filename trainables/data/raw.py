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
from trainables.faults import Invalid, nearest


def _parquet(files: tuple[Path, ...]) -> pa.Table:
    return pa.concat_tables([pq.read_table(path) for path in files], promote_options="permissive")


def _csv(files: tuple[Path, ...]) -> pa.Table:
    options = csv.ParseOptions(newlines_in_values=True)
    texts = ("id", "context", "question", *(f"answer{number}" for number in range(4)))  # numbers among them are texts
    strings = csv.ConvertOptions(column_types=dict.fromkeys(texts, pa.string()), strings_can_be_null=False)
    return pa.concat_tables([csv.read_csv(path, parse_options=options, convert_options=strings) for path in files])


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
        for document in _of(json.loads(path.read_text(encoding="utf-8")), "data", path)
        for paragraph in _of(document, "paragraphs", path)
        for question in _of(paragraph, "qas", path)
    ]
    return pa.Table.from_pylist(rows)


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


def lines(path: Path) -> list[str]:
    """Lines as a line feed divides them: some sentences hold other characters that Python takes for line ends."""
    text = path.read_text(encoding="utf-8")
    return text.removesuffix("\n").split("\n") if text else []


def _two_texts(files: tuple[Path, ...]) -> pa.Table:
    source, target = (lines(path) for path in files)
    if len(source) != len(target):
        raise Invalid(
            f"{files[0].name}",
            [f"both texts must have as many lines, got {len(source)} and {len(target)}; fetch the files again"],
        )
    return pa.table({"source_sentence": source, "target_sentence": target})


def _auto(files: tuple[Path, ...]) -> pa.Table:
    rows = [
        {"id": identity, "tokens": words, "tags": tags}
        for path in files
        for identity, words, tags in ccgbank.sentences(path)
    ]
    return pa.Table.from_pylist(rows)


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


def label_names(schema: pa.Schema, column: str) -> tuple[str, ...]:
    """The label names that the hub's `datasets` library wrote beside a column of numbers; empty where it wrote none."""
    try:
        feature = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"][column]
        while "names" not in feature:  # a list of labels
            feature = feature[0] if isinstance(feature, list) else feature["feature"]
        return tuple(map(str, feature["names"]))
    except (KeyError, ValueError, TypeError, IndexError):
        return ()
