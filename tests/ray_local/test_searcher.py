"""Claims about when Ray Tune is given a trial; starts no Ray."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sweep.conduct import Conductor
from sweep.tune_adapters import START_SECONDS, LedgerSearcher
from tests.libraries.test_conduct import MemoryLedger
from tests.pure.small_sweep import ALONE, BASELINE, small_sweep
from trainables.gangs import GangKind, Gangs

pytestmark = pytest.mark.ray_local


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def searcher(gangs: int, limit: int) -> tuple[LedgerSearcher, Clock]:
    """A searcher of a sweep with more cells than trials are asked for."""
    cells = (BASELINE, *(replace(ALONE, name=f"nli_{number}") for number in range(40)))
    sweep = small_sweep(cells=cells, gangs=Gangs(count=gangs, kind=GangKind.REHEARSAL))
    clock = Clock()
    return LedgerSearcher(Conductor(sweep, MemoryLedger()), "none", limit, 500, clock), clock


def asked(found: LedgerSearcher, times: int, first: int = 0) -> list[bool]:
    """Whether each request was answered with a trial."""
    return [found.suggest(str(number)) is not None for number in range(first, first + times)]


def test_every_gang_has_a_trial_at_once_however_many_there_are():
    found, _ = searcher(gangs=32, limit=64)
    assert asked(found, 33) == [True] * 32 + [False]


def test_a_trial_that_waits_behind_them_takes_over_a_process_or_comes_when_one_could_have_started():
    found, clock = searcher(gangs=1, limit=3)
    assert asked(found, 2) == [True, False]
    clock.now += START_SECONDS
    assert asked(found, 2, first=2) == [True, False]
    found.on_trial_complete("0")
    assert asked(found, 2, first=4) == [True, False]
    for ended in ("2", "4"):
        found.on_trial_complete(ended, error=True)
    assert asked(found, 1, first=6) == [True], "with no trial in flight a gang waits for nothing"
