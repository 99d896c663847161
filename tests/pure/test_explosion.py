"""Claims about when a loss counts as exploded, and that an ordinary training never does."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainables.training.explosion import (
    FEWEST_STEPS,
    LEAST_NATS,
    MULTIPLE,
    WINDOW_STEPS,
    bound,
    found,
    is_looked_at,
    looked_at_before,
    window_of,
)


def exploded(losses: list[float], multiple: float = MULTIPLE) -> bool:
    return found(losses[0], losses[1:], window_of(len(losses)), multiple) is not None


def test_the_bound_is_the_larger_of_a_multiple_of_the_first_loss_and_a_loss_that_no_guess_costs():
    assert LEAST_NATS > math.log(250_002)  # a uniform guess among the words of XLM-R
    assert (bound(1.1, 10.0), bound(12.4, 10.0), bound(0.0, 10.0)) == (20.0, 124.0, 20.0)


def test_losses_are_looked_at_after_fixed_steps_and_at_the_end():
    looks = [done for done in range(1, 121) if is_looked_at(done, 120)]
    assert looks == [50, 100, 120] and [looked_at_before(done) for done in looks] == [0, 50, 100]


def test_a_window_is_half_of_a_short_task_and_twenty_steps_of_a_long_one():
    assert [window_of(steps) for steps in (1, 11, 12, 20, 41, 10_000)] == [5, 5, 5, 9, 20, 20]
    assert (FEWEST_STEPS, WINDOW_STEPS) == (5, 20)


def test_a_loss_that_stays_high_has_exploded_and_one_batch_that_is_far_out_has_not():
    ordinary = [1.1] * 60
    assert not exploded([*ordinary, 1e9, *ordinary])
    assert not exploded(ordinary + [1e9] * (WINDOW_STEPS // 2) + ordinary)
    assert exploded(ordinary + [1e9] * (WINDOW_STEPS // 2 + 1) + ordinary)
    assert not exploded(ordinary + [20.0] * WINDOW_STEPS) and exploded(ordinary + [20.1] * WINDOW_STEPS)


@pytest.mark.parametrize("steps", [6, 20, 49])
def test_an_explosion_in_a_short_stage_is_seen_also_where_it_ends_in_guessing(steps):
    calm = steps // 2
    assert exploded([1.1] * calm + [500.0] * (steps - calm))
    assert exploded([1.1] + [500.0] * (steps - calm) + [1.1] * (calm - 1))
    assert not exploded([500.0, *[1.1] * (steps - 1)])


def test_fewer_steps_than_a_window_show_nothing():
    assert not exploded([1.1] + [1e9] * (FEWEST_STEPS - 1)) and exploded([1.1] + [1e9] * FEWEST_STEPS)


def test_what_was_seen_is_told_and_a_multiple_asks_for_more_or_for_nothing():
    losses = [2.0] * 30 + [40.0] * 30
    seen = found(losses[0], losses[1:], WINDOW_STEPS, MULTIPLE)
    assert seen is not None and (seen.place, seen.loss, seen.bound, seen.above) == (39, 40.0, 20.0, 11)
    assert not exploded(losses, 30.0)
    assert not exploded([1.0] * 30 + [1e300] * WINDOW_STEPS, math.inf)


@given(
    first=st.floats(0.0, 13.0),
    peak=st.floats(1.0, MULTIPLE),
    steps=st.integers(1, 400),
)
def test_a_warm_up_that_raises_the_loss_up_to_the_multiple_never_counts(first, peak, steps):
    rising = [first * (1 + (peak - 1) * step / steps) for step in range(steps)]
    falling = [rising[-1] * (1 - step / steps) for step in range(steps)]
    losses = rising + falling
    assert not exploded(losses)
