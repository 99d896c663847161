"""A point of a cell that no trial has tried: the next of a grid, or one that no sampler came upon; asks none."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping

from search_spaces import grid
from search_spaces.transfer_grid import Cell
from sweep.definition import Sweep
from sweep.points import (
    default_values,
    effective,
    extent,
    grid_points,
    mixture_steps,
    seed_of,
    setting_of_group,
    stage_costs,
    used_again,
)
from sweep.records import TrialRecord
from sweep.search import ExpectedGain, Grid

#: Points looked at before a space is taken to hold nothing new, an equal part of them under each setting that is
#: trained, though always more than there are trials: each takes about a millisecond.
_MOST = 10_000


def next_of_grid(sweep: Sweep, cell: Cell, sampler: Grid, before: Iterable[TrialRecord]) -> dict[str, float]:
    """The first point of the grid that no trial has tried; the last where all are, which no plan asks for."""
    default, here = default_values(sweep, cell), extent(sweep, cell)
    tried = set()
    for record in before:
        if here.holds(record.values):  # what joined the space since stood at its default, and so did what left it
            now = default | {name: value for name, value in record.values.items() if name in default}
            tried.add(effective(sweep, cell, now))
    points = grid_points(sweep, cell, sampler)
    untried = (p for p in points if effective(sweep, cell, sweep.space.values(cell, p)) not in tried)
    return next(untried, points[-1])


def untried(
    sweep: Sweep,
    cell: Cell,
    number: int,
    before: Mapping[int, TrialRecord],
    is_new: Callable[[dict[str, float]], bool],
    left: float,
) -> dict[str, float] | None:
    """Draws of a point that `is_new`: with a setting that is to be used again, or else anywhere.

    None where the space holds no other, or the `left` steps do not pay for another setting.
    """
    domains, shares = sweep.parameters(cell), sweep.space.of(cell).shares
    seed = str(seed_of(sweep, cell, number))
    settings = list(_settings(sweep, cell, number, before, left))
    for fixed in settings:
        free = {name: domain for name, domain in domains.items() if name not in fixed}
        points = grid.every(free, shares, mixture_steps(sweep, cell), seed=seed)
        for point in itertools.islice(points, max(len(before) + 1, _MOST // len(settings))):
            draws = {name: fixed[name] if name in fixed else point[name] for name in domains}
            if is_new(draws):
                return draws
    return None


def _settings(
    sweep: Sweep, cell: Cell, number: int, before: Mapping[int, TrialRecord], left: float
) -> Iterator[dict[str, float]]:
    """The intermediate settings to look under, cheapest first; an empty one leaves the setting open."""
    fan_out = sweep.search.fan_out
    if isinstance(fan_out, ExpectedGain):
        trained = [used_again(sweep, cell, record) for record in before.values()]
        yield from {tuple(setting.items()): setting for setting in trained if setting}.values()
    elif cell.intermediates and (fixed := setting_of_group(sweep, cell, before, number, fan_out)):
        yield fixed
    opening, target = stage_costs(sweep, cell)
    if opening + target <= left:
        yield {}
