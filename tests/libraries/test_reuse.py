"""What sharing stages has saved, as the ledger has it, is what the plan counted where nothing is pruned."""

import math
from dataclasses import replace

import pytest

from sweep.plan import plan
from sweep.records import Phase
from sweep.reuse import achieved, planned_words
from sweep.search import ExpectedGain, Median, NoPruning, Search
from tests.libraries.test_conduct import World, conducted
from tests.pure.small_sweep import small_sweep

EVEN = replace(small_sweep().search, pruner=NoPruning())


@pytest.mark.parametrize("fan_out", [1, 2, 3])
def test_the_factor_achieved_is_the_planned_one_where_nothing_is_pruned(fan_out):
    sweep = small_sweep(search=replace(EVEN, fan_out=fan_out))
    conductor, _ = conducted(sweep)
    found, planned = achieved(conductor.records.values()), plan(sweep)
    assert (found.asked, found.different) == (planned.steps_without_sharing, planned.steps)
    assert found.factor == planned.reuse_factor <= planned.reuse_bound


def test_stages_that_were_in_the_storage_already_count_once_and_not_as_nothing():
    world = World()
    first, _ = conducted(small_sweep(search=EVEN), world)
    again, _ = conducted(small_sweep(search=EVEN), world)
    assert achieved(again.records.values()) == achieved(first.records.values())


def test_what_a_pruned_trial_trained_counts_on_both_sides():
    sweep = small_sweep(search=Search(trials=6, fan_out=2, pruner=Median(trials_before=1)))
    conductor, _ = conducted(sweep)
    pruned = [record for record in conductor.records.values() if record.steps_saved]
    assert pruned
    whole, _ = conducted(replace(sweep, search=replace(sweep.search, pruner=NoPruning())))
    search = [r for r in conductor.records.values() if r.key.phase is Phase.SEARCH]
    everything = [r for r in whole.records.values() if r.key.phase is Phase.SEARCH]
    assert achieved(search).asked == achieved(everything).asked - sum(record.steps_saved for record in pruned)


def test_a_fan_out_that_pays_is_counted_as_it_came_and_never_above_the_bound():
    sweep = small_sweep(search=replace(EVEN, trials=9, fan_out=ExpectedGain(settings=2, fan_out=2)))
    conductor, _ = conducted(sweep)
    found, planned = achieved(conductor.records.values()), plan(sweep)
    assert planned.reuse_factor <= found.factor <= planned.reuse_bound and math.isfinite(found.factor)


def test_the_bound_of_a_plan_is_said_where_it_is_another_than_its_factor():
    one, other = (plan(small_sweep(search=replace(EVEN, fan_out=fan_out))) for fan_out in (1, EVEN.trials))
    assert one.reuse_factor < one.reuse_bound
    assert planned_words(one) == f"{one.reuse_factor:.2f}, at most {one.reuse_bound:.2f}"
    assert planned_words(other) == f"{other.reuse_factor:.2f}"


def test_nothing_done_is_a_factor_of_nothing():
    assert achieved([]).factor == 0
