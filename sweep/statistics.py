"""Intervals for an accuracy and for a gain, over the seeds and the items both; knows of no cell, trial or file.

Every array here has the axes (seed, item): row s holds what the run of seed s did on each item of a test split. Seeds
and items are crossed, since every seed answers the same items. Intervals are for one comparison at a time: in a table
of n cells without any effect, about n in 20 will exclude zero.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sweep import crossed

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

#: The share of intervals that hold the truth; 0.95 is the custom of the field.
CONFIDENCE = 0.95

#: Why there is no interval where it would rest on seeds alone and they all have the same value.
NO_SPREAD = "no interval: all seeds have the same value, so nothing tells their spread"

#: In simulations whose seeds hardly differ, one interval in five is so, and these hold the truth in 0.73 to 0.86 of the
#: cases (300 items, three and five seeds); over all cases the coverage is as stated. A bound in the formula would make
#: all the others too wide.
NARROW = "interval narrower than so many independent answers allow: its seeds happen to agree"

#: The normal quantile of a two-sided 95% interval.
_NORMAL = 1.959964

#: How far a mean of shares may come to lie outside 0..1, or equal ones from one another, by rounding.
_ROUNDING = 1e-9


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A mean, and the ends of its interval.

    `seeds` or `items` of 1 or 0 say what the interval is blind to: with one seed it speaks of these weights only, and
    with 0 items (a metric that is no mean over items) of this test split only.
    """

    mean: float
    low: float
    high: float
    standard_error: float
    seeds: int
    items: int
    narrow: bool = False
    """Whether it is narrower than as many independent answers allow, because the seeds agree more than they would."""

    @property
    def remark(self) -> str:
        """What the interval does not cover, or looks surer of than it can be; empty where there is nothing to say."""
        if self.seeds < 2:
            return "interval over items only: one seed"
        if self.narrow:
            return NARROW
        return "interval over seeds only" if self.items < 1 else ""


def paired_gain(differences: ArrayLike) -> Interval:
    """The mean of paired differences and its interval, for seeds and items both drawn at random.

    `differences: (seed, item)` holds a cell's outcome minus the baseline's, same seed and same item, each within
    -1..1. For a mean over languages, average an item's differences over the languages first.

    `sweep.crossed` has the derivation, and what its coverage was measured to be.

    With one seed the interval covers the items only, and `Interval.remark` says so. Where hardly an item differs, its
    least half-width makes it wider than needed.

    Raises:
        ValueError: for fewer than two items, another shape or a value that is no finite number.
    """
    layout = _checked(differences)
    found = crossed.gains(layout)
    mean, half = float(found.mean), float(found.half_width(1 - CONFIDENCE))
    return Interval(
        mean=mean,
        low=mean - half,
        high=mean + half,
        standard_error=float(found.standard_error),
        seeds=layout.shape[0],
        items=layout.shape[1],
    )


def accuracy_interval(correct: ArrayLike) -> Interval:
    """The accuracy over seeds and items and its interval, within 0..1.

    `correct: (seed, item)` is 1 for a right answer and 0 for a wrong one, or an item's part in a mean over languages,
    which may lie outside 0..1 where languages hold different items.

    Raises:
        ValueError: as `paired_gain`, or where a seed's mean lies outside 0..1.
    """
    values = _checked(correct)
    means = values.mean(axis=1)
    if means.min() < -_ROUNDING or means.max() > 1 + _ROUNDING:
        raise ValueError(f"right answers must lie in 0..1, got {values.min()} to {values.max()}")
    layout = crossed.layouts(values)
    low, high = accuracy_ends(layout)
    mean, whole = float(layout.mean), bool(((values == 0) | (values == 1)).all())
    independent = _NORMAL * math.sqrt(max(0.0, mean * (1 - mean)) / values.size)
    return Interval(
        narrow=whole and values.shape[0] > 1 and bool(high - low < 2 * independent),
        mean=mean,
        low=float(low),
        high=float(high),
        standard_error=float(layout.standard_error),
        seeds=values.shape[0],
        items=values.shape[1],
    )


