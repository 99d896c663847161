"""What a processor computes in its own way equals what torch and transformers compute; times nothing."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from transformers import ModernBertConfig, ModernBertModel

from tests.torch_cpu import tiny
from trainables.data.batches import batch, draw_hidden
from trainables.data.rows import rows
from trainables.model import processor, reader
from trainables.model.encoder import build
from trainables.model.reader import Reader
from trainables.stages import Shape

HALF = Shape(workers=1, threads=1, precision="bfloat16")
FULL = Shape(workers=1, threads=1, precision="float32")


def made(dropout: float = 0.0) -> Reader:
    return Reader(build(tiny.ENCODER, 0, dropout), tiny.ENCODER, 0, dropout)


def test_attention_is_torchs_with_its_gradients():
    torch.manual_seed(0)
    query, key, value = (torch.randn(3, 2, 7, 5, requires_grad=True) for _ in range(3))
    mask = torch.zeros(3, 1, 7, 7)
    mask[1, :, :, 4:] = torch.finfo(torch.float32).min
    torchs = functional.scaled_dot_product_attention(query, key, value, mask).transpose(1, 2)
    mine, weights = processor.attention(nn.Identity().eval(), query, key, value, mask, dropout=0.5)
    assert torch.allclose(mine, torchs, atol=1e-6)
    assert weights[1, :, :, 4:].eq(0).all()
    for left, right in zip(
        torch.autograd.grad(mine.square().sum(), (query, key, value)),
        torch.autograd.grad(torchs.square().sum(), (query, key, value)),
        strict=True,
    ):
        assert torch.allclose(left, right, atol=1e-5)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_dropout_drops_its_share_and_keeps_the_mean(share, dtype):
    torch.manual_seed(1)
    values = torch.ones(40, 50, 51, dtype=dtype, requires_grad=True)
    dropped = processor.Dropout(share)(values)
    off = float((dropped == 0).float().mean())
    assert abs(off - share) < 5 * math.sqrt(share * (1 - share) / values.numel())
    kept = dropped[dropped != 0]
    assert kept.float().sub(1 / (1 - share)).abs().max() < 1e-2 / (1 - share)
    dropped.sum().backward()
    assert torch.equal(values.grad, dropped.detach())  # what is dropped learns nothing


def test_dropout_follows_torchs_state_and_rests_in_evaluation():
    values, dropout = torch.ones(1000), processor.Dropout(0.5)
    torch.manual_seed(2)
    first, second = dropout(values), dropout(values)
    torch.manual_seed(2)
    assert torch.equal(dropout(values), first) and not torch.equal(first, second)
    assert torch.equal(processor.Dropout(0.0)(values), values)
    assert not processor.Dropout(1.0)(values).any()
    assert dropout.eval()(values) is values


def test_in_half_precision_what_flows_between_layers_is_half_and_says_nearly_the_same():
    data = rows(tiny.NLI, "test", ("en",), tiny.ENCODER)
    some = batch(data, np.arange(8))
    assert some.padded  # the mask is tried too
    plain, half = made(), made()
    half.suit(HALF)
    assert half.trunk.config._attn_implementation == processor.ATTENTION
    seen = []
    half.trunk.encoder.layer[0].register_forward_hook(lambda module, given, out: seen.append(out[0].dtype))
    with torch.no_grad():
        states = plain.states(some)
        with torch.autocast("cpu", torch.bfloat16):
            rounded = half.states(some)
    assert seen == [torch.bfloat16]
    inside = torch.arange(some.ids.shape[1]) < some.lengths[:, None]
    assert (states - rounded.float())[inside].abs().max() < 0.1 < states[inside].std()


def test_in_float32_the_fused_attention_stays_where_nothing_is_dropped():
    still, drops = made(), made(dropout=0.1)
    still.suit(FULL)
    drops.suit(FULL)
    assert still.trunk.config._attn_implementation == "sdpa"
    assert drops.trunk.config._attn_implementation == processor.ATTENTION
    kinds = {type(module) for module in drops.trunk.modules() if isinstance(module, nn.Dropout)}
    assert kinds == {processor.Dropout}


def test_an_encoder_with_an_attention_of_its_own_keeps_it():
    config = ModernBertConfig(
        vocab_size=50, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16, pad_token_id=0
    )
    trunk = ModernBertModel(config)
    processor.suit(trunk, half=True)
    assert trunk.config._attn_implementation == "eager"


def test_a_saved_trunk_does_not_know_how_it_was_trained(tmp_path):
    suited = made()
    suited.suit(HALF)
    suited.trunk.save_pretrained(tmp_path)
    assert processor.ATTENTION not in (tmp_path / "config.json").read_text()


def test_hidden_words_cost_the_same_in_blocks_of_any_size(monkeypatch):
    data = rows(tiny.PARALLEL, "test", None, tiny.ENCODER)
    chosen = np.arange(24)
    part = batch(data, chosen, draw_hidden(data, chosen, 0.5, seed=5, replaced_share=0.6))
    of, found = made(), []
    of.head("replaced")
    for block in (1, 128):
        monkeypatch.setattr(reader, "BLOCK", block)
        loss, count = of.loss(part, "masked_lm", 0)
        assert count == len(part.originals) and count % 128
        of.zero_grad()
        loss.backward()
        found.append((loss.item(), of.trunk.encoder.layer[0].output.dense.weight.grad.clone()))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-5)
    assert torch.allclose(found[0][1], found[1][1], atol=1e-3 * float(found[0][1].abs().max()))
