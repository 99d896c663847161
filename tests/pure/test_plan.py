"""Claims about plans: they count what a sweep will do, share by share, and load nothing heavy for it."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from search_spaces import Cell, CellRole, LogRange, Space
from sweep.paths import path_of
from sweep.plan import parameters, plan
from sweep.plan_text import plan_text
from sweep.points import default_values
from sweep.presets import PRESETS
from sweep.record_definition import described
from sweep.records import Phase
from sweep.search import Budget, NoPruning, Search
from sweep.suite import Suite, suite_text
from tests.pure.small_sweep import ALONE, BASELINE, FIXED, MATCHED, MIXED, SETTINGS, small_sweep
from trainables.catalogue import lab
from trainables.catalogue.encoder import LocalEncoder
from trainables.catalogue.task import Role
from trainables.gangs import Gangs
from trainables.settings import Precision, Visible
from trainables.stages import Evaluation, StageKind, Training, refuse_broken

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests/fixtures/plan.txt"


def path(sweep, cell, phase=Phase.SEARCH, seed=0, **values):
    return path_of(sweep, cell, default_values(sweep, cell) | values, phase=phase, seed=seed)


def kinds(stages):
    return [str(stage.kind) for stage in stages]


# Counting


def test_the_counts_are_those_of_a_sweep_counted_by_hand():
    found = plan(small_sweep())
    # pretrain once (100); align once per seed 0, 1, 2 (30 each)
    shared = 100 + 3 * 30
    # search targets, confirmation targets (20 each)
    baseline = 3 * 20 + 2 * 20
    # trials 0 and 1 share an intermediate setting (40), trial 2 has another; each confirmation seed has its own
    transfer = 2 * 40 + 3 * 20 + 2 * 40 + 2 * 20
    assert [cell.steps for cell in found.cells] == [shared + baseline, transfer, transfer]
    assert found.steps == shared + baseline + 2 * transfer == 810
    assert found.stages == (1 + 3) + (3 + 2 + 2) + 2 * (2 + 3 + 2 + 2 + 2)
    alone = 5 * (100 + 30 + 20)
    assert found.steps_without_sharing == alone + 2 * (alone + 5 * 40)
    assert found.stages_without_sharing == (3 * 3 + 2 * 4) + 2 * (3 * 4 + 2 * 5)
    assert found.reuse_factor == pytest.approx(2650 / 810)


def test_every_cell_gets_the_same_trials_and_seeds():
    found = plan(small_sweep())
    assert {(cell.search_trials, cell.confirmation_trials) for cell in found.cells} == {(3, 2)}
    for cell in found.cells:
        seeds = [trial.seed for trial in found.trials if trial.key.cell == cell.cell.name]
        assert seeds == [0, 0, 0, 1, 2]


@pytest.mark.parametrize(("fan_out", "settings"), [(1, 4), (2, 2), (3, 2), (4, 1), (9, 1)])
def test_a_larger_fan_out_trains_fewer_intermediate_settings(fan_out, settings):
    sweep = small_sweep(cells=(BASELINE, ALONE), search=Search(trials=4, fan_out=fan_out))
    _, transfer = plan(sweep).cells
    assert transfer.steps == settings * 40 + 4 * 20 + 2 * (40 + 20)


def test_what_is_not_searched_is_trained_once_for_all_trials_of_a_cell():
    space = Space(target={"learning_rate": LogRange(1e-4, 1e-2)})
    sweep = small_sweep(cells=(BASELINE, ALONE), space=space, search=Search(trials=4))
    _, transfer = plan(sweep).cells
    assert transfer.steps == 40 + 4 * 20 + 2 * (40 + 20)
    limited = replace(sweep, budget=Budget(optimiser_steps=plan(sweep).steps))
    assert [cell.search_trials for cell in plan(limited).cells] == [4, 4]


def test_a_sweep_that_shares_nothing_has_a_reuse_factor_of_one():
    sweep = small_sweep(
        cells=(BASELINE,), search=Search(trials=1), pretrain=None, align_images=None, confirmation_seeds=(1,)
    )
    assert plan(sweep).reuse_factor == 1.0


def test_equal_sweeps_have_equal_plans_and_more_gangs_only_shorten_them():
    assert plan(small_sweep()) == plan(small_sweep())
    one, four = plan(small_sweep()), plan(small_sweep(gangs=replace(small_sweep().gangs, count=4)))
    assert (one.steps, one.stages) == (four.steps, four.stages)
    assert one.seconds / 4 < four.seconds < one.seconds


def test_the_size_of_a_model_directory_is_read_from_its_config(tmp_path):
    (tmp_path / "config.json").write_text('{"num_hidden_layers": 2, "hidden_size": 10, "intermediate_size": 30}')
    encoder = replace(lab.ENCODER, text=LocalEncoder(path=str(tmp_path)))
    assert parameters(encoder) == 2 * (4 * 100 + 2 * 300)
    assert parameters(replace(encoder, text=LocalEncoder(path="nowhere"))) == 12 * (4 * 768**2 + 8 * 768**2)


# Paths


def test_a_path_is_pretrain_align_intermediate_target_and_for_a_confirmation_the_evaluation():
    sweep = small_sweep()
    assert kinds(path(sweep, BASELINE)) == ["pretrain", "align_images", "train"]
    assert kinds(path(sweep, ALONE)) == ["pretrain", "align_images", "train", "train"]
    confirmation = path(sweep, ALONE, Phase.CONFIRMATION, seed=1)
    assert kinds(confirmation) == ["pretrain", "align_images", "train", "train", "evaluate"]
    after = small_sweep(align_after_intermediate=True)
    assert kinds(path(after, ALONE)) == ["pretrain", "train", "align_images", "train"]
    for stages in (path(sweep, BASELINE), confirmation, path(after, ALONE)):
        refuse_broken(stages)


def test_no_search_path_touches_a_split_that_is_reported():
    for cell in (BASELINE, ALONE, MIXED, FIXED):
        sweep = small_sweep(cells=(BASELINE, ALONE, MIXED, FIXED))
        assert not any(isinstance(stage.work, Evaluation) for stage in path(sweep, cell))
        evaluation = path(sweep, cell, Phase.CONFIRMATION, seed=1)[-1].work
        assert (evaluation.split, evaluation.languages, evaluation.role) == ("test", lab.LANGUAGES, Role.REPORT)


def test_only_pretraining_keeps_its_seed_in_a_confirmation():
    sweep = small_sweep()
    search, confirmation = path(sweep, ALONE), path(sweep, ALONE, Phase.CONFIRMATION, seed=7)
    assert [stage.seed for stage in search] == [0, 0, 0, 0]
    assert [stage.seed for stage in confirmation] == [0, 7, 7, 7, 7]
    assert search[0].digest == confirmation[0].digest
    assert not {stage.digest for stage in search[1:]} & {stage.digest for stage in confirmation}


def test_shares_become_whole_steps_of_the_intermediate_stage():
    stage = path(small_sweep(cells=(BASELINE, FIXED)), FIXED)[2]
    assert [(portion.task.name, portion.steps) for portion in stage.work.portions] == [("lab_nli", 10), ("lab_qqp", 30)]


def test_values_reach_their_stage():
    values = {"intermediate.learning_rate": 0.002, "target.learning_rate": 0.003}
    stages = path(small_sweep(), ALONE, **values)
    assert [stage.work.settings.learning_rate for stage in stages] == [1e-3, 1e-3, 0.002, 0.003]


def test_a_compute_matched_baseline_trains_the_target_for_the_steps_of_both_stages():
    sweep = small_sweep(cells=(BASELINE, MATCHED))
    assert [path(sweep, cell)[-1].steps for cell in sweep.cells] == [20, 60]


def test_a_compute_matched_baseline_trains_as_long_as_cells_with_settings_of_their_own():
    own = replace(ALONE, intermediate_settings=replace(SETTINGS, maximum_steps=70))
    sweep = small_sweep(cells=(BASELINE, own, MATCHED), intermediate_settings=None)
    assert path(sweep, BASELINE)[-1].digest != path(sweep, MATCHED)[-1].digest
    assert path(sweep, MATCHED)[-1].steps == 20 + 70


def test_a_blind_cell_is_blind_in_training_and_in_its_evaluation():
    blind = Cell(name="blind", role=CellRole.HYPOTHESIS_ONLY)
    *_, target, evaluation = path(small_sweep(cells=(BASELINE, blind)), blind, Phase.CONFIRMATION, seed=1)
    assert target.work.settings.visible is evaluation.work.visible is Visible.HYPOTHESIS_ONLY


def test_a_stage_of_equal_settings_is_one_stage_whatever_its_part_in_a_path():
    sweep = small_sweep(pretrain=None, align_images=None, intermediate_settings=SETTINGS, cells=(BASELINE, ALONE))
    as_target = small_sweep(target=lab.NLI, pretrain=None, align_images=None, cells=(BASELINE,))
    assert path(sweep, ALONE)[0].digest == path(as_target, BASELINE)[0].digest


def test_auto_precision_and_the_format_it_became_are_one_stage():
    (auto,) = (small_sweep(target_settings=replace(SETTINGS, precision=Precision.AUTO)),)
    became = Precision(path(auto, BASELINE)[-1].shape.precision)
    stated = small_sweep(target_settings=replace(SETTINGS, precision=became))
    assert path(auto, BASELINE)[-1].digest == path(stated, BASELINE)[-1].digest
    work = path(auto, BASELINE)[-1].work
    assert isinstance(work, Training) and work.settings.precision is became


def test_the_count_of_gangs_is_part_of_no_digest_and_their_shape_is():
    digests = {
        path(small_sweep(gangs=gangs), ALONE)[-1].digest
        for gangs in (Gangs(), Gangs(count=2), Gangs(threads=2), Gangs(workers=2))
    }
    assert len(digests) == 3


# The text


def test_the_text_of_a_plan_is_the_golden_one():
    assert plan_text(plan(small_sweep())) + "\n" == GOLDEN.read_text()


def test_a_plan_without_pruning_does_not_speak_of_it():
    sweep = small_sweep(search=replace(small_sweep().search, pruner=NoPruning()))
    assert "pruning" not in plan_text(plan(sweep)) and "pruning" in plan_text(plan(small_sweep()))


def test_a_stated_share_that_comes_to_no_step_is_told_by_plan_suite_and_table():
    def cell(name: str, small: float) -> Cell:
        return replace(FIXED, name=name, shares=(("lab_nli", 1 - small), ("lab_qqp", small)))

    few, told = cell("few", 0.001), "of 40 intermediate steps none falls to lab_qqp (share 0.001)"
    longer = replace(cell("longer", 0.02), intermediate_settings=replace(SETTINGS, maximum_steps=4_000))
    sweep = small_sweep(name="mine-small", cells=(BASELINE, ALONE, MIXED, FIXED, few, longer))
    planned = plan(sweep)
    assert [line for line in plan_text(planned).splitlines() if "falls to" in line] == [f"note     few: {told}"]
    assert f"note     few: {told}" in suite_text(Suite(name="mine", sweeps=(sweep,)), (planned,), {}).splitlines()
    remarks = {
        cell["name"]: cell["remark"] for cell in described(sweep, {}, {"few": "data: old", "none": "x"})["cells"]
    }
    assert remarks == {"none": "x", "nli": "", "nli+qqp": "", "fixed": "", "few": f"data: old; {told}", "longer": ""}


def test_the_lab_plan_has_eight_cells_and_no_line_wider_than_a_terminal():
    text = plan_text(plan(PRESETS["lab"]()))
    assert len(PRESETS["lab"]().cells) == 8
    assert max(len(line) for line in text.splitlines()) <= 120
    assert "4 shares" in text


def test_planning_the_lab_loads_no_heavy_library():
    code = (
        "import sys; from sweep.cli import main; assert main(['plan', 'lab']) == 0;"
        "heavy = {'torch', 'ray', 'optuna', 'transformers', 'pyarrow', 'rich', 'tensorboard', 'sklearn'};"
        "print('loaded:', sorted(heavy & set(sys.modules)))"
    )
    said = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert said.startswith("sweep lab: target lab_visual_nli, encoder lab_small")
    assert said.endswith("loaded: []\n")


def test_a_target_stage_is_always_the_last_that_trains():
    for cell in (BASELINE, ALONE, MIXED):
        stages = path(small_sweep(), cell, Phase.CONFIRMATION, seed=1)
        last = [stage for stage in stages if isinstance(stage.work, Training)][-1]
        assert last.kind is StageKind.TRAIN and last.tasks == (lab.VISUAL_NLI,)
