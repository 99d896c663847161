"""How the points of each cell are chosen and which of them are stopped early, as values; chooses none itself."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from search_spaces.domains import Choice, Domain
from search_spaces.transfer_grid import Cell
from trainables.faults import refuse


def _whole(value: object, name: str, least: int) -> Iterator[str]:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        yield f"{name} must be a whole number of at least {least}, got {value!r}"


def _counts(owner: object, least: Iterable[tuple[str, int]]) -> Iterator[str]:
    for name, bound in least:
        yield from _whole(getattr(owner, name), name, bound)


# Samplers


@dataclass(frozen=True, kw_only=True)
class Tpe:
    """Tree-structured Parzen estimator (Bergstra et al. 2011); learns from pruned trials too."""

    startup_trials: int = 5
    """Trials drawn at random before the estimator takes over."""
    candidates: int = 24
    """Draws of which the most promising is tried."""

    name = "tpe"

    def __post_init__(self) -> None:
        refuse("Tpe", _counts(self, (("startup_trials", 1), ("candidates", 1))))


@dataclass(frozen=True, kw_only=True)
class GaussianProcess:
    """Expected improvement under a Gaussian process: the fewest trials for a few continuous numbers.

    Each draw takes about 0.1 s at 50 trials, and it loads torch in the process that conducts the sweep.
    """

    startup_trials: int = 5
    """Trials drawn at random before the process is fitted."""

    name = "gp"

    def __post_init__(self) -> None:
        refuse("GaussianProcess", _counts(self, (("startup_trials", 1),)))


@dataclass(frozen=True, kw_only=True)
class CmaEs:
    """Covariance matrix adaptation, for budgets of a hundred trials and more.

    It needs at least two numbers, knows no `Choice`, and draws whole points: a cell that is not so, or whose settings
    serve several trials, is searched by `Tpe()`, as the plan says.
    """

    startup_trials: int = 1
    """Trials drawn at random, after the default one, before it takes over."""
    population: int = 0
    """Draws of one generation; 0 for as many as Hansen's rule has for n numbers, 4 + 3 ln n."""
    margin: bool = False
    """Whether `Integers` keep some chance to change, in cells that have any (Hamano et al. 2022): without it whole
    numbers freeze as the steps become small."""

    name = "cmaes"

    def __post_init__(self) -> None:
        refuse("CmaEs", self._faults())

    def _faults(self) -> Iterator[str]:
        yield from _counts(self, (("startup_trials", 1), ("population", 0)))
        if self.population in (1, 2, 3):
            yield f"population must be 0, for Hansen's rule, or at least 4, got {self.population}"
        if not isinstance(self.margin, bool):
            yield f"margin must be True or False, got {self.margin!r}"


@dataclass(frozen=True, kw_only=True)
class RandomDraws:
    """Independent draws; shares are uniform on the simplex of those that are allowed."""

    name = "random"


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Every combination of `points` values of each range, both ends included, and of all options of each choice.

    Shares are those with whole multiples of 1 / `points`. The default configuration comes first, then the grid in an
    order drawn by the search's seed; trials beyond the last combination are not begun.
    """

    points: int = 3

    name = "grid"

    def __post_init__(self) -> None:
        refuse("Grid", _counts(self, (("points", 2),)))


Sampler = Tpe | GaussianProcess | CmaEs | RandomDraws | Grid
SAMPLERS = (Tpe, GaussianProcess, CmaEs, RandomDraws, Grid)


# Pruners


@dataclass(frozen=True, kw_only=True)
class NoPruning:
    """Every trial runs to its end."""

    name = "none"


@dataclass(frozen=True, kw_only=True)
class Median:
    """Stops a trial whose best score so far is below the median of the others' at the same step."""

    trials_before: int = 2
    """Finished trials of a cell before any other of it may be stopped."""
    steps_before: int = 0
    """No trial is stopped at or before this target step."""

    name = "median"

    def __post_init__(self) -> None:
        refuse("Median", _counts(self, (("trials_before", 1), ("steps_before", 0))))


@dataclass(frozen=True, kw_only=True)
class SuccessiveHalving:
    """At target steps `first_rung`, × `reduction`, … only the best 1 / `reduction` go on (ASHA, Li et al. 2018)."""

    first_rung: int
    """Target steps of the first rung."""
    reduction: int = 3

    name = "successive_halving"

    def __post_init__(self) -> None:
        refuse("SuccessiveHalving", _counts(self, (("first_rung", 1), ("reduction", 2))))


@dataclass(frozen=True, kw_only=True)
class Hyperband:
    """Several brackets of successive halving, each with a later first rung (Li et al. 2017)."""

    first_rung: int
    """Target steps of the first rung of the most eager bracket."""
    reduction: int = 3

    name = "hyperband"

    def __post_init__(self) -> None:
        refuse("Hyperband", _counts(self, (("first_rung", 1), ("reduction", 2))))


