"""What must hold of any training stage; knows no particular score."""

from __future__ import annotations

import json
import math
import shutil
import weakref
from dataclasses import replace

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from tests.torch_cpu import tiny
from trainables.catalogue.task import Role
from trainables.faults import Invalid
from trainables.inflight import LocalCheckpoints
from trainables.settings import Alignment, Part, Visible
from trainables.stages import StageKind
from trainables.training.gradients import Gradients
from trainables.training.loop import Diverged, run_stage
from trainables.training.memory import OutOfMemory


@pytest.fixture(scope="session")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def run(tmp_path, cache):
    """Run a stage into a directory of its own; returns (outcome, directory)."""
    count = iter(range(1000))

    def go(stage, parent=None, **more):
        output = tmp_path / f"out-{next(count)}"
        return run_stage(stage, parent=parent, output=output, cache=cache, **more), output

    return go


class CancelAt:
    """Says so from the n-th time on that it is asked."""

    def __init__(self, times: int) -> None:
        self.left = times

    def __call__(self) -> bool:
        self.left -= 1
        return self.left < 0


@pytest.mark.parametrize("asked", [0, 1, 3])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_cancelled_stage_resumes_to_the_same_bits(run, tmp_path, asked, precision):
    stage = tiny.training(tiny.NLI, tiny.SQUAD, steps=8, precision=precision)
    whole, expected = run(stage)
    checkpoints = LocalCheckpoints(tmp_path / "running", interval_steps=5)
    first, unfinished = run(stage, checkpoints=checkpoints, cancelled=CancelAt(asked))
    assert first.was_cancelled and not unfinished.exists()
    second, resumed = run(stage, checkpoints=checkpoints)
    assert second.resumed_from == first.steps_executed == 4 * asked + 1
    assert first.steps_executed + second.steps_executed == 16
    assert tiny.same(tiny.weights(resumed), tiny.weights(expected))
    assert second.history == whole.history
    for name in ("scores.json", "losses.json"):
        assert (resumed / name).read_bytes() == (expected / name).read_bytes()


def test_a_stage_that_died_resumes_from_its_last_checkpoint_to_the_same_bits(run, tmp_path):
    stage = tiny.training(tiny.NLI, steps=12, evaluation_interval_steps=6)
    _, expected = run(stage)
    checkpoints = LocalCheckpoints(tmp_path / "running", interval_steps=5)

    def die():
        if any(checkpoints.kept()):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(stage, checkpoints=checkpoints, cancelled=die)
    outcome, resumed = run(stage, checkpoints=checkpoints)
    assert outcome.resumed_from == 5 and outcome.steps_executed == 7
    assert tiny.same(tiny.weights(resumed), tiny.weights(expected))
    assert len(list((tmp_path / "running").iterdir())) == 2


def test_a_checkpoint_of_another_stage_is_not_resumed_from(run, tmp_path):
    checkpoints = LocalCheckpoints(tmp_path / "running", interval_steps=2)
    run(tiny.training(tiny.NLI, steps=4), checkpoints=checkpoints)
    outcome, _ = run(tiny.training(tiny.NLI, steps=4, seed=2), checkpoints=checkpoints)
    assert outcome.resumed_from == 0 and outcome.steps_executed == 4


@pytest.mark.parametrize("damage", ["torn", "flipped", "gone", "unsealed"])
def test_a_damaged_checkpoint_falls_back_to_the_one_before_and_ends_in_the_same_bits(run, tmp_path, damage, caplog):
    stage = tiny.training(tiny.NLI, steps=12, evaluation_interval_steps=6)
    _, expected = run(stage)
    checkpoints = LocalCheckpoints(tmp_path / "running", interval_steps=4)
    run(stage, checkpoints=checkpoints, cancelled=CancelAt(2))
    newest, before = checkpoints.kept()
    assert (newest.name[5:14], before.name[5:14]) == ("000000009", "000000008")
    state = newest / ("seal.json" if damage == "unsealed" else "state.safetensors")
    whole = state.read_bytes()
    state.unlink()
    if damage in ("torn", "flipped"):
        middle = len(whole) // 2
        flipped = whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]
        state.write_bytes(whole[:middle] if damage == "torn" else flipped)
    outcome, resumed = run(stage, checkpoints=checkpoints)
    assert outcome.resumed_from == 8
    assert "is damaged" in caplog.text and "falling back to the one before" in caplog.text
    assert tiny.same(tiny.weights(resumed), tiny.weights(expected))


