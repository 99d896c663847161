"""What a sweep's budget pays for, from counted steps and measured seconds; measures nothing itself.

Confirmation comes first: what it needs is set aside before a search trial is begun.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Callable, Collection, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass

from search_spaces.transfer_grid import Cell
from sweep.definition import Sweep
from sweep.lessons import pays_to_compare
from sweep.paths import path_of
from sweep.points import default_values, intermediate, search_trials, settings_of_trials, stage_costs
from sweep.records import Phase, State, TrialKey, TrialRecord
from sweep.search import ExpectedGain
from trainables.canonical import canonical
from trainables.faults import refuse
from trainables.stages import StageKind

#: How much longer confirmation may take than its steps at the rate so far: cells do not all end at once.
MARGIN = 1.25


#: Where what is set aside for ends: the steps from the first of these on are counted by trial and confirmation.
_COUNTED = (StageKind.TRAIN, StageKind.EVALUATE)


@dataclass(frozen=True, kw_only=True)
class Allowance:
    """What a budget of optimiser steps divides into. Every cell can afford the same number of trials.

    What pruning saves, and settings that are used again, pay for further trials of the same cell.
    """

    set_aside: float
    """Steps of all confirmation runs and of the stages that every trial shares."""
    search: Mapping[str, float]
    """By cell, the steps of its search."""
    trials: Mapping[str, int]
    """By cell, the search trials that these steps pay for if nothing is pruned and no setting used again as it pays."""


def allowance(sweep: Sweep, surplus: int = 0) -> Allowance:
    """How the optimiser steps of the budget are divided; `surplus` of them went into what was made anew since.

    Raises:
        Invalid: where they do not pay for confirmation and one trial of each cell, the surplus left aside.
    """
    asked = {cell.name: search_trials(sweep, cell) for cell in sweep.cells}
    if math.isinf(sweep.budget.optimiser_steps):
        return Allowance(set_aside=0, search=dict.fromkeys(asked, math.inf), trials=asked)
    search = _searching(sweep)
    aside = sum(set_aside(sweep).values())
    room = sweep.budget.optimiser_steps - aside
    affordable = [trials for trials in range(1, max(asked.values()) + 1) if sum(search(trials).values()) <= room]
    least = aside + sum(search(1).values())
    fault = (
        f"optimiser_steps must pay for every confirmation and one search trial of each cell, {least:,.0f} together, "
        f"got {sweep.budget.optimiser_steps:,.0f}; raise it, or drop cells, seeds or steps"
    )
    refuse(f"the budget of sweep {sweep.name!r}", () if affordable else (fault,))
    left = [trials for trials in affordable if sum(search(trials).values()) <= room - surplus]
    if not left:
        return Allowance(set_aside=aside, search=dict.fromkeys(asked, 0), trials=dict.fromkeys(asked, 0))
    paid = {name: min(left[-1], count) for name, count in asked.items()}
    return Allowance(set_aside=aside, search=search(left[-1]), trials=paid)


def _searching(sweep: Sweep) -> Callable[[int], dict[str, float]]:
    """By cell, the steps of its first so many search trials, of all that it can have where these are fewer."""
    costs = {cell.name: _cumulative(sweep, cell) for cell in sweep.cells}
    return lambda trials: {name: steps[min(trials, len(steps)) - 1] for name, steps in costs.items()}


def least_steps(sweep: Sweep, surplus: int, spent: Mapping[str, int]) -> float:
    """Optimiser steps that pay for what the search of each cell has `spent`, for confirmation and for the surplus.

    With them every cell affords as many trials as any other, and none has spent more than it affords.
    """
    search = _searching(sweep)
    most = max(search_trials(sweep, cell) for cell in sweep.cells)
    counts = (n for n in range(1, most + 1) if all(spent[name] <= steps for name, steps in search(n).items()))
    paid = search(next(counts, most))
    return sum(set_aside(sweep).values()) + surplus + sum(max(steps, spent[name]) for name, steps in paid.items())


def surplus(
    records: Iterable[TrialRecord], costs: Mapping[str, tuple[int, int]], set_aside: Container[str] = ()
) -> int:
    """Steps that went into what was made anew since: into earlier generations of trials, each stage counted once.

    `costs` are those of `points.stage_costs`, by cell. The confirmations of a cell whose search was taken up anew are
    among it from then on where anything else made them: they will be made anew, and at what moment must not matter.
    What stands before the first `train` stage is set aside for once, by the digests `set_aside`; what other versions
    of the libraries made of it is among this as soon as trials need it anew, though all trials stay as they are.
    """
    mine = [record for record in records if record.key.cell in costs]
    behind = left_behind(mine)
    old: list[TrialRecord] = []
    needed: set[str] = set()
    for record in mine:
        old += record.before
        if record.key in behind:
            old.append(record)
        else:
            needed.update(record.stages)
    done = {run["digest"]: run["steps"] for one in old for run in one.stage_runs}
    ended = {digest: steps for digest, steps in done.items() if digest not in needed}
    for one in (*mine, *old):
        ended.update((digest, steps) for digest, steps in _before_training(one) if digest not in set_aside)
    return sum(ended.values()) + sum(_cut_short(one, *costs[one.key.cell]) for one in old)


def _before_training(record: TrialRecord) -> Iterator[tuple[str, int]]:
    """The stages of a trial before its first `train`, with their steps; of a gap in what is known of them on, none.

    Where images are aligned after the intermediate stage, that alignment is of its setting, and paid for with it.
    """
    for digest, run in zip(record.stages, record.stage_runs, strict=False):
        if run["digest"] != digest or run["kind"] in _COUNTED:
            return
        yield digest, run["steps"]


def left_behind(records: Iterable[TrialRecord]) -> set[TrialKey]:
    """The confirmations that are to be made anew since the search of their cell was, by what has not made them.

    A search trial that was tried again since it had failed is no reason.
    """
    again: dict[str, list[dict[str, str]]] = {}
    confirmations = []
    for record in records:
        if record.key.phase is Phase.CONFIRMATION:
            confirmations.append(record)
        elif any(one.state is not State.FAILED and one.made_with != record.made_with for one in record.before):
            again.setdefault(record.key.cell, []).append(record.made_with)
    return {
        record.key
        for record in confirmations
        if record.key.cell in again and record.made_with not in again[record.key.cell]
    }


def _cut_short(record: TrialRecord, opening: int, target: int) -> int:
    """Steps of the stage at which an earlier generation of a trial ended; none where it came to its last stage.

    One that failed there counts as if it had come to its end, and one that was left open by its last score.
    """
    if record.state is State.PRUNED:
        return target - record.steps_saved
    if record.state is State.OPEN:
        return record.scored[-1][0] if record.scored else 0
    evaluated = record.key.phase is Phase.CONFIRMATION
    trained = record.stages[:-1] if evaluated else record.stages
    missing = set(trained) - {run["digest"] for run in record.stage_runs}
    if record.state is State.FINISHED or not missing:
        return 0
    return target if len(missing) == 1 else opening


def _cumulative(sweep: Sweep, cell: Cell) -> list[float]:
    """Steps of the first n + 1 search trials of a cell, of which no other cell has any."""
    opening, target = stage_costs(sweep, cell)
    seen: set[int] = set()
    found: list[float] = []
    for setting in settings_of_trials(sweep, cell):
        new = 0 if setting in seen else opening
        seen.add(setting)
        found.append((found[-1] if found else 0) + new + target)
    return found


def set_aside(sweep: Sweep) -> dict[str, int]:
    """By digest, the steps of every confirmation run and of what stands before the search's first `train` stage."""
    stages: dict[str, int] = {}
    for cell in sweep.cells:
        values = default_values(sweep, cell)
        path = path_of(sweep, cell, values, phase=Phase.SEARCH, seed=sweep.search.seed)
        first = next(place for place, stage in enumerate(path) if stage.kind is StageKind.TRAIN)
        stages |= {stage.digest: stage.steps for stage in path[:first]}
        for seed in sweep.confirmation_seeds:
            path = path_of(sweep, cell, values, phase=Phase.CONFIRMATION, seed=seed)
            stages |= {stage.digest: stage.steps for stage in path}
    return stages


