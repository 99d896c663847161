"""Claims about the sampler that loads torch: repeatable, drawn to the best point, and not to a pruned one again."""

from __future__ import annotations

import math
from dataclasses import replace
from random import Random

from search_spaces import LogRange, Range, Space
from sweep.records import State
from sweep.search import GaussianProcess, NoPruning, RandomDraws, Search
from sweep.study import propose
from tests.libraries.test_conduct import World, conducted, what_happened
from tests.libraries.test_samplers_and_pruners import count_failed, failing, history, peak
from tests.pure.small_sweep import ALONE, BASELINE, selected, small_sweep

RATES = {"learning_rate": LogRange(1e-4, 1e-2), "weight_decay": Range(0.0, 0.1)}
SPACE = Space(intermediate=RATES, target=RATES)


def sweep_of(trials: int, sampler: GaussianProcess | RandomDraws):
    search = Search(trials=trials, sampler=sampler, pruner=NoPruning())
    return small_sweep(space=SPACE, search=search, cells=(BASELINE, ALONE), confirmation_seeds=(1,))


def test_any_number_of_gangs_gives_the_same_trials():
    sweep = sweep_of(7, GaussianProcess(startup_trials=3))
    alone = what_happened(conducted(sweep)[1])
    assert what_happened(conducted(sweep, World(), width=4, choose=Random(1).randrange)[1]) == alone


def test_it_comes_closer_to_the_best_point_than_random_draws():
    learned = history(sweep_of(16, GaussianProcess(startup_trials=4)), ALONE, 16, peak)
    random = history(sweep_of(16, RandomDraws()), ALONE, 16, peak)
    assert sum(entry.score for entry in learned[8:]) > sum(entry.score for entry in random[8:])


def test_a_pruned_trial_is_told_with_its_last_score_so_that_its_point_is_left():
    sweep = sweep_of(12, GaussianProcess(startup_trials=4))
    records = history(sweep, BASELINE, 8, peak)
    best = propose(sweep, BASELINE, 8, records).draws
    pruned = replace(
        records[0],
        key=replace(records[0].key, number=8),
        draws=best,
        state=State.PRUNED,
        score=selected(-3.0),
        scored=((10, selected(-3.0)),),
    )
    after = propose(sweep, BASELINE, 9, [*records, pruned]).draws
    assert abs(math.log10(after["target.learning_rate"] / best["target.learning_rate"])) > 0.01
    assert after != propose(sweep, BASELINE, 9, [*records, replace(pruned, state=State.FAILED)]).draws


def test_a_failed_trial_is_told_as_the_worst_so_that_a_region_that_fails_is_left():
    space = Space(
        intermediate={"learning_rate": RATES["learning_rate"]}, target={"learning_rate": RATES["learning_rate"]}
    )
    sweep = replace(sweep_of(20, GaussianProcess(startup_trials=2)), space=space)
    assert count_failed(failing(sweep, ALONE, 12)) <= 5, "not told of failures it loses nine"
    records = history(sweep, ALONE, 6, peak)
    failed = replace(records[4], state=State.FAILED, score=None, scored=())
    worst = replace(records[4], score=min(entry.score for entry in records if entry is not records[4]))
    told = propose(sweep, ALONE, 6, [*records[:4], failed, records[5]])
    assert told == propose(sweep, ALONE, 6, [*records[:4], worst, records[5]])
    assert told != propose(sweep, ALONE, 6, [*records[:4], records[5]])


def test_a_parameter_that_joined_is_told_as_if_it_had_been_searched_and_stood_at_its_default():
    sampler = GaussianProcess(startup_trials=4)
    space = Space(
        intermediate={"learning_rate": RATES["learning_rate"]}, target={"learning_rate": RATES["learning_rate"]}
    )
    before = replace(sweep_of(9, sampler), space=space)
    default = before.target_settings.weight_decay
    records = history(before, ALONE, 8, peak)
    names = ("intermediate.weight_decay", "target.weight_decay")
    as_searched = [replace(one, draws=one.draws | dict.fromkeys(names, default)) for one in records]
    after = sweep_of(9, sampler)
    assert propose(after, ALONE, 8, records) == propose(after, ALONE, 8, as_searched)
    at_random = [replace(one, state=State.FAILED, score=None, scored=()) for one in records]
    assert propose(after, ALONE, 8, records) != propose(after, ALONE, 8, at_random), "it learns of all of them"