def test_a_checkpoint_that_does_not_fit_the_model_leaves_it_as_it_was(run, tmp_path, caplog):
    stage = tiny.training(tiny.NLI, steps=6)
    _, expected = run(stage)
    checkpoints = LocalCheckpoints(tmp_path / "running", interval_steps=4)
    run(stage, checkpoints=checkpoints, cancelled=CancelAt(1))
    (only, *_) = checkpoints.kept()
    tensors = load_file(only / "state.safetensors")
    name = sorted(name for name in tensors if name.startswith("model."))[-1]
    tensors[name] = tensors[name][:1].repeat(3, *[1] * (tensors[name].ndim - 1))
    said = (only / "state.json").read_text()

    def misfit(folder):
        save_file(tensors, folder / "state.safetensors")
        (folder / "state.json").write_text(said)

    for old in tuple(checkpoints.kept()):
        shutil.rmtree(old)
    checkpoints.save(5, misfit)
    outcome, resumed = run(stage, checkpoints=checkpoints)
    assert outcome.resumed_from == 0 and "must have the shape" in caplog.text
    assert tiny.same(tiny.weights(resumed), tiny.weights(expected))


def test_a_half_written_checkpoint_is_not_seen(tmp_path):
    checkpoints = LocalCheckpoints(tmp_path, interval_steps=1)

    def fail(folder):
        (folder / "state.json").write_text("{")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        checkpoints.save(1, fail)
    assert list(checkpoints.kept()) == [] and list(tmp_path.iterdir()) == []


def test_the_fifth_stage_of_a_process_gives_the_bits_of_the_first(run):
    stage = tiny.training(tiny.NLI, tiny.VISUAL, steps=4, precision="bfloat16")
    torch.manual_seed(7)
    before = torch.random.get_rng_state()
    _, first = run(stage)
    with pytest.raises(Diverged):
        run(tiny.training(tiny.NLI, parent=POISONED.digest), poisoned(run))
    run(tiny.training(tiny.CHOICE, steps=8, batch_size=4), cancelled=CancelAt(1))
    run(tiny.training(tiny.CAPTION, kind=StageKind.ALIGN_IMAGES, alignment=Alignment.CONTRASTIVE))
    _, fifth = run(stage)
    assert tiny.same(tiny.weights(first), tiny.weights(fifth))
    assert torch.equal(before, torch.random.get_rng_state())


def test_a_stage_leaves_the_switches_of_torch_as_they_were(run):
    threads = torch.get_num_threads()
    torch.use_deterministic_algorithms(False)
    stage = tiny.training(tiny.NLI, steps=2)
    run(replace(stage, shape=replace(stage.shape, threads=2)))
    assert torch.get_num_threads() == threads
    assert not torch.are_deterministic_algorithms_enabled()
    assert torch.is_grad_enabled()


@pytest.mark.parametrize(
    ("kind", "of", "changes"),
    [
        (StageKind.TRAIN, tiny.NLI, {}),
        (StageKind.TRAIN, tiny.SQUAD, {}),
        (StageKind.TRAIN, tiny.CHOICE, {}),
        (StageKind.PRETRAIN, tiny.PARALLEL, {}),
        (StageKind.ALIGN_IMAGES, tiny.VISUAL, {"alignment": Alignment.MASKED}),
    ],
)
def test_accumulation_changes_nothing_but_memory(run, kind, of, changes):
    whole, divided = (
        run(tiny.training(of, kind=kind, dropout=0.0, accumulation_steps=parts, **changes))[1] for parts in (1, 4)
    )
    # AdamW divides by the root of the squared gradient: the few weights whose gradient is rounding alone take full
    # steps of either sign
    assert tiny.share_apart(tiny.weights(whole), tiny.weights(divided), 2e-4) < 1e-3


