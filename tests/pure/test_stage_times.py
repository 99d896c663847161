"""Claims about the times that a ledger tells: of the same work, of whole runs, and nothing that it does not know."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sweep.plan import plan
from sweep.records import Phase, State, TrialKey, TrialRecord
from sweep.search import NoPruning, Search
from sweep.stage_times import Measured, Pruned, measured
from tests.pure.small_sweep import ALONE, BASELINE, SETTINGS, small_sweep
from trainables.stages import StageKind

#: Text training and target training have as many steps, and take unequally long.
PLANNED = plan(small_sweep(cells=(BASELINE, ALONE), pretrain=None, align_images=None, intermediate_settings=SETTINGS))
TEXT, TARGET = (stage for _, stage in next(t for t in PLANNED.trials if t.key.cell == "nli").stages)
UNKNOWN = -1.0


def run(digest: str, seconds: float, *, elapsed: float = 0.0, executed: int = 20, **more: object) -> dict:
    return {
        **{"digest": digest, "kind": "train", "steps": 20, "steps_executed": executed, "reused": False},
        **{"seconds": seconds, "elapsed": elapsed, **more},
    }


def record(cell: str, number: int, *runs: dict, state: State = State.FINISHED, saved: int = 0) -> TrialRecord:
    """A search trial of as many stages as the cell has, whose digests are a, b, …"""
    stages = ("a", "b") if cell == "nli" else ("a",)
    key = TrialKey(cell=cell, phase=Phase.SEARCH, number=number)
    return TrialRecord(
        key=key, values={}, draws={}, seed=0, stages=stages, state=state, stage_runs=runs, steps_saved=saved
    )


def seconds_of(*records: TrialRecord, planned=PLANNED):
    return measured(records, planned).seconds_of(lambda stage: UNKNOWN)


def test_stages_of_as_many_steps_are_told_apart_by_their_tasks():
    of = seconds_of(
        record("none", 0, run("a", 8.0)),
        record("nli", 0, run("a", 30.0), run("b", 9.0)),
        record("nli", 1, run("a", 34.0)),
    )
    assert (of(TEXT), of(TARGET)) == (32.0, 8.5)


def test_only_what_was_run_whole_says_how_long_it_takes():
    resumed, reused = run("a", 0.5, executed=3), run("a", 99.0, executed=0, reused=True)
    assert seconds_of(record("none", 0, resumed), record("none", 1, reused))(TARGET) == UNKNOWN
    assert seconds_of(record("none", 0, run("a", 8.0)), record("none", 1, resumed))(TARGET) == 8.0


def test_other_work_takes_what_its_kind_and_steps_took_then_what_its_steps_took():
    of = seconds_of(record("none", 0, run("a", 8.0)), record("none", 1, run("a", 12.0, steps=40, executed=40)))
    assert of(TEXT) == 8.0
    portions = tuple(replace(portion, steps=100) for portion in TEXT.work.portions)
    work = replace(TEXT.work, settings=replace(SETTINGS, maximum_steps=100), portions=portions)
    longer = replace(TEXT, work=work)
    assert of(longer) == pytest.approx(100 * (8 / 20 + 12 / 40) / 2)
    assert of(replace(longer, kind=StageKind.PRETRAIN)) == UNKNOWN
    assert Measured().seconds_of(lambda stage: UNKNOWN)(TEXT) == UNKNOWN


def test_trials_of_a_cell_that_the_plan_has_not_still_tell_of_their_kind():
    assert seconds_of(record("gone", 0, run("a", 8.0)))(TARGET) == 8.0


def test_the_start_is_that_of_the_first_stage_and_the_pause_the_usual_one():
    found = measured(
        [
            record("nli", 0, run("a", 30.0, elapsed=50.0), run("b", 9.0, elapsed=59.5)),
            record("nli", 1, run("a", 30.0, elapsed=90.0), run("b", 9.0, elapsed=98.9)),
            record("nli", 2, run("a", 30.0, elapsed=99.0), run("b", 9.0, elapsed=150.0)),
        ],
        PLANNED,
    )
    assert found.start_seconds == 20.0
    assert found.between_seconds == pytest.approx(0.5)  # of 0.5, 0 and 42, which it waited
    rounded = record("nli", 0, run("a", 30.0, elapsed=50.0), run("b", 9.05, elapsed=59.0))
    assert measured([rounded], PLANNED).between_seconds == 0.0
    assert measured([record("nli", 0)], PLANNED) == Measured()


def test_pruning_is_counted_among_the_trials_that_may_be_pruned():
    records = [
        record("none", 0),
        record("none", 1, state=State.PRUNED, saved=10),
        record("none", 2, state=State.OPEN),
        record("nli", 1),
        record("nli", 2, state=State.PRUNED, saved=15),
        record("nli", 3),
    ]
    assert measured(records, PLANNED).pruned == Pruned(share=0.5, saved=0.625)
    never = plan(small_sweep(search=Search(trials=3, pruner=NoPruning())))
    assert measured(records, never).pruned == Pruned()
