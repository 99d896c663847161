"""Claims about the stand-in for the stage runner: seeded, with the planted answer, resumable, broken on demand."""

from __future__ import annotations

import errno
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweep.paths import path_of
from sweep.points import default_values
from sweep.records import Phase
from sweep.selection_score import SelectionScore
from tests.pure.small_sweep import BASELINE, SETTINGS, small_sweep
from tests.ray_local.stage_paths import evaluation, path, task, training
from trainables.catalogue import lab, lab_twins
from trainables.on_disk import sha256_of
from trainables.rehearsal import BEST_LEARNING_RATE, JsonCheckpoints, best_shares, fit, run_stage, usefulness
from trainables.selectors import Selector
from trainables.settings import Visible
from trainables.stages import Portion


def rehearse(stages, folder, *, cancelled=lambda: False, interval=1000, heard=None):
    """Run a path in a folder; the outcome of its last stage."""
    parent, outcome = None, None
    for stage in stages:
        output, running = folder / stage.digest, folder / "running" / stage.digest
        output.mkdir(parents=True, exist_ok=True)
        running.mkdir(parents=True, exist_ok=True)
        outcome = run_stage(
            stage,
            parent=parent,
            output=output,
            cache=None,
            checkpoints=JsonCheckpoints(running, interval_steps=interval),
            report=heard.append if heard is not None else lambda progress: None,
            cancelled=cancelled,
            ranks=None,
        )
        parent = output
    return outcome


def accuracies(folder, *, first="text_nli", seeds=range(6)) -> dict[str, float]:
    """Mean accuracy per language over seeds."""
    found: dict[str, list[float]] = {}
    for seed in seeds:
        for score in rehearse(path(first=first, steps=400, seed=seed), folder).scores:
            if score.value is not None:
                found.setdefault(score.language, []).append(score.value)
    return {language: sum(values) / len(values) for language, values in found.items()}


def test_the_same_path_gives_the_same_files_and_scores(tmp_path):
    one, two = rehearse(path(), tmp_path / "one"), rehearse(path(), tmp_path / "two")
    assert one == two
    for stage in path()[:2]:
        names = ("one", "two")
        first, second = ((tmp_path / name / stage.digest / "rehearsal.json").read_bytes() for name in names)
        assert first == second


@given(learning_rate=st.floats(1e-7, 1.0))
def test_no_learning_rate_is_better_than_the_best_one(learning_rate):
    assert fit(learning_rate) <= fit(BEST_LEARNING_RATE) == 1.0


def test_text_inference_helps_and_shuffled_labels_do_not(tmp_path):
    helped, shuffled = accuracies(tmp_path / "a"), accuracies(tmp_path / "b", first="shuffled_nli")
    assert helped["en"] > shuffled["en"] + 0.02
    assert usefulness(task("shuffled_nli")) == 0.0


def test_languages_transfer_as_planted_and_the_unaligned_one_stays_at_chance(tmp_path):
    found = accuracies(tmp_path)
    assert found["en"] > found["de"] > found["sw"]
    assert abs(found["sw"] - 1 / 3) < 0.06


@pytest.mark.parametrize("target", [lab.VISUAL_NLI, lab_twins.QUESTIONS, lab_twins.POS, lab_twins.NER])
def test_scores_are_by_the_metric_that_decides_so_that_a_search_can_go_by_them(tmp_path, target):
    before = training("text_nli", "")
    trained = training("text_nli", before.digest)
    work = replace(trained.work, portions=(Portion(task=target, steps=20),))
    trained = replace(trained, work=work)
    evaluated = evaluation("text_nli", trained.digest)
    test = target.split("test")
    languages = ("xx", *(test.languages if test else ()))
    evaluated = replace(evaluated, work=replace(evaluated.work, task=target, languages=languages))
    heard = []
    outcome = rehearse((before, trained, evaluated), tmp_path, heard=heard)
    assert SelectionScore.of(target, heard[-1].scores) is not None
    assert {score.metric for score in outcome.scores} == {target.score_names[0]}


