"""Claims about every sampler and pruner that a definition can name: repeatable, in the domains, taught by scores."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
from optuna.trial import TrialState

from search_spaces import Cell, Choice, Integers, LogRange, Range, Simplex, Space
from search_spaces.mixing import draws_of
from sweep import study
from sweep.definition import Sweep
from sweep.plan import plan
from sweep.plan_text import plan_text
from sweep.points import default_draws, grid_points, intermediate, search_trials
from sweep.records import Phase, State, TrialKey, TrialRecord
from sweep.search import (
    CmaEs,
    ExpectedGain,
    Grid,
    Hyperband,
    Median,
    NoPruning,
    RandomDraws,
    Search,
    SuccessiveHalving,
    Tpe,
    Wilcoxon,
)
from sweep.study import propose, should_prune
from sweep.untried import untried
from tests.libraries.test_conduct import World, conducted, what_happened
from tests.pure.small_sweep import ALONE, BASELINE, MIXED, SETTINGS, selected, small_sweep
from trainables.catalogue import lab
from trainables.faults import Invalid
from trainables.settings import LoRA

RATES = {"learning_rate": LogRange(1e-4, 1e-2), "weight_decay": Range(0.0, 0.1)}
SPACE = Space(
    intermediate=RATES,
    target=RATES | {"warmup_steps": Integers(0, 10), "dropout": Choice((0, 0.1, 0.3))},
    shares=Simplex(0.1),
)
NUMBERS = Space(intermediate=RATES, target=RATES, shares=Simplex(0.1))
OFTEN = replace(SETTINGS, evaluation_interval_steps=2, dropout=0.1)


def sweep_of(space=SPACE, **search) -> Sweep:
    given = {"trials": 8, "sampler": Tpe(startup_trials=2), "pruner": NoPruning()} | search
    return small_sweep(space=space, search=Search(**given), target_settings=OFTEN)


def record(number: int, cell, draws: dict[str, float], score: float | None, **more) -> TrialRecord:
    given = {"state": State.FINISHED, "scored": () if score is None else ((20, score),)} | more
    given["scored"] = chosen(given["scored"])
    key = TrialKey(cell=cell.name, phase=Phase.SEARCH, number=number)
    return TrialRecord(
        key=key, values={}, draws=draws, seed=0, stages=(), score=None if score is None else selected(score), **given
    )


def chosen(scored):
    return tuple((step, selected(value)) for step, value in scored)


def history(sweep: Sweep, cell, count: int, score) -> list[TrialRecord]:
    """The records of a cell whose trials were proposed and finished one after the other."""
    records: list[TrialRecord] = []
    for number in range(count):
        draws = propose(sweep, cell, number, records).draws
        records.append(record(number, cell, draws, score(draws)))
    return records


def peak(draws: dict[str, float]) -> float:
    """A score that is highest, 0, at a target learning rate of 2e-3 and an intermediate one of 5e-4."""
    return -sum(
        math.log10(draws[name] / best) ** 2
        for name, best in (("target.learning_rate", 2e-3), ("intermediate.learning_rate", 5e-4))
        if name in draws
    )


SEARCHES = {
    "tpe": {},
    "random": {"sampler": RandomDraws()},
    "cmaes": {"sampler": CmaEs()},
    "grid": {"sampler": Grid(points=2)},
    "fan_out": {"fan_out": 3},
    "expected_gain": {"fan_out": ExpectedGain(settings=2, fan_out=2)},
    "median": {"pruner": Median(trials_before=1)},
    "successive_halving": {"pruner": SuccessiveHalving(first_rung=2, reduction=2)},
    "hyperband": {"pruner": Hyperband(first_rung=2, reduction=2)},
    "wilcoxon": {"pruner": Wilcoxon(p=0.25)},
}


@pytest.mark.parametrize("name", sorted(SEARCHES))
def test_every_sampler_and_pruner_gives_the_same_trials_for_any_number_of_gangs(name):
    sweep = replace(sweep_of(NUMBERS, trials=6, **SEARCHES[name]), cells=(BASELINE, ALONE), confirmation_seeds=(1,))
    alone = what_happened(conducted(sweep)[1])
    several, ledger = conducted(sweep, World(), width=4, choose=Random(name).randrange)
    assert what_happened(ledger) == alone
    assert several.complete()
    if SEARCHES[name].get("pruner"):
        assert any(".pruned." in entry for entry in alone), "the claim is about pruned trials too"


@pytest.mark.parametrize("name", ["tpe", "random", "grid", "fan_out", "expected_gain"])
@pytest.mark.parametrize("cell", [BASELINE, MIXED], ids=lambda cell: cell.name)
def test_every_draw_lies_in_its_domain_and_comes_back_from_json_as_it_was(name, cell):
    sweep = sweep_of(**SEARCHES[name])
    for entry in history(sweep, cell, search_trials(sweep, cell), peak):
        for parameter, domain in sweep.parameters(cell).items():
            assert entry.draws[parameter] in domain, parameter
        assert isinstance(entry.draws["target.warmup_steps"], int)
        back = json.loads(json.dumps(entry.draws))
        assert back == entry.draws and {k: type(v) for k, v in back.items()} == {
            k: type(v) for k, v in entry.draws.items()
        }
        assert sweep.space.values(cell, back) == sweep.space.values(cell, entry.draws)


def test_cma_es_past_its_first_generation_gives_the_same_mixtures_for_any_number_of_gangs():
    sweep = sweep_of(NUMBERS, trials=16, sampler=CmaEs(population=6))
    sweep = replace(sweep, cells=(BASELINE, MIXED), confirmation_seeds=(1,))
    alone, ledger = conducted(sweep)
    assert what_happened(conducted(sweep, World(), width=2, choose=Random(5).randrange)[1]) == what_happened(ledger)
    with forgetful():
        without = conducted(sweep)[0]
    first = [key for key in alone.records if alone.records[key].values != without.records[key].values]
    assert {key.cell for key in first} == {"none", "nli+qqp"}, "the claim is about what a generation has taught"


@contextmanager
def forgetful() -> Iterator[None]:
    """CMA-ES without what earlier generations have taught it, as where each proposal begins a study of its own."""
    kept = study._replayed
    study._replayed = lambda before, distributions, sampler, _: study._study(before.values(), distributions, sampler)
    try:
        yield
    finally:
        study._replayed = kept


@pytest.mark.parametrize("name", ["tpe", "expected_gain"])
def test_a_sampler_that_learns_comes_closer_to_the_best_point_than_random_draws(name):
    sweep = sweep_of(NUMBERS, trials=30, **SEARCHES[name])
    blind = sweep_of(NUMBERS, trials=30, sampler=RandomDraws())
    learned = [entry.score for entry in history(sweep, ALONE, 30, peak)]
    random = [entry.score for entry in history(blind, ALONE, 30, peak)]
    assert sum(learned[15:]) / 15 > sum(random[15:]) / 15
    assert max(learned) > -0.1


# CMA-ES


def test_cma_es_goes_on_through_generations_although_each_proposal_rebuilds_its_study():
    sweep = sweep_of(NUMBERS, trials=48, sampler=CmaEs())
    records = history(sweep, BASELINE, 48, lambda draws: peak(draws) - (10 * draws["target.weight_decay"] - 0.8) ** 2)
    scores = [entry.score for entry in records]
    assert sum(scores[-12:]) > 0.2 * sum(scores[1:13])


def test_cma_es_comes_closer_to_the_best_point_than_without_what_its_generations_taught():
    sweep = sweep_of(NUMBERS, trials=30, sampler=CmaEs())

    def corner(draws: dict[str, float]) -> float:
        return -sum(math.log10(draws[f"{where}.learning_rate"] / 8e-3) ** 2 for where in ("target", "intermediate"))

    learned = history(sweep, ALONE, 30, corner)
    with forgetful():
        forgot = history(sweep, ALONE, 30, corner)
    blind = history(sweep_of(NUMBERS, trials=30, sampler=RandomDraws()), ALONE, 30, corner)
    last = [sum(entry.score for entry in found[15:]) for found in (learned, forgot, blind)]
    assert last[0] > 0.8 * last[1] and last[0] > last[2]


WHOLE = Space(target={"learning_rate": LogRange(1e-4, 1e-2), "warmup_steps": Integers(0, 3)})


def one_warmup(draws: dict[str, float]) -> float:
    return -(math.log10(draws["target.learning_rate"] / 2e-3) ** 2) - 0.5 * (draws["target.warmup_steps"] != 1)


def test_whole_numbers_freeze_without_a_margin_and_go_on_changing_with_one():
    last = []
    for margin in (False, True):
        records = history(sweep_of(WHOLE, trials=60, sampler=CmaEs(margin=margin)), BASELINE, 60, one_warmup)
        last.append({entry.draws["target.warmup_steps"] for entry in records[40:]})
    assert last[0] == {1} and len(last[1]) > 1


def test_a_margin_learns_from_every_trial_whose_draw_comes_out_as_it_was_recorded(monkeypatch):
    states: list[TrialState] = []
    usual = study._replayed

    def seen(*given):
        made = usual(*given)
        states[:] = [trial.state for trial in made.trials]
        return made

    monkeypatch.setattr(study, "_replayed", seen)
    sweep = sweep_of(replace(WHOLE, shares=Simplex(0.1)), trials=14, sampler=CmaEs(margin=True))
    records = history(sweep, MIXED, 12, one_warmup)
    assert states == [TrialState.COMPLETE] * 11
    edited = records[5].draws | {"target.learning_rate": 5e-3}
    propose(sweep, MIXED, 12, [*records[:5], replace(records[5], draws=edited), *records[6:]])
    assert states.count(TrialState.FAIL) >= 1 and states[5] is TrialState.FAIL


def test_the_population_of_cma_es_is_as_stated_and_a_margin_changes_nothing_where_there_are_no_whole_numbers():
    usual = history(sweep_of(NUMBERS, sampler=CmaEs()), BASELINE, 14, peak)
    assert usual == history(sweep_of(NUMBERS, sampler=CmaEs(margin=True)), BASELINE, 14, peak)
    assert usual == history(sweep_of(NUMBERS, sampler=CmaEs(population=6)), BASELINE, 14, peak), "4 + 3 ln 2 is 6"
    larger = history(sweep_of(NUMBERS, sampler=CmaEs(population=12)), BASELINE, 14, peak)
    same = [mine.draws == other.draws for mine, other in zip(usual, larger, strict=True)]
    assert all(same[:7]) and not all(same), "the first generation is drawn from the same beginning"


@pytest.mark.parametrize("population", [-1, 1, 3, 2.0, True])
def test_a_population_is_0_or_at_least_4(population):
    with pytest.raises(Invalid, match="population must be"):
        CmaEs(population=population)
    with pytest.raises(Invalid, match="margin must be True or False, got 1"):
        CmaEs(margin=1)


def test_cma_es_is_tpe_where_it_does_not_fit_and_the_plan_says_so():
    text = plan_text(plan(sweep_of(NUMBERS, sampler=CmaEs())))
    assert "search   cmaes; each intermediate setting serves 1 trial\n" in text
    one = Space(intermediate=RATES, target={"learning_rate": LogRange(1e-4, 1e-2)})
    assert "search   cmaes; tpe in none;" in plan_text(plan(sweep_of(one, sampler=CmaEs())))
    assert "search   tpe; cmaes in none;" in plan_text(plan(sweep_of(NUMBERS, sampler=CmaEs(), fan_out=2)))
    choice = replace(NUMBERS, overrides={"nli": SPACE})
    assert "search   cmaes; tpe in nli;" in plan_text(plan(sweep_of(choice, sampler=CmaEs())))
    history(sweep_of(one, sampler=CmaEs()), BASELINE, 5, peak)


# Failed, pruned, repeated


def failing(sweep: Sweep, cell, count: int) -> list[TrialRecord]:
    """The records of a cell whose score rises with the target's learning rate, and whose trials fail in the upper three
    tenths of its range: a rate that diverges.
    """
    records: list[TrialRecord] = []
    for number in range(count):
        point = propose(sweep, cell, number, records)
        place = math.log(point.draws["target.learning_rate"] / 1e-4) / math.log(100)
        other = math.log(point.draws["intermediate.learning_rate"] / 1e-4) / math.log(100)
        score = 0.4 + 0.5 * place + 0.02 * math.sin(40 * other)
        one = record(number, cell, point.draws, score if place <= 0.7 else None)
        one = replace(one, values=point.values)
        records.append(one if place <= 0.7 else replace(one, state=State.FAILED))
    return records


def count_failed(records: list[TrialRecord]) -> int:
    return sum(one.state is State.FAILED for one in records)


ONE_RATE = Space(intermediate={"learning_rate": LogRange(1e-4, 1e-2)}, target={"learning_rate": LogRange(1e-4, 1e-2)})


@pytest.mark.parametrize("fan_out", [2, ExpectedGain()], ids=["tpe", "expected_gain"])
def test_a_region_where_every_trial_fails_is_not_searched_again_and_again(fan_out):
    sweeps = [sweep_of(ONE_RATE, trials=30, sampler=Tpe(), seed=seed, fan_out=fan_out) for seed in (11, 12)]
    lost = [count_failed(failing(sweep, ALONE, 30)) for sweep in sweeps]
    assert sum(lost) / len(lost) <= 10, "chance would lose nine"


def test_with_failures_alone_to_compare_a_setting_that_came_to_a_score_is_used_again():
    sweep = sweep_of(NUMBERS, trials=12, fan_out=ExpectedGain(settings=3, fan_out=2))
    records = history(sweep, ALONE, 6, peak)
    good = intermediate(records[0].draws)
    records[2:] = [replace(entry, state=State.FAILED, score=None, scored=()) for entry in records[2:]]
    again = [propose(sweep, ALONE, 6, records, left=left).draws for left in (math.inf, 20)]
    assert intermediate(again[1]) == good, "another setting is not paid for"
    for number in range(6):
        records[number] = replace(records[number], state=State.FAILED, score=None, scored=())
    assert propose(sweep, ALONE, 6, records).draws not in again, "where nothing has a score, nothing is compared"


@pytest.mark.parametrize("sampler", [Tpe(startup_trials=2), CmaEs(), RandomDraws()], ids=lambda sampler: sampler.name)
def test_a_failed_trial_is_told_as_failed_whatever_it_scored_before(sampler):
    sweep = sweep_of(NUMBERS, sampler=sampler)
    records = history(sweep, ALONE, 6, peak)
    for odd in (float("nan"), None, float("inf")):
        broken = [*records, record(6, ALONE, records[5].draws, odd, scored=())]
        failed = [*records, record(6, ALONE, records[5].draws, None, state=State.FAILED, scored=((2, 0.9),))]
        assert propose(sweep, ALONE, 7, broken) == propose(sweep, ALONE, 7, failed)


def test_a_point_that_would_train_nothing_new_is_drawn_again():
    few = Space(target={"dropout": Choice((0, 0.1, 0.3))})
    sweep = replace(sweep_of(few, trials=3), cells=(BASELINE,))
    conductor, _ = conducted(sweep)
    tried = {record.draws["target.dropout"] for key, record in conductor.records.items() if key.phase is Phase.SEARCH}
    assert tried == {0, 0.1, 0.3}


def test_shares_that_give_the_same_whole_steps_are_one_stage_and_are_not_tried_twice():
    sweep = small_sweep(
        cells=(BASELINE, MIXED),
        space=Space(shares=Simplex(0.1)),
        intermediate_settings=replace(SETTINGS, maximum_steps=5),
        search=Search(trials=4, pruner=NoPruning()),
    )
    conductor, _ = conducted(sweep)
    mixed = [r for key, r in conductor.records.items() if key.cell == MIXED.name and key.phase is Phase.SEARCH]
    assert len({record.stages[-1] for record in mixed}) == 4, "five steps, each task at least one: four mixtures"


def test_equivalent_draws_of_shares_teach_the_sampler_the_same():
    sweep = sweep_of(Space(shares=Simplex(0.0)))
    draws = {"share.lab_nli": 0.2, "share.lab_qqp": 0.4}
    same = {name: draw**0.5 for name, draw in draws.items()}
    records = history(sweep, MIXED, 5, lambda drawn: drawn["share.lab_nli"])
    taught = [propose(sweep, MIXED, 6, [*records, record(5, MIXED, one, 1.0)]).draws for one in (draws, same)]
    assert taught[0] == pytest.approx(taught[1], rel=1e-9)


# Parameters that join, bounds that move


def joining(names: tuple[str, ...], **search) -> Sweep:
    """A sweep whose intermediate stages search these settings; the others stand at their defaults."""
    rates = {"learning_rate": LogRange(1e-4, 1e-2), "weight_decay": Range(0.0, 0.1), "dropout": Choice((0.0, 0.1))}
    space = Space(
        intermediate={name: rates[name] for name in names},
        target={"learning_rate": LogRange(1e-4, 1e-2)},
        shares=Simplex(0.1),
    )
    settings = replace(SETTINGS, maximum_steps=40, weight_decay=0.02, dropout=0.1)
    return replace(sweep_of(space, **({"trials": 12} | search)), intermediate_settings=settings)


@pytest.mark.parametrize("name", ["tpe", "cmaes", "fan_out", "expected_gain"])
@pytest.mark.parametrize("cell", [ALONE, MIXED], ids=lambda cell: cell.name)
def test_a_parameter_that_joined_is_told_as_if_it_had_been_searched_and_stood_at_its_default(name, cell):
    before = joining(("learning_rate",), **SEARCHES[name])
    after = joining(("learning_rate", "weight_decay"), **SEARCHES[name])
    records = history(before, cell, 8, peak)
    as_searched = [replace(one, draws=one.draws | {"intermediate.weight_decay": 0.02}) for one in records]
    assert propose(after, cell, 8, records) == propose(after, cell, 8, as_searched)
    at_random = [replace(one, state=State.FAILED, score=None, scored=()) for one in records]
    assert propose(after, cell, 8, records) != propose(after, cell, 8, at_random), "it learns of all of them"


def test_the_setting_of_a_trial_before_a_parameter_joined_is_used_again_with_that_parameter_at_its_default():
    before, after = joining(("learning_rate",), fan_out=3), joining(("learning_rate", "weight_decay"), fan_out=3)
    records = history(before, ALONE, 4, peak)
    draws = propose(after, ALONE, 4, records).draws
    assert intermediate(draws) == intermediate(records[3].draws) | {"intermediate.weight_decay": 0.02}
    gone = propose(
        before, ALONE, 4, [replace(one, draws=one.draws | {"intermediate.weight_decay": 0.02}) for one in records]
    )
    assert intermediate(gone.draws) == intermediate(records[3].draws), "one that left from its default changes nothing"
    other = propose(
        before, ALONE, 4, [replace(one, draws=one.draws | {"intermediate.weight_decay": 0.03}) for one in records]
    )
    assert intermediate(other.draws) != intermediate(records[3].draws)


def test_a_grid_counts_the_trials_before_a_parameter_joined_as_those_with_its_default():
    how = {"trials": 99, "sampler": Grid(points=2), "fan_out": 1}
    first, ledger = conducted(replace(joining(("learning_rate",), **how), cells=(BASELINE, ALONE)))
    tried = points_tried(first, ALONE.name)
    grown = replace(joining(("learning_rate", "dropout"), **how), cells=(BASELINE, ALONE))
    conductor, _ = conducted(grown, World(), ledger)
    every = points_tried(conductor, ALONE.name)
    assert every[: len(tried)] == tried and len(every) == len(set(every)) == search_trials(grown, ALONE)
    assert conductor.complete()


@pytest.mark.parametrize("name", ["tpe", "expected_gain"])
def test_a_mixture_is_told_by_the_shares_that_were_trained_and_not_by_what_other_bounds_make_of_its_draws(name):
    def sweep(minimum: float) -> Sweep:
        return sweep_of(Space(target=RATES, shares=Simplex(minimum)), **SEARCHES[name])

    tight, loose = sweep(0.3), sweep(0.0)
    records = []
    for one in history(tight, MIXED, 7, lambda draws: draws["share.lab_nli"]):
        records.append(replace(one, values=tight.space.values(MIXED, one.draws)))
    as_drawn = [replace(one, values={}) for one in records]
    told = propose(loose, MIXED, 7, records).draws
    assert told != propose(loose, MIXED, 7, as_drawn).draws
    if name == "tpe":  # the other begins near the best trial's draws, of which many make the same shares
        for place, one in enumerate(records):
            shares = {parameter: value for parameter, value in one.values.items() if parameter.startswith("share.")}
            as_drawn[place] = replace(one, values={}, draws=one.draws | draws_of(shares, Simplex(0.0)))
        assert told == pytest.approx(propose(loose, MIXED, 7, as_drawn).draws, rel=1e-6)


# What a sweep that is under way goes on with


def test_the_proposals_are_those_of_the_version_before():
    """A sweep that is under way goes on as it began: an Optuna that draws otherwise is a change that users notice."""
    kept = json.loads((Path(__file__).parents[1] / "fixtures" / "proposals.json").read_text())
    for name, cells in kept.items():
        sweep = sweep_of(NUMBERS, **SEARCHES[name])
        for cell in (BASELINE, MIXED):
            found = [one.draws for one in history(sweep, cell, 10, peak)]
            assert [list(draws) for draws in found] == [list(draws) for draws in cells[cell.name]]
            for number, draws in enumerate(cells[cell.name]):
                assert found[number] == pytest.approx(draws, rel=1e-6), (name, cell.name, number)


# The grid


def test_a_grid_tries_every_combination_once_after_the_default_and_then_ends():
    space = Space(intermediate={"learning_rate": LogRange(1e-4, 1e-2)}, target={"dropout": Choice((0, 0.1, 0.3))})
    sweep = sweep_of(space, trials=99, sampler=Grid(points=3), fan_out=2)
    assert search_trials(sweep, BASELINE) == 3, "the default is a point of the grid"
    assert search_trials(sweep, ALONE) == 9
    assert search_trials(sweep, MIXED) == 1 + 4 * 9, "even shares are none of the four mixtures of thirds"


def test_a_grid_keeps_trials_of_one_intermediate_setting_together_and_meets_all_before_it_returns():
    space = Space(intermediate={"learning_rate": LogRange(1e-4, 1e-2)}, target={"dropout": Choice((0, 0.1, 0.2, 0.3))})
    points = grid_points(sweep_of(space, sampler=Grid(points=3), fan_out=2), ALONE, Grid(points=3))
    rates = [point["intermediate.learning_rate"] for point in points]
    assert len(points) == 11 and len({tuple(point.items()) for point in points}) == 11
    assert sorted({round(math.log10(rate), 9) for rate in rates}) == [-4, -3, -2]
    assert len(set(rates[:6])) == 3, "every setting is met before any is met again"


def points_tried(conductor, cell: str) -> list[str]:
    return [r.stages[-1] for key, r in conductor.records.items() if key.cell == cell and key.phase is Phase.SEARCH]


@pytest.mark.parametrize("shares", [Simplex(0.3, sparse=True), Simplex(0.05, 0.5), Simplex(0.3, 0.6, sparse=True)])
def test_a_grid_of_cut_or_sparse_shares_tries_no_mixture_twice(shares):
    cell = Cell(name="three", intermediates=(lab.NLI, lab.QQP, lab.SQUAD))
    sweep = sweep_of(Space(shares=shares), trials=99, sampler=Grid(points=4))
    conductor, _ = conducted(replace(sweep, cells=(BASELINE, cell), confirmation_seeds=(1,)))
    tried = points_tried(conductor, "three")
    assert len(tried) == len(set(tried)) == search_trials(sweep, cell)
    assert conductor.complete()


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_small_space_is_tried_to_its_last_point_before_any_is_tried_twice(seed):
    rates = tuple(1e-3 * (1 + place / 10) for place in range(12))
    space = Space(target={"learning_rate": Choice(rates), "warmup_steps": Integers(0, 1)})
    search = Search(trials=25, seed=seed, sampler=Tpe(startup_trials=2), pruner=NoPruning())
    changed = {"search": search, "cells": (BASELINE,), "confirmation_seeds": (9,), "target_settings": OFTEN}
    conductor, _ = conducted(small_sweep(space=space, **changed), World(rising))
    tried = points_tried(conductor, "none")
    assert len(set(tried[:24])) == 24 and len(tried) == 25


@pytest.mark.parametrize("fan_out", [3, ExpectedGain(settings=2, fan_out=3)])
def test_where_a_setting_has_met_all_there_is_another_is_opened(fan_out):
    space = Space(intermediate={"learning_rate": LogRange(1e-4, 1e-2)}, target={"dropout": Choice((0, 0.1))})
    sweep = replace(sweep_of(space, trials=9, fan_out=fan_out), cells=(BASELINE, ALONE), confirmation_seeds=(1,))
    conductor, _ = conducted(sweep, World(rising))
    tried = points_tried(conductor, ALONE.name)
    assert len(tried) == len(set(tried)) == 9


def test_however_many_settings_are_trained_so_many_points_are_looked_at_in_all(monkeypatch):
    monkeypatch.setattr("sweep.untried._MOST", 40)
    sweep = sweep_of(ONE_RATE, trials=30, fan_out=ExpectedGain(settings=8, fan_out=1))
    records, looked = history(sweep, ALONE, 8, peak), []
    assert len({tuple(intermediate(one.draws).items()) for one in records}) == 8
    before = {one.key.number: one for one in records}
    assert untried(sweep, ALONE, 8, before, lambda point: bool(looked.append(point)), math.inf) is None
    assert len(looked) == 9 * 9, "no fewer under each setting than there are trials, and one"
    monkeypatch.setattr("sweep.untried._MOST", 250)
    looked.clear()
    untried(sweep, ALONE, 8, before, lambda point: bool(looked.append(point)), math.inf)
    assert 200 <= len(looked) <= 250 and {tuple(intermediate(one).items()) for one in looked[:200]} == {
        tuple(intermediate(one.draws).items()) for one in records
    }, "every setting is looked under"


def rising(stage, step: int) -> float:
    """A score that draws a sampler to the largest learning rate."""
    return min(1.0, 100 * stage.work.settings.learning_rate)


def test_the_plan_counts_the_settings_of_a_grid_as_they_will_be_trained():
    space = Space(intermediate={"learning_rate": LogRange(1e-4, 1e-2)}, target={"dropout": Choice((0, 0.1, 0.3))})
    sweep = replace(sweep_of(space, trials=9, sampler=Grid(points=3), fan_out=3), cells=(BASELINE, ALONE))
    conductor, _ = conducted(sweep)
    executed = sum(run["steps_executed"] for record in conductor.records.values() for run in record.stage_runs)
    assert executed == plan(sweep).steps


# When a setting is used again


def test_a_cell_without_an_intermediate_stage_is_searched_by_the_sampler_alone():
    plain, adaptive = sweep_of(NUMBERS), sweep_of(NUMBERS, fan_out=ExpectedGain())
    assert history(plain, BASELINE, 5, peak) == history(adaptive, BASELINE, 5, peak)


def test_the_first_settings_serve_their_fan_out_and_later_ones_are_used_again_as_it_pays():
    sweep = sweep_of(NUMBERS, trials=14, fan_out=ExpectedGain(settings=3, fan_out=2))
    settings = [tuple(intermediate(entry.draws).items()) for entry in history(sweep, ALONE, 14, peak)]
    first = settings[:6]
    assert first[0] == first[1] and first[2] == first[3] and first[4] == first[5] and len(set(first)) == 3
    assert len(set(settings)) < 9, "some of the eight later trials use a trained setting again"


def test_a_setting_that_never_came_to_a_score_is_not_used_again():
    sweep = sweep_of(NUMBERS, trials=12, fan_out=ExpectedGain(settings=3, fan_out=2))
    records = history(sweep, ALONE, 6, peak)
    lost = tuple(intermediate(records[0].draws).items())
    records[:2] = [replace(entry, state=State.FAILED, score=None, scored=()) for entry in records[:2]]
    for number in range(6, 10):
        draws = propose(sweep, ALONE, number, records).draws
        assert tuple(intermediate(draws).items()) != lost
        records.append(record(number, ALONE, draws, peak(draws)))


def test_the_plan_of_an_adaptive_fan_out_counts_as_if_no_setting_were_used_again_and_states_the_bound():
    adaptive = plan(sweep_of(NUMBERS, trials=12, fan_out=ExpectedGain(settings=2, fan_out=2)))
    fixed = plan(sweep_of(NUMBERS, trials=12, fan_out=12))
    assert adaptive.steps - fixed.steps == 2 * (2 + 8 - 1) * 40, "two cells, ten settings instead of one"
    assert adaptive.least_steps == fixed.least_steps == fixed.steps
    assert adaptive.reuse_bound == fixed.reuse_factor > adaptive.reuse_factor
    assert f"({adaptive.reuse_factor:.2f} times as many; at most {adaptive.reuse_bound:.2f})" in plan_text(adaptive)


# Pruners with rungs


def finished(number: int, scores: dict[int, float], **more) -> TrialRecord:
    return record(number, BASELINE, {}, max(scores.values()), scored=tuple(scores.items()), **more)


def prunes(pruner, scored: dict[int, float], records, number: int | None = None) -> bool:
    sweep = sweep_of(NUMBERS, pruner=pruner)
    return should_prune(sweep, BASELINE, len(records) if number is None else number, chosen(scored.items()), records)


THREE = [finished(n, {4: value, 8: value, 20: value}) for n, value in enumerate((0.3, 0.6, 0.9))]


def test_successive_halving_lets_the_best_part_of_each_rung_go_on():
    halving = SuccessiveHalving(first_rung=4, reduction=2)
    assert prunes(halving, {4: 0.5}, THREE), "of 0.3, 0.6, 0.9 and 0.5 the best two go on"
    assert not prunes(halving, {4: 0.7}, THREE)
    assert not prunes(halving, {2: 0.1}, THREE), "the first rung is at step 4"
    assert prunes(halving, {4: 0.7, 6: 0.7, 8: 0.5}, THREE), "the second is at step 8"
    assert not prunes(halving, {4: 0.1, 20: 0.1}, THREE), "never at the last step"


def test_a_pruned_trial_stays_among_those_that_its_rung_compares_with():
    halving = SuccessiveHalving(first_rung=4, reduction=2)
    pruned = [finished(3 + n, {4: 0.1}, state=State.PRUNED) for n in range(3)]
    assert prunes(halving, {4: 0.5}, THREE) and not prunes(halving, {4: 0.5}, [*THREE, *pruned])
    failed = [replace(entry, state=State.FAILED) for entry in pruned]
    assert prunes(halving, {4: 0.5}, [*THREE, *failed])


@pytest.mark.parametrize("pruner", [Median(trials_before=1), Wilcoxon(), Hyperband(first_rung=2, reduction=2)])
def test_a_pruner_is_not_told_of_failures(pruner):
    """They count for no median and no rung; only their number is known, from which Hyperband draws its brackets."""
    for score in (0.1, 0.45, 0.95):
        failed = [finished(3 + n, {4: score, 8: score}, state=State.FAILED) for n in range(5)]
        for mine in (0.2, 0.4, 0.7):
            scored = dict.fromkeys((4, 8), mine)
            assert prunes(pruner, scored, [*THREE, *failed], 8) == prunes(pruner, scored, THREE, 8)


def test_hyperband_puts_the_same_trial_in_the_same_bracket_each_time():
    band = Hyperband(first_rung=2, reduction=2)
    records = [finished(n, {2: 0.9, 4: 0.9, 8: 0.9, 20: 0.9}) for n in range(12)]
    stopped = [[prunes(band, {2: 0.1}, records, number) for number in range(4, 12)] for _ in range(2)]
    assert stopped[0] == stopped[1] and len(set(stopped[0])) == 2, "some brackets wait for a later rung"


RUNGS = [SuccessiveHalving(first_rung=2, reduction=2), Hyperband(first_rung=2, reduction=2)]


@pytest.mark.parametrize("pruner", RUNGS, ids=lambda pruner: pruner.name)
def test_what_a_rung_answers_does_not_depend_on_what_it_was_asked_before(pruner):
    """Trials fail, are left out, and are made anew in between; asked anew each time, all is reported from the start."""
    answers: list[bool] = []
    for seed in range(4):
        chance, records = Random(f"rungs {seed}"), {}
        for number in range(14):
            scored: dict[int, float] = {}
            state = State.FAILED if chance.random() < 0.15 else State.FINISHED
            base = chance.random()
            for step in range(2, 21, 2):
                scored[step] = base + 0.1 * chance.random() + 0.01 * step
                warm = prunes(pruner, scored, list(records.values()), number)
                answers.append(warm)
                if warm:
                    state = State.PRUNED
                    break
            if chance.random() < 0.9:
                records[number] = finished(number, scored, state=state)
            if records and chance.random() < 0.2:
                again = chance.choice(list(records))
                records[again] = finished(again, {step: chance.random() for step in range(2, 21, 2)})
            asked = {2: 0.5, 4: 0.5, 8: 0.5}
            warm = prunes(pruner, asked, list(records.values()), 14)
            study._replay.cache_clear()
            assert prunes(pruner, asked, list(records.values()), 14) == warm
    assert 20 < sum(answers) < len(answers) - 20


@pytest.mark.parametrize("pruner", RUNGS, ids=lambda pruner: pruner.name)
def test_an_earlier_trial_is_reported_to_a_rung_once_however_often_it_is_asked(pruner, monkeypatch):
    reported: list[int] = []
    usual = study._report
    monkeypatch.setattr(study, "_report", lambda trial, scored: reported.append(trial.number) or usual(trial, scored))
    study._replay.cache_clear()
    records = [finished(n, dict.fromkeys(range(2, 21, 2), 0.5 + n / 100)) for n in range(9)]
    for step in range(2, 20, 2):
        prunes(pruner, dict.fromkeys(range(2, step + 1, 2), 0.9), records)
    assert [reported.count(number) for number in range(9)] == [1] * 9
    records.append(finished(9, {2: 0.7, 20: 0.8}))
    prunes(pruner, {2: 0.9}, records)
    assert [reported.count(number) for number in range(8)] == [1] * 8 and reported[-2:] == [9, 10]


def test_wilcoxon_stops_a_trial_that_is_below_the_best_at_every_step():
    best = [finished(0, dict.fromkeys(range(2, 21, 2), 0.8))]
    assert prunes(Wilcoxon(), {2: 0.5, 4: 0.51, 6: 0.52, 8: 0.53}, best)
    assert not prunes(Wilcoxon(), {2: 0.5, 4: 0.51, 6: 0.52}, best), "three scores cannot be that certain"
    assert not prunes(Wilcoxon(), {2: 0.9, 4: 0.91, 6: 0.92, 8: 0.93}, best)


# Adapters


def test_a_rank_is_searched_only_where_adapters_are_trained():
    space = Space(target={"lora.rank": Integers(4, 32), "lora.alpha": LogRange(8.0, 64.0)})
    assert default_draws(small_sweep(space=space), BASELINE) == {}
    adapted = small_sweep(space=space, target_settings=replace(SETTINGS, lora=LoRA()))
    assert default_draws(adapted, BASELINE) == {"target.lora.alpha": 32.0, "target.lora.rank": 16}
    conductor, _ = conducted(replace(adapted, cells=(BASELINE,)))
    ranks = {record.values["target.lora.rank"] for record in conductor.records.values()}
    assert len(ranks) > 1 and all(isinstance(rank, int) for rank in ranks)


def test_of_cells_that_share_a_space_each_has_the_rank_of_its_own_adapters():
    ranks = {"lora.rank": Choice((4, 8, 16)), "dropout": Range(0.0, 0.5)}
    adapting = Cell(name="adapting", intermediates=(lab.NLI,), intermediate_settings=replace(SETTINGS, lora=LoRA()))
    sweep = small_sweep(cells=(BASELINE, ALONE, adapting), space=Space(intermediate=ranks, target=ranks))
    assert {cell.name: list(sweep.parameters(cell)) for cell in sweep.cells} == {
        "none": ["target.dropout"],
        "nli": ["intermediate.dropout", "target.dropout"],
        "adapting": ["intermediate.dropout", "intermediate.lora.rank", "target.dropout"],
    }
    conductor, _ = conducted(sweep)
    assert conductor.complete()
    values = {key.cell: record.values for key, record in conductor.records.items()}
    assert [cell for cell in values if "intermediate.lora.rank" in values[cell]] == ["adapting"]
    said = plan_text(plan(sweep))
    assert "target.lora.rank is searched in no cell: no stage that it speaks of trains adapters" in said
    assert "intermediate.lora.rank is searched in no cell" not in said
    wrong = replace(adapting, intermediate_settings=replace(SETTINGS, lora=LoRA(rank=5)))
    with pytest.raises(ValueError, match=r"intermediate settings are the first trial, so lora.rank must lie in"):
        small_sweep(cells=(BASELINE, wrong), space=Space(intermediate=ranks))
