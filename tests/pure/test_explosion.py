"""Claims about when a loss counts as exploded, and that an ordinary training never does."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainables.training.explosion import (
    FEWEST_STEPS,
    INTERVAL_STEPS,
    LEAST_NATS,
    MULTIPLE,
    WINDOW_STEPS,
    bound,
    found,
    is_looked_at,
    places,
)


def exploded(losses: list[float], multiple: float = MULTIPLE) -> bool:
    return found(losses[0], [losses[place] for place in places(len(losses))], multiple) is not None


def test_the_bound_is_the_larger_of_a_multiple_of_the_first_loss_and_a_loss_that_no_guess_costs():
    assert LEAST_NATS > math.log(250_002)  # a uniform guess among the words of XLM-R
    assert (bound(1.1, 10.0), bound(12.4, 10.0), bound(0.0, 10.0)) == (20.0, 124.0, 20.0)


def test_losses_are_looked_at_after_fixed_steps_and_at_the_end():
    assert [done for done in range(1, 121) if is_looked_at(done, 120)] == [50, 100, 120]


@given(steps=st.integers(0, 10_000))
def test_the_first_step_is_never_among_those_that_are_held_against_it(steps):
    looked = places(steps)
    assert len(looked) <= WINDOW_STEPS and (not looked or len(looked) >= FEWEST_STEPS)
    assert 0 not in looked and (not looked or looked[-1] == steps - 1)


def test_a_loss_that_stays_high_has_exploded_and_one_batch_that_is_far_out_has_not():
    ordinary = [1.1] * 40
    assert not exploded([*ordinary, 1e9])
    assert not exploded(ordinary + [1e9] * (WINDOW_STEPS // 2))
    assert exploded(ordinary + [1e9] * (WINDOW_STEPS // 2 + 1))
    assert not exploded(ordinary + [20.0] * WINDOW_STEPS) and exploded(ordinary + [20.1] * WINDOW_STEPS)


@pytest.mark.parametrize("steps", [6, 20, 49])
def test_an_explosion_in_a_short_stage_is_seen_at_its_end(steps):
    calm = steps // 2
    assert exploded([1.1] * calm + [500.0] * (steps - calm))
    assert not exploded([500.0, *[1.1] * (steps - 1)])


def test_what_was_seen_is_told_and_a_multiple_asks_for_more_or_for_nothing():
    losses = [2.0] * 30 + [40.0] * WINDOW_STEPS
    seen = found(losses[0], losses[-WINDOW_STEPS:], MULTIPLE)
    assert seen is not None
    assert (seen.first, seen.last, seen.bound, seen.above, seen.window) == (2.0, 40.0, 20.0, WINDOW_STEPS, WINDOW_STEPS)
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
    assert not any(
        exploded(losses[:done])
        for done in range(1, len(losses) + 1)
        if done % INTERVAL_STEPS == 0 or done == len(losses)
    )
