"""Claims about the power that a plan states: more seeds and items show less, and simulated designs keep the promise."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from sweep import crossed
from sweep.cli import main
from sweep.power import DISAGREEMENT, POWER, SEED_SPREAD, power_text, reported_items, smallest_gain
from tests.pure.small_sweep import small_sweep
from trainables.catalogue.task import with_oracle


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


def test_the_half_that_an_oracle_sees_is_not_counted():
    sweep = small_sweep()
    halved = replace(sweep, target=with_oracle(sweep.target))
    rows = sweep.target.split("test").rows
    assert (reported_items(sweep), reported_items(halved)) == (rows, rows // 2)
    assert f" and {rows // 2:,} items show a gain of {smallest_gain(2, rows // 2):.3f} (" in power_text(halved)


def test_the_plan_of_a_suite_states_the_power_of_every_target_or_why_not(capsys):
    assert main(["plan", "phang2020"]) == 0
    told = capsys.readouterr().out
    power = told[told.index("power    ") :].splitlines()
    assert "that is found 80% of the time, if runs of a cell spread by 0.005 and two cells disagree on 30%" in power[0]
    assert power[1].startswith(
        f"  phang2020-xnli      3 seeds and 5,010 items show a gain of {smallest_gain(3, 5010):.3f}"
    )
    assert power[3] == "  phang2020-udpos     not stated: its F1 is no mean over items"
    assert len(power) == 1 + 9
