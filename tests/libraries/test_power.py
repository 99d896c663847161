"""Claims about the power that a plan states: more seeds and items show less, and simulated designs keep the promise."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from sweep import crossed
from sweep.power import DISAGREEMENT, POWER, SEED_SPREAD, power_text, smallest_gain
from tests.pure.small_sweep import small_sweep


def test_more_seeds_and_more_items_show_smaller_gains():
    assert smallest_gain(3, 300) > smallest_gain(5, 300) > smallest_gain(5, 1200)
    assert smallest_gain(1, 300) > smallest_gain(3, 300)


def test_the_gain_promised_is_found_about_as_often_as_promised():
    random = np.random.default_rng(1)
    spread, shape = (DISAGREEMENT / 2) ** 0.5, (1000, 5, 300)
    drawn = random.normal(0, SEED_SPREAD, (1000, 5, 1)) + random.normal(0, spread, (1000, 1, 300))
    found = crossed.gains(smallest_gain(5, 300) + drawn + random.normal(0, spread, shape))
    assert abs((found.mean > found.half_width(0.05)).mean() - POWER) < 0.07


def test_the_plan_says_it_with_its_assumptions_or_says_nothing():
    sweep = small_sweep()
    text = power_text(sweep)
    assert text.startswith("Power: 2 seeds and ")
    assert "with five seeds) in one language 80% of the time" in text and "30% of the items" in text
    splits = tuple(replace(split, rows=0) for split in sweep.target.splits)
    assert power_text(replace(sweep, target=replace(sweep.target, splits=splits))) == ""
