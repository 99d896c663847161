"""Claims about any definition whatever: it plans and can be searched, or it is refused with a message."""

from __future__ import annotations

import json
import math
from dataclasses import replace

from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from search_spaces import Cell, CellRole, Choice, Integers, LogRange, Range, Simplex, Space
from search_spaces.space import SEARCHABLE
from sweep.plan import plan
from sweep.plan_text import plan_text
from sweep.points import search_trials
from sweep.records import Phase, State, TrialKey, TrialRecord
from sweep.search import (
    Budget,
    CmaEs,
    ExpectedGain,
    GaussianProcess,
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
from tests.examples import of_examples
from tests.pure.small_sweep import BASELINE, SETTINGS, selected, small_sweep
from trainables.catalogue import lab
from trainables.faults import Invalid
from trainables.gangs import GangKind, Gangs
from trainables.selectors import Selector
from trainables.settings import LoRA

ODD = st.sampled_from([None, "x", -1, 0, math.nan, math.inf, True, (), 1.5])
SMALL = st.integers(0, 9)
SHARE = st.floats(0, 1)
NUMBER = st.one_of(st.floats(1e-6, 0.5), SMALL, ODD)


def built(made, /, *arguments, **named):
    """A value, or its refusal told as a mark that the definition cannot be written."""
    return st.tuples(st.tuples(*arguments), st.fixed_dictionaries({}, optional=named)).map(
        lambda given: _made(made, *given)
    )


def _made(kind, arguments, named):
    try:
        return kind(*arguments, **named)
    except Invalid:
        return None
    except TypeError as error:
        if "required keyword-only" in str(error):  # Python's own message, to which `sweep.load` adds the right name
            return None
        raise


DOMAINS = st.one_of(
    built(LogRange, NUMBER, NUMBER),
    built(Range, NUMBER, NUMBER),
    built(Integers, SMALL, SMALL),
    built(Choice, st.lists(NUMBER, max_size=3).map(tuple)),
    ODD,
)
STAGE = st.dictionaries(st.one_of(st.sampled_from([*SEARCHABLE, "batch_size"]), ODD), DOMAINS, max_size=2)
SIMPLEX = st.one_of(st.just(Simplex()), built(Simplex, SHARE, SHARE, st.booleans()))
SPACES = st.one_of(
    st.just(Space()),
    st.just(Space(intermediate={"learning_rate": LogRange(1e-4, 1e-2)}, target={"dropout": Choice((0, 0.1, 0.3))})),
    built(Space, intermediate=STAGE, target=STAGE, shares=SIMPLEX),
    built(
        Space,
        target=STAGE,
        shares=SIMPLEX,
        overrides=st.dictionaries(st.sampled_from(["none", "mixed", "x"]), built(Space, target=STAGE), max_size=1),
    ),
)
SAMPLERS = st.one_of(
    built(Tpe, startup_trials=SMALL),
    built(CmaEs, startup_trials=SMALL, population=st.integers(0, 6), margin=st.booleans()),
    # Fitted after three trials at the earliest, which is all that is asked of it here: fitting it loads torch.
    built(GaussianProcess, startup_trials=st.one_of(st.integers(3, 9), ODD.filter(lambda odd: odd is not True))),
    st.just(RandomDraws()),
    built(Grid, points=st.integers(1, 3)),
    ODD,
)
PRUNERS = st.one_of(
    st.just(NoPruning()),
    built(Median, trials_before=SMALL, steps_before=SMALL),
    built(SuccessiveHalving, first_rung=st.integers(0, 30), reduction=SMALL),
    built(Hyperband, first_rung=st.integers(0, 30), reduction=SMALL),
    built(Wilcoxon, p=SHARE),
    ODD,
)
SEARCHES = st.one_of(
    built(
        Search,
        trials=st.integers(0, 5),
        fan_out=st.one_of(SMALL, built(ExpectedGain, settings=SMALL, fan_out=SMALL), ODD),
        seed=st.one_of(SMALL, ODD),
        sampler=SAMPLERS,
        pruner=PRUNERS,
    ),
    built(Search, trials=st.integers(1, 5), sampler=SAMPLERS),
    built(Search, trials=st.integers(1, 5), pruner=PRUNERS),
)
TASKS = st.lists(st.sampled_from([lab.NLI, lab.QQP, lab.SQUAD, lab.VISUAL_NLI]), max_size=3).map(tuple)
CELLS = st.lists(
    st.one_of(
        built(
            Cell, name=st.sampled_from(["none", "mixed", "a b"]), role=st.sampled_from(CellRole), intermediates=TASKS
        ),
        st.just(Cell(name="mixed", intermediates=(lab.NLI, lab.QQP))),
        st.just(Cell(name="alone", intermediates=(lab.NLI,))),
    ),
    max_size=2,
).map(lambda cells: (BASELINE, *cells))
STEPS = st.integers(1, 40)
STAGE_SETTINGS = st.builds(
    lambda steps, every, rate, lora: _made(
        lambda: replace(SETTINGS, maximum_steps=steps, evaluation_interval_steps=every, learning_rate=rate, lora=lora),
        (),
        {},
    ),
    STEPS,
    STEPS,
    st.floats(1e-5, 0.1),
    st.sampled_from([None, LoRA()]),
)
REHEARSAL = Gangs(kind=GangKind.REHEARSAL)
GANGS = st.one_of(
    built(
        Gangs,
        kind=st.one_of(st.sampled_from(GangKind), ODD),
        count=st.one_of(st.integers(1, 4), ODD),
        workers=st.one_of(st.sampled_from((1, 2, 3, 8)), ODD),
        threads=st.one_of(SMALL, ODD),
        gpus_per_worker=st.one_of(st.sampled_from((0, 0.5, 1, 1.5, 2)), ODD),
        cpus_per_worker=NUMBER,
        accelerator=st.one_of(st.just("L4"), ODD),
        elastic=st.one_of(st.booleans(), ODD),
        idle_seconds=NUMBER,
        gang_hours=NUMBER,
        node_hours=NUMBER,
        checkpoint_interval_steps=st.one_of(SMALL, ODD),
        patience_seconds=NUMBER,
        rehearsal_step_seconds=NUMBER,
    ),
    built(Gangs, workers=st.sampled_from((1, 2, 3)), gpus_per_worker=st.sampled_from((0, 1))),
    ODD,
)
FIELDS = {
    "gangs": GANGS,
    "cells": CELLS,
    "space": SPACES,
    "search": SEARCHES,
    "budget": st.one_of(
        built(Budget, optimiser_steps=st.floats(1, 5000), wall_clock_hours=NUMBER, gpu_hours=NUMBER), ODD
    ),
    "target_settings": STAGE_SETTINGS,
    "intermediate_settings": STAGE_SETTINGS,
    "pretrain": st.none(),
    "align_images": st.none(),
    "align_after_intermediate": st.booleans(),
    "confirmation_seeds": st.one_of(st.lists(SMALL, max_size=3).map(tuple), ODD),
    "selector": st.one_of(st.sampled_from(Selector), st.just("oracle"), ODD),
    "checkpoints": st.one_of(SMALL, ODD),
    "retrieval_layer": st.one_of(SMALL, ODD),
    "storage_limit_bytes": st.one_of(st.floats(1, 1e12), NUMBER),
}

SAMPLED = (Tpe(), GaussianProcess(startup_trials=3), CmaEs(margin=True), Grid(points=2), RandomDraws())
SOUND = {
    "gangs": st.just(REHEARSAL),
    "search": st.builds(Search, trials=st.integers(1, 4), sampler=st.sampled_from(SAMPLED)),
    "selector": st.sampled_from([selector for selector in Selector if selector is not Selector.ORACLE]),
    "checkpoints": st.integers(1, 4),
    "storage_limit_bytes": st.floats(1, 1e12),
}

#: A few fields at a time are odd: with all of them, next to nothing would plan.
DEFINITIONS = st.sets(st.sampled_from(sorted(FIELDS)), max_size=4).flatmap(
    lambda names: st.fixed_dictionaries(SOUND | {name: FIELDS[name] for name in sorted(names)})
)

reached = {"planned": 0, "refused": 0}


@of_examples(2.4, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(given=DEFINITIONS)
def check_that_a_definition_plans_or_is_refused(given):
    try:
        sweep = small_sweep(**given)
        planned = plan(sweep)
    except Invalid as refused:
        assert refused.faults and all(len(fault) > 10 for fault in refused.faults)
        reached["refused"] += 1
        return
    reached["planned"] += 1
    assert plan_text(planned)
    for cell in sweep.cells:
        records: list[TrialRecord] = []
        for number in range(min(3, search_trials(sweep, cell))):
            point = propose(sweep, cell, number, records)
            assert json.loads(json.dumps(point.values)) == point.values
            scored = tuple((step, selected(0.5)) for step in sweep.target_settings.evaluated_steps())
            should_prune(sweep, cell, number, scored[:-1], records)
            records.append(
                TrialRecord(
                    key=TrialKey(cell=cell.name, phase=Phase.SEARCH, number=number),
                    values=point.values,
                    draws=point.draws,
                    seed=0,
                    stages=(),
                    state=State.FINISHED,
                    scored=scored,
                    score=selected(0.5),
                )
            )


def test_any_definition_plans_and_can_be_searched_or_is_refused_with_a_message():
    check_that_a_definition_plans_or_is_refused()
    assert min(reached.values()) >= 10, f"the claim is about both, got {reached}"
