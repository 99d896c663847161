"""Two-way layouts of seeds and items: the mean, its variance, and how far to trust it; knows no model and no table.

Values have the axes (…, seed, item): any leading axes are layouts of their own, computed at once. Seeds and items are
crossed and both drawn at random, one value per square (two-way random effects without replication; Searle, Casella &
McCulloch, *Variance Components*, 1992, chapter 4): value = mean + seed effect + item effect + rest.

With S seeds, I items and the usual mean squares, E[MS_seeds] = I·v_seed + v_rest, E[MS_items] = S·v_item + v_rest,
E[MS_rest] = v_rest, hence Var(mean) = A + B with A = MS_seeds / (S·I), what more seeds would shrink, and
B = (MS_items - MS_rest) / (S·I), at least 0, what only more items would. A has S - 1 degrees of freedom. B has
hundreds, and counts as known: the problem of Behrens and Fisher with one variance known. The half-width is
q · √(A + B), and q a function of the share w = A / (A + B) alone, so chosen that the interval holds the truth as often
as stated whatever the true share is (Welch, Biometrika 34, 1947; Trickett & Welch, Biometrika 41, 1954):

    q² = t(I-1)² + (t(S-1)² - t(I-1)²) · w^1.9

Welch's series, q = z · (1 + (1 + z²)/4 · w²/(S-1) + …), has w² there to its first order in 1/(S-1); for three to five
seeds 1.9 is the exponent that comes nearest to 0.95 for every share. By quadrature over A, with B known, the 95%
interval holds the truth in 0.943 to 0.958 for three seeds, 0.947 to 0.954 for four, 0.948 to 0.953 for five and 0.930
to 0.967 for two (`tests/libraries/test_statistics.py`). Satterthwaite's degrees of freedom (Biometrics Bulletin 2,
1946) come down to 0.92 there with three seeds, and the sum of squared half-widths (Howe, JASA 69, 1974) up to 0.977.

The half-width of gains is never less than 1 - (error/2)^(1/I): when none of I items differs, up to that share of all
items may (Clopper & Pearson 1934).

Measured coverage of the 95% interval (`tests/benchmarks/bench_coverage.py`) over 720 settings (I of 100, 300, 1,164;
spreads of seeds 0 to 0.3, of items 0 to 1, of the rest 0.05 to 0.5; 50,000 layouts each): 0.941 to 0.960 with three
seeds, 0.945 to 0.957 with four, 0.946 to 0.956 with five, 0.926 to 0.969 with two. It comes near 1 where the least
half-width rules, as with a hundred items of which one differs. All this is of normal effects: where one run in six
fails altogether (the seeds' effects spread by 0.005 to 0.05), three seeds mostly hold no such run, and the interval
held the truth in as little as 0.415 with three seeds and 0.587 with five.

With one seed the variance is that of the items alone. A bootstrap over three seeds has ten different samples and cannot
do this.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike, NDArray

_EXPONENT = 1.9
"""Of the share of seeds in the variance; chosen by coverage over all shares."""

_BISECTIONS = 40
"""Halvings of the unit interval in the search for an error rate: to 1e-12."""


@dataclass(frozen=True, kw_only=True)
class Layouts:
    """The mean of each layout and the parts of its variance, as arrays over the leading axes."""

    mean: NDArray[np.float64]
    seeds: int
    items: int
    seed_part: NDArray[np.float64]
    """MS_seeds / (S·I): the part of the variance of the mean that more seeds would shrink; 0 for one seed."""
    item_part: NDArray[np.float64]
    """MS_items / (S·I): what only more items would shrink, and the rest's part once more."""
    rest_part: NDArray[np.float64]
    """MS_rest / (S·I): what both of these hold of the rest; 0 for one seed."""
    bounded: bool = False
    """Whether the values are differences within -1..1, of which unseen items may hold any."""

    @cached_property
    def variance(self) -> NDArray[np.float64]:
        """Of the mean."""
        return self.seed_part + np.maximum(0.0, self.item_part - self.rest_part)

    @property
    def standard_error(self) -> NDArray[np.float64]:
        """The root of the variance."""
        return np.sqrt(self.variance)

    def quantile(self, error: ArrayLike) -> NDArray[np.float64]:
        """How many standard errors the two-sided interval that misses the truth at this rate reaches to each side."""
        tail = np.asarray(error, dtype=float) / 2
        items = _student(self.items - 1, tail)
        if self.seeds == 1:
            return items
        return np.sqrt(items**2 + (_student(self.seeds - 1, tail) ** 2 - items**2) * self._weight_of_seeds)

    @cached_property
    def _weight_of_seeds(self) -> NDArray[np.float64]:
        """In the square of the quantile; 1 where there is no variance."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(self.variance > 0, self.seed_part / self.variance, 1.0) ** _EXPONENT

    def half_width(self, error: ArrayLike) -> NDArray[np.float64]:
        """Half the width of the two-sided interval that misses the truth at this rate, 0 to 1 without the ends."""
        half = self.quantile(error) * self.standard_error
        return np.maximum(half, 1 - (np.asarray(error) / 2) ** (1 / self.items)) if self.bounded else half

    def p_value(self) -> NDArray[np.float64]:
        """The least error rate whose interval excludes zero, so that p < 0.05 and the 95% interval say the same."""
        return self._p_value

    @cached_property
    def _p_value(self) -> NDArray[np.float64]:
        distance = np.abs(self.mean)
        return least_error(lambda error: self.half_width(error) < distance, distance.shape)

    def cautious_p_value(self) -> NDArray[np.float64]:
        """As `p_value`, and no less than Student's with as few degrees of freedom as there are seeds less one.

        For corrections over many comparisons, which ask for p-values far below 0.05. There few seeds mislead: with
        three, `p_value` fell below 0.001 up to four times as often as it may, and below 0.01 up to 1.7 times (at 0.05
        it is what the coverage of the interval says). This one is never too small, and never very small.
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
        arrays = ("mean", "seed_part", "item_part", "rest_part")
        return replace(self, **{name: getattr(self, name)[place] for name in arrays})

    def smallest_gain(self, error: float, power: float, *, cautious: bool = False) -> NDArray[np.float64]:
        """The true mean whose interval, or whose cautious one, excludes zero in about a share `power` of such designs.

        As if the standard error were always the same: where 0.8 was asked for, it was found in 0.77 to 0.80 of designs
        of three and five seeds, in 0.73 with two.
        """
        half = self.cautious_half_width(error) if cautious else self.half_width(error)
        return half + self.quantile(2 * (1 - power)) * self.standard_error


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
    interval over 336 settings (`tests/benchmarks/bench_coverage.py`): 0.939 to 0.960 with three seeds, 0.944 to 0.956
    with five.
    """
    values: NDArray[np.float64] = np.asarray(by_seed, dtype=float)
    seeds, mean = values.shape[-1], values.mean(axis=-1)
    return Layouts(
        mean=mean,
        seeds=seeds,
        items=max(2, items),
        seed_part=values.var(axis=-1, ddof=1) / seeds,
        item_part=item_part + np.zeros_like(mean),
        rest_part=rest_part + np.zeros_like(mean),
        bounded=items > 0,
    )


def expected(seeds: int, items: int, *, seed_spread: float, item_spread: float, rest_spread: float) -> Layouts:
    """The layout that a design has on average, from the standard deviations of its three effects."""
    rest = rest_spread**2
    squares = (items * seed_spread**2 + rest, seeds * item_spread**2 + rest, rest)
    found = of_mean_squares(np.float64(0.0), seeds, items, *(np.float64(square) for square in squares))
    return replace(found, bounded=True)


def of_mean_squares(mean: Any, seeds: int, items: int, seed_square: Any, item_square: Any, rest: Any) -> Layouts:
    """The layouts of these mean squares; one seed has none of its own, and none of the rest."""
    size = seeds * items
    if seeds == 1:
        seed_square, rest = 0 * seed_square, 0 * rest
    return Layouts(
        mean=mean,
        seeds=seeds,
        items=items,
        seed_part=seed_square / size,
        item_part=item_square / size,
        rest_part=rest / size,
    )


def least_error(
    excludes: Callable[[NDArray[np.float64]], ArrayLike], shape: tuple[int, ...] = ()
) -> NDArray[np.float64]:
    """The least error rates whose intervals exclude zero, so that a p-value and an interval say the same; else 1.

    `excludes` says of error rates of this shape whether the intervals at them do; a larger rate never excludes less.
    """
    low, high = np.zeros(shape), np.ones(shape)
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        there = excludes(middle)
        low, high = np.where(there, low, middle), np.where(there, middle, high)
    return high


def _student(degrees: ArrayLike, tail: ArrayLike) -> NDArray[np.float64]:
    """The quantile of Student's t that a share `tail` lies above."""
    from scipy.special import stdtrit  # not scipy.stats, which takes five times as long to import

    return -stdtrit(degrees, tail)