@pytest.mark.parametrize("part", list(Part))
def test_frozen_parts_do_not_change(run, part):
    root = tiny.training(tiny.VISUAL, steps=1)
    _, parent = run(root)
    _, child = run(tiny.training(tiny.VISUAL, parent=root.digest, frozen=(part,)), parent)
    prefix = {
        Part.WORD_EMBEDDINGS: "model.safetensors:embeddings.word_embeddings",
        Part.TRUNK: "model.safetensors:",
        Part.VISION: "extras.safetensors:vision.",
        Part.PATCHES: "extras.safetensors:vision.",
    }[part]
    places = ("vision.row", "vision.column", "vision.segment")
    before, after = tiny.weights(parent), tiny.weights(child)
    for name in before:
        unused = name.endswith(("position_embeddings.weight", "vision.stem"))
        if name.startswith(prefix) and not (part is Part.PATCHES and name.endswith(places)):
            assert torch.equal(before[name], after[name]), name
        elif not unused:
            assert not torch.equal(before[name], after[name]), name


def test_patches_learn_the_words_of_their_texts_and_nothing_else_changes(run):
    root = tiny.training(tiny.NLI, steps=1)
    _, parent = run(root)
    stage = tiny.training(
        tiny.CAPTION,
        kind=StageKind.ALIGN_IMAGES,
        alignment=Alignment.WORDS,
        steps=60,
        learning_rate=1e-2,
        parent=root.digest,
    )
    _, child = run(stage, parent)
    first, *_, last = json.loads((child / "losses.json").read_text())
    assert last["losses"][0]["loss"] < first["losses"][0]["loss"] < math.log(8)  # eight images to choose from
    before, after = tiny.weights(parent), tiny.weights(child)
    changed = {name for name in after if name not in before or not torch.equal(before[name], after[name])}
    assert changed and all(name.startswith("extras.safetensors:vision.") for name in changed)
    assert not any(name.endswith(("vision.row", "vision.column", "vision.segment")) for name in changed)


def test_carry_heads_keeps_the_parents_heads_or_draws_them_anew(run):
    root = tiny.training(tiny.NLI, seed=1)
    _, parent = run(root)
    kept, drawn = (
        run(
            tiny.training(tiny.NLI, steps=1, learning_rate=1e-12, parent=root.digest, seed=5, carry_heads=carry), parent
        )[1]
        for carry in (True, False)
    )
    fresh = run(tiny.training(tiny.NLI, steps=1, learning_rate=1e-12, seed=5))[1]
    head = f"extras.safetensors:heads.{tiny.NLI.head.replace('.', '/')}.dense.weight"
    assert torch.allclose(tiny.weights(kept)[head], tiny.weights(parent)[head], atol=1e-9)
    assert torch.allclose(tiny.weights(drawn)[head], tiny.weights(fresh)[head], atol=1e-9)
    assert not torch.allclose(tiny.weights(drawn)[head], tiny.weights(parent)[head], atol=1e-4)


def test_text_and_visual_inference_share_a_head_and_another_task_moves_no_initial_weight(run):
    assert tiny.NLI.head == tiny.VISUAL.head
    alone = run(tiny.training(tiny.NLI, steps=1, learning_rate=1e-12))[1]
    three = run(tiny.training(tiny.NLI, tiny.VISUAL, tiny.CHOICE, steps=1, learning_rate=1e-12))[1]
    before, after = tiny.weights(alone), tiny.weights(three)
    assert {name.split(".")[2] for name in before if ":heads" in name} <= {
        name.split(".")[2] for name in after if ":heads" in name
    }
    assert sum(name.endswith("output.weight") for name in after) == 2  # the shared one and the choice's
    assert all(torch.allclose(before[name], after[name], atol=1e-9) for name in before)


