"""Claims about the search: what is tried and stopped follows from the cell's own earlier trials alone."""

from __future__ import annotations

import hashlib
import json
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import FloatDistribution
from optuna.samplers._tpe.sampler import default_gamma
from optuna.trial import TrialState

from search_spaces import Choice, LogRange, Range, Space
from sweep import study
from sweep.points import default_values
from sweep.records import Phase, State, TrialKey, TrialRecord
from sweep.search import Median, NoPruning, RandomDraws, Search, Tpe
from sweep.selection_score import SelectionScore
from sweep.study import finished_study, propose, should_prune, winner
from tests.examples import of_examples
from tests.pure.small_sweep import ALONE, BASELINE, MATCHED, MIXED, selected, small_sweep
from trainables.catalogue import lab
from trainables.catalogue.task import Role
from trainables.scores import Score

ROOT = Path(__file__).parents[2]
NAN = float("nan")
SPACE = Space(
    intermediate={"learning_rate": LogRange(1e-4, 1e-2), "weight_decay": Range(0.0, 0.1)},
    target={"learning_rate": LogRange(1e-4, 1e-2), "dropout": Choice((0.0, 0.1, 0.3))},
)
SWEEP = small_sweep(space=SPACE, search=Search(trials=9, fan_out=2, sampler=Tpe(startup_trials=3)))


def record(number: int, cell=MIXED, *, state=State.FINISHED, score=None, scored=(), draws=None, phase=Phase.SEARCH):
    return TrialRecord(
        key=TrialKey(cell=cell.name, phase=phase, number=number),
        values={},
        draws=draws or {},
        seed=0,
        stages=(),
        state=state,
        score=None if score is None else selected(score),
        scored=chosen(scored),
    )


def chosen(scored):
    return tuple((step, selected(value)) for step, value in scored)