def preparation_steps(sweep: Sweep) -> int:
    """Steps that every confirmation seed needs once for all cells."""
    seed, cell = sweep.confirmation_seeds[0], sweep.baseline
    path = path_of(sweep, cell, default_values(sweep, cell), phase=Phase.CONFIRMATION, seed=seed)
    first = next(place for place, stage in enumerate(path) if stage.kind is StageKind.TRAIN)
    return sum(stage.steps for stage in path[:first] if stage.kind is not StageKind.PRETRAIN)


def steps_spent(costs: tuple[int, int], search: Iterable[TrialRecord]) -> int:
    """Steps that a cell's search has taken, as its own trials alone decide: whoever ran a shared stage is left out.

    A trial that failed or is under way counts as a whole one.
    """
    opening, target = costs
    settings, steps = set(), 0
    for record in search:
        # other versions of the libraries make another stage of the same setting
        settings.add((tuple(sorted(intermediate(record.draws).items())), record.stages[-2:-1]))
        steps += target - (record.steps_saved if record.state is State.PRUNED else 0)
    return steps + opening * len(settings)


def next_cost(sweep: Sweep, cell: Cell, costs: tuple[int, int], search: Collection[TrialRecord]) -> int:
    """Steps that the search trial of a cell after these may take at most; at least, where settings are used as it pays.

    Until expected gains can be told, as while most trials fail, the next may open a setting, whatever is left.
    """
    (opening, target), number, fan_out = costs, len(search), sweep.search.fan_out
    if cell.intermediates and isinstance(fan_out, ExpectedGain) and pays_to_compare(fan_out, number, search):
        return target
    settings = settings_of_trials(sweep, cell)
    return target if settings[number] in settings[:number] else opening + target


def identity(sweep: Sweep) -> int:
    """A number of the budget: what was withheld for want of one is asked for again by another."""
    return int.from_bytes(hashlib.sha256(canonical(sweep.budget).encode()).digest()[:3])


def limits(sweep: Sweep) -> str:
    """The limits of a budget in words; empty where it has none."""
    stated = dataclasses.asdict(sweep.budget)
    words = {"optimiser_steps": "optimiser steps", "wall_clock_hours": "h of wall clock", "gpu_hours": "GPU-hours"}
    return ", ".join(f"{stated[name]:,.6g} {unit}" for name, unit in words.items() if not math.isinf(stated[name]))


def described(sweep: Sweep) -> dict[str, object]:
    """What a reader of results needs of a budget."""
    return json.loads(json.dumps({"identity": identity(sweep), "limits": limits(sweep)}))
