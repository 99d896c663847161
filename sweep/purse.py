"""How much of a sweep's budget is spent, and why no further trial is begun; reads a clock, and writes nothing."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from functools import cached_property
from typing import Any

from search_spaces.transfer_grid import Cell
from sweep import budget
from sweep.definition import Sweep
from sweep.plan import plan
from sweep.points import draws_now, stage_costs
from sweep.records import Happening, Phase, TrialRecord, What


class Purse:
    """What has been spent so far, by the ledger and by the clock of this run.

    `clock` gives seconds from any beginning; `gang_seconds` those that the gangs of this run have spent on stages, also
    on attempts that came to nothing: pruned, failed or lost. `records` gives all trials of the sweep; `seconds_run` is
    how long it has run by what was kept beside its ledger, whose entries may be hours apart.
    """

    def __init__(
        self,
        sweep: Sweep,
        happenings: Iterable[Happening],
        clock: Callable[[], float],
        gang_seconds: Callable[[], float] = float,
        records: Callable[[], Iterable[TrialRecord]] = tuple,
        seconds_run: float = 0.0,
    ) -> None:
        self.sweep = sweep
        self._records = records
        self._allowance: budget.Allowance | None = None
        if math.isfinite(sweep.budget.optimiser_steps):
            budget.allowance(sweep)  # or it is refused
        self._clock, self._begun = clock, clock()
        self._elapsed_before, self._spent_before = seconds_run, 0.0
        self._gang_seconds = gang_seconds
        self._steps = 0
        self._seconds = 0.0
        self._evaluations, self._evaluated_seconds = 0, 0.0
        self._costs: dict[str, tuple[int, int]] = {}
        self._spent: dict[str, int] = {}
        self._next: dict[str, tuple[int, int]] = {}
        """By cell, its search trials in the space as it is now, and what the next may take; until a trial of it is
        written of."""
        for happening in happenings:
            self.took(happening)
        self._seconds_before = self._seconds

    def took(self, happening: Happening, *, before: bool = True) -> None:
        """Count what a happening says was spent; `before` this run began, or in it."""
        payload = happening.payload
        self._spent.pop(happening.trial.cell, None)
        self._next.pop(happening.trial.cell, None)
        if happening.what is What.PROPOSED and happening.generation:
            self._allowance = None
        if before:
            self._elapsed_before = max(self._elapsed_before, payload.get("elapsed", 0.0))
            self._spent_before = max(self._spent_before, payload.get("spent", 0.0))
        if happening.what is What.STAGE and not payload["reused"]:
            self._seconds += payload["seconds"]
            if payload["steps"]:
                self._steps += payload["steps_executed"]
            else:
                self._evaluations += 1
                self._evaluated_seconds += payload["seconds"]

    def elapsed(self) -> float:
        """Seconds that the sweep has run, over all its runs, as far as is written down."""
        return self._elapsed_before + self._clock() - self._begun

    def spent(self) -> float:
        """Seconds that gangs have spent on stages, over all runs; a ledger that does not say so knows finished ones."""
        now = max(self._gang_seconds(), self._seconds - self._seconds_before)
        return max(self._spent_before, self._seconds_before) + now

    def gpu_hours(self) -> float:
        """GPU-hours of all that gangs have trained and evaluated, of attempts that came to nothing too."""
        return self.spent() * self._gpus / 3600

    @property
    def _gpus(self) -> float:
        return self.sweep.gangs.workers * self.sweep.gangs.gpus_per_worker

    def over(self) -> str:
        """Why nothing more is begun, not even a confirmation; empty while there is something left."""
        stated = self.sweep.budget
        if self.elapsed() >= stated.wall_clock_hours * 3600:
            return f"{stated.wall_clock_hours:g} h of wall clock are over"
        if self.gpu_hours() >= stated.gpu_hours:
            return f"{self.gpu_hours():.2f} of {stated.gpu_hours:g} GPU-hours are spent"
        return ""

    @property
    def allowance(self) -> budget.Allowance:
        """What the steps of the budget divide into, without those that went into what was made anew since."""
        if self._allowance is None:
            limited = math.isfinite(self.sweep.budget.optimiser_steps)
            surplus = self._surplus(self._records()) if limited else 0
            self._allowance = budget.allowance(self.sweep, surplus)
        return self._allowance

    def unpaid(self, records: Iterable[TrialRecord]) -> str:
        """Why the steps of the budget do not pay for these trials, some of which are to be made anew; empty where they
        do, whatever the search may take besides.
        """
        if math.isinf(self.sweep.budget.optimiser_steps):
            return ""
        everything, stated = list(records), self.sweep.budget.optimiser_steps
        surplus = self._surplus(everything)
        spent = {cell.name: self._spent_on(cell, _search_of(cell, everything)) for cell in self.sweep.cells}
        allowed = budget.allowance(self.sweep, surplus)
        most = {name: max(steps, spent[name]) for name, steps in allowed.search.items()}
        if allowed.set_aside + surplus + sum(most.values()) <= stated:
            return ""
        return (
            f"optimiser_steps must pay for trials that are made anew beside the {surplus:,} steps that went into "
            f"what they replace, {budget.least_steps(self.sweep, surplus, spent):,.0f} together, got {stated:,.0f}; "
            "raise it, or leave them as they are"
        )

    def left(self, cell: Cell, search: Iterable[TrialRecord]) -> float:
        """Optimiser steps that the search of a cell, `search`, may still take; counted once until it is written of."""
        whole = self.allowance.search[cell.name]
        if math.isinf(whole):
            return whole
        if cell.name not in self._spent:
            self._spent[cell.name] = self._spent_on(cell, search)
        return max(0, whole - self._spent[cell.name])

    def _spent_on(self, cell: Cell, search: Iterable[TrialRecord]) -> int:
        """Steps of the search of a cell; a parameter that joined the space since stood at its default."""
        names = self.sweep.parameters(cell).keys()
        now = (
            record if record.draws.keys() == names else replace(record, draws=draws_now(self.sweep, cell, record))
            for record in search
        )
        return budget.steps_spent(self.costs(cell), now)

    def _surplus(self, records: Iterable[TrialRecord]) -> int:
        return budget.surplus(records, {cell.name: self.costs(cell) for cell in self.sweep.cells}, self._set_aside)

    @cached_property
    def _set_aside(self) -> frozenset[str]:
        return frozenset(budget.set_aside(self.sweep))

    def costs(self, cell: Cell) -> tuple[int, int]:
        """Steps of an intermediate setting of a cell, and of a target run; counted once."""
        if cell.name not in self._costs:
            self._costs[cell.name] = stage_costs(self.sweep, cell)
        return self._costs[cell.name]

    def withholds(
        self, cell: Cell, search: Collection[TrialRecord], confirming: Callable[[], tuple[int, int]], *, counted: int
    ) -> str:
        """Why the next search trial of a cell is not begun; empty where it is.

        `confirming` are the steps and the evaluations that confirmation still needs in the whole sweep; `counted` says
        how many of the search trials lie in the space as it is now: after an edit the next may open a setting. The
        first trial of a cell is begun as long as anything is, or there would be nothing to confirm.
        """
        if math.isinf(self.allowance.search[cell.name]) and not self._timed:
            return ""
        left, cost = self.left(cell, search), self._cost_of_next(cell, search, counted)
        if cost > left:
            whole = self.allowance.search[cell.name]
            return f"{left:,.0f} of its {whole:,.0f} optimiser steps are left, and the next trial may take {cost:,}"
        if not counted or not self._timed:
            return ""
        return self._time_withheld(cost, *confirming())

    def _cost_of_next(self, cell: Cell, search: Collection[TrialRecord], counted: int) -> int:
        if counted != len(search):
            return sum(self.costs(cell))
        if self._next.get(cell.name, (-1, 0))[0] != counted:
            self._next[cell.name] = counted, budget.next_cost(self.sweep, cell, self.costs(cell), search)
        return self._next[cell.name][1]

    def _time_withheld(self, cost: int, steps: int, evaluations: int) -> str:
        stated, gangs = self.sweep.budget, self.sweep.gangs.count
        guessed = self.costs(self.sweep.baseline)[1] * self._rate()  # an evaluation takes no longer than its training
        evaluation = self._evaluated_seconds / self._evaluations if self._evaluations else guessed
        kept = budget.MARGIN * (steps * self._rate() + evaluations * evaluation)
        trial = cost * self._rate()
        left = stated.wall_clock_hours * 3600 - self.elapsed()
        if trial + kept / gangs > left:
            needed = kept / gangs / 60
            return f"{left / 60:.1f} min of wall clock are left, and confirmation needs about {needed:.1f} min"
        hours = stated.gpu_hours - self.gpu_hours()
        if (trial + kept) * self._gpus / 3600 > hours:
            needed = kept * self._gpus / 3600
            return f"{hours:.2f} GPU-hours are left, and confirmation needs about {needed:.2f}"
        return ""

    @property
    def _timed(self) -> bool:
        return not math.isinf(self.sweep.budget.wall_clock_hours) or not math.isinf(self.sweep.budget.gpu_hours)

    def _rate(self) -> float:
        """Seconds of one gang for an optimiser step: measured, or the plan's guess before any stage has ended."""
        if self._steps:
            return self._seconds / self._steps
        return self._guessed_rate

    @cached_property
    def _guessed_rate(self) -> float:
        guessed = plan(self.sweep)
        return guessed.seconds * self.sweep.gangs.count / max(1, guessed.steps)


def _search_of(cell: Cell, records: Iterable[TrialRecord]) -> list[TrialRecord]:
    return [record for record in records if record.key.cell == cell.name and record.key.phase is Phase.SEARCH]


def withheld(happenings: Iterable[Happening], counts: dict[str, int], identity: int) -> dict[str, str]:
    """By cell, why this budget began no further trial; `counts` are the search trials that each cell has."""
    found: dict[str, str] = {}
    for happening in happenings:
        cell, payload = happening.trial.cell, _payload(happening, identity)
        if payload and (happening.trial.number >= counts.get(cell, 0) or payload["over"]):
            found[cell] = payload["reason"]
    return found


def _payload(happening: Happening, identity: int) -> dict[str, Any]:
    return happening.payload if happening.what is What.WITHHELD and happening.sequence == identity else {}