def test_the_best_shares_sum_to_one_and_follow_usefulness():
    tasks = (task("text_nli"), task("shuffled_nli"))
    assert best_shares(tasks) == {"text_nli": 1.0, "shuffled_nli": 0.0}


def test_a_score_counts_predictions_and_gold_is_equal_across_languages(tmp_path):
    stages = path()
    outcome = rehearse(stages, tmp_path)
    table = pq.read_table(tmp_path / stages[-1].digest / "predictions.parquet").to_pandas()
    for score in outcome.scores:
        if score.value is None:
            assert score.absent_reason == "task 'visual_nli' has no test split in 'vi'"
            continue
        rows = table[table.language == score.language]
        assert (len(rows), int((rows.gold == rows.predicted).sum())) == (score.count, score.correct)
    by_item = table.groupby("item_id").gold.nunique()
    assert (by_item == 1).all()


@given(stop=st.integers(0, 40), interval=st.integers(1, 50))
def test_a_stage_stopped_anywhere_ends_as_if_it_had_not_been(tmp_path_factory, stop, interval):
    folder = tmp_path_factory.mktemp("stopped")
    (stage,) = (training("text_nli", "", steps=40),)
    asked = iter(range(1000))
    first = rehearse((stage,), folder / "in two", cancelled=lambda: next(asked) >= stop, interval=interval)
    assert first.was_cancelled is (stop < 40)
    heard: list = []
    second = rehearse((stage,), folder / "in two", interval=interval, heard=heard)
    whole = rehearse((stage,), folder / "at once")
    assert second.history == whole.history == tuple(heard)
    assert second.resumed_from + second.steps_executed == 40


def test_a_task_named_so_fails_and_another_exhausts_the_memory(tmp_path):
    with pytest.raises(RuntimeError, match="task 'this_fails' fails, as its name says"):
        rehearse((training("this_fails", ""),), tmp_path)
    with pytest.raises(MemoryError, match="exhausts the memory"):
        rehearse((training("this_exhausts", ""),), tmp_path)


@pytest.mark.parametrize("of_disk", [errno.EIO, errno.ENOENT])
def test_a_checkpoint_that_a_mount_does_not_give_just_now_is_not_passed_over_for_an_earlier_one(
    tmp_path, monkeypatch, of_disk
):
    kept = JsonCheckpoints(tmp_path, interval_steps=10)
    for step in (10, 20):
        kept.save(step, ())

    def broken(path: Path) -> str:
        if "step-000000020" in str(path):
            raise OSError(of_disk, "planted")
        return sha256_of(path)

    monkeypatch.setattr("trainables.inflight.sha256_of", broken)
    if of_disk == errno.ENOENT:
        assert kept.load() == (10, ())
    else:
        with pytest.raises(OSError, match="planted"):
            kept.load()
    monkeypatch.undo()
    assert kept.load() == (20, ())


def test_an_image_only_view_stays_at_chance(tmp_path):
    *trained, evaluated = path(steps=400)
    blind = replace(evaluated, work=replace(evaluated.work, visible=Visible.IMAGE_ONLY))
    english = next(score for score in rehearse((*trained, blind), tmp_path).scores if score.language == "en")
    assert abs(english.value - 1 / 3) < 0.12


def test_checkpoints_whose_steps_have_different_lengths_are_averaged_in_their_order(tmp_path):
    sweep = small_sweep(selector=Selector.AVERAGE, target_settings=replace(SETTINGS, maximum_steps=110))
    sweep = replace(sweep, target_settings=replace(sweep.target_settings, evaluation_interval_steps=50))
    stages = path_of(sweep, BASELINE, default_values(sweep, BASELINE), phase=Phase.CONFIRMATION, seed=1)
    assert stages[-1].work.checkpoints == (50, 100)
    outcome = rehearse(stages, tmp_path)
    assert [one.steps for one in outcome.checkpoints] == [(50,), (50, 100, 110), (100,), (110,)]
