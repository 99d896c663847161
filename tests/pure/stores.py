"""Stores on the filesystems that matter: a folder, one named by its URI, one inside another, an object store."""

from __future__ import annotations

from pathlib import Path

import pytest
from pyarrow import fs

from trainables.stages import Stage
from trainables.store import Store


def local(folder: Path) -> Store:
    return Store(folder / "store", cache=folder / "cache")


def by_uri(folder: Path) -> Store:
    return Store((folder / "store").as_uri(), cache=folder / "cache")


def subtree(folder: Path) -> Store:
    return Store("inside", cache=folder / "cache", filesystem=fs.SubTreeFileSystem(str(folder), fs.LocalFileSystem()))


def in_memory(folder: Path) -> Store:
    memory = pytest.importorskip("fsspec", reason="fsspec is not installed").filesystem("memory")
    memory.store.clear()
    memory.pseudo_dirs[:] = [""]
    return Store("bucket/sweeps", cache=folder / "cache", filesystem=fs.PyFileSystem(fs.FSSpecHandler(memory)))


def holding(folder: Path, *stages: Stage) -> Store:
    """A local one that holds these stages, each with a kilobyte of weights; the later, the dearer to make again."""
    store = Store(folder / "store")
    for number, stage in enumerate(stages):
        output = store.workspace(stage.digest, f"earlier-{number}")
        (output / "weights").write_bytes(bytes(1000))
        store.commit(stage, output, f"earlier-{number}", steps=stage.steps, seconds=1.0 + number)
    return store
