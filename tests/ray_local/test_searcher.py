"""Claims about when Ray Tune is given a trial; starts no Ray."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest

from sweep.conduct import Conductor
from sweep.tune_adapters import SHORT_SECONDS, LedgerScheduler, LedgerSearcher, key_of
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
    found, _ = searcher(gangs=16, limit=32)
    assert asked(found, 33) == [True] * 32 + [False]


def test_after_a_short_trial_the_next_takes_over_a_process_and_long_ones_hold_nothing_up():
    found, clock = searcher(gangs=2, limit=4)
    assert asked(found, 5) == [True] * 4 + [False]
    clock.now += SHORT_SECONDS / 2
    found.on_trial_complete("0")
    assert asked(found, 1, first=5) == [False], "three others are about to hand their processes on"
    for ended in ("1", "2", "3"):
        found.on_trial_complete(ended)
    assert asked(found, 2, first=6) == [True, False], "one at a time while they are short"
    clock.now += SHORT_SECONDS
    assert asked(found, 4, first=8) == [True, True, True, False], "the one in flight is not short"
    clock.now += SHORT_SECONDS
    found.on_trial_complete("8")
    assert asked(found, 1, first=12) == [True]


def test_a_trial_whose_process_is_started_again_is_not_lost_and_one_for_which_that_is_over_is():
    found, _ = searcher(gangs=1, limit=2)
    config = found.suggest("0")
    assert isinstance(config, dict)
    scheduler = LedgerScheduler(found._conductor)
    scheduler.on_trial_error(None, SimpleNamespace(config=config, get_error=lambda: "it died"))
    assert found._conductor.broken == "" and found._conductor.running()
    found.on_trial_complete("0", error=True)
    assert found._conductor.broken == f"{key_of(config)}: its process died more often than it is started again"
    assert not found._conductor.running()
    assert isinstance(found.suggest("1"), str)
