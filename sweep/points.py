"""The points of a cell's search for which no sampler is asked: the default, the grid, what a fan-out repeats."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Hashable, Mapping

from search_spaces import grid
from search_spaces.extent import Extent
from search_spaces.transfer_grid import Cell
from sweep.definition import Sweep
from sweep.paths import path_of
from sweep.records import Phase, TrialRecord
from sweep.search import ExpectedGain, Grid
from trainables.data.mixture import portions
from trainables.stages import StageKind, Training


def default_draws(sweep: Sweep, cell: Cell) -> dict[str, float]:
    """The draws of trial 0: the settings as they stand, and even shares."""
    return sweep.space.default_draws(cell, sweep.settings_before(cell), sweep.target_settings)


def default_values(sweep: Sweep, cell: Cell) -> dict[str, float]:
    """The values of trial 0."""
    return sweep.space.values(cell, default_draws(sweep, cell))


def extent(sweep: Sweep, cell: Cell) -> Extent:
    """What the search of a cell covers."""
    return sweep.space.extent(cell, sweep.settings_before(cell), sweep.target_settings)


def draws_now(sweep: Sweep, cell: Cell, record: TrialRecord) -> dict[str, float]:
    """The draws of a trial for each parameter of the space as it is now, whether it holds them or not.

    One that joined the space after the trial was made stood at its default then.
    """
    names = sweep.parameters(cell).keys()
    default = {} if names <= record.draws.keys() else default_draws(sweep, cell)
    return {name: record.draws[name] if name in record.draws else default[name] for name in names}


def shares_used(sweep: Sweep, cell: Cell, record: TrialRecord) -> dict[str, float]:
    """The shares that a trial was trained with, which other bounds would make others of; empty where none is searched.

    A trial that says nothing of its shares has those of its draws.
    """
    if not cell.searches_shares:
        return {}
    made = sweep.space.values(cell, draws_now(sweep, cell, record))
    return {name: record.values.get(name, share) for name, share in made.items() if name.startswith("share.")}


def used_again(sweep: Sweep, cell: Cell, record: TrialRecord) -> dict[str, float]:
    """The intermediate draws of a trial, if they make the same setting in the present space; empty where they do not.

    The space may have been edited since: an option dropped, a parameter taken out that did not stand at its default,
    shares bounded otherwise.
    """
    domains = {name: d for name, d in sweep.parameters(cell).items() if not name.startswith("target.")}
    draws = intermediate(draws_now(sweep, cell, record))
    if not all(draws[name] in domain for name, domain in domains.items()):
        return {}
    gone = {name: value for name, value in intermediate(record.draws).items() if name not in domains}
    if gone and not extent(sweep, cell).holds(gone):
        return {}
    made = sweep.space.values(cell, draws)
    shares = shares_used(sweep, cell, record)
    return draws if all(math.isclose(made[name], share, abs_tol=1e-9) for name, share in shares.items()) else {}


def setting_of_group(
    sweep: Sweep, cell: Cell, before: Mapping[int, TrialRecord], number: int, fan_out: int
) -> dict[str, float]:
    """The intermediate draws that a trial repeats: those of the first trial of its group that the space still holds."""
    first = number - number % fan_out
    settings = (used_again(sweep, cell, before[earlier]) for earlier in range(first, number) if earlier in before)
    return next((setting for setting in settings if setting), {})


def mixture_steps(sweep: Sweep, cell: Cell) -> int:
    """Optimiser steps over which a cell's shares are divided."""
    settings = sweep.settings_before(cell)
    return settings.maximum_steps if settings else 0


def untrained_shares(sweep: Sweep, cell: Cell) -> str:
    """That tasks of a cell get no optimiser step by the shares stated for them; empty where each gets one."""
    steps = mixture_steps(sweep, cell)
    whole = portions(dict(cell.shares), steps) if cell.shares else {}
    without = [f"{name} (share {share:.3g})" for name, share in cell.shares if not whole[name]]
    return f"of {steps:,} intermediate steps none falls to {', '.join(without)}" if without else ""