def accuracy_ends(layouts: crossed.Layouts) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The ends of the intervals of accuracies, from their layouts.

    The interval is Wilson's (JASA 22, 1927), with the number of answers replaced by the effective one, accuracy ·
    (1 - accuracy) / Var(mean), and the normal quantile q by that of `paired_gain`, as survey statistics does for
    clustered answers (Korn & Graubard, Survey Methodology 24, 1998). Where the answers do not vary, the effective
    number is the number of items, because seeds that agree add no item.

    Seeds spread less near 0 and 1 than in the middle, so a few that happen to lie there look alike, and Student's t of
    so skewed a spread asks for more on the side of one half than Wilson gives. That end lies further out by q² ·
    |2 · accuracy - 1| / (accuracy · (1 - accuracy)) · the standard error · the root of what seeds add to its square,
    (MS_seeds - MS_rest) / (seeds · items): what the term for skewness asks for beyond Wilson's (Hall, Annals of
    Statistics 20, 1992, for seeds normal on the logit scale), and nothing where seeds do not differ.

    Measured coverage (`tests/benchmarks/bench_coverage.py`) over 272 settings (200 to 15,000 items, accuracies of 0.35
    to 0.95, seeds whose accuracies spread by 0 to 0.1, items whose logits do by 0.5 or 2; 8,000 runs each, three
    standard errors 0.009): 0.937 to 0.964 with three seeds, 0.942 to 0.965 with five; of means over 5 or 15 parallel
    languages (24 settings, 2,000 runs) 0.945 to 0.970 and 0.946 to 0.964. Out of reach is an accuracy of 0.95 whose
    seeds spread by 0.06 (0.926 to 0.948 and 0.936 to 0.943) or by 0.1 (0.853 to 0.896 and 0.870 to 0.888), since three
    values of so skewed a law do not show its tail, and so are runs of which one in six fails altogether (down to 0.419
    and 0.590). Over thirty items it is up to 0.995 and 0.989.
    """
    p, error = layouts.mean, layouts.standard_error
    spread = p * (1 - p)
    varies = (spread > _ROUNDING) & (error > _ROUNDING)
    with np.errstate(invalid="ignore", divide="ignore"):
        count = np.where(varies, spread / error**2, layouts.items)
        quantile = np.where(varies, layouts.quantile(1 - CONFIDENCE), _student(layouts.items - 1))
        of_seeds = np.sqrt(np.maximum(0.0, layouts.seed_part - layouts.rest_part))
        skewed = quantile**2 * np.abs(2 * p - 1) / spread * error * of_seeds
    skewed = np.where(varies, skewed, 0.0)
    pull = quantile**2 / count
    centre = (p + pull / 2) / (1 + pull)
    half = np.sqrt(pull * (np.maximum(0.0, spread) + pull / 4)) / (1 + pull)
    low, high = centre - half - np.where(p > 0.5, skewed, 0.0), centre + half + np.where(p < 0.5, skewed, 0.0)
    return np.maximum(0.0, low), np.minimum(1.0, high)


def counted_accuracy(accuracy: float, items: int, confidence: float = CONFIDENCE) -> Interval:
    """Wilson's interval of one run's accuracy over its items, where nobody kept which items were right.

    Of a mean over languages that share their items it is wider than needed: it counts them as if all languages
    agreed on every item.
    """
    from scipy.special import ndtri

    quantile = float(ndtri((1 + confidence) / 2))
    pull = quantile**2 / items
    centre = (accuracy + pull / 2) / (1 + pull)
    half = math.sqrt(pull * (accuracy * (1 - accuracy) + pull / 4)) / (1 + pull)
    return Interval(
        mean=accuracy,
        low=max(0.0, centre - half),
        high=min(1.0, centre + half),
        standard_error=math.sqrt(accuracy * (1 - accuracy) / items),
        seeds=1,
        items=items,
    )


def counted_gain(mine: tuple[float, int], theirs: tuple[float, int], confidence: float = CONFIDENCE) -> Interval:
    """Newcombe's interval of a difference of two accuracies (value, items), each run's answers taken as independent.

    Statistics in Medicine 17, 1998, method 10. Two models that find the same items hard differ by less than this
    allows for, so it is wider than a paired interval.
    """
    one, other = counted_accuracy(*mine, confidence), counted_accuracy(*theirs, confidence)
    gain = one.mean - other.mean
    return Interval(
        mean=gain,
        low=gain - math.hypot(one.mean - one.low, other.high - other.mean),
        high=gain + math.hypot(one.high - one.mean, other.mean - other.low),
        standard_error=math.hypot(one.standard_error, other.standard_error),
        seeds=1,
        items=min(one.items, other.items),
    )


def mcnemar(only_mine: int, only_theirs: int) -> float:
    """The exact two-sided p-value of McNemar's test, from the items that each of two runs alone got right."""
    from scipy.special import bdtr

    return min(1.0, 2 * float(bdtr(min(only_mine, only_theirs), only_mine + only_theirs, 0.5)))


