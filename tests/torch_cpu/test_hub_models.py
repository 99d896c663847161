"""An encoder and towers that a hub of the tests' own serves: fetched, pinned, and trained from when it is off."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.hub_server import reach, served
from tests.torch_cpu import test_encoders, tiny, towers
from trainables.catalogue.encoder import Encoder, HubEncoder, LocalEncoder, Tower
from trainables.data import hub as models
from trainables.data import tower
from trainables.data.fingerprint import resolve_encoder
from trainables.training.loop import run_stage

XLMR = "someone/xlm-roberta-tiny"


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A hub with XLM-R, SigLIP and CLIP, of which this process has nothing yet; its files are beside it."""
    test_encoders.saved("xlm_roberta", tmp_path / "published" / XLMR)
    for kind in ("siglip", "clip"):
        towers.save(kind, tmp_path / "published" / "someone" / kind)
    models._snapshot.cache_clear()
    with served() as hub:
        reach(hub, tmp_path / "home" / "hub", monkeypatch)
        for name in (XLMR, "someone/siglip", "someone/clip"):
            hub.push("models", name, tmp_path / "published" / name)
        yield hub
    models._snapshot.cache_clear()


def by_name() -> Encoder:
    return replace(
        tiny.ENCODER,
        text=HubEncoder(repository=XLMR),
        patches=Tower(model=HubEncoder(repository="someone/siglip"), grid=2),
    )


def test_a_path_from_models_of_the_hub_is_trained_and_scored_and_another_machine_fetches_the_same_commits(
    hub, tmp_path, monkeypatch
):
    encoder = resolve_encoder(by_name())
    stage = replace(tiny.training(tiny.VISUAL, steps=2), encoder=encoder)
    with monkeypatch.context() as off:
        off.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        run_stage(stage, parent=None, output=tmp_path / "one")
        scored = replace(tiny.evaluation(tiny.VISUAL, stage.digest), encoder=encoder)
        scores = run_stage(scored, parent=tmp_path / "one", output=tmp_path / "scores").scores
    assert [(score.language, score.count) for score in scores] == [("en", 24), ("de", 24)]
    for name in (XLMR, "someone/siglip"):  # the authors publish something else
        hub.push("models", name, {"config.json": b"{}"})
    models._snapshot.cache_clear()
    reach(hub, tmp_path / "other" / "hub", monkeypatch)
    hub.asked.clear()
    run_stage(stage, parent=None, output=tmp_path / "two")
    assert "model.safetensors" in hub.fetched()
    assert tiny.same(tiny.weights(tmp_path / "one"), tiny.weights(tmp_path / "two"))


def test_an_encoder_of_the_hub_computes_what_the_same_files_in_a_directory_compute(hub, tmp_path):
    directory = replace(tiny.ENCODER, text=LocalEncoder(path=str(tmp_path / "published" / XLMR)))
    named = replace(tiny.ENCODER, text=HubEncoder(repository=XLMR))
    for number, encoder in enumerate((directory, named)):
        stage = replace(tiny.training(tiny.NLI, steps=1), encoder=resolve_encoder(encoder))
        run_stage(stage, parent=None, output=tmp_path / str(number))
    assert tiny.same(tiny.weights(tmp_path / "0"), tiny.weights(tmp_path / "1"))


@pytest.mark.parametrize("kind", ["siglip", "clip"])
def test_a_tower_of_the_hub_sees_what_the_same_files_in_a_directory_see(kind, hub, tmp_path):
    encoder = replace(by_name(), text=tiny.ENCODER.text, patches=Tower(model=HubEncoder(repository=f"someone/{kind}")))
    patches = resolve_encoder(encoder).patches
    assert patches.model.revision == hub.repositories["models", f"someone/{kind}"].names["main"]
    directory = replace(patches, model=LocalEncoder(path=str(tmp_path / "published" / "someone" / kind)))
    pictures = [towers.picture(seed) for seed in range(3)]
    assert np.array_equal(tower.features(patches)(pictures), tower.features(directory)(pictures))
