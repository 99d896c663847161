"""Stages on a CUDA device against the same stages on a processor; judges no accuracy and no speed."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.torch_cpu import tiny, towers
from tests.torch_cpu.test_encoders import FAMILIES, saved
from tests.torch_cpu.test_ranks import CONTRASTIVE, EQUAL, run_jobs
from trainables.catalogue.encoder import LocalEncoder, Tower
from trainables.data import tower
from trainables.data.fingerprint import resolve_encoder
from trainables.inflight import LocalCheckpoints
from trainables.settings import LoRA
from trainables.stages import Stage, StageKind
from trainables.training import attempt
from trainables.training.loop import run_stage
from trainables.training.memory import OutOfMemory

#: One stage of every head and every loss; no dropout, whose random numbers differ between devices.
STAGES = {
    "pairs": tiny.training(tiny.NLI, dropout=0.0),
    "images": tiny.training(tiny.VISUAL, dropout=0.0),
    "spans and choices": tiny.training(tiny.SQUAD, tiny.CHOICE, dropout=0.0),
    "masked": tiny.training(tiny.PARALLEL, kind=StageKind.PRETRAIN, dropout=0.0, replaced_share=0.5),
    "contrastive": tiny.training(tiny.CAPTION, dropout=0.0, **CONTRASTIVE),
    "words, adapters": EQUAL["words, adapters"],
}


def on_gpu(stage: Stage, precision: str = "") -> Stage:
    return replace(stage, shape=replace(stage.shape, device="cuda", precision=precision or stage.shape.precision))


def losses(folder) -> list[float]:
    return [window["losses"][0]["loss"] for window in json.loads((folder / "losses.json").read_text())]


@pytest.mark.parametrize("name", STAGES)
def test_a_gpu_gives_the_losses_the_weights_and_the_scores_of_a_processor(tmp_path, monkeypatch, name):
    monkeypatch.setattr(attempt, "LOSS_WINDOW_STEPS", 1)
    outcomes = {}
    for device, stage in {"cpu": STAGES[name], "cuda": on_gpu(STAGES[name])}.items():
        outcomes[device] = run_stage(stage, parent=None, output=tmp_path / device)
    assert losses(tmp_path / "cuda") == pytest.approx(losses(tmp_path / "cpu"), abs=1e-4)
    # AdamW scales gradients that are rounding alone up to full steps, in one weight or another
    assert tiny.share_apart(tiny.weights(tmp_path / "cuda"), tiny.weights(tmp_path / "cpu"), 1e-3) < 1e-3
    correct = {
        device: [[score.correct for score in progress.scores] for progress in outcome.history]
        for device, outcome in outcomes.items()
    }
    assert correct["cuda"] == correct["cpu"]


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
@pytest.mark.parametrize("name", STAGES)
def test_half_precision_goes_the_way_of_float32(tmp_path, monkeypatch, name, precision):
    monkeypatch.setattr(attempt, "LOSS_WINDOW_STEPS", 1)
    monkeypatch.setattr(attempt, "FIRST", 2.0**8)  # so that float16 leaves no step out
    for each in ("float32", precision):
        run_stage(on_gpu(STAGES[name], each), parent=None, output=tmp_path / each)
    exact, half = losses(tmp_path / "float32"), losses(tmp_path / precision)
    assert half == pytest.approx(exact, abs=5e-2) and half != exact


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_a_stage_gives_the_same_bits_twice_and_where_it_was_cancelled(tmp_path, precision):
    stage = on_gpu(tiny.training(tiny.NLI, tiny.VISUAL, steps=8, dropout=0.1), precision)
    for name in ("once", "twice"):
        run_stage(stage, parent=None, output=tmp_path / name)
    checkpoints, asked = LocalCheckpoints(tmp_path / "running", interval_steps=5), iter(range(1000))
    output = tmp_path / "resumed"
    cut = run_stage(stage, parent=None, output=output, checkpoints=checkpoints, cancelled=lambda: next(asked) >= 2)
    assert cut.was_cancelled
    assert run_stage(stage, parent=None, output=output, checkpoints=checkpoints).resumed_from == cut.steps_executed
    assert tiny.same(tiny.weights(tmp_path / "once"), tiny.weights(tmp_path / "twice"))
    assert tiny.same(tiny.weights(tmp_path / "once"), tiny.weights(output))


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("family", FAMILIES)
def test_an_encoder_of_each_family_is_aligned_trained_and_scored_on_a_gpu(tmp_path, family, precision):
    encoder = resolve_encoder(replace(tiny.ENCODER, text=saved(family, tmp_path / "model")))
    stages = (
        tiny.training(tiny.CAPTION, dropout=0.1, **CONTRASTIVE),
        tiny.training(tiny.NLI, tiny.SQUAD, steps=2, parent="to be set", dropout=0.1),
        tiny.training(tiny.VISUAL, steps=2, parent="to be set", dropout=0.1, gradient_checkpointing=True),
        tiny.evaluation(tiny.VISUAL, "to be set"),
    )
    outcomes, parent, digest = [], None, ""
    for number, made in enumerate(stages):
        stage = on_gpu(replace(made, encoder=encoder, parent=digest), precision)
        outcomes.append(run_stage(stage, parent=parent, output=tmp_path / str(number)))
        parent, digest = tmp_path / str(number), stage.digest
    assert [(score.language, score.count) for score in outcomes[-1].scores] == [("en", 24), ("de", 24)]


def wide(batch_size: int = 48, **changes) -> Stage:
    """A stage whose activations take far more memory than its weights."""
    text = replace(tiny.ENCODER.text, layers=8, width=256, heads=4, feed_forward=1024)
    encoder = replace(tiny.ENCODER, name="wide", text=text)
    return on_gpu(tiny.training(tiny.NLI, encoder=encoder, steps=2, batch_size=batch_size, **changes))


def peak(stage: Stage, output) -> int:
    """Bytes of the device's memory that a stage takes at most."""
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    run_stage(stage, parent=None, output=output)
    return torch.cuda.max_memory_allocated()


