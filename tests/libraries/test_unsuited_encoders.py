"""Encoders that transformers knows, or not, and that no stage could be trained from: told before any stage is."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import save

from sweep.absence import find
from tests.pure.small_sweep import ALONE, BASELINE, SETTINGS, small_sweep
from trainables.catalogue import lab
from trainables.catalogue.encoder import LocalEncoder, Tower
from trainables.data.tokens import tokenizer
from trainables.faults import Invalid

PIECES = len(tokenizer(lab.ENCODER))
EMPTY = b"\2\0\0\0\0\0\0\0{}"
SIZES = {"vocab_size": PIECES, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}


def encoder(folder, kind: str, **config):
    """One of that kind with the lab's tokenizer and no numbers."""
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(SIZES | {"model_type": kind} | config))
    (folder / "model.safetensors").write_bytes(EMPTY)
    tokenizer(lab.ENCODER).save_pretrained(folder)
    return replace(lab.ENCODER, name="mine", text=LocalEncoder(path=str(folder)))


def faults(sweep, *, fetch: bool) -> tuple[str, ...]:
    with pytest.raises(Invalid) as refused:
        find(sweep, fetch=fetch)
    return refused.value.faults


@pytest.mark.parametrize(
    ("kind", "config", "told"),
    [
        ("xlm-robert", {}, "knows, got 'xlm-robert' in"),
        ("t5", {"is_encoder_decoder": True}, "must be an encoder alone, got 't5' in"),
        ("gpt2", {}, "must read both ways, got 'gpt2' in"),
        ("qwen2", {}, "must read both ways, got 'qwen2' in"),
        ("bert", {"is_decoder": True}, "must read both ways, got 'bert' in"),
        ("siglip_vision_model", {}, "must take embeddings, beside which patches of images stand"),
        ("canine", {}, "must look its words up in one table, got 'canine' in"),
        ("bros", {}, "must read embeddings and nothing else, got 'bros' in"),
        ("fnet", {"num_hidden_layers": "two"}, "must be one that AutoModel makes a model of, got: "),
        (None, {}, "must state a model_type, got None"),
    ],
)
@pytest.mark.parametrize("fetch", [False, True])
def test_what_is_no_encoder_that_reads_both_ways_is_refused_by_plan_and_run(kind, config, told, fetch, tmp_path):
    found = faults(small_sweep(encoder=encoder(tmp_path, kind, **config)), fetch=fetch)
    assert any(told in fault for fault in found), found


def test_an_encoder_of_a_kind_that_no_test_reads_with_is_judged_by_its_class(tmp_path):
    again = replace(SETTINGS, gradient_checkpointing=True)
    able = encoder(tmp_path / "able", "yoso", max_position_embeddings=200)
    assert find(small_sweep(encoder=able, target_settings=again), fetch=True).absent == {}
    unable = small_sweep(encoder=encoder(tmp_path / "un", "squeezebert", embedding_size=16), target_settings=again)
    told = "gradient_checkpointing must be False for 'squeezebert', which cannot do it, got True in target_settings"
    assert faults(unable, fetch=False) == (told,)


def test_gradient_checkpointing_is_refused_where_the_encoder_cannot_do_it(tmp_path):
    again = replace(SETTINGS, gradient_checkpointing=True)
    sweep = small_sweep(encoder=encoder(tmp_path, "albert"), intermediate_settings=again)
    told = "gradient_checkpointing must be False for 'albert', which cannot do it, got True in intermediate_settings"
    assert faults(sweep, fetch=False) == (told,)
    find(replace(sweep, intermediate_settings=SETTINGS), fetch=False)


def test_weights_that_are_not_whole_are_refused_before_they_are_loaded(tmp_path):
    sweep = small_sweep(encoder=encoder(tmp_path, "bert"))
    whole = save({"a": np.zeros(3, dtype=np.float32), "b": np.ones(2, dtype=np.float32)}, metadata={"format": "pt"})
    for data, told in (
        (whole[:-1], f"got {len(whole) - 1} bytes where its head states {len(whole)}; fetch or save it again"),
        (b"version https://git-lfs", "got 23 bytes without such a head"),
        (b"", "got 0 bytes without such a head"),
    ):
        (tmp_path / "model.safetensors").write_bytes(data)
        (fault,) = faults(sweep, fetch=False)
        assert told in fault and f"{tmp_path}/model.safetensors must be a whole safetensors file" in fault
    (tmp_path / "model.safetensors").write_bytes(whole)
    assert find(sweep, fetch=False).absent == {}


def test_a_run_reads_the_tokenizer_before_its_first_stage(tmp_path):
    sweep = small_sweep(encoder=encoder(tmp_path, "bert", vocab_size=PIECES - 1))
    assert "every token must have an embedding" in faults(sweep, fetch=True)[0]
    find(sweep, fetch=False)  # to load a tokenizer takes seconds, which a plan does not


def test_a_mask_token_is_asked_for_where_masked_words_are_predicted(tmp_path):
    text = encoder(tmp_path, "bert")
    path = tmp_path / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"mask_token": None}))
    sweep = small_sweep(encoder=text)
    told = (
        "the tokenizer of mine must have a mask token, because pretrain, align_images[0] predict masked words, "
        "got none; use another encoder, or leave that out"
    )
    assert faults(sweep, fetch=True) == (told,)
    bare = replace(sweep, pretrain=None, align_images=None, cells=(BASELINE, ALONE))
    assert find(bare, fetch=True).absent == {}
    mixed = replace(ALONE, name="mixed", intermediates=(lab.NLI, lab.PARALLEL))
    (fault,) = faults(replace(bare, cells=(BASELINE, mixed)), fetch=True)
    assert "because the intermediate stage of 'mixed' predicts masked words" in fault


def test_a_tower_of_another_kind_or_with_fewer_layers_is_refused(tmp_path):
    def sweep(config: dict, layers: int):
        (tmp_path / "config.json").write_text(json.dumps(config))
        (tmp_path / "model.safetensors").write_bytes(EMPTY)
        (tmp_path / "preprocessor_config.json").write_text("{}")
        tower = Tower(model=LocalEncoder(path=str(tmp_path)), layers_from_end=layers, grid=2)
        return small_sweep(encoder=replace(lab.ENCODER, patches=tower))

    assert faults(sweep({"model_type": "vit"}, 1), fetch=False) == (
        "a tower's model_type must be one of siglip, siglip_vision_model, siglip2, siglip2_vision_model, clip, "
        f"clip_vision_model, got 'vit' in {tmp_path}",
    )
    for config, most in (
        ({"model_type": "clip", "vision_config": {"num_hidden_layers": 3}}, 3),
        ({"model_type": "siglip"}, 12),
        ({"model_type": "clip", "vision_config": None}, 12),
    ):
        find(sweep(config, most), fetch=False)
        told = f"a tower's layers_from_end must be at most its {most} layers, got {most + 1}"
        assert faults(sweep(config, most + 1), fetch=False) == (told,)
    found = sweep({"model_type": "clip"}, 1)
    (tmp_path / "model.safetensors").write_bytes(b"part of it")
    assert "must be a whole safetensors file" in faults(found, fetch=False)[0]