def test_development_scores_come_at_the_evaluated_steps_with_role_select(run):
    seen = []
    stage = tiny.training(tiny.NLI, tiny.SQUAD, steps=5, evaluation_interval_steps=4)
    outcome, output = run(stage, report=seen.append)
    assert [progress.step for progress in outcome.history] == [4, 8, 10]
    for progress in outcome.history:
        found = {(score.task, score.metric, score.language, score.role) for score in progress.scores}
        assert found == {
            ("nli", "accuracy", "en", Role.SELECT),
            ("squad", "f1", "en", Role.SELECT),
            ("squad", "exact_match", "en", Role.SELECT),
        }
    assert [replace(progress, examples_per_second=0.0) for progress in seen if progress.scores] == list(outcome.history)
    windows = json.loads((output / "losses.json").read_text())
    assert {loss["task"]: loss["steps"] for loss in windows[0]["losses"]} == {"nli": 5, "squad": 5}


def test_an_evaluation_scores_each_language_and_says_which_has_no_rows(run):
    root = tiny.training(tiny.NLI)
    _, parent = run(root)
    stage = tiny.evaluation(tiny.NLI, root.digest, languages=("en", "de", "fr"))
    outcome, output = run(stage, parent)
    table = pq.read_table(output / "predictions.parquet")
    assert table.column_names == ["task", "language", "item_id", "gold", "predicted", "score"]
    *present, absent = outcome.scores
    assert absent.value is None and absent.absent_reason == "the test split of nli has no row in 'fr'"
    for score in present:
        rows = table.filter(np.array(table["language"].to_pylist()) == score.language)
        right = sum(
            gold == said for gold, said in zip(*(rows[name].to_pylist() for name in ("gold", "predicted")), strict=True)
        )
        assert (score.correct, score.count) == (right, 24) and score.value == right / 24
    assert [score.language for score in present] == ["en", "de"]


def test_an_evaluation_without_a_trained_head_is_refused(run):
    root = tiny.training(tiny.NLI, steps=1)
    _, parent = run(root)
    with pytest.raises(Invalid, match="must have trained the head 'span'"):
        run(tiny.evaluation(tiny.SQUAD, root.digest), parent)


def test_an_evaluation_hides_what_it_is_told_to_hide(run):
    root = tiny.training(tiny.VISUAL)
    _, parent = run(root)
    both, image_only = (
        run(tiny.evaluation(tiny.VISUAL, root.digest, visible=visible), parent)[1]
        for visible in (Visible.BOTH, Visible.IMAGE_ONLY)
    )
    table = pq.read_table(image_only / "predictions.parquet")
    said = {
        language: table.filter(pc.equal(table["language"], language)).sort_by("item_id")["predicted"].to_pylist()
        for language in ("en", "de")
    }
    assert said["en"] == said["de"]
    assert pq.read_table(both / "predictions.parquet")["item_id"].equals(table["item_id"])


def test_a_loss_that_is_no_number_is_refused_by_step_and_task(run):
    message = "at step 1 of 6, task 'nli', the loss was nan"
    with pytest.raises(Diverged, match=message):
        run(tiny.training(tiny.NLI, parent=POISONED.digest), poisoned(run))


EXPLODING = tiny.training(tiny.NLI, tiny.SQUAD, steps=30, learning_rate=1.0, clip_norm=float("inf"))


def test_a_loss_that_explodes_while_it_is_a_number_is_refused_by_step_task_loss_and_bound(run):
    message = (
        r"^the loss must not explode; at step \d+ of 60, task 'nli', \d+ of its last 14 steps had cost more than "
        r"20 nats per label, the larger of 20 and 10 times its first step's 1\.\d+; the worst cost [\d.e+]+, at a "
        r"learning rate of 0\.\d+; lower learning_rate or raise warmup_steps, or set "
        r"Gangs\(explosion_multiple=float\('inf'\)\)"
    )
    with pytest.raises(Diverged, match=message):
        run(EXPLODING)


