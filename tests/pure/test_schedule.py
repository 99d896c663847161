from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainables.settings import Schedule, Settings
from trainables.training.schedule import learning_rate

BASE = Settings(learning_rate=0.5, maximum_steps=10, batch_size=1, warmup_steps=4)


def test_warmup_is_linear_from_zero_to_the_peak():
    assert [learning_rate(BASE, step) for step in range(5)] == [0, 0.125, 0.25, 0.375, 0.5]


def test_linear_falls_to_one_step_above_zero():
    assert learning_rate(BASE, 7) == pytest.approx(0.25)
    assert learning_rate(BASE, 9) == pytest.approx(0.5 / 6)


def test_cosine_is_half_way_down_in_the_middle():
    assert learning_rate(replace(BASE, schedule=Schedule.COSINE), 7) == pytest.approx(0.25)


def test_constant_stays():
    assert {learning_rate(replace(BASE, schedule=Schedule.CONSTANT), step) for step in range(4, 10)} == {0.5}


@given(st.integers(1, 300), st.data(), st.sampled_from(Schedule))
def test_the_rate_stays_between_zero_and_the_peak_and_never_rises_after_warmup(steps, data, schedule):
    warmup = data.draw(st.integers(0, steps))
    settings = Settings(learning_rate=0.1, maximum_steps=steps, batch_size=1, warmup_steps=warmup, schedule=schedule)
    rates = [learning_rate(settings, step) for step in range(steps)]
    assert all(0 <= rate <= 0.1 for rate in rates)
    assert all(later <= sooner for sooner, later in zip(rates[warmup:], rates[warmup + 1 :], strict=False))