def effective(sweep: Sweep, cell: Cell, values: Mapping[str, float]) -> Hashable:
    """What tells points apart: settings to twelve digits, and the whole steps that shares come to."""
    shares = {name: share for name, share in values.items() if name.startswith("share.")}
    whole = portions(shares, mixture_steps(sweep, cell)) if shares else {}
    numbers = {name: f"{value:.12g}" for name, value in values.items() if name not in shares}
    return tuple(sorted(whole.items())), tuple(sorted(numbers.items()))


def intermediate(draws: Mapping[str, float]) -> dict[str, float]:
    """The part of a point that its intermediate stage reads."""
    return {name: value for name, value in draws.items() if not name.startswith("target.")}


def grid_points(sweep: Sweep, cell: Cell, sampler: Grid) -> tuple[dict[str, float], ...]:
    """The grid of a cell without the default point, in the order in which it is tried; no two come to the same."""
    fan_out = sweep.search.fan_out
    assert isinstance(fan_out, int)  # the search was refused otherwise
    mine, default = sweep.space.of(cell), default_draws(sweep, cell)
    seed = seed_of(sweep, cell, 0)
    steps = mixture_steps(sweep, cell)
    points = grid.points(sweep.parameters(cell), mine.shares, sampler.points, steps, group=fan_out, seed=seed)
    first = effective(sweep, cell, mine.values(cell, default))
    return tuple(point for point in points if effective(sweep, cell, mine.values(cell, point)) != first)


def search_trials(sweep: Sweep, cell: Cell) -> int:
    """How many search trials a cell can have: fewer than asked for where its grid has no more points."""
    sampler = sweep.search.sampler
    if not isinstance(sampler, Grid):
        return sweep.search.trials
    mine = sweep.space.of(cell)
    steps, wanted = mixture_steps(sweep, cell), sweep.search.trials
    if grid.size(sweep.parameters(cell), mine.shares, sampler.points, steps, enough=wanted) >= wanted:
        return wanted
    return min(sweep.search.trials, 1 + len(grid_points(sweep, cell, sampler)))


def settings_of_trials(sweep: Sweep, cell: Cell) -> tuple[int, ...]:
    """The intermediate setting of each search trial of a cell, numbered; as many settings as there can be at most."""
    search = sweep.search
    numbers = range(search_trials(sweep, cell))
    if all(name.startswith("target.") for name in sweep.parameters(cell)):
        return tuple(0 for _ in numbers)  # nothing of what is before the target is searched
    if isinstance(search.fan_out, ExpectedGain):
        first = search.fan_out.first
        return tuple(n // search.fan_out.fan_out if n < first else n for n in numbers)
    if isinstance(search.sampler, Grid):
        points = (default_draws(sweep, cell), *grid_points(sweep, cell, search.sampler))
        seen: dict[tuple[tuple[str, float], ...], int] = {}
        return tuple(seen.setdefault(tuple(intermediate(point).items()), len(seen)) for point in points)
    return tuple(n // search.fan_out for n in numbers)


def stage_costs(sweep: Sweep, cell: Cell) -> tuple[int, int]:
    """Optimiser steps of what stands before a cell's target and depends on the intermediate setting, and of the target.

    The same for every point of a cell: see `search_spaces.space.SEARCHABLE`.
    """
    path = path_of(sweep, cell, default_values(sweep, cell), phase=Phase.SEARCH, seed=sweep.search.seed)
    first = next(place for place, stage in enumerate(path) if stage.kind is StageKind.TRAIN)
    trained = [stage.steps for stage in path[first:] if isinstance(stage.work, Training)]
    return sum(trained[:-1]), trained[-1]


def seed_of(sweep: Sweep, cell: Cell, number: int, again: int = 0) -> int:
    """The seed of whatever is drawn for a trial: it depends on nothing that runs beside it."""
    text = f"{sweep.name}\n{sweep.search.seed}\n{cell.name}\n{number}" + (f"\n{again}" if again else "")
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4])
