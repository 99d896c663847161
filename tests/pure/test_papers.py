"""Claims about the studies of the literature as sweeps: what they share, what they cost, and that they plan offline."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sweep.cli import main
from sweep.disk import disk_need
from sweep.load import Unreadable, load
from sweep.paths import path_of
from sweep.plan import default_values, plan
from sweep.presets import PRESETS, SUITES
from sweep.records import Phase
from sweep.suite import Suite, counted
from tests.pure.small_sweep import small_sweep
from trainables.catalogue.intermediate import INTERMEDIATE
from trainables.catalogue.xtreme import TARGETS
from trainables.data import places
from trainables.faults import Invalid
from trainables.selectors import Selector
from trainables.stages import Training


@pytest.fixture(autouse=True)
def nothing_here(tmp_path, monkeypatch):
    """No mirror folder, no hub cache, no way out."""
    monkeypatch.setenv(places.MIRROR, str(tmp_path))
    monkeypatch.setattr(places, "_snapshot", lambda *_: None)
    monkeypatch.setattr("trainables.data.hub._copy", lambda *_: None)


@pytest.fixture(scope="module")
def phang():
    suite = SUITES["phang2020"]()
    return {sweep.target.name: sweep for sweep in suite.sweeps}


def trained(sweep, cell, seed=1):
    """The training stages of a confirmation run of a cell."""
    of = next(one for one in sweep.cells if one.name == cell)
    path = path_of(sweep, of, default_values(sweep, of), phase=Phase.CONFIRMATION, seed=seed)
    return [stage for stage in path if isinstance(stage.work, Training)]


def test_every_target_meets_no_intermediate_task_each_of_nine_and_all_nine(phang):
    assert set(phang) == {target.name for target in TARGETS} and len(phang) == 9
    names = ["none", *(task.name for task in INTERMEDIATE), "all_nine"]
    for sweep in phang.values():
        assert [cell.name for cell in sweep.cells] == names
        assert sweep.confirmation_seeds == (1, 2, 3) and sweep.search.trials == 0


@pytest.mark.parametrize("cell", ["none", "qqp", "all_nine"])
def test_xquad_and_mlqa_share_their_training(phang, cell):
    assert trained(phang["xquad"], cell) == trained(phang["mlqa"], cell)


def test_mnli_before_a_target_is_the_target_training_of_xnli(phang):
    (xnli,) = trained(phang["xnli"], "none")
    for target in ("pawsx", "tatoeba"):
        assert trained(phang[target], "mnli")[0].digest == xnli.digest
    assert trained(phang["xnli"], "mnli")[1].digest != xnli.digest
    assert trained(phang["pawsx"], "squad_v1")[0].digest == trained(phang["xquad"], "none")[0].digest


def test_heads_are_dropped_between_stages_there_and_carried_in_xtreme_m(phang):
    def carried(sweep):
        return {stage.work.settings.carry_heads for cell in sweep.cells for stage in trained(sweep, cell.name)}

    assert carried(phang["xnli"]) == {False}
    xtreme_m = PRESETS["xtreme_m"]()
    assert carried(xtreme_m) == {True}
    assert trained(xtreme_m, "mnli")[0].work.portions[0].task.head == xtreme_m.target.head


def test_the_plan_counts_what_all_nine_targets_share(phang):
    """By hand: ten intermediate stages and 11 trainings for each of six sets of target data, three seeds each, less
    MNLI's and SQuAD's baselines, which are intermediate stages too: 30 + 198 - 6. Alone: seven targets of 1 + 10 × 2
    trainings and two retrieval targets of 10, three seeds each.
    """
    total = counted(tuple(plan(sweep) for sweep in phang.values()))
    assert total.trainings == 222
    assert total.trainings_without_sharing == 3 * (7 * 21 + 2 * 10)
    assert total.evaluations == 9 * 11 * 3
    steps = {"mnli": 24_544, "squad_v1": 10_950, "pawsx": 7_719, "udpos": 6_642, "panx": 6_250, "tydiqa": 462}
    before = sum(cell.intermediate_settings.maximum_steps for cell in phang["xnli"].cells[1:])
    assert total.steps == 3 * (before + 11 * sum(steps.values()) - steps["mnli"] - steps["squad_v1"])
    assert total.steps < total.steps_without_sharing and total.examples < total.examples_without_sharing


def test_planning_a_suite_offline_lists_what_is_absent_and_exits_with_zero(capsys):
    assert main(["plan", "phang2020"]) == 0
    told = capsys.readouterr().out
    assert told.startswith("suite phang2020: 9 sweeps, encoder xlmr_large")
    assert "222 trainings to run, 501 if none were shared; 297 evaluations" in told
    assert "ccg: no files of ccg" in told and "license CCGbank" in told
    assert "xlmr_large: no copy of FacebookAI/xlm-roberta-large on this machine" in told


@pytest.mark.parametrize("name", ["phang2020-xnli", "xtreme_m", "source_language"])
def test_planning_one_sweep_offline_exits_with_zero(name, capsys):
    assert main(["plan", name]) == 0
    told = capsys.readouterr().out
    assert f"sweep {name}: target" in told and "absent   (counted above; a run leaves it out)" in told


def test_a_plan_of_xtreme_m_says_once_how_to_get_the_annotations_and_once_how_to_get_the_images(tmp_path, capsys):
    assert main(["plan", "xtreme_m"]) == 0
    (told,) = [line for line in capsys.readouterr().out.splitlines() if line.strip().startswith("xvnli: ")]
    assert told.count("git clone https://github.com/e-bug/iglue") == 1 and told.count("Flickr30k's owners") == 1
    assert f"({tmp_path}/e-bug/iglue/datasets/XVNLI/annotations/{{language}}/dev.jsonl)" in told


def test_running_a_suite_without_data_names_each_absent_task_and_exits_with_one(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sweep.absence._offline", lambda task: task)
    monkeypatch.setattr("trainables.data.fingerprint.resolve_encoder", lambda encoder: encoder)
    assert main(["run", "phang2020", "--storage", str(tmp_path / "storage")]) == 1
    said = capsys.readouterr().err
    assert said.count("== phang2020-") == 9
    assert "tatoeba is absent: no files of tatoeba" in said and "mnli is absent: no files of mnli" in said
    assert not (tmp_path / "storage").exists()


def test_a_command_for_one_sweep_is_told_the_sweeps_of_the_suite():
    assert load("phang2020-mlqa").target.name == "mlqa"
    with pytest.raises(
        Unreadable, match="phang2020 is a suite of sweeps, of which this command wants one: phang2020-xn"
    ):
        load("phang2020")


def test_each_source_language_trains_as_many_steps_on_as_many_rows():
    sweep = PRESETS["source_language"]()
    assert len(sweep.cells) == 15
    stages = [trained(sweep, cell.name)[-1] for cell in sweep.cells]
    assert len({stage.digest for stage in stages}) == 15 and len({stage.steps for stage in stages}) == 1
    assert {stage.tasks[0].split("train").rows for stage in stages} == {392_702}
    assert {stage.tasks[0].split("dev").languages for stage in stages} == {("en",)}


@pytest.mark.parametrize(("name", "passes"), [("xtreme_m", 10), ("source_language", 5)])
def test_a_target_is_reported_at_the_best_of_one_checkpoint_for_each_pass_over_its_training_set(name, passes):
    sweep = PRESETS[name]()
    rows = sweep.target.teacher.split("train").rows or 540_900  # XVNLI's, which its catalogue does not count
    target = trained(sweep, "none")[-1].work
    steps = (*target.kept_steps, target.settings.maximum_steps)
    assert sweep.selector is Selector.ENGLISH_DEV and len(steps) == passes
    assert [round(step * target.settings.batch_size / rows) for step in steps] == list(range(1, passes + 1))


def test_every_preset_says_its_command_its_cost_what_to_expect_and_what_was_not_verified(phang):
    for made in (SUITES["phang2020"], PRESETS["xtreme_m"], PRESETS["source_language"]):
        assert all(word in (made.__doc__ or "") for word in ("Command", "Cost", "Expected", "*unverified*"))
    total = counted(tuple(plan(sweep) for sweep in phang.values()))
    hours = f"some {round(total.seconds / 3600, -1):.0f} hours of"
    told = " ".join((SUITES["phang2020"].__doc__ or "").split())
    assert f"{total.trainings} trainings, {total.steps / 1e6:.2f} million steps" in told and hours in told
    for name in ("xtreme_m", "source_language"):
        counted_, text = plan(PRESETS[name]()), " ".join((PRESETS[name].__doc__ or "").split())
        works = {key: stage.work for trial in counted_.trials for key, stage in trial.stages}
        trainings = sum(isinstance(work, Training) for work in works.values())
        assert f"{trainings} trainings, {counted_.steps / 1e6:.2f} million steps" in text
        hours = f"{counted_.seconds / 3600:.1f}"
        assert f"{hours} hours of one A100" in text or f"{float(hours):.0f} hours of one A100" in text
        need = disk_need(counted_)
        both = dict.fromkeys(f"{size / 1e9:.0f}" for size in (need.least_bytes, need.most_bytes))
        assert f"{' to '.join(both)} GB of disk" in text
    for made in (PRESETS["lab"], SUITES["lab_full"]):
        assert all(word in (made.__doc__ or "") for word in ("Command", "Cost", "Expected"))


def test_a_suite_that_cannot_be_is_refused():
    with pytest.raises(Invalid) as refused:
        Suite(name="s", sweeps=(small_sweep(), small_sweep(), replace(small_sweep(), name="s-a")))
    assert refused.value.faults == (
        "sweeps must have different names, got 'small' 2 times",
        "the name of each sweep must begin with 's-', got 'small'",
    )
