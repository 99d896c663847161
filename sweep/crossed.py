"""Two-way layouts of seeds and items: the mean, its variance, and how far to trust it; knows no model and no table.

Values have the axes (…, seed, item): any leading axes are layouts of their own, computed at once. Seeds and items are
crossed and both drawn at random, one value per square (two-way random effects without replication; Searle, Casella &
McCulloch, *Variance Components*, 1992, chapter 4): value = mean + seed effect + item effect + rest.

With S seeds, I items and the usual mean squares, E[MS_seeds] = I·v_seed + v_rest, E[MS_items] = S·v_item + v_rest,
E[MS_rest] = v_rest, hence Var(mean) = (MS_seeds + MS_items - MS_rest) / (S·I), never taken below min(MS_seeds, MS_rest)
/ (S·I). The half-width of the interval comes of three:

- Student's t with Satterthwaite's degrees of freedom (Biometrics Bulletin 2, 1946), at least S - 1;
- where it is wider, the root of t(S-1)² · seed part + t(I-1)² · MS_items / (S·I), whose seed part, (MS_seeds - MS_rest)
  / (S·I), is at least 0 (Howe, JASA 69, 1974). With three seeds the first alone comes down to 0.92 coverage, where the
  seed part is large and happens to be estimated low, and the second goes up to 0.978, where seeds and items have equal
  parts and the rest is small. So the first is widened by 0.35 of what the second has more;
- for gains, never less than 1 - (error/2)^(1/I): when none of I items differs, up to that share of all items may
  (Clopper & Pearson 1934).

Measured coverage of the 95% interval (`tests/benchmarks/bench_coverage.py`) over 528 settings (I of 100, 300, 1,164;
spreads of seeds 0 to 0.3, of items 0.1 to 1, of the rest 0.05 to 0.5 and at most twice the items'; 100,000 layouts
each, the most extreme settings again with 500,000): 0.930 to 0.970 with three seeds, 0.939 to 0.962 with four, 0.943
to 0.959 with five. Where the rest is nearly everything it is up to 0.978, 0.971 and 0.970. It comes near 1 where the
last of the three rules, as with a hundred items of which one differs. With two seeds, where one degree of freedom
says little, mean squares of seeds and items count as at least MS_rest.

With one seed the variance is that of the items alone. A bootstrap over three seeds has ten different samples and cannot
do this.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

_TOWARDS_PARTS = 0.35
"""How far from Satterthwaite's half-width to that of the two parts; chosen by coverage over the settings above."""

_BISECTIONS = 40
"""Halvings of the unit interval in the search for an error rate: to 1e-12."""


@dataclass(frozen=True, kw_only=True)
class Layouts:
    """The mean of each layout and the parts of its variance, as arrays over the leading axes."""

    mean: NDArray[np.float64]
    seeds: int
    items: int
    variance: NDArray[np.float64]
    """Of the mean."""
    seed_part: NDArray[np.float64]
    """The part of it that more seeds would shrink; 0 for one seed."""
    item_part: NDArray[np.float64]
    """The part that more items would shrink."""
    rest_part: NDArray[np.float64]
    """What both of these hold of the rest; 0 for one seed."""
    degrees: NDArray[np.float64]
    """Satterthwaite's degrees of freedom."""
    bounded: bool = False
    """Whether the values are differences within -1..1, of which unseen items may hold any."""

    @property
    def standard_error(self) -> NDArray[np.float64]:
        """The root of the variance."""
        return np.sqrt(self.variance)

    def half_width(self, error: ArrayLike) -> NDArray[np.float64]:
        """Half the width of the two-sided interval that misses the truth at this rate, 0 to 1 without the ends."""
        tail = np.asarray(error, dtype=float) / 2
        half = _student(self.degrees, tail) * self.standard_error
        if self.seeds > 1:
            seeds, items = _student(self.seeds - 1, tail), _student(self.items - 1, tail)
            parts = np.sqrt(seeds**2 * self.seed_part + items**2 * self.item_part)
            half = half + _TOWARDS_PARTS * np.maximum(0.0, parts - half)
        return np.maximum(half, 1 - tail ** (1 / self.items)) if self.bounded else half

    def p_value(self) -> NDArray[np.float64]:
        """The least error rate whose interval excludes zero, so that p < 0.05 and the 95% interval say the same."""
        return self._p_value

    @cached_property
    def _p_value(self) -> NDArray[np.float64]:
        distance = np.abs(self.mean)
        low, high = np.zeros_like(distance), np.ones_like(distance)
        for _ in range(_BISECTIONS):
            middle = (low + high) / 2
            excludes = self.half_width(middle) < distance
            low, high = np.where(excludes, low, middle), np.where(excludes, middle, high)
        return high

    def cautious_p_value(self) -> NDArray[np.float64]:
        """As `p_value`, and no less than Student's with as few degrees of freedom as there are seeds less one.

        For corrections over many comparisons, which ask for p-values far below 0.05. There few seeds mislead: of three
        whose variance happens to look small, `p_value` was up to ten times too small at 0.001 (at 0.05 it is what the
        coverage of the interval says). This one is never too small, and never very small.
        """
        from scipy.special import stdtr

        degrees = self.seeds - 1 if self.seeds > 1 else self.items - 1
        with np.errstate(invalid="ignore", divide="ignore"):
            students = 2 * stdtr(degrees, -np.abs(self.mean) / self.standard_error)
        return np.maximum(self.p_value(), np.nan_to_num(students))

    def cautious_half_width(self, error: ArrayLike) -> NDArray[np.float64]:
        """As `half_width`, and no less than Student's with as few degrees of freedom as there are seeds less one.

        It excludes zero just where `cautious_p_value` lies below the error rate.
        """
        degrees = self.seeds - 1 if self.seeds > 1 else self.items - 1
        students = _student(degrees, np.asarray(error, dtype=float) / 2) * self.standard_error
        return np.maximum(self.half_width(error), students)

    def at(self, place: int) -> Layouts:
        """One of several layouts."""
        arrays = ("mean", "variance", "seed_part", "item_part", "rest_part", "degrees")
        return replace(self, **{name: getattr(self, name)[place] for name in arrays})

    def smallest_gain(self, error: float, power: float) -> NDArray[np.float64]:
        """The true mean whose interval excludes zero in a share `power` of such designs, to a normal approximation."""
        return self.half_width(error) + _student(self.degrees, 1 - power) * self.standard_error


