"""Stores on the filesystems that matter: a folder, one named by its URI, one inside another, an object store."""

from __future__ import annotations

from pathlib import Path

import pytest
from pyarrow import fs

from tests.pure.flaky import Flaky
from trainables.places import Patience, patient
from trainables.stages import Stage
from trainables.store import Store

#: Tries and pauses that are over at once.
QUICK = Patience(tries=2, first_pause_seconds=1e-6, longest_pause_seconds=1e-6)


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


def behind(folder: Path, line: Flaky, cache: str = "cache", *, patience: Patience = QUICK) -> Store:
    """One behind a line, as a machine sees it that downloads to this cache."""
    return Store("bucket", cache=folder / cache, filesystem=patient(fs.PyFileSystem(line), patience))


def holding(folder: Path, *stages: Stage) -> Store:
    """A local one that holds these stages, each with a kilobyte of weights; the later, the dearer to make again."""
    store = Store(folder / "store")
    for number, stage in enumerate(stages):
        output = store.workspace(stage.digest, f"earlier-{number}")
        (output / "weights").write_bytes(bytes(1000))
        store.commit(stage, output, f"earlier-{number}", steps=stage.steps, seconds=1.0 + number)
    return store
