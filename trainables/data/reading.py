"""The rows of one split of a task as an Arrow table in the schema of its kind; knows no tokens and no batches."""

from __future__ import annotations

import logging
import os
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import repeat
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from trainables.canonical import digest
from trainables.catalogue.files import SentenceFiles, TextFiles, WordFiles, XvnliSource
from trainables.catalogue.task import (
    ORACLE_DEV,
    ORACLE_HALF,
    Kind,
    LabSource,
    ParquetSource,
    PublishedSource,
    Split,
    Task,
)
from trainables.data.fingerprint import resolve
from trainables.data.halves import half
from trainables.data.images import content_hash, opened
from trainables.data.parallel import items_of, parallel_faults, spoken_in
from trainables.data.schema import (
    CAPTION,
    CHOICE,
    IMAGE_TEXT,
    IMAGE_TYPE,
    PAIR,
    PARALLEL,
    RETRIEVAL,
    SPAN,
    TAGGING,
    holds_bytes,
)
from trainables.data.sentence_files import inspect_sentences, read_sentences
from trainables.data.text_files import inspect_pairs, label_faults, label_numbers, read_pairs
from trainables.data.visual_files import inspect_visual, read_visual
from trainables.data.word_files import inspect_words, read_words
from trainables.faults import Invalid, nearest, refuse
from trainables.on_disk import settle

_log = logging.getLogger(__name__)

#: The schema that `read` answers in.
SCHEMA_OF = {
    Kind.PAIR: PAIR,
    Kind.IMAGE_TEXT: IMAGE_TEXT,
    Kind.SPAN: SPAN,
    Kind.CHOICE: CHOICE,
    Kind.TAGGING: TAGGING,
    Kind.RETRIEVAL: RETRIEVAL,
    Kind.CAPTION: CAPTION,
    Kind.MASKED_LM: PARALLEL,
    Kind.WORDS: PARALLEL,
}

#: At most so many offending rows are shown in one fault.
_SHOWN = 3


def read(task: Task, split: str, languages: tuple[str, ...] | None, cache: Path | None) -> pa.Table:
    """The rows of a split, in `languages` or in all that the split states, in the schema of the task's kind.
    A language that the split does not state has no rows.

    Generated and published rows are kept under `cache` as Arrow files and mapped into memory; two processes that write
    the same file at once do no harm. A task of Parquet files is read from where it lies.

    Raises:
        Invalid: for a split that the task has not, a kind that has no rows here, or a file that cannot be used.
    """
    part = task.split(split)
    if part is None:
        raise Invalid(f"task {task.name!r}", [f"split {split!r} must exist, {nearest(split, _split_names(task))}"])
    if task.kind not in SCHEMA_OF:
        raise Invalid(f"task {task.name!r}", [f"kind must be one of {', '.join(SCHEMA_OF)}, got {task.kind}"])
    asked = tuple(one for one in (languages or part.languages) if one in part.languages)
    if task.split(ORACLE_HALF) is not None and split in ("test", ORACLE_HALF):
        whole = replace(part, name="test")
        return half(_read(task, whole, asked, cache), oracle=split == ORACLE_HALF)
    if split == ORACLE_DEV and not isinstance(task.source, PublishedSource):
        dev = task.split("dev")
        part = replace(part, name="dev", languages=(*(dev.languages if dev else ()), *part.languages))
    return _read(task, part, asked, cache)


def _read(task: Task, part: Split, languages: tuple[str, ...], cache: Path | None) -> pa.Table:
    source = task.source
    if isinstance(source, LabSource):
        return _read_lab(source, part, languages, cache)
    if isinstance(source, PublishedSource):
        return _read_published(task, part, languages, cache)
    _refuse_changed(task)
    if isinstance(source, TextFiles):
        return read_pairs(task, part, languages)
    if isinstance(source, WordFiles):
        return read_words(task, part, languages)
    if isinstance(source, SentenceFiles):
        return read_sentences(task, part, languages)
    if isinstance(source, XvnliSource):
        return read_visual(task, part, languages, cache)
    return _read_parquet(task, part, languages)


