"""Claims about the intervals: known answers, coverage of the truth in simulation, honest corners."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import special, stats

from sweep import crossed
from sweep.statistics import accuracy_interval, ignores_text, no_better_than, over_seeds, paired_gain
from tests.benchmarks.bench_coverage import coverage_of_an_accuracy

ITEMS = 200
REST = 0.5


def _drawn(random: np.random.Generator, shape: tuple[int, int, int], seed: float, item: float, rest: float):
    """Layouts `(run, seed, item)` of three normal effects around zero."""
    runs, seeds, items = shape
    effects = [random.normal(0, seed, (runs, seeds, 1)), random.normal(0, item, (runs, 1, items))]
    return sum(effects, random.normal(0, rest, shape) if rest else np.zeros(shape))


def _coverage(*, seeds: int, seed_spread: float, item_spread: float, rest: float = REST, runs: int = 3000) -> float:
    """The share of simulated layouts whose interval holds the truth."""
    random = np.random.default_rng(20200901 + seeds)
    found = crossed.gains(_drawn(random, (runs, seeds, ITEMS), seed_spread, item_spread, rest))
    return float((np.abs(found.mean) <= found.half_width(0.05)).mean())


@pytest.mark.parametrize("seeds", [3, 5])
@pytest.mark.parametrize(("seed_spread", "item_spread"), [(0.02, 0.3), (0.04, 0.4), (0.08, 0.3)])
def test_an_interval_holds_the_truth_as_often_as_it_says(seeds: int, seed_spread: float, item_spread: float) -> None:
    assert 0.93 <= _coverage(seeds=seeds, seed_spread=seed_spread, item_spread=item_spread) <= 0.97


@pytest.mark.parametrize("seeds", [3, 5])
@pytest.mark.parametrize(
    ("seed_spread", "item_spread", "rest"),
    [(0.0, 0.3, REST), (0.03, 0.0, REST), (0.0, 0.0, REST), (0.3, 0.2, 0.05)],
    ids=["no seed variance", "no item variance", "neither", "mostly seed variance"],
)
def test_an_interval_is_never_too_narrow_in_the_corners(
    seeds: int, seed_spread: float, item_spread: float, rest: float
) -> None:
    # Where the rest is nearly everything it holds the truth in up to 0.978 of the cases: see `sweep.crossed`.
    assert 0.93 <= _coverage(seeds=seeds, seed_spread=seed_spread, item_spread=item_spread, rest=rest) <= 0.985


def test_an_interval_is_not_too_wide_where_seeds_and_items_have_equal_parts() -> None:
    # The wider of the two half-widths alone holds the truth in 0.978 here; three standard errors are 0.006.
    assert 0.93 <= _coverage(seeds=3, seed_spread=0.1, item_spread=1.0, rest=0.05, runs=8000) <= 0.97


def test_two_seeds_that_happen_to_agree_do_not_make_the_interval_narrow() -> None:
    # Satterthwaite's degrees of freedom alone give 0.88 here; three standard errors of 0.92 are 0.013.
    assert _coverage(seeds=2, seed_spread=0.28, item_spread=1.0) >= 0.905


@pytest.mark.parametrize("seeds", [3, 5])
def test_an_interval_of_right_and_wrong_answers_holds_the_true_gain(seeds: int) -> None:
    """Two models answer the same items; what an item asks is shared, a run.s luck is not."""
    random = np.random.default_rng(seeds)
    runs, gain = 1500, []
    for lift in (0.0, 0.5):
        difficulty = random.normal(0, 2, (runs, 1, ITEMS))
        right = [
            random.random((runs, seeds, ITEMS))
            < special.expit(
                shift + difficulty + random.normal(0, 1, (runs, 1, ITEMS)) + random.normal(0, 0.25, (runs, seeds, 1))
            )
            for shift in (0.5 + lift, 0.5)
        ]
        spread = math.sqrt(2**2 + 1**2 + 0.25**2)
        truth = [_mean_of_logistic(shift, spread) for shift in (0.5 + lift, 0.5)]
        found = crossed.gains(right[0].astype(np.float32) - right[1])
        gain.append((np.abs(found.mean - (truth[0] - truth[1])) <= found.half_width(0.05)).mean())
    assert all(0.93 <= held <= 0.97 for held in gain), gain


def _mean_of_logistic(shift: float, spread: float) -> float:
    """The mean of 1 / (1 + exp(-x)) for x normal."""
    points, weights = np.polynomial.hermite_e.hermegauss(101)
    return float((weights * special.expit(shift + spread * points)).sum() / weights.sum())


@pytest.mark.parametrize("seeds", [3, 5])
def test_a_shuffled_control_is_called_significant_no_more_often_than_stated(seeds: int) -> None:
    """A control without effect: runs and items differ as ever, and the true gain is zero."""
    random = np.random.default_rng(seeds)
    found = crossed.gains(_drawn(random, (3000, seeds, ITEMS), 0.04, 0.3, REST))
    for rate in (0.05, 0.2):
        called = np.abs(found.mean) > found.half_width(rate)
        assert called.mean() <= rate + 3 * math.sqrt(rate * (1 - rate) / 3000)


@pytest.mark.parametrize("seeds", [3, 5])
def test_a_p_value_for_corrections_is_not_too_small_where_it_is_very_small(seeds: int) -> None:
    random = np.random.default_rng(seeds)
    p_values = crossed.gains(_drawn(random, (3000, seeds, 50), 0.2, 0.3, REST)).cautious_p_value()
    for rate in (0.001, 0.01, 0.05):
        assert (p_values <= rate).mean() <= rate + 3 * math.sqrt(rate * (1 - rate) / 3000)


def test_a_p_value_and_an_interval_say_the_same() -> None:
    random = np.random.default_rng(2)
    found = crossed.gains(0.1 + _drawn(random, (200, 3, 100), 0.03, 0.3, REST))
    excludes = np.abs(found.mean) > found.half_width(0.05)
    assert 20 < excludes.sum() < 180
    assert (excludes == (found.p_value() < 0.05)).all()


def test_of_one_seed_the_p_value_is_students() -> None:
    row = np.random.default_rng(4).normal(0.1, 0.5, 60)
    assert crossed.layouts(row[None]).p_value() == pytest.approx(stats.ttest_1samp(row, 0).pvalue)


@pytest.mark.parametrize(("seeds", "items"), [(3, 300), (3, 1000), (5, 300)])
def test_the_smallest_gain_that_is_promised_is_found_as_often_as_promised(seeds: int, items: int) -> None:
    effects = {"seed_spread": 0.01, "item_spread": 0.35, "rest_spread": 0.35}
    promised = crossed.expected(seeds, items, **effects).smallest_gain(0.05, 0.8)
    random = np.random.default_rng(seeds)
    drawn = _drawn(random, (1000, seeds, items), *effects.values())
    found = crossed.gains(promised + drawn)
    assert 0.68 <= (found.mean - found.half_width(0.05) > 0).mean() <= 0.9


@pytest.mark.parametrize("seeds", [3, 5])
def test_an_accuracy_interval_over_seeds_and_items_holds_the_truth(seeds: int) -> None:
    random = np.random.default_rng(7)
    runs, truth = 700, _mean_of_logistic(1, math.sqrt(0.2**2 + 3**2))
    logits = 1 + _drawn(random, (runs, seeds, ITEMS), 0.2, 3.0, 0.0)
    right = random.random(logits.shape) < special.expit(logits)
    held = [interval.low <= truth <= interval.high for interval in map(accuracy_interval, right)]
    assert 0.93 <= np.mean(held) <= 0.975


@pytest.mark.parametrize("seeds", [3, 5])
@pytest.mark.parametrize(("truth", "seed", "item"), [(0.95, 1.0, 1.0), (0.95, 0.5, 2.0), (0.85, 1.0, 0.5)])
def test_an_accuracy_near_one_whose_seeds_spread_widely_is_in_its_interval(seeds, truth, seed, item) -> None:
    # Wilson's interval alone held 0.90 of those of five seeds at 0.95; three standard errors of 0.93 are 0.017.
    random = np.random.default_rng(seeds)
    assert 0.915 <= coverage_of_an_accuracy(random, seeds, (300, truth, seed, item)) <= 0.98


def test_an_accuracy_interval_without_spread_over_seeds_is_wilsons() -> None:
    from statsmodels.stats import proportion

    row = np.array([[1.0] * 180 + [0.0] * 20])
    interval = accuracy_interval(np.repeat(row, 3, axis=0))
    quantile = (interval.high - interval.low) / np.subtract(
        *proportion.proportion_confint(180, 200, method="wilson")[::-1]
    )
    assert quantile == pytest.approx(1, abs=0.02)  # Student's t with 199 degrees of freedom and (n - 1) for n


def test_the_variance_is_that_of_the_crossed_layout() -> None:
    # Seeds differ by 0.2 and items by 0.4, without any rest: MS_seeds = 3·0.02, MS_items = 2·0.16, MS_rest = 0.
    layout = np.array([[0.0, 0.4, 0.8], [0.2, 0.6, 1.0]])
    interval = paired_gain(layout)
    assert interval.mean == pytest.approx(0.5)
    assert interval.standard_error == pytest.approx(math.sqrt((0.06 + 0.32) / 6))
    assert interval.degrees_of_freedom == pytest.approx(0.38**2 / (0.06**2 / 1 + 0.32**2 / 2))
    assert (interval.seeds, interval.items) == (2, 3)


def test_one_seed_gives_an_interval_over_items_and_says_so() -> None:
    interval = paired_gain([[0, 1, 0, 1, 1, 0, 1, 1]])
    assert interval.standard_error == pytest.approx(np.std([0, 1, 0, 1, 1, 0, 1, 1], ddof=1) / math.sqrt(8))
    assert interval.degrees_of_freedom == 7
    assert interval.remark == "interval over items only: one seed"


def test_differences_that_are_all_zero_still_leave_room_for_items_never_seen() -> None:
    interval = paired_gain(np.zeros((3, 100)))
    assert interval.mean == 0
    assert interval.high == pytest.approx(1 - 0.025 ** (1 / 100))
    assert interval.low == -interval.high


def test_a_perfect_accuracy_has_an_interval_below_one() -> None:
    interval = accuracy_interval(np.ones((3, 100)))
    assert interval.high == 1
    assert 0.95 < interval.low < 0.97


def test_seeds_that_agree_everywhere_count_their_items_once() -> None:
    row = np.array([[1, 1, 0, 1] * 50])
    one, three = accuracy_interval(row), accuracy_interval(np.repeat(row, 3, axis=0))
    assert three.standard_error == pytest.approx(one.standard_error)


@given(hnp.arrays(float, st.tuples(st.integers(1, 5), st.integers(2, 30)), elements=st.sampled_from([0.0, 1.0])))
def test_an_accuracy_lies_in_its_interval_and_both_within_0_and_1(correct: np.ndarray) -> None:
    interval = accuracy_interval(correct)
    assert 0 <= interval.low <= interval.mean + 1e-12
    assert interval.mean <= interval.high + 1e-12 <= 1 + 1e-11


@given(hnp.arrays(float, st.tuples(st.integers(1, 5), st.integers(2, 30)), elements=st.sampled_from([-1.0, 0.0, 1.0])))
def test_a_gain_turned_round_has_its_interval_turned_round(differences: np.ndarray) -> None:
    there, back = paired_gain(differences), paired_gain(-differences)
    assert there.low == pytest.approx(-back.high, abs=1e-12)
    assert there.low < there.mean < there.high


@pytest.mark.parametrize("values", [[1.0, 0.0], [[1.0], [0.0]], np.zeros((0, 5))])
def test_another_shape_is_refused_with_the_axes_wanted(values: object) -> None:
    with pytest.raises(ValueError, match=r"axes \(seed, item\) with at least two items"):
        paired_gain(values)


def test_an_absent_value_is_refused() -> None:
    with pytest.raises(ValueError, match="leave out the seeds or items that have none"):
        paired_gain([[0.0, math.nan]])


def test_an_accuracy_above_one_is_refused() -> None:
    with pytest.raises(ValueError, match=r"must lie in 0\.\.1, got 0\.0 to 68\.0"):
        accuracy_interval([[0.0, 68.0]])


def test_a_metric_without_items_has_an_interval_over_seeds() -> None:
    interval = over_seeds([0.6, 0.7, 0.8])
    assert interval.mean == pytest.approx(0.7)
    assert interval.high - interval.mean == pytest.approx(4.302653 * 0.1 / math.sqrt(3), rel=1e-6)
    assert interval.remark == "interval over seeds only"


def test_an_interval_over_one_seed_is_refused() -> None:
    with pytest.raises(ValueError, match="needs at least two seeds, got 1"):
        over_seeds([0.6])


def test_a_cell_that_only_matches_a_blind_baseline_is_no_better() -> None:
    random = np.random.default_rng(3)
    blind = random.random((3, 300)) < 0.4
    assert no_better_than(random.random((3, 300)) < 0.4, blind)
    assert not no_better_than(random.random((3, 300)) < 0.7, blind)


def test_the_same_answers_in_every_language_ignore_the_text() -> None:
    assert ignores_text({"en": ["a", "b"], "de": ["a", "b"]})
    assert not ignores_text({"en": ["a", "b"], "de": ["a", "a"]})
    assert not ignores_text({"en": ["a", "b"]})
