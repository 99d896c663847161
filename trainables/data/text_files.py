"""Pairs of texts from a user's TSV, CSV, JSONL or Parquet files, checked and in the schema; knows no other source."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import repeat
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.json as pajson
import pyarrow.parquet as pq

from trainables.catalogue.files import TextFiles
from trainables.catalogue.task import ORACLE_DEV, ORACLE_HALF, Kind, Split, Task
from trainables.data.parallel import differing, items_of, spoken_in
from trainables.data.schema import PAIR, is_text
from trainables.faults import nearest, refuse

#: Columns that every file must have; `language` and `id` may be left out where the split has but one language.
REQUIRED = ("premise", "hypothesis", "label")

#: At most so many offending values are shown in one fault.
_SHOWN = 3

#: The metadata of a table whose file has no ids: its rows are numbered.
_NUMBERED = {b"ids": b"numbers of rows"}


def read_pairs(task: Task, split: Split, languages: tuple[str, ...]) -> pa.Table:
    """The rows of a split in `schema.PAIR`.

    Raises:
        Invalid: naming every fault of the file.
    """
    table, faults = _load(task, split)
    if table is not None:
        faults = [*faults, *label_faults(table["label"], table["id"], task.labels, split.name)]
    refuse(f"task {task.name!r}", faults)
    assert table is not None
    table = table.filter(pc.is_in(table["language"], pa.array(languages, pa.string())))
    place = table.schema.get_field_index("label")
    return table.set_column(place, "label", label_numbers(table["label"], task.labels)).cast(PAIR)


def inspect_pairs(task: Task) -> list[str]:
    """Every fault of a task's files, or an empty list: columns, labels, languages, ids, labels across the languages of
    a split and of what an oracle is shown, pairs that two splits share.
    """
    faults: list[str] = []
    seen: dict[str, set[str]] = {}
    for split in task.splits:
        if split.name == ORACLE_HALF:
            continue
        if split.name == ORACLE_DEV:  # more languages of a file that is looked at by itself
            dev = task.split("dev")
            spoken = dev.languages if dev else ()
            table, found = _load(task, replace(split, name="dev", languages=(*spoken, *split.languages)))
            faults += _language_faults(table, split, spoken[:1]) if table is not None else found
            continue
        table, found = _load(task, split)
        faults += found
        if table is None:
            continue
        faults += label_faults(table["label"], table["id"], task.labels, split.name)
        faults += _language_faults(table, split)
        texts = zip(table["premise"].to_pylist(), table["hypothesis"].to_pylist(), strict=True)
        pairs = {f"{premise}\t{hypothesis}" for premise, hypothesis in texts}
        for other, known in seen.items():
            if shared := sorted(known & pairs):
                faults.append(
                    f"splits {other!r} and {split.name!r} must share no pair, got {len(shared)} in both "
                    f"({shared[0]!r}); an example may be in one split only"
                )
        seen[split.name] = pairs
    return list(dict.fromkeys(faults))


def rows_of(task: Task, split: Split) -> pa.Table | None:
    """The rows of a split's file in every language that it has, labels as they stand; None where it cannot be used."""
    return _load(task, split)[0]


def is_numbered(table: pa.Table) -> bool:
    """Whether the file of these rows has no ids, so that no two rows are one item."""
    return table.schema.metadata == _NUMBERED


def _load(task: Task, split: Split) -> tuple[pa.Table | None, list[str]]:
    """A file's rows with text columns as strings and the label as it stands, or what is wrong with it."""
    source = task.source
    assert isinstance(source, TextFiles)
    if task.kind is not Kind.PAIR:
        return None, [f"files of text pairs hold {Kind.PAIR} rows, got kind {task.kind}"]
    path = Path(source.path(split.name))
    where = f"split {split.name!r} ({path})"
    if path.suffix not in _READERS:
        return None, [f"{where} must end in {', '.join(_READERS)}, got {path.suffix or 'no ending'!r}; rename it"]
    if not path.is_file():
        beside = [file.name for file in path.parent.glob(f"*{path.suffix}")] if path.parent.is_dir() else []
        return None, [f"{where} must be a file, got nothing there; {nearest(path.name, beside)}"]
    try:
        table = _READERS[path.suffix](path)
    except (pa.ArrowInvalid, OSError) as error:
        first = str(error).splitlines()[0]
        return None, [f"{where} must be a {path.suffix} file, got one that cannot be read ({first}); write it again"]
    for place, field in enumerate(table.schema):
        if field.name in PAIR.names and pa.types.is_dictionary(field.type):  # as pandas writes categories
            table = table.set_column(place, field.name, table[place].cast(field.type.value_type))
    faults = [
        f"{where} must have a column {name!r}, got {', '.join(map(repr, table.column_names))}; rename one"
        for name in (*REQUIRED, *(("language",) if len(split.languages) > 1 else ()))
        if name not in table.column_names
    ]
    if not table.num_rows:
        faults.append(f"{where} must have rows, got none; fill it or leave the split out of the task")
    if faults:
        return None, faults
    has_ids = "id" in table.column_names
    if path.suffix in (".tsv", ".csv"):
        place = table.schema.get_field_index("label")
        table = table.set_column(place, "label", _places_or_names(table["label"], task.labels))
    columns = {
        "id": table["id"] if has_ids else pa.array([f"{split.name}-{row}" for row in range(table.num_rows)]),
        "language": table["language"]
        if "language" in table.column_names
        else pa.array([split.languages[0]] * table.num_rows, pa.string()),
        **{name: table[name] for name in REQUIRED},
    }
    for name, column in columns.items():
        if column.null_count:
            faults.append(
                f"{where}: column {name!r} must have no empty value, got {column.null_count}; drop those rows"
            )
        if name in ("premise", "hypothesis", "language") and not is_text(column.type):
            faults.append(f"{where}: column {name!r} must hold strings, got {column.type}; cast it")
        if name == "id" and not (is_text(column.type) or pa.types.is_integer(column.type)):
            faults.append(f"{where}: column 'id' must hold strings or integers, got {column.type}; cast it")
    if faults:
        return None, faults
    kept = {name: column if name == "label" else column.cast(pa.string()) for name, column in columns.items()}
    return pa.table({name: kept[name] for name in PAIR.names}, metadata=None if has_ids else _NUMBERED), []