def _refuse_changed(task: Task) -> None:
    """Raise where the files are no longer those whose fingerprints were taken when the sweep was planned."""
    source = task.source
    if isinstance(source, XvnliSource):
        planned = [(files, files.fingerprint) for files in (source.train, source.dev, source.test)]
    else:
        planned = [(source, source.fingerprint)]
    if not any(taken for _, taken in planned):
        return
    arrived = resolve(task).source
    if arrived != source:
        raise Invalid(
            f"task {task.name!r}",
            ["its files must be those that were planned, and they have changed; put them back or plan again"],
        )


def _split_names(task: Task) -> list[str]:
    return [split.name for split in task.splits]


def _read_lab(source: LabSource, split: Split, languages: tuple[str, ...], cache: Path | None) -> pa.Table:
    from trainables.lab.twins import examples  # the world takes a moment to load, and only lab tasks need it

    def generate() -> pa.Table:
        return examples(source.generator, split.name, languages, split.rows, source.seed)

    name = f"{source.generator}-{split.name}-{digest([source, split.name, split.rows, languages])}"
    return _kept(name, generate, cache)


def _read_published(task: Task, split: Split, languages: tuple[str, ...], cache: Path | None) -> pa.Table:
    from trainables.data.published import VERSION, read_published

    source = task.source
    assert isinstance(source, PublishedSource)
    same = replace(source, folders=(), download=False)
    name = f"{task.name}-{split.name}-{digest([VERSION, same, task.labels, split.name, languages])}"
    return _kept(name, lambda: read_published(task, split.name, languages), cache if source.fingerprint else None)


def _kept(name: str, make: Callable[[], pa.Table], cache: Path | None) -> pa.Table:
    """The table of that name from the cache, made and kept there first where it is not, or where a power cut has left
    it torn; made anew without a cache.
    """
    if cache is None:
        return make()
    path = cache / f"{name}.arrow"
    if path.is_file():
        try:
            return _mapped(path)
        except pa.ArrowInvalid as error:
            _log.warning("%s is damaged (%s) and made anew", path, error)
    _write_arrow(make(), path)
    return _mapped(path)


def _mapped(path: Path) -> pa.Table:
    with pa.memory_map(str(path)) as file:
        return pa.ipc.open_file(file).read_all()


