"""What must hold of the weights that a stage keeps of steps before its last, and of their evaluation."""

from __future__ import annotations

from dataclasses import replace

import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file

from tests.torch_cpu import tiny
from trainables.catalogue.development import with_oracle
from trainables.catalogue.task import Role
from trainables.faults import Invalid
from trainables.inflight import LocalCheckpoints
from trainables.scores import CheckpointScores
from trainables.selectors import Selector
from trainables.settings import LoRA, Part, Schedule
from trainables.training.attempt import kept_weights
from trainables.training.loop import run_stage

CONSTANT = {"schedule": Schedule.CONSTANT, "evaluation_interval_steps": 4}


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def run(tmp_path, cache):
    count = iter(range(1000))

    def go(stage, parent=None, **more):
        output = tmp_path / f"out-{next(count)}"
        return run_stage(stage, parent=parent, output=output, cache=cache, **more), output

    return go


def keeping(stage, *steps):
    return replace(stage, work=replace(stage.work, kept_steps=steps))


def training(steps, **changes):
    return tiny.training(tiny.VISUAL, steps=steps, **CONSTANT, **changes)


@pytest.mark.parametrize("changes", [{}, {"frozen": (Part.WORD_EMBEDDINGS,)}, {"lora": LoRA(rank=4)}])
def test_what_is_kept_of_a_step_is_what_a_training_of_so_many_steps_puts_out(run, changes):
    _, shorter = run(training(8, **changes))
    _, longer = run(keeping(training(12, **changes), 4, 8))
    kept, short = load_file(kept_weights(longer, 8)), tiny.weights(shorter)
    assert len(kept) > 3
    for name, value in kept.items():
        prefix, _, rest = name.partition(".")
        file = "model.safetensors" if prefix == "trunk" else "extras.safetensors"
        assert torch.equal(value, short[f"{file}:{rest if prefix == 'trunk' else name}"]), name
    if "frozen" in changes:
        assert not [name for name in kept if "word_embeddings" in name]


def test_keeping_weights_changes_nothing_of_the_output_and_the_digest_says_that_they_are_there(run):
    stage = training(12)
    _, plain = run(stage)
    _, kept = run(keeping(stage, 4, 8))
    assert tiny.same(tiny.weights(plain), tiny.weights(kept))
    assert keeping(stage, 4, 8).digest != stage.digest
    assert keeping(stage).digest == stage.digest


def test_weights_kept_before_a_cancel_are_there_after_the_resume(run, tmp_path):
    stage = keeping(training(12), 4, 8)
    _, expected = run(stage)
    checkpoints = LocalCheckpoints(tmp_path / "running", interval_steps=100)
    asked = iter([False, True])
    first, _ = run(stage, checkpoints=checkpoints, cancelled=lambda: next(asked, False))
    assert first.was_cancelled and first.steps_executed == 5
    second, resumed = run(stage, checkpoints=checkpoints)
    assert second.resumed_from == 5
    for step in (4, 8):
        assert kept_weights(resumed, step).read_bytes() == kept_weights(expected, step).read_bytes()


def test_only_an_evaluated_step_before_the_last_can_be_kept():
    with pytest.raises(Invalid, match="kept_steps must be evaluated steps before the last, got \\[5, 12\\]"):
        keeping(training(12), 4, 5, 12)


def evaluated(run, task, selector, **changes):
    """(training outcome, its folder, evaluation outcome, its folder) of a training that kept two steps."""
    stage = keeping(training(12, **changes), 4, 8)
    trained, folder = run(stage)
    work = {"checkpoints": (4, 8), "selector": selector, "learned": tiny.VISUAL}
    outcome, scored = run(tiny.evaluation(task, stage.digest, **work), parent=folder)
    return trained, folder, outcome, scored


def test_every_checkpoint_and_their_mean_is_scored_as_a_training_that_ended_there_would_be(run):
    _, _, outcome, _ = evaluated(run, tiny.VISUAL, Selector.LAST_STEP)
    assert [one.steps for one in outcome.checkpoints] == [(4,), (4, 8, 12), (8,), (12,)]
    for steps in (4, 8, 12):
        stage = training(steps)
        _, folder = run(stage)
        alone, _ = run(tiny.evaluation(tiny.VISUAL, stage.digest), parent=folder)
        mine = next(one for one in outcome.checkpoints if one.steps == (steps,))
        assert [score.value for score in mine.scores] == [score.value for score in alone.scores]
        assert {score.step for score in mine.scores} == {steps}


@pytest.mark.parametrize("selector", [Selector.ENGLISH_DEV, Selector.LAST_STEP, Selector.AVERAGE])
def test_scores_and_answers_are_those_of_the_selectors_choice(run, selector):
    trained, _, outcome, scored = evaluated(run, tiny.VISUAL, selector)
    dev = {one.step: one.scores[0].value for one in trained.history}
    choice = {
        Selector.ENGLISH_DEV: (max((value, step) for step, value in dev.items())[1],),
        Selector.LAST_STEP: (12,),
        Selector.AVERAGE: (4, 8, 12),
    }[selector]
    mine: CheckpointScores = next(one for one in outcome.checkpoints if one.steps == choice)
    assert outcome.scores == mine.scores
    answers = pq.read_table(scored / "predictions.parquet").to_pylist()
    for score in outcome.scores:
        said = [row for row in answers if row["language"] == score.language]
        assert sum(row["gold"] == row["predicted"] for row in said) == score.correct


#: The lab's task as one whose publisher has development data in other languages.
DEVELOPED = replace(tiny.VISUAL, twin_of="xnli")


@pytest.mark.parametrize(("task", "split"), [(tiny.VISUAL, "oracle"), (DEVELOPED, "oracle_dev")])
def test_the_oracle_chooses_by_what_is_kept_for_it_and_is_refused_where_nothing_is(run, task, split):
    _, _, outcome, _ = evaluated(run, with_oracle(task), Selector.ORACLE)
    assert {score.split for score in outcome.scores if score.role is Role.ORACLE} == {split}
    single = [one for one in outcome.checkpoints if len(one.steps) == 1]
    seen = {
        one.steps: next(s.value for s in one.scores if s.role is Role.ORACLE and s.language == "de") for one in single
    }
    best = max(single, key=lambda one: (seen[one.steps], one.steps))
    assert outcome.scores == best.scores
    with pytest.raises(Invalid, match="it must have scores to choose by, got none of 4, 8, 12"):
        evaluated(run, task, Selector.ORACLE)


def test_where_it_chooses_by_development_data_all_of_the_test_is_answered_and_none_of_them(run):
    _, _, plain, _ = evaluated(run, DEVELOPED, Selector.LAST_STEP)
    _, _, outcome, scored = evaluated(run, with_oracle(DEVELOPED), Selector.LAST_STEP)
    assert [one for one in outcome.scores if one.role is Role.REPORT] == list(plain.scores)
    shown = [one for one in outcome.scores if one.role is Role.ORACLE]
    dev = tiny.VISUAL.split("dev")
    assert [(one.language, one.count) for one in shown] == [
        (code, dev.rows) for code in tiny.VISUAL.split("test").languages if code != "en"
    ]
    answers = pq.read_table(scored / "predictions.parquet")
    assert answers.num_rows == sum(one.count for one in plain.scores)