def _tsv(path: Path) -> pa.Table:
    """Tabs between columns, names in the first line, no quoting: a quotation mark is a letter like any other."""
    return pacsv.read_csv(
        path,
        parse_options=pacsv.ParseOptions(delimiter="\t", quote_char=False),
        convert_options=_CONVERT,
    )


def _csv(path: Path) -> pa.Table:
    return pacsv.read_csv(path, parse_options=pacsv.ParseOptions(newlines_in_values=True), convert_options=_CONVERT)


#: Texts such as "null" or "NA" are texts, and so are labels such as "true".
_CONVERT = pacsv.ConvertOptions(
    column_types={name: pa.string() for name in ("premise", "hypothesis", "label", "language", "id")},
    strings_can_be_null=False,
    null_values=[],
)

_READERS = {".tsv": _tsv, ".csv": _csv, ".jsonl": lambda path: pajson.read_json(path), ".parquet": pq.read_table}


def _places_or_names(column: pa.ChunkedArray, labels: tuple[str, ...]) -> pa.ChunkedArray:
    """Labels that stand as text: as places where all of them are numbers and no name of a label is one.

    Spaces beside one are no part of it, unless they are of its name.
    """
    column = pc.if_else(pc.is_in(column, pa.array(labels, pa.string())), column, pc.utf8_trim_whitespace(column))
    if any(map(_is_number, labels)):
        return column
    try:
        return column.cast(pa.int64())
    except pa.ArrowInvalid:
        return column


def _is_number(name: str) -> bool:
    return name.removeprefix("-").isdecimal()


def label_faults(column: pa.ChunkedArray, ids: pa.ChunkedArray, labels: tuple[str, ...], split: str) -> list[str]:
    """What is wrong with a column of labels, as integer places or as names.

    Integers are refused where they could be either: where a label is named by a number that is not its place.
    """
    elsewhere = [name for place, name in enumerate(labels) if _is_number(name) and name != str(place)]
    if pa.types.is_integer(column.type) and elsewhere:
        return [
            f"split {split!r}: column 'label' must hold strings where labels are named by numbers ({elsewhere[0]!r} is "
            f"label {labels.index(elsewhere[0])}), got {column.type}, places or names; cast it to strings"
        ]
    if pa.types.is_integer(column.type):
        good = pc.and_(pc.greater_equal(column, 0), pc.less(column, len(labels)))
    elif is_text(column.type):
        good = pc.is_in(column.cast(pa.string()), pa.array(labels))
    else:
        return [f"split {split!r}: column 'label' must hold int64 or strings, got {column.type}; cast it"]
    bad = np.flatnonzero(~good.to_numpy(zero_copy_only=False))
    if not len(bad):
        return []
    values = sorted({repr(column[int(row)].as_py()) for row in bad})
    named = any(map(_is_number, labels))
    allowed = ", ".join(repr(name) if named else f"{number} or {name!r}" for number, name in enumerate(labels))
    return [
        f"split {split!r}: label must be {allowed}, got {', '.join(values[:_SHOWN])} in {len(bad)} rows "
        f"(first row {bad[0]}, id {ids[int(bad[0])].as_py()!r}); correct or drop them"
    ]


def label_numbers(column: pa.ChunkedArray, labels: tuple[str, ...]) -> pa.Array:
    """The places of labels that stand there as places or as names."""
    if pa.types.is_integer(column.type):
        return column.cast(pa.int64())
    return pc.index_in(column.cast(pa.string()), pa.array(labels)).cast(pa.int64())


def _language_faults(table: pa.Table, split: Split, first: tuple[str, ...] = ()) -> Iterator[str]:
    """What is wrong with the languages of a split; an id names the same item in them and in `first` of the same file.

    Items that not every language has are left to the remarks: data of a language's own are sound, and so is a part.
    """
    present = Counter(table["language"].to_pylist())
    for language in split.languages:
        if language not in present:
            yield (
                f"split {split.name!r} must have rows in {language!r}, got none; {nearest(language, present)}; "
                "correct the file or state other languages"
            )
            continue
        ids = table["id"].filter(pc.equal(table["language"], language))
        repeated = len(ids) - len(ids.unique())
        if repeated:
            yield (
                f"split {split.name!r}: ids must differ within {language!r}, got {repeated} repeated; "
                "number the rows anew"
            )
    compared = (*first, *split.languages)
    if len(compared) > 1 and not is_numbered(table):
        stated = table.filter(pc.is_in(table["language"], pa.array(compared, pa.string())))
        columns = (stated[name].to_pylist() for name in ("id", "language", "label"))
        every = items_of(*columns, repeat(None, stated.num_rows))
        spoken = {**spoken_in(first, every), **spoken_in(split.languages, every)}
        yield from differing(split.name, spoken, ", or leave the column 'id' out where items are no translations")
