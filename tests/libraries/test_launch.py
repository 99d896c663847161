"""Claims about what is asked before a sweep starts; starts none."""

from __future__ import annotations

import shutil
import threading
from collections import namedtuple
from dataclasses import replace

import pytest

from search_spaces import Space
from sweep.conduct import Conductor
from sweep.disk import disk_need
from sweep.launch import Leaves, _disk_faults
from sweep.plan import plan
from sweep.records import Phase, TrialKey
from sweep.search import NoPruning, Search
from tests.libraries.test_conduct import MemoryLedger, World, drive
from tests.pure.small_sweep import ALONE, BASELINE, small_sweep
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


class Told:
    """A dispatcher that remembers what it was told of leaves."""

    def __init__(self) -> None:
        self.keep = self
        self.said: list[tuple[str, list[str], list[str], list[str]]] = []

    def remote(self, *what) -> None:
        self.said.append(what)


@pytest.mark.parametrize("search", [Search(trials=0), Search(trials=3, pruner=NoPruning())])
def test_no_confirmation_of_a_winner_is_let_go_before_there_is_no_room_and_the_best_not_even_then(search):
    space = SWEEP.space if search.trials else Space()
    sweep = replace(SWEEP, cells=(BASELINE, ALONE), search=search, space=space, confirmation_seeds=(1, 2, 3))
    told = Told()
    conductor = Conductor(sweep, MemoryLedger())
    conductor.watchers = (Leaves(conductor, told),)
    drive(conductor, World())
    for cell in sweep.cells:
        confirmed = [
            r for r in conductor.records.values() if r.key.phase is Phase.CONFIRMATION and r.key.cell == cell.name
        ]
        best = max(confirmed, key=lambda record: (record.score, -record.seed))
        dropped = {digest for of, _, others, _ in told.said if of == cell.name for digest in others}
        assert not dropped & {record.target for record in confirmed}
        _, needed, _, spare = [one for one in told.said if one[0] == cell.name][-1]
        assert needed == [best.target]
        assert {*spare} >= {record.target for record in confirmed if record is not best}
        leader = conductor.records.get(TrialKey(cell=cell.name, phase=Phase.SEARCH, number=best.winner))
        assert leader is None or leader.target in spare  # it has been confirmed


def test_before_its_confirmation_the_leader_of_a_cell_stays():
    sweep = replace(SWEEP, cells=(BASELINE,), search=Search(trials=3, pruner=NoPruning()))
    told = Told()
    conductor = Conductor(sweep, MemoryLedger())
    conductor.watchers = (Leaves(conductor, told),)
    drive(conductor, World())
    searched = [needed for _, needed, _, spare in told.said if needed and not spare]
    assert searched[0] and all(len(needed) == 1 for needed in searched)
    leaders = {r.target for r in conductor.records.values() if r.key.phase is Phase.SEARCH}
    assert {*searched[0]} <= leaders


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
