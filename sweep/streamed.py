"""A table that need not fit into memory, in files of the bytes that a whole one makes; knows no sweep."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from trainables.whole_files import put_whole, read_json, whole_file

#: Every option that shapes the bytes of a Parquet file.
PARQUET: dict[str, Any] = {
    "version": "2.6",
    "compression": "zstd",
    "compression_level": 3,
    "data_page_version": "1.0",
    "use_dictionary": True,
    "write_statistics": True,
    "store_schema": True,
}
ROW_GROUP = 65_536


@dataclass(frozen=True, kw_only=True)
class Streamed:
    """A table part by part.

    `made_of` is text that differs wherever the rows would. `parts` gives the rows in order, anew at each call.
    """

    schema: pa.Schema
    made_of: str
    parts: Callable[[], Iterable[pa.Table]]


def write(filesystem: pafs.FileSystem, stem: str, table: Streamed) -> tuple[str, str]:
    """Write `stem`.parquet and `stem`.csv, and give both paths."""
    paths = (f"{stem}.parquet", f"{stem}.csv")
    with whole_file(filesystem, paths[0]) as binary, whole_file(filesystem, paths[1]) as text:
        with pq.ParquetWriter(binary, table.schema, **PARQUET) as parquet, pacsv.CSVWriter(text, table.schema) as csv:
            for group in _row_groups(table):
                parquet.write_table(group, row_group_size=ROW_GROUP)
                csv.write_table(group)
    return paths


def write_changed(filesystem: pafs.FileSystem, stem: str, table: Streamed, note: str) -> tuple[str, str]:
    """As `write`, but the files stay where they were made of the same and nobody has touched them since.

    The file `note` says what they were made of, their sizes and times of change. It is deleted before they are written
    and there again after both, so that a process that dies between leaves none.
    """
    paths = (f"{stem}.parquet", f"{stem}.csv")
    versions = {"pyarrow": pa.__version__, "parquet": PARQUET, "row_group": ROW_GROUP, "schema": _words(table.schema)}
    made_of = {"made_of": table.made_of, **versions}
    known = read_json(filesystem, note)
    if known is not None and known == {**made_of, "files": _state(filesystem, paths)}:
        return paths
    with suppress(FileNotFoundError):
        filesystem.delete_file(note)
    write(filesystem, stem, table)
    said = {**made_of, "files": _state(filesystem, paths)}
    put_whole(filesystem, note, json.dumps(said, sort_keys=True).encode())
    return paths


def _row_groups(table: Streamed) -> Iterator[pa.Table]:
    """The rows in groups of `ROW_GROUP`, the last one smaller; one empty group where there is no row."""
    waiting, rows, begun = [], 0, False
    for part in table.parts():
        waiting.append(part)
        rows += len(part)
        if rows >= ROW_GROUP:
            joined = pa.concat_tables(waiting)
            whole = rows - rows % ROW_GROUP
            for start in range(0, whole, ROW_GROUP):
                yield joined.slice(start, ROW_GROUP).combine_chunks()
            waiting, rows, begun = [joined.slice(whole)], rows - whole, True
    if rows or not begun:
        yield pa.concat_tables([table.schema.empty_table(), *waiting]).combine_chunks()


def _words(schema: pa.Schema) -> str:
    return schema.to_string(show_field_metadata=True, show_schema_metadata=True, truncate_metadata=False)


def _state(filesystem: pafs.FileSystem, paths: Iterable[str]) -> list[list[int | None]]:
    return [[info.size, info.mtime_ns] for info in filesystem.get_file_info(list(paths))]