def test_a_loss_that_is_meant_to_be_high_is_let_be(run):
    outcome, output = run(EXPLODING, explosion_multiple=float("inf"))
    assert outcome.steps_executed == 60 and (output / "losses.json").exists()


def test_whether_a_loss_has_exploded_depends_on_no_checkpoint_and_no_interruption(run, tmp_path):
    checkpoints = LocalCheckpoints(tmp_path / "running", interval_steps=7)
    with pytest.raises(Diverged) as whole:
        run(EXPLODING)
    first, _ = run(EXPLODING, checkpoints=checkpoints, cancelled=CancelAt(3))
    assert first.was_cancelled
    with pytest.raises(Diverged) as resumed:
        run(EXPLODING, checkpoints=checkpoints)
    assert str(resumed.value) == str(whole.value)


class Small:
    """A device on which only so many rows fit at a time, whoever asks."""

    def __init__(self, monkeypatch, rows: int, error: type[Exception] = torch.OutOfMemoryError) -> None:
        self.tried: list[int] = []
        real = Gradients._loss

        def loss(gradients, feed, chosen, hidden):
            self.tried.append(len(chosen))
            if len(chosen) > rows:
                raise error("CUDA out of memory. Tried to allocate 2.00 GiB" if rows else "can't allocate memory")
            return real(gradients, feed, chosen, hidden)

        monkeypatch.setattr(Gradients, "_loss", loss)


@pytest.mark.parametrize("error", [torch.OutOfMemoryError, MemoryError, RuntimeError])
def test_memory_that_ran_out_is_told_with_the_setting_that_was_found_to_fit(run, monkeypatch, error):
    device = Small(monkeypatch, 2, error)
    with pytest.raises(
        OutOfMemory, match=r"at step 1, task 'nli', with 8 examples at a time; accumulation_steps=4 fits"
    ):
        run(tiny.training(tiny.NLI, steps=2))
    assert device.tried[:2] == [8, 4] and device.tried[2:] == [2] * 4
    outcome, _ = run(tiny.training(tiny.NLI, steps=2, accumulation_steps=4))
    assert outcome.steps_executed == 2


def test_what_the_step_that_did_not_fit_had_taken_is_free_for_the_tries(run, monkeypatch):
    taken: weakref.WeakSet[Taken] = weakref.WeakSet()
    real = Gradients._loss

    class Taken:
        def __init__(self, rows: int) -> None:
            self.rows = rows

    def loss(gradients, feed, chosen, hidden):
        mine = Taken(len(chosen))  # lives as long as this frame, as activations do
        taken.add(mine)
        if sum(each.rows for each in taken) > 4:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return real(gradients, feed, chosen, hidden)

    monkeypatch.setattr(Gradients, "_loss", loss)
    with pytest.raises(OutOfMemory, match="accumulation_steps=2 fits"):
        run(tiny.training(tiny.NLI, steps=2))


def test_memory_for_not_even_one_example_is_told_as_that(run, monkeypatch):
    Small(monkeypatch, 0, RuntimeError)
    with pytest.raises(OutOfMemory, match="not even one example at a time fits; of batch_size 8 no accumulation_steps"):
        run(tiny.training(tiny.NLI, steps=2))


def test_what_does_not_fit_the_gang_or_the_parent_is_refused_at_once(run):
    stage = tiny.training(tiny.NLI, workers=2, precision="auto", parent="abc")
    with pytest.raises(Invalid) as refused:
        run(stage)
    assert len(refused.value.faults) == 3


POISONED = tiny.training(tiny.NLI, steps=1, seed=9)


def poisoned(run):
    """The output of a stage, with a weight that is no number in its head."""
    _, folder = run(POISONED)
    extras = load_file(folder / "extras.safetensors")
    with safe_open(folder / "extras.safetensors", framework="pt") as file:
        metadata = file.metadata()
    next(value for name, value in extras.items() if name.endswith("output.bias")).fill_(float("nan"))
    save_file(extras, folder / "extras.safetensors", metadata=metadata)
    return folder
