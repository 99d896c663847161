"""Claims about what a question for the next trial costs: what did not change is not counted again; nothing is stale."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from random import Random

import pytest

from sweep import budget, purse
from sweep.conduct import Assignment, Conductor
from sweep.records import Phase, TrialRecord
from sweep.search import Budget, ExpectedGain, Median, NoPruning, Search
from tests.libraries.test_conduct import MemoryLedger, World, drive
from tests.pure.small_sweep import small_sweep

LIMITED = Budget(optimiser_steps=5000, wall_clock_hours=1000.0)
SWEEP = small_sweep(search=Search(trials=8, fan_out=2, pruner=Median(trials_before=1)), budget=LIMITED)


def seen(conductor: Conductor) -> int:
    """How many trials the conductor looks at to answer who is searched next."""
    looked = Counter()
    for key, trials in conductor._trials.items():
        conductor._trials[key] = Watched(trials, looked)
    conductor._cell_to_search()
    return looked["trials"]


class Watched(dict):
    """Trials of a cell that count how often one of them is looked at."""

    def __init__(self, trials: dict[int, TrialRecord], looked: Counter) -> None:
        super().__init__(trials)
        self.looked = looked

    def values(self):
        return Values(super().values(), self.looked)


class Values:
    def __init__(self, values, looked: Counter) -> None:
        self.given, self.looked = values, looked

    def __len__(self) -> int:
        return len(self.given)

    def __iter__(self):
        for one in self.given:
            self.looked["trials"] += 1
            yield one


@pytest.mark.parametrize("fan_out", [2, ExpectedGain()])
@pytest.mark.parametrize("limits", [LIMITED, Budget(wall_clock_hours=1000.0), Budget(optimiser_steps=50_000)])
def test_a_question_looks_at_trials_of_that_cell_alone_that_was_written_of_since(fan_out, limits, monkeypatch):
    plans: list[object] = []
    monkeypatch.setattr(purse, "plan", lambda sweep, made=purse.plan: plans.append(sweep) or made(sweep))
    search = Search(trials=12, fan_out=fan_out, pruner=NoPruning())
    sweep = small_sweep(search=search, budget=limits)
    conductor, world = Conductor(sweep, MemoryLedger(), clock=lambda: 0.0), World()
    for ended in range(18):
        assignment = conductor.next()
        assert assignment is not None
        conductor.handle(assignment.key, world.events(assignment.path))
        first, again = seen(conductor), seen(conductor)
        of_cell = len(conductor._trials[assignment.key.cell, Phase.SEARCH])
        assert first <= 3 * of_cell and again == 0, ended
    assert len(plans) <= 1


def test_what_is_guessed_of_the_time_of_a_step_is_planned_once(monkeypatch):
    plans: list[object] = []
    monkeypatch.setattr(purse, "plan", lambda sweep, made=purse.plan: plans.append(sweep) or made(sweep))
    sweep = replace(SWEEP, budget=Budget(wall_clock_hours=1000.0))
    world = World()
    drive(Conductor(sweep, MemoryLedger(), clock=lambda: 0.0), world)
    plans.clear()
    conductor = Conductor(sweep, MemoryLedger(), clock=lambda: 0.0)
    drive(conductor, world)  # every stage is found
    assert len(conductor.records) > 20 and len(plans) == 1


class Checked(Conductor):
    """Compares at every question what is kept with what counting anew gives."""

    def next(self) -> Assignment | None:
        for cell in self.sweep.cells:
            search = self._of(cell, Phase.SEARCH)
            spent = self._purse._spent_on(cell, search)
            assert self._purse.left(cell, search) == max(0, self._purse.allowance.search[cell.name] - spent)
            if self._counted(cell.name) == len(search) < self._planned_trials[cell.name]:
                cost = budget.next_cost(self.sweep, cell, self._purse.costs(cell), search)
                assert self._purse._cost_of_next(cell, search, len(search)) == cost
        assert self._to_confirm() == self._count_to_confirm()
        self._cell_to_search()
        assert self._to_confirm() == self._count_to_confirm(), "after one that is withheld too"
        found = super().next()
        assert self._to_confirm() == self._count_to_confirm()
        return found


@pytest.mark.parametrize("fan_out", [2, ExpectedGain(settings=2, fan_out=2)])
def test_what_is_kept_between_questions_is_what_counting_anew_gives(fan_out):
    search = replace(SWEEP.search, fan_out=fan_out)
    sweep, ledger, world = replace(SWEEP, search=search), MemoryLedger(), World()
    sizes = [(sweep, False)]
    sizes.append((replace(sweep, search=replace(search, trials=10), confirmation_seeds=(1, 2, 3)), False))
    sizes.append((replace(sweep, budget=Budget(optimiser_steps=2500, wall_clock_hours=1000.0)), True))
    short = Budget(optimiser_steps=50_000, wall_clock_hours=1 / 3600)
    sizes.append((replace(sizes[1][0], search=replace(search, trials=12), budget=short), False))
    world.fails = lambda stage: stage.digest[0] in "01"
    for one, failed in sizes:
        conductor = Checked(one, ledger, clock=lambda: 0.0)
        conductor.take_up(failed=failed)
        drive(conductor, world, width=3, choose=Random(1).randrange)
        world.fails = lambda stage: False
    assert any(record.before for record in conductor.records.values()), "the claim is about trials made anew too"
    assert any("of wall clock are left" in why for why in conductor.standing().withheld.values()), "and of such a cell"


# What waits


def test_what_a_cell_waits_for_is_said_of_each_that_has_work_left_and_no_trial_in_flight():
    search, confirmation = "its next search trial waits for a gang", "its next confirmation waits for a gang"

    def said(conductor: Conductor) -> dict[str, str]:
        return {cell: why.split(";")[0] for cell, why in conductor.waits().items()}

    ledger, world = MemoryLedger(), World()
    conductor = Conductor(small_sweep(), ledger)
    assert said(conductor) == dict.fromkeys(("none", "nli", "nli+qqp"), search)
    first = conductor.next()
    assert first is not None and said(conductor) == dict.fromkeys(("nli", "nli+qqp"), search)
    conductor.handle(first.key, world.events(first.path))
    while (found := conductor.next()) is not None and found.key.phase is Phase.SEARCH:
        conductor.handle(found.key, world.events(found.path))
    assert said(conductor) == dict.fromkeys(("nli", "nli+qqp"), confirmation)
    left_open = Conductor(small_sweep(), ledger)
    assert said(left_open) == dict.fromkeys(("none", "nli", "nli+qqp"), confirmation), "one is open, and none runs"
    drive(left_open, world)
    assert said(left_open) == {}
    more = Conductor(replace(small_sweep(), search=Search(trials=5, fan_out=2)), ledger)
    assert set(said(more).values()) == {search}
    begun = more.next()
    assert begun is not None
    fewer = Conductor(small_sweep(), ledger)
    assert said(fewer) == {}, "one that a lowered budget left open is not asked for"
    again = Conductor(replace(small_sweep(), search=Search(trials=4, fan_out=2)), ledger)
    assert said(again) == dict.fromkeys(("none", "nli", "nli+qqp"), search)


def test_saying_what_waits_looks_at_no_search_trial_that_has_ended(monkeypatch):
    conductor = Conductor(SWEEP, MemoryLedger())
    drive(conductor, World())
    looked: Counter = Counter()
    for key, trials in conductor._trials.items():
        if key[1] is Phase.SEARCH:
            conductor._trials[key] = Watched(trials, looked)
    assert conductor.waits() == {} and not looked