@dataclass(frozen=True, kw_only=True)
class Wilcoxon:
    """Stops a trial whose scores are below the best trial's at the same steps by a signed-rank test.

    Among n scores the smallest p is 2⁻ⁿ, so a stage with few evaluations can never be stopped by it.
    """

    p: float = 0.1

    name = "wilcoxon"

    def __post_init__(self) -> None:
        good = isinstance(self.p, float) and 0 < self.p <= 0.5
        refuse("Wilcoxon", () if good else (f"p must be above 0 and at most 0.5, got {self.p!r}",))

    @property
    def least_scores(self) -> int:
        """Scores that a trial must have before the test can be as certain as `p`."""
        return math.floor(-math.log2(self.p)) + 1


Pruner = NoPruning | Median | SuccessiveHalving | Hyperband | Wilcoxon
PRUNERS = (NoPruning, Median, SuccessiveHalving, Hyperband, Wilcoxon)


# When an intermediate setting is used again


@dataclass(frozen=True, kw_only=True)
class ExpectedGain:
    """Opens a new intermediate setting where its expected improvement per optimiser step to pay is the larger one.

    A setting that is trained already costs a target run alone. Both improvements are those of one Gaussian process
    over all trials of the cell. Each of the first `settings` settings serves `fan_out` trials, so that there is
    something to compare. For these trials the sampler of the search proposes, and none after them: from then on the
    process does, in cells with an intermediate stage. The baseline is the sampler's throughout.
    """

    settings: int = 3
    fan_out: int = 2

    def __post_init__(self) -> None:
        refuse("ExpectedGain", _counts(self, (("settings", 2), ("fan_out", 1))))

    @property
    def first(self) -> int:
        """The trials that the first settings serve."""
        return self.settings * self.fan_out


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What a sweep may spend at most beside its number of trials; infinity is no limit.

    The confirmation of every cell is paid for first. A sweep that runs out begins no further trial, finishes those that
    run, and reports all that is finished. So hours, which are looked at before a trial is begun, may be exceeded by
    what is under way then: by a trial of each gang at most, in so far as confirmation takes less than is kept for it.

    Raises:
        Invalid: naming every fault.
    """

    optimiser_steps: float = math.inf
    """Over the whole sweep, with what went into trials that were made anew since. Divided so that every cell affords as
    many trials as any other: the trials are the same for any number of gangs. Steps that a killed process did twice are
    not counted, nor is what is trained again since `storage_limit_bytes` had it evicted, nor are confirmations of a
    winner that a larger budget has overtaken."""
    wall_clock_hours: float = math.inf
    """While the sweep runs, over all its runs. It depends on the machine how many trials that is."""
    gpu_hours: float = math.inf
    """Hours that gangs spend on stages, pruned, failed and lost ones too, times the GPUs of a gang."""

    def __post_init__(self) -> None:
        refuse("Budget", self._faults())

    def _faults(self) -> Iterator[str]:
        for name in ("optimiser_steps", "wall_clock_hours", "gpu_hours"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
                yield f"{name} must be a number above 0, or float('inf') for no limit, got {value!r}"


@dataclass(frozen=True, kw_only=True)
class Search:
    """The search inside each cell.

    Raises:
        Invalid: naming every fault.
    """

    trials: int
    """Trials of each cell at most; the first is the default configuration. With 0 nothing is searched: the default
    configuration is confirmed as it stands."""
    fan_out: int | ExpectedGain = 1
    """Target trials that share one intermediate setting: a fixed number, or as it pays, which puts the sampler aside
    after the first settings."""
    seed: int = 0
    """Seeds the sampler, and every stage of the search."""
    sampler: Sampler = field(default_factory=Tpe)
    pruner: Pruner = field(default_factory=Median)

    def __post_init__(self) -> None:
        refuse("search", self._faults())

    def _faults(self) -> Iterator[str]:
        yield from _counts(self, (("trials", 0), ("seed", 0)))
        if not isinstance(self.fan_out, ExpectedGain):
            yield from _whole(self.fan_out, "fan_out", 1)
        for name, known in (("sampler", SAMPLERS), ("pruner", PRUNERS)):
            value: Any = getattr(self, name)
            if not isinstance(value, known):
                made = ", ".join(f"{kind.__name__}()" for kind in known)
                yield f"{name} must be one of {made}, got {value!r}"
        if isinstance(self.fan_out, ExpectedGain) and isinstance(self.sampler, Grid):
            yield "a grid is enumerated, so fan_out must be a whole number with sampler Grid(), got ExpectedGain()"


def searched_by(search: Search, cell: Cell, domains: Iterable[Domain]) -> str:
    """What proposes the trials of a cell, in words."""
    name, fan_out = sampler_for(search, cell, domains).name, search.fan_out
    if isinstance(fan_out, ExpectedGain) and cell.intermediates and search.trials > fan_out.first:
        return f"{name}, from trial {fan_out.first} on expected gain"
    return name


def sampler_for(search: Search, cell: Cell, domains: Iterable[Domain]) -> Sampler:
    """The sampler of a cell: the stated one where it fits, else `Tpe()`.

    CMA-ES fits a cell where at least two numbers are searched, none is a `Choice`, and no part of a point is repeated.
    """
    if not isinstance(search.sampler, CmaEs):
        return search.sampler
    known = tuple(domains)
    repeats = bool(cell.intermediates) and search.fan_out != 1
    fits = len(known) > 1 and not repeats and not any(isinstance(domain, Choice) for domain in known)
    return search.sampler if fits else Tpe()
