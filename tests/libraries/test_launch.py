"""Claims about what is asked before a sweep starts; starts none."""

from __future__ import annotations

import shutil
import threading
from collections import namedtuple
from dataclasses import replace

import pytest

from sweep.conduct import Conductor
from sweep.disk import disk_need
from sweep.launch import _disk_faults
from sweep.plan import plan
from tests.libraries.test_conduct import MemoryLedger, World, drive
from tests.pure.small_sweep import small_sweep
from trainables.gangs import Gangs
from trainables.inflight import LocalCheckpoints
from trainables.store import Store

SWEEP = small_sweep(gangs=Gangs())
NEEDED = disk_need(plan(SWEEP)).most_bytes

Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def with_little_room(monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(10**12, 0, 5_000_000))


def hold(folder, size: int) -> None:
    """A file of that size that takes no room."""
    folder.mkdir(parents=True)
    with (folder / "model.safetensors").open("wb") as file:
        file.truncate(size)


def test_what_another_sweep_has_in_the_storage_makes_no_room_for_this_one(tmp_path, with_little_room):
    store, conductor = Store(tmp_path), Conductor(SWEEP, MemoryLedger())
    (alone,) = _disk_faults(conductor, store)
    assert alone.startswith("the disk must have room for")
    hold(tmp_path / "stages" / "of_another_sweep" / "a-1", NEEDED)
    hold(tmp_path / "inflight" / "of_another_sweep" / "step-1", NEEDED)
    assert list(_disk_faults(conductor, store)) == [alone]


@pytest.mark.parametrize("part", ["stages", "inflight"])
def test_what_this_sweep_has_there_is_not_needed_once_more(tmp_path, with_little_room, part):
    conductor = Conductor(SWEEP, MemoryLedger())
    assignment = conductor.next()
    assert assignment is not None
    hold(tmp_path / part / assignment.path[-2].digest / "a-1", NEEDED)
    assert list(_disk_faults(conductor, Store(tmp_path))) == []


def test_what_comes_and_goes_while_the_disk_is_looked_at_is_no_error(tmp_path):
    conductor, stop = Conductor(SWEEP, MemoryLedger()), threading.Event()
    drive(conductor, World())
    digest = conductor.stages()[0][0]

    def other() -> None:
        while not stop.is_set():
            checkpoints = LocalCheckpoints(tmp_path / "inflight" / digest, 1)
            checkpoints.save(1, lambda folder: [(folder / f"part-{n}").write_bytes(b"x") for n in range(5)])
            shutil.rmtree(checkpoints.directory, ignore_errors=True)

    beside = threading.Thread(target=other)
    beside.start()
    try:
        for _ in range(30):
            assert list(_disk_faults(conductor, Store(tmp_path))) == []
    finally:
        stop.set()
        beside.join()


def test_a_sweep_that_fits_is_not_refused(tmp_path):
    little = replace(SWEEP, cells=SWEEP.cells[:1])
    assert list(_disk_faults(Conductor(little, MemoryLedger()), Store(tmp_path))) == []