def layouts(values: ArrayLike) -> Layouts:
    """The layouts of an array `(…, seed, item)` of finite numbers, with at least two items."""
    array: NDArray[np.float64] = np.asarray(values, dtype=float)
    seeds, items = array.shape[-2:]
    mean = array.mean(axis=(-2, -1))
    by_seed, by_item = array.mean(axis=-1), array.mean(axis=-2)
    between_seeds = items * ((by_seed - mean[..., None]) ** 2).sum(axis=-1)
    between_items = seeds * ((by_item - mean[..., None]) ** 2).sum(axis=-1)
    everything = ((array - mean[..., None, None]) ** 2).sum(axis=(-2, -1))
    rest = np.maximum(0.0, everything - between_seeds - between_items) / max(1, (seeds - 1) * (items - 1))
    return of_mean_squares(mean, seeds, items, between_seeds / max(1, seeds - 1), between_items / (items - 1), rest)


def gains(values: ArrayLike) -> Layouts:
    """As `layouts`, for differences within -1..1."""
    return replace(layouts(values), bounded=True)


def mean_of(by_seed: ArrayLike, items: int, item_part: Any, rest_part: Any) -> Layouts:
    """The mean of several layouts of differences with the same seeds and items of their own, `items` of them in all.

    `by_seed: (…, seed)` is its value for each of at least two seeds. The parts are those of the mean: of k layouts that
    weigh the same, the sums of their parts over k². Without items, parts of 0, it is Student's. Coverage of the 95%
    interval (`tests/benchmarks/bench_coverage.py`): 0.929 to 0.965 with three seeds, 0.942 to 0.959 with five.
    """
    values: NDArray[np.float64] = np.asarray(by_seed, dtype=float)
    seeds, counted = values.shape[-1], max(2, items)
    size = seeds * counted
    squares = (values.var(axis=-1, ddof=1) / seeds * size, item_part * size, rest_part * size)
    found = of_mean_squares(values.mean(axis=-1), seeds, counted, *squares)
    return Layouts(**{**vars(found), "bounded": items > 0})


def expected(seeds: int, items: int, *, seed_spread: float, item_spread: float, rest_spread: float) -> Layouts:
    """The layout that a design has on average, from the standard deviations of its three effects."""
    rest = rest_spread**2
    squares = (items * seed_spread**2 + rest, seeds * item_spread**2 + rest, rest)
    found = of_mean_squares(np.float64(0.0), seeds, items, *(np.float64(square) for square in squares))
    return replace(found, bounded=True)


def of_mean_squares(mean: Any, seeds: int, items: int, seed_square: Any, item_square: Any, rest: Any) -> Layouts:
    """The layouts of these mean squares."""
    size = seeds * items
    if seeds == 1:
        degrees = np.full_like(mean, items - 1)
        part = item_square / size
        return Layouts(
            mean=mean,
            seeds=1,
            items=items,
            variance=part,
            seed_part=0 * part,
            item_part=part,
            rest_part=0 * part,
            degrees=degrees,
        )
    # Degrees of freedom judged by squares that are too small would be too many.
    larger = np.maximum(seed_square, rest), np.maximum(item_square, rest)
    seed_noise, item_noise = larger[0] ** 2 / (seeds - 1), larger[1] ** 2 / (items - 1)
    noise = seed_noise + item_noise + rest**2 / ((seeds - 1) * (items - 1))
    with np.errstate(invalid="ignore", divide="ignore"):
        degrees = np.where(noise > 0, (larger[0] + larger[1] - rest) ** 2 / noise, seeds - 1)
    if seeds == 2:
        seed_square, item_square = larger
    total = np.maximum(seed_square + item_square - rest, np.minimum(seed_square, rest))
    return Layouts(
        mean=mean,
        seeds=seeds,
        items=items,
        variance=total / size,
        seed_part=np.maximum(0.0, seed_square - rest) / size,
        item_part=item_square / size,
        rest_part=rest / size,
        degrees=np.maximum(degrees, seeds - 1),
    )


def _student(degrees: ArrayLike, tail: ArrayLike) -> NDArray[np.float64]:
    """The quantile of Student's t that a share `tail` lies above."""
    from scipy.special import stdtrit  # not scipy.stats, which takes five times as long to import

    return -stdtrit(degrees, tail)