def hashed(*parts: object) -> float:
    """A number from 0 to 1 that stands for the score of a point."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:4]) / 2**32


def history(sweep=SWEEP, cell=MIXED, count=9, score=lambda draws: hashed(sorted(draws.items()))):
    """The records of a cell whose trials were proposed and finished one after the other."""
    records: list[TrialRecord] = []
    for number in range(count):
        draws = propose(sweep, cell, number, records).draws
        value = score(draws)
        records.append(record(number, cell, draws=draws, score=value, scored=((10, value / 2), (20, value))))
    return records


HISTORY = history()


# What is tried


@pytest.mark.parametrize("cell", [BASELINE, ALONE, MIXED])
def test_trial_zero_is_the_default_configuration(cell):
    proposal = propose(SWEEP, cell, 0, [])
    assert proposal.draws == SPACE.default_draws(cell, SWEEP.intermediate_settings, SWEEP.target_settings)
    assert proposal.values == default_values(SWEEP, cell)


def test_trial_zero_is_the_default_also_where_optuna_would_fall_back_on_a_random_one():
    sweep = replace(SWEEP, space=Space())
    assert propose(sweep, MIXED, 0, []).values == {"share.lab_nli": 0.5, "share.lab_qqp": 0.5}
    assert propose(sweep, BASELINE, 0, []).values == propose(sweep, BASELINE, 1, [record(0, BASELINE)]).values == {}


def test_every_draw_lies_in_its_domain():
    for entry in HISTORY:
        for name, domain in SWEEP.parameters(MIXED).items():
            assert entry.draws[name] in domain, name


def test_trials_differ_in_what_the_target_draws():
    rates = [entry.draws["target.learning_rate"] for entry in HISTORY]
    assert len(set(rates)) == len(rates)


def test_a_fan_out_group_repeats_the_intermediate_draws_exactly():
    for fan_out in (2, 3):
        sweep = replace(SWEEP, search=replace(SWEEP.search, fan_out=fan_out))
        records = history(sweep, count=6)
        settings = [
            {name: draw for name, draw in entry.draws.items() if not name.startswith("target.")} for entry in records
        ]
        for number, setting in enumerate(settings):
            assert setting == settings[number - number % fan_out]
        assert len({str(setting) for setting in settings}) == 6 // fan_out


def test_a_group_repeats_the_draws_of_its_first_trial_even_if_that_one_failed():
    failed = [*HISTORY[:2], replace(HISTORY[2], state=State.FAILED, score=None, scored=())]
    first, second = failed[2].draws, propose(SWEEP, MIXED, 3, failed).draws
    assert first["intermediate.learning_rate"] == second["intermediate.learning_rate"]
    assert first["share.lab_nli"] == second["share.lab_nli"]


@of_examples(0.3)
@given(data=st.data(), number=st.integers(0, 8))
def test_a_proposal_depends_on_no_order_no_other_cell_no_later_trial_and_no_confirmation(data, number):
    foreign = [
        record(0, ALONE, draws={"target.learning_rate": 1e-3}, score=0.9),
        *HISTORY[number:],
        record(0, MIXED, phase=Phase.CONFIRMATION, draws=HISTORY[0].draws, score=1.0),
    ]
    strangers = data.draw(st.sets(st.integers(0, len(foreign) - 1)))
    seen = data.draw(st.permutations([*HISTORY[:number], *(foreign[place] for place in strangers)]))
    assert propose(SWEEP, MIXED, number, seen).draws == HISTORY[number].draws


def test_the_sampler_learns_from_the_cells_earlier_trials():
    other = [replace(entry, score=selected(1 - entry.score)) for entry in HISTORY[:8]]
    assert propose(SWEEP, MIXED, 8, other).draws != HISTORY[8].draws
    assert propose(SWEEP, MIXED, 8, HISTORY[:6]).draws != HISTORY[8].draws


def test_the_sampler_is_seeded_by_sweep_seed_cell_and_number():
    def drawn(sweep, cell=BASELINE, number=1):
        return propose(sweep, cell, number, [record(0, cell, draws={})]).draws["target.learning_rate"]

    twin = replace(ALONE, name="twin")
    values = [
        drawn(SWEEP),
        drawn(replace(SWEEP, name="other")),
        drawn(replace(SWEEP, search=replace(SWEEP.search, seed=7))),
        drawn(SWEEP, replace(BASELINE, name="twin")),
        drawn(SWEEP, BASELINE, 2),
    ]
    assert len(set(values)) == len(values)
    assert values[0] == drawn(replace(SWEEP, gangs=replace(SWEEP.gangs, count=5), cells=(twin, BASELINE)))


def test_the_search_warns_of_nothing_that_a_user_could_not_change(recwarn):
    history(count=3)
    assert [str(warning.message) for warning in recwarn] == []


def test_another_process_proposes_the_same():
    code = (
        "import json; from tests.libraries.test_study import history;"
        "print(json.dumps([entry.draws for entry in history(count=5)]))"
    )
    said = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert json.loads(said) == [entry.draws for entry in HISTORY[:5]]


def test_the_search_finds_a_better_point_than_a_bad_default():
    sweep = replace(SWEEP, search=replace(SWEEP.search, fan_out=1), cells=(BASELINE,))
    records = history(sweep, BASELINE, 12, score=lambda draws: 1 - abs(draws["target.learning_rate"] - 5e-3))
    best = winner(BASELINE, records)
    assert best is not None and best.score > records[0].score


# Scores that are no scores


def test_a_score_that_is_no_number_is_told_as_a_failure_and_never_as_a_zero():
    below = [replace(entry, score=selected(entry.score - 1)) for entry in HISTORY[:6]]  # a zero would be the best
    for odd in (NAN, None, float("inf")):
        broken = [*below[:5], replace(below[5], score=None if odd is None else selected(odd), scored=())]
        failed = [*below[:5], replace(below[5], state=State.FAILED, score=None, scored=())]
        zero = [*below[:5], replace(below[5], score=selected(0.0))]
        assert propose(SWEEP, MIXED, 6, broken) == propose(SWEEP, MIXED, 6, failed)
        assert propose(SWEEP, MIXED, 6, broken) != propose(SWEEP, MIXED, 6, zero)
        for shown in (broken, failed):
            told = finished_study(SWEEP, MIXED, shown).trials[5]
            assert told.state is TrialState.FAIL and told.value is None


def test_a_failed_trial_teaches_the_sampler_that_it_is_worse_than_all_others_whatever_it_scored_before():
    failed = [*HISTORY[:5], replace(HISTORY[5], state=State.FAILED, score=selected(0.99))]
    worst = min(entry.score for entry in HISTORY[:5])
    as_worst = [*HISTORY[:5], replace(HISTORY[5], score=selected(worst - 0.1))]
    assert propose(SWEEP, MIXED, 6, failed) == propose(SWEEP, MIXED, 6, as_worst)
    assert propose(SWEEP, MIXED, 6, failed) != propose(SWEEP, MIXED, 6, HISTORY[:5])


def test_failures_teach_nothing_where_no_trial_has_a_score_and_where_they_lie_outside_an_edited_space():
    lost = [replace(entry, state=State.FAILED, score=None, scored=()) for entry in HISTORY[:6]]
    assert propose(SWEEP, MIXED, 6, lost) == propose(SWEEP, MIXED, 6, lost[:1])
    outside = replace(HISTORY[5], state=State.FAILED, draws=HISTORY[5].draws | {"target.learning_rate": 1.0})
    assert propose(SWEEP, MIXED, 6, [*HISTORY[:5], outside]) == propose(SWEEP, MIXED, 6, HISTORY[:5])


def test_the_estimator_never_takes_a_failure_for_one_of_its_best():
    draws = {"target.learning_rate": 1e-3}
    names = {"target.learning_rate": FloatDistribution(1e-4, 1e-2)}
    for scored, failures in ((1, 30), (2, 30), (5, 3)):
        records = [record(n, draws=draws, score=0.5) for n in range(scored)]
        records += [record(scored + n, draws=draws, state=State.FAILED) for n in range(failures)]
        told = study._study(records, names, Tpe()).trials
        taught = [trial for trial in told if trial.state is not TrialState.FAIL]
        assert default_gamma(len(taught)) <= scored and len(taught) == scored + min(failures, 9 * scored)
        assert taught[-1].number == scored + failures - 1, "the latest are told"
        of_pruner = study._study(records, names, RandomDraws()).trials
        assert [trial.state for trial in of_pruner].count(TrialState.FAIL) == failures


# Who wins


def test_the_best_score_wins_and_of_equals_the_first():
    records = [record(2, score=0.7), record(0, score=0.5), record(3, score=0.7), record(1, score=0.6)]
    assert winner(MIXED, records).key.number == 2


def test_only_finished_search_trials_of_the_cell_with_a_number_for_a_score_can_win():
    losers = [
        record(1, score=0.9, state=State.PRUNED),
        record(2, score=0.9, state=State.FAILED),
        record(3, score=0.9, state=State.OPEN),
        record(4, score=NAN),
        record(5, score=None),
        record(0, ALONE, score=0.9),
        record(0, score=0.9, phase=Phase.CONFIRMATION),
    ]
    assert winner(MIXED, losers) is None
    assert winner(MIXED, [*losers, record(6, score=0.1)]).key.number == 6
    assert winner(MIXED, [record(0, score=NAN), record(1, score=0.1), record(2, score=NAN)]).key.number == 1


# What is stopped


def finished(number: int, at_10: float, cell=ALONE, **more) -> TrialRecord:
    return record(number, cell, score=at_10, scored=((10, at_10), (20, at_10)), **more)


TWO = (finished(0, 0.5), finished(1, 0.6))


def prunes(sweep=SWEEP, cell=ALONE, *, number=5, scored=((10, 0.4),), records=TWO):
    return should_prune(sweep, cell, number, chosen(scored), records)


def test_a_trial_below_the_median_is_stopped_and_one_above_goes_on():
    assert prunes()
    assert not prunes(scored=((10, 0.56),))
    assert prunes(scored=((10, 0.54),))


def test_a_trial_is_never_stopped_at_its_last_step():
    assert not prunes(scored=((10, 0.4), (20, 0.4)))
    assert not prunes(scored=())
    matched = [finished(0, 0.5, MATCHED), finished(1, 0.6, MATCHED)]
    sweep = replace(SWEEP, cells=(BASELINE, MATCHED))
    late = [replace(entry, scored=chosen(((30, 0.5), (60, 0.5)))) for entry in matched]
    # A compute-matched target runs for 60 steps: 30 is not its last one.
    assert prunes(sweep, MATCHED, scored=((30, 0.1),), records=late)
    assert not prunes(sweep, MATCHED, scored=((60, 0.1),), records=late)


def test_pruning_compares_only_with_finished_trials_of_the_cell_under_a_lower_number():
    good = finished(1, 0.6)
    assert prunes(records=(finished(0, 0.5), good))
    for stranger in (
        finished(6, 0.6),
        finished(1, 0.6, BASELINE),
        finished(1, 0.6, state=State.OPEN),
        finished(1, 0.6, state=State.PRUNED),
        finished(1, 0.6, state=State.FAILED),
        finished(1, 0.6, phase=Phase.CONFIRMATION),
    ):
        assert not prunes(records=(finished(0, 0.5), stranger)), stranger


def test_pruning_waits_for_as_many_finished_trials_and_steps_as_stated():
    wait = replace(SWEEP, search=replace(SWEEP.search, pruner=Median(trials_before=3)))
    assert not prunes(wait)
    assert prunes(wait, records=(finished(0, 0.5), finished(1, 0.6), finished(2, 0.6)))
    late = replace(SWEEP, search=replace(SWEEP.search, pruner=Median(steps_before=10)))
    assert not prunes(late)
    assert prunes(replace(SWEEP, search=replace(SWEEP.search, pruner=Median(steps_before=9))))


def test_without_a_pruner_nothing_is_stopped():
    assert not prunes(replace(SWEEP, search=replace(SWEEP.search, pruner=NoPruning())))


# Invariant 1: what the search may see


def score(**changes) -> Score:
    given = {"task": lab.VISUAL_NLI.name, "language": "en", "split": "dev", "role": Role.SELECT, "value": 0.5}
    return Score(**(given | {"metric": "accuracy", "correct": 1, "count": 2, "step": 10} | changes))


def test_the_selection_score_is_the_targets_in_english_whatever_other_tasks_score():
    assert SelectionScore.of(SWEEP.target, [score(value=0.5)]) == 0.5
    assert SelectionScore.of(SWEEP.target, [score(value=0.5), score(task="lab_nli", value=0.9, language="th")]) == 0.5


def test_no_score_of_the_target_is_no_number():
    assert SelectionScore.of(SWEEP.target, []) is None
    assert SelectionScore.of(SWEEP.target, [score(task="lab_nli")]) is None
    assert SelectionScore.of(SWEEP.target, [score(value=None)]) is None


@pytest.mark.parametrize(
    "forbidden",
    [
        {"role": Role.REPORT},
        {"role": Role.ORACLE},
        {"role": Role.FIT},
        {"split": "test"},
        {"language": "de"},
        {"role": Role.REPORT, "split": "test", "language": "sw"},
    ],
    ids=str,
)
def test_a_reported_score_or_a_target_language_cannot_reach_the_search(forbidden):
    with pytest.raises(ValueError, match="only development scores of role 'select' may reach the search, got role"):
        SelectionScore.of(SWEEP.target, [score(), score(**forbidden)])


def test_the_search_takes_no_number_of_which_nobody_knows_the_role():
    with pytest.raises(TypeError, match="made of scores of role 'select'"):
        SelectionScore(0.9)
    with pytest.raises(TypeError, match="the search may be handed selection scores alone"):
        propose(SWEEP, MIXED, 1, [replace(HISTORY[0], score=0.9)])
    with pytest.raises(TypeError, match="selection scores alone"):
        should_prune(SWEEP, ALONE, 5, ((10, 0.4),), TWO)
    with pytest.raises(TypeError, match="selection scores alone"):
        winner(MIXED, [replace(HISTORY[0], scored=((10, 0.4),))])
    with pytest.raises(ValueError, match="the ledger has one of role 'oracle'"):
        SelectionScore.recorded({"score": 0.9, "role": "oracle"})
    assert SelectionScore.recorded({"score": 0.9, "role": "select"}) == 0.9


def test_a_selection_score_is_the_same_number_in_json_and_in_another_process():
    score = selected(0.1 + 0.2)
    assert json.loads(json.dumps(score)) == score == pickle.loads(pickle.dumps(score))
    assert type(pickle.loads(pickle.dumps(score))) is SelectionScore
