"""Claims about the intervals: known answers, coverage of the truth in simulation, honest corners."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sweep.statistics import accuracy_interval, ignores_text, no_better_than, over_seeds, paired_gain

ITEMS = 200
REST = 0.5


def _coverage(*, seeds: int, seed_spread: float, item_spread: float, rest: float = REST, runs: int = 1500) -> float:
    """The share of simulated layouts whose interval holds the true gain of 0.02."""
    random = np.random.default_rng(20200901 + seeds)
    held = 0
    for _ in range(runs):
        layout = 0.02 + (
            random.normal(0, seed_spread, (seeds, 1))
            + random.normal(0, item_spread, (1, ITEMS))
            + random.normal(0, rest, (seeds, ITEMS))
        )
        interval = paired_gain(layout)
        held += interval.low <= 0.02 <= interval.high
    return held / runs


@pytest.mark.parametrize("seeds", [3, 5])
@pytest.mark.parametrize(("seed_spread", "item_spread"), [(0.02, 0.3), (0.04, 0.4), (0.08, 0.3)])
def test_an_interval_holds_the_truth_as_often_as_it_says(seeds: int, seed_spread: float, item_spread: float) -> None:
    # At 1,500 runs three standard errors of a coverage of 0.95 are 0.017.
    assert 0.925 <= _coverage(seeds=seeds, seed_spread=seed_spread, item_spread=item_spread) <= 0.985


@pytest.mark.parametrize("seeds", [3, 5])
@pytest.mark.parametrize(
    ("seed_spread", "item_spread", "rest"),
    [(0.0, 0.3, REST), (0.03, 0.0, REST), (0.0, 0.0, REST), (0.3, 0.2, 0.05)],
    ids=["no seed variance", "no item variance", "neither", "mostly seed variance"],
)
def test_an_interval_is_never_too_narrow_in_the_corners(
    seeds: int, seed_spread: float, item_spread: float, rest: float
) -> None:
    assert _coverage(seeds=seeds, seed_spread=seed_spread, item_spread=item_spread, rest=rest) >= 0.93


def test_two_seeds_that_happen_to_agree_do_not_make_the_interval_narrow() -> None:
    # Satterthwaite's degrees of freedom alone give 0.88 here; three standard errors of 0.92 are 0.02.
    assert _coverage(seeds=2, seed_spread=0.28, item_spread=1.0) >= 0.90


def test_an_accuracy_interval_over_seeds_and_items_holds_the_truth() -> None:
    random = np.random.default_rng(7)
    held, runs = 0, 1500
    truth = np.mean(1 / (1 + np.exp(-random.normal(1, 3.0, 1_000_000))))  # some items are easy for every seed
    for _ in range(runs):
        logits = 1 + random.normal(0, 0.2, (3, 1)) + random.normal(0, 3.0, (1, ITEMS))
        chance = 1 / (1 + np.exp(-logits))
        interval = accuracy_interval(random.random((3, ITEMS)) < chance)
        held += interval.low <= truth <= interval.high
    assert 0.925 <= held / runs <= 0.985


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