def test_recomputed_activations_take_less_memory_and_give_the_same_bits(tmp_path):
    kept = peak(wide(dropout=0.1), tmp_path / "kept")
    recomputed = peak(wide(dropout=0.1, gradient_checkpointing=True), tmp_path / "recomputed")
    assert recomputed < 0.7 * kept
    assert tiny.same(tiny.weights(tmp_path / "kept"), tiny.weights(tmp_path / "recomputed"))


def test_a_batch_that_does_not_fit_the_device_is_told_with_a_division_that_does(tmp_path):
    needed = peak(wide(dropout=0.0), tmp_path / "free")
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(0.75 * needed / torch.cuda.get_device_properties(0).total_memory)
    try:
        with pytest.raises(OutOfMemory, match=r"with 48 examples at a time; accumulation_steps=\d+ fits") as told:
            run_stage(wide(dropout=0.0), parent=None, output=tmp_path / "full")
        steps = int(str(told.value).split("accumulation_steps=")[1].split()[0])
        run_stage(wide(dropout=0.0, accumulation_steps=steps), parent=None, output=tmp_path / "divided")
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert tiny.close(tiny.weights(tmp_path / "free"), tiny.weights(tmp_path / "divided"), 1e-3)


@pytest.mark.parametrize("of", [tiny.NLI, tiny.VISUAL, tiny.SQUAD, tiny.CHOICE], ids=lambda of: of.name)
def test_answers_on_a_gpu_are_those_on_a_processor(tmp_path, of):
    run_stage(tiny.training(of, steps=12), parent=None, output=tmp_path / "trained")
    stage = tiny.evaluation(of, "trained", languages=of.split("test").languages)
    scores = {
        each.shape.device: run_stage(each, parent=tmp_path / "trained", output=tmp_path / each.shape.device)
        for each in (stage, on_gpu(stage))
    }
    assert scores["cuda"].scores == scores["cpu"].scores


@pytest.mark.parametrize("kind", ["siglip", "clip", "siglip2"])
def test_a_tower_on_a_gpu_makes_the_vectors_of_a_processor(tmp_path, monkeypatch, kind):
    made = Tower(model=LocalEncoder(path=str(towers.save(kind, tmp_path))), grid=2)
    pictures = [towers.picture(seed) for seed in range(5)]
    on_device = tower.features(made)(pictures)
    named = tower.digest(made)
    monkeypatch.setattr(tower, "device", lambda: torch.device("cpu"))
    assert np.allclose(on_device, tower.features(made)(pictures), atol=4e-3)
    assert tower.digest(made) != named, "vectors of another kind of device must not be taken for these"


def test_two_ranks_that_share_a_gpu_give_what_one_gives(tmp_path):
    """Over gloo: NCCL takes no two ranks on one device."""
    cases = {name: on_gpu(stage) for name, stage in EQUAL.items()}
    run_jobs(tmp_path, [(name, stage, "") for name, stage in cases.items()])
    for name, stage in cases.items():
        run_stage(stage, parent=None, output=tmp_path / f"alone {name}", cache=tmp_path / "cache")
        assert tiny.close(tiny.weights(tmp_path / f"alone {name}"), tiny.weights(tmp_path / name), 2e-4), name


def test_adapters_are_trained_and_folded_on_a_gpu(tmp_path):
    lora = LoRA(rank=2, dropout=0.0)
    stage = tiny.training(tiny.NLI, dropout=0.0, lora=lora)
    for each in (stage, on_gpu(stage)):
        run_stage(each, parent=None, output=tmp_path / each.shape.device)
    assert tiny.close(tiny.weights(tmp_path / "cuda"), tiny.weights(tmp_path / "cpu"), 1e-3)