def holm(p_values: Sequence[float]) -> NDArray[np.float64]:
    """(test,) p-values corrected so that any false claim is as rare as stated (Holm 1979).

    As statsmodels' `multipletests`, to the last bit; it takes a second to import.
    """
    order = np.argsort(p_values)
    corrected = np.maximum.accumulate(np.asarray(p_values)[order] * np.arange(len(order), 0, -1))
    return _as_given(order, corrected)


def false_discovery(p_values: Sequence[float]) -> NDArray[np.float64]:
    """(test,) The least share of false claims at which each would be made (Benjamini & Hochberg 1995).

    As statsmodels' `multipletests` with `fdr_bh`, to the last bit.
    """
    order = np.argsort(p_values)
    shares = np.arange(1, len(order) + 1) / len(order)
    corrected = np.minimum.accumulate((np.asarray(p_values)[order] / shares)[::-1])[::-1]
    return _as_given(order, corrected)


def _as_given(order: NDArray[np.intp], corrected: NDArray[np.float64]) -> NDArray[np.float64]:
    """Corrected p-values in the order of the tests, none above 1."""
    found = np.empty_like(corrected)
    found[order] = np.minimum(corrected, 1.0)
    return found


def expected_best(scores: ArrayLike, resamples: int = 1000) -> tuple[Any, Any, Any]:
    """The expected best of n scores for n = 1 to all of them, and the ends of its 95% bootstrap interval.

    Dodge et al., *Show Your Work*, EMNLP 2019: with N scores drawn alike, P(best of n <= k-th smallest) = (k/N)^n. The
    interval resamples the scores, with a fixed seed; it says little for fewer than ten of them.
    """
    values: NDArray[np.float64] = np.sort(np.asarray(scores, dtype=float))
    count = len(values)
    below = (np.arange(count + 1) / count)[None, :] ** np.arange(1, count + 1)[:, None]
    weights = np.diff(below, axis=1)  # (n, rank)
    drawn = np.sort(np.random.default_rng(0).choice(values, (resamples, count)), axis=1) @ weights.T
    tail = (1 - CONFIDENCE) / 2
    return weights @ values, np.quantile(drawn, tail, axis=0), np.quantile(drawn, 1 - tail, axis=0)


def over_seeds(values: Sequence[float], confidence: float = CONFIDENCE) -> Interval:
    """Student's interval of a mean over seeds, for a metric such as F1 that is no mean over items.

    Where all seeds have the same value its `standard_error` is 0 and its ends are the mean: nothing tells the spread,
    so it is not to be reported (`NO_SPREAD`).

    Raises:
        ValueError: for fewer than two seeds, where nothing tells the spread.
    """
    if len(values) < 2:
        raise ValueError(f"an interval over seeds needs at least two seeds, got {len(values)}; confirm on more seeds")
    mean = float(np.mean(values))
    error = float(np.std(values, ddof=1)) / math.sqrt(len(values))
    if error < _ROUNDING:  # equal but for their last bits
        mean, error = round(mean, 9), 0.0
    half = _student(len(values) - 1, confidence) * error
    return Interval(
        mean=mean,
        low=mean - half,
        high=mean + half,
        standard_error=error,
        seeds=len(values),
        items=0,
    )


def no_better_than(cell: ArrayLike, other: ArrayLike) -> bool:
    """Whether the paired interval of `cell` minus `other` fails to show a gain: its low end is not above 0.

    Both are `(seed, item)` right answers, same seeds and items. Said of a baseline that sees the image alone or the
    hypothesis alone, it means that nothing shows the cell to use both.
    """
    return paired_gain(np.asarray(cell, dtype=float) - np.asarray(other, dtype=float)).low <= 0


def ignores_text(answers: Mapping[str, Sequence[object]]) -> bool:
    """Whether the answers, by language and in one order of items, are the same in every one of several languages."""
    sequences = [tuple(given) for given in answers.values()]
    return len(sequences) > 1 and all(sequence == sequences[0] for sequence in sequences)


def _checked(values: ArrayLike) -> NDArray[np.float64]:
    array: NDArray[np.float64] = np.asarray(values, dtype=float)
    if array.ndim != 2 or array.shape[0] < 1 or array.shape[1] < 2:
        raise ValueError(f"values must have the axes (seed, item) with at least two items, got shape {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError("values must be finite numbers; leave out the seeds or items that have none")
    return array


def _student(degrees: float, confidence: float = CONFIDENCE) -> float:
    from scipy.special import stdtrit  # not scipy.stats, which takes five times as long to import

    return float(stdtrit(degrees, (1 + confidence) / 2))
