"""Claims about the power that a plan states: more seeds and items show less, and simulated designs keep the promise."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sweep import crossed
from sweep.cli import main
from sweep.power import DISAGREEMENT, POWER, SEED_SPREADS, power_text, reported_items, smallest_gain
from tests.pure.small_sweep import small_sweep
from trainables.catalogue.development import with_oracle


def test_more_seeds_and_more_items_show_smaller_gains():
    assert smallest_gain(3, 300) > smallest_gain(5, 300) > smallest_gain(5, 1200)
    assert smallest_gain(1, 300) > smallest_gain(3, 300)


@pytest.mark.parametrize("of_runs", SEED_SPREADS)
def test_the_gain_promised_is_found_about_as_often_as_promised(of_runs):
    random = np.random.default_rng(1)
    spread, shape = (DISAGREEMENT / 2) ** 0.5, (1000, 5, 300)
    mine, theirs = random.normal(0, of_runs, (2, 1000, 5, 1))
    drawn = mine - theirs + random.normal(0, spread, (1000, 1, 300)) + random.normal(0, spread, shape)
    found = crossed.gains(smallest_gain(5, 300, of_runs) + drawn)
    assert abs((found.mean > found.half_width(0.05)).mean() - POWER) < 0.05


@pytest.mark.parametrize("cells", [1, 4])
def test_a_gain_of_which_the_verdict_is_promised_is_claimed_about_as_often_as_promised(cells):
    """By the cautious interval of all cells together, whose width varies more with three seeds than one alone."""
    random, of_runs = np.random.default_rng(2), SEED_SPREADS[1]
    spread, shape = (DISAGREEMENT / 2) ** 0.5, (1000, 3, 300)
    mine, theirs = random.normal(0, of_runs, (2, 1000, 3, 1))
    drawn = mine - theirs + random.normal(0, spread, (1000, 1, 300)) + random.normal(0, spread, shape)
    promised = smallest_gain(3, 300, of_runs, claimed_of=cells)
    found = crossed.gains(promised + drawn)
    claimed = (found.mean > found.cautious_half_width(0.05 / cells)).mean()
    assert abs(claimed - POWER) < 0.08
    alone = crossed.gains(smallest_gain(3, 300, of_runs) + drawn)
    assert (alone.mean > alone.cautious_half_width(0.05 / cells)).mean() < claimed - 0.05


def test_the_plan_says_it_with_its_assumptions_or_says_nothing():
    sweep = small_sweep()
    text = power_text(sweep)
    assert text.startswith("Power: 2 seeds and ")
    assert "with five seeds) in one language 80% of the time" in text and "30% of the items" in text
    assert "spread by 0.005 (much data) or 0.05 (the lab's demo)" in text
    rows = sweep.target.split("test").rows
    both = [f"{smallest_gain(2, rows, spread):.3f}" for spread in SEED_SPREADS]
    assert f"show a gain of {both[0]} or {both[1]} (" in text and float(both[1]) > 2 * float(both[0])
    claimed = [f"{smallest_gain(2, rows, spread, claimed_of=2):.3f}" for spread in SEED_SPREADS]
    assert f"and the report's verdict on 2 cells together claims one of {claimed[0]} or {claimed[1]} (" in text
    splits = tuple(replace(split, rows=0) for split in sweep.target.splits)
    assert power_text(replace(sweep, target=replace(sweep.target, splits=splits))) == ""


def test_the_half_that_an_oracle_sees_is_not_counted():
    sweep = small_sweep()
    halved = replace(sweep, target=with_oracle(sweep.target))
    rows = sweep.target.split("test").rows
    assert (reported_items(sweep), reported_items(halved)) == (rows, rows // 2)
    assert f" and {rows // 2:,} items show a gain of {smallest_gain(2, rows // 2):.3f} or " in power_text(halved)


def test_where_an_oracle_sees_development_data_the_whole_test_is_counted():
    sweep = small_sweep()
    whole = replace(sweep, target=with_oracle(replace(sweep.target, twin_of="xnli")))
    assert reported_items(whole) == sweep.target.split("test").rows
    assert power_text(whole) == power_text(sweep)


def test_the_plan_of_a_suite_states_the_power_of_every_target_or_why_not(capsys):
    assert main(["plan", "phang2020"]) == 0
    told = capsys.readouterr().out
    power = told[told.index("power    ") :].splitlines()
    assert "that is found 80% of the time, if runs of a cell spread by 0.005 (much data) or 0.05" in power[0]
    assert power[1].startswith(
        f"  phang2020-xnli      3 seeds and 5,010 items show a gain of {smallest_gain(3, 5010):.3f}"
    )
    assert power[3] == "  phang2020-udpos     not stated: its F1 is no mean over items"
    assert len(power) == 1 + 9