def _write_arrow(table: pa.Table, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".writing-", suffix=".arrow")
    os.close(handle)
    try:
        with pa.OSFile(temporary, "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
            writer.write_table(table)
        settle(Path(temporary))
        Path(temporary).replace(path)
    finally:
        Path(temporary).unlink(missing_ok=True)


def _read_parquet(task: Task, split: Split, languages: tuple[str, ...]) -> pa.Table:
    table = parquet_rows(task, split)
    source = task.source
    assert isinstance(source, ParquetSource)
    table = table.filter(pc.is_in(table["language"], pa.array(languages, pa.string())))
    _refuse_broken_images(table, source.path(split.name), split.name)
    return table


def parquet_rows(task: Task, split: Split) -> pa.Table:
    """The rows of a split's Parquet file in every language that it has, its images not looked at.

    Raises:
        Invalid: naming every fault of columns and labels.
    """
    if task.kind is not Kind.IMAGE_TEXT:
        raise Invalid(f"task {task.name!r}", [f"Parquet files hold {Kind.IMAGE_TEXT} rows, got kind {task.kind}"])
    table, faults = _parquet_table(task, split)
    if table is not None:
        faults += label_faults(table["label"], table["id"], task.labels, split.name)
    refuse(f"task {task.name!r}", faults)
    assert table is not None
    return table.set_column(table.schema.get_field_index("label"), "label", label_numbers(table["label"], task.labels))


def _parquet_table(task: Task, split: Split) -> tuple[pa.Table | None, list[str]]:
    """The file of a split with the columns that the format wants, or what is wrong with it."""
    source = task.source
    assert isinstance(source, ParquetSource)
    path = Path(source.path(split.name))
    where = f"split {split.name!r} ({path})"
    if not path.is_file():
        beside = [file.name for file in path.parent.glob("*.parquet")] if path.parent.is_dir() else []
        return None, [f"{where} must be a file, got nothing there; {nearest(path.name, beside)}"]
    try:
        table = pq.read_table(path)
    except (pa.ArrowInvalid, OSError) as error:
        first = str(error).splitlines()[0]
        return None, [f"{where} must be a Parquet file, got one that cannot be read ({first}); write it again"]
    faults = []
    for name in IMAGE_TEXT.names:
        if name not in table.column_names:
            faults.append(f"{where} must have a column {name!r}, got none; {nearest(name, table.column_names)}")
    if table.num_rows == 0:
        faults.append(f"{where} must have rows, got none; fill it or leave the split out of the task")
    if faults:
        return None, faults
    table = table.select(IMAGE_TEXT.names)
    for name in ("id", "language", "hypothesis"):
        kind = table.schema.field(name).type
        if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
            faults.append(f"{where}: column {name!r} must hold strings, got {kind}; cast it")
    image = table.schema.field("image").type
    if not holds_bytes(image):
        faults.append(
            f"{where}: column 'image' must be binary or struct<bytes: binary, path: string>, got {image}; store the "
            "bytes"
        )
    for name in IMAGE_TEXT.names:
        missing = table[name].null_count
        if missing:
            faults.append(f"{where}: column {name!r} must have no empty value, got {missing}; fill or drop those rows")
    if faults:
        return None, faults
    table = table.set_column(table.schema.get_field_index("image"), "image", _images(table["image"]))
    without = table["id"].filter(pc.is_null(pc.struct_field(table["image"], "bytes"))).to_pylist()
    if without:
        named = ", ".join(str(item) for item in without[:_SHOWN])
        return None, [
            f"{where}: column 'image' must hold the bytes of every image, got {len(without)} rows without "
            f"(id {named}); store the bytes, a path beside them is not read"
        ]
    for name in ("id", "language", "hypothesis"):
        place = table.schema.get_field_index(name)
        table = table.set_column(place, name, table[name].cast(pa.string()))
    return table.replace_schema_metadata(None), []


def _images(column: pa.ChunkedArray) -> pa.Array:
    """The image column as struct<bytes, path>, whichever of the two allowed forms it came in."""
    whole = column.combine_chunks()
    if isinstance(whole, pa.ChunkedArray):  # no chunk, or too large for one
        whole = pa.concat_arrays(whole.chunks)
    data = pc.struct_field(whole, "bytes") if pa.types.is_struct(whole.type) else whole
    return pa.StructArray.from_arrays(
        [data.cast(pa.binary()), pa.nulls(len(whole), pa.string())], fields=list(IMAGE_TYPE)
    )


def _refuse_broken_images(table: pa.Table, path: str, split: str) -> None:
    """Raise where an image is no image, so that it is found before the first step; each image is told once."""
    seen: set[bytes] = set()
    faults = []
    for item, data in zip(table["id"].to_pylist(), image_bytes(table["image"]), strict=True):
        key = content_hash(data)
        if key in seen:
            continue
        seen.add(key)
        try:
            opened(data)
        except Invalid as broken:
            where = f"in {path}, split {split!r}, id {item!r}; replace or drop that row"
            faults += [f"{fault} {where}" for fault in broken.faults]
    refuse("the images", faults)


def image_bytes(column: pa.ChunkedArray) -> list[bytes]:
    """The encoded images of a column of struct<bytes, path>."""
    return [value for chunk in column.chunks for value in pc.struct_field(chunk, "bytes").to_pylist()]


def encoded_images(column: pa.ChunkedArray) -> list[bytes | str]:
    """The images of a column of struct<bytes, path>: the bytes, or the path of the file that holds them."""
    return [
        row["path"] if row["bytes"] is None else row["bytes"] for chunk in column.chunks for row in chunk.to_pylist()
    ]


def inspect(task: Task) -> list[str]:
    """Every fault of the files behind a task, or an empty list; a lab task has none."""
    if isinstance(task.source, TextFiles):
        return inspect_pairs(task)
    if isinstance(task.source, WordFiles):
        return inspect_words(task)
    if isinstance(task.source, SentenceFiles):
        return inspect_sentences(task)
    if isinstance(task.source, XvnliSource):
        return inspect_visual(task)
    return inspect_parquet(task)


def inspect_parquet(task: Task) -> list[str]:
    """Every fault of a task's Parquet files, or an empty list; decodes no image.

    Looks at columns, labels and languages of every split, at ids, labels and images across the languages of a split,
    of what an oracle is shown and English development, and at ids and images that two splits share.
    """
    if not isinstance(task.source, ParquetSource):
        return []
    faults: list[str] = []
    tables: dict[str, pa.Table] = {}
    for split in task.splits:
        if split.name in (ORACLE_HALF, ORACLE_DEV):
            continue
        table, found = _parquet_table(task, split)
        faults += found
        if table is not None:
            tables[split.name] = table
            faults += label_faults(table["label"], table["id"], task.labels, split.name)
            faults += _language_faults(table, split)
    if (shown := task.split(ORACLE_DEV)) and "dev" in tables:  # more languages of the same file
        dev = task.split("dev")
        faults += _language_faults(tables["dev"], shown, dev.languages[:1] if dev else ())
    return faults + list(_overlaps(tables))


def _language_faults(table: pa.Table, split: Split, first: tuple[str, ...] = ()) -> Iterator[str]:
    """What is wrong with the languages of a split, whose items are those of the languages `first` of the same file."""
    present = Counter(table["language"].to_pylist())
    compared = (*first, *split.languages)
    for language in split.languages:
        if language not in present:
            yield (
                f"split {split.name!r} must have rows in {language!r}, got none; {nearest(language, present)}; "
                "correct the file or state other languages"
            )
    several = len(present.keys() & set(compared)) > 1
    asked = table if several else table.drop_columns(["image"])  # which are many bytes, and compared with none
    stated = asked.filter(pc.is_in(asked["language"], pa.array(compared, pa.string())))
    every = items_of(
        stated["id"].to_pylist(),
        stated["language"].to_pylist(),
        stated["label"].to_pylist(),
        map(content_hash, image_bytes(stated["image"])) if several else repeat(b"", stated.num_rows),
    )
    items = spoken_in(split.languages, every)
    for language, found in items.items():
        if len(found) < present[language]:
            yield (
                f"split {split.name!r}: ids must differ within {language!r}, got {present[language] - len(found)} "
                "repeated; number the rows anew"
            )
    yield from parallel_faults(split.name, items, spoken_in(first, every))


def _overlaps(tables: dict[str, pa.Table]) -> Iterator[str]:
    ids = {name: set(table["id"].to_pylist()) for name, table in tables.items()}
    pictures = {
        name: dict(zip(map(content_hash, image_bytes(table["image"])), table["id"].to_pylist(), strict=True))
        for name, table in tables.items()
    }
    names = list(tables)
    for number, left in enumerate(names):
        for right in names[number + 1 :]:
            shared = sorted(ids[left] & ids[right])
            if shared:
                yield (
                    f"splits {left!r} and {right!r} must share no id, got {len(shared)} in both "
                    f"({', '.join(shared[:_SHOWN])}); an example may be in one split only"
                )
            same = sorted(pictures[left].keys() & pictures[right].keys())
            if same:
                example = f"id {pictures[left][same[0]]!r} and id {pictures[right][same[0]]!r}"
                yield (
                    f"splits {left!r} and {right!r} must share no image, got {len(same)} in both ({example}); "
                    "drop them from one split"
                )
