"""Laid-out rows as one Arrow file per split, mapped into memory when they are needed again; lays out nothing."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import tempfile
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from trainables.on_disk import settle

_log = logging.getLogger(__name__)

_TREE = b"tree"


def keep(value: Any, path: Path) -> None:
    """Write a dataclass of arrays, texts, numbers and further dataclasses; whole or not at all.

    Arrays become columns that `fetch` maps without a copy. Two processes that write the same file do no harm.

    Raises:
        TypeError: for a field that is none of these.
    """
    columns: dict[str, pa.Array] = {}
    tree = _taken_apart(value, "", columns)
    schema = pa.schema(
        [(name, column.type) for name, column in columns.items()], metadata={_TREE: json.dumps(tree).encode()}
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".writing-", suffix=".rows")
    os.close(handle)
    try:
        with pa.OSFile(temporary, "wb") as file, pa.ipc.new_file(file, schema) as writer:
            writer.write_batch(pa.record_batch(list(columns.values()), schema=schema))
        settle(Path(temporary))
        Path(temporary).replace(path)
    finally:
        Path(temporary).unlink(missing_ok=True)


def made_once(make: Callable[[], Any], path: Path, classes: tuple[type, ...]) -> Any:
    """What is kept there; made and kept first where nothing is, or where a power cut has left a file torn."""
    if path.is_file():
        try:
            return fetch(path, classes)
        except pa.ArrowInvalid as error:
            _log.warning("%s is damaged (%s) and made anew", path, error)
    keep(make(), path)
    return fetch(path, classes)


def fetch(path: Path, classes: tuple[type, ...]) -> Any:
    """What `keep` wrote, with its arrays mapped and not to be written to; `classes` are those that it may hold.

    Raises:
        pyarrow.ArrowInvalid: where it is torn.
    """
    with pa.memory_map(str(path)) as file:
        batch = pa.ipc.open_file(file).get_batch(0)
    tree = json.loads((batch.schema.metadata or {})[_TREE])
    return _put_together(tree, batch, {each.__name__: each for each in classes})


def _taken_apart(value: Any, name: str, columns: dict[str, pa.Array]) -> Any:
    """The value as JSON, with the name of a column in the place of every array and every tuple of texts."""
    if value is None or (isinstance(value, bool | int | float | str) and not isinstance(value, Enum)):
        return value
    if isinstance(value, Enum):
        return {"enum": type(value).__name__, "value": value.value}
    if dataclasses.is_dataclass(value):
        fields = {
            field.name: _taken_apart(getattr(value, field.name), f"{name}.{field.name}", columns)
            for field in dataclasses.fields(value)
        }
        return {"class": type(value).__name__, "fields": fields}
    if isinstance(value, np.ndarray):
        flat = pa.array(np.ascontiguousarray(value).reshape(-1).view(np.uint8 if value.dtype == bool else value.dtype))
        columns[name] = _one_row(flat)
        return {"array": name, "type": value.dtype.name, "shape": list(value.shape)}
    if isinstance(value, tuple) and all(isinstance(item, int) for item in value) and len(value) < 64:
        return {"numbers": list(value)}
    if isinstance(value, tuple):
        columns[name] = _one_row(pa.array(value, None if value else pa.string()))
        return {"texts": name}
    raise TypeError(f"{name} must be a dataclass, an array, a tuple of texts or a number, got {type(value).__name__}")


def _one_row(values: pa.Array) -> pa.Array:
    return pa.LargeListArray.from_arrays(pa.array([0, len(values)], pa.int64()), values)


def _put_together(tree: Any, batch: pa.RecordBatch, classes: dict[str, type]) -> Any:
    if not isinstance(tree, dict):
        return tree
    if "enum" in tree:
        return classes[tree["enum"]](tree["value"])
    if "class" in tree:
        fields = {name: _put_together(value, batch, classes) for name, value in tree["fields"].items()}
        return classes[tree["class"]](**fields)
    if "array" in tree:
        flat = batch.column(tree["array"]).values.to_numpy(zero_copy_only=True)
        return flat.view(np.dtype(tree["type"])).reshape(tree["shape"])
    if "numbers" in tree:
        return tuple(tree["numbers"])
    return _tuples(batch.column(tree["texts"]).values.to_pylist())


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value
