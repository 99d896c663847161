"""Text encoders of several families, from a directory with random weights, as the trunk of every kind of task."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    CONFIG_MAPPING,
    AlbertConfig,
    BertConfig,
    DebertaV2Config,
    DistilBertConfig,
    ElectraConfig,
    EuroBertConfig,
    ModernBertConfig,
    RemBertConfig,
    XLMRobertaConfig,
    XLMRobertaXLConfig,
)
from transformers.models.auto.modeling_auto import MODEL_MAPPING

from sweep.fitting import MODULES
from tests.torch_cpu import tiny
from trainables.catalogue.encoder import LocalEncoder
from trainables.data.batches import batch
from trainables.data.fingerprint import resolve_encoder
from trainables.data.rows import rows
from trainables.data.suited import BOTH_WAYS, ENCODERS, KEEPING, can_recompute, kind_faults
from trainables.data.tokens import tokenizer
from trainables.faults import Invalid
from trainables.model.encoder import load, patch_position, position_offset
from trainables.model.lora import layer_of
from trainables.model.reader import Reader
from trainables.model.vision import image_side
from trainables.settings import Alignment
from trainables.stages import StageKind
from trainables.training import checkpoint
from trainables.training.loop import run_stage
from trainables.training.ranks import Ranks

_SIZES = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": 130,
    "pad_token_id": 1,
    "bos_token_id": 0,
    "eos_token_id": 2,
}
FAMILIES = {
    "xlm_roberta": (XLMRobertaConfig, {}),
    "xlm_roberta_xl": (XLMRobertaXLConfig, {"type_vocab_size": 1}),
    "bert": (BertConfig, {}),
    "modernbert": (ModernBertConfig, {"local_attention": 8, "cls_token_id": 0, "sep_token_id": 2}),
    "mdeberta": (
        DebertaV2Config,
        {
            "relative_attention": True,
            "pos_att_type": ["p2c", "c2p"],
            "position_biased_input": False,
            "type_vocab_size": 0,
        },
    ),
    "eurobert": (EuroBertConfig, {"num_key_value_heads": 2}),
}

#: Encoders whose word embeddings are narrower than their layers.
NARROW = {
    "albert": (AlbertConfig, {"embedding_size": 16}),
    "electra": (ElectraConfig, {"embedding_size": 16}),
    "mdeberta_narrow": (DebertaV2Config, FAMILIES["mdeberta"][1] | {"embedding_size": 16}),
    "rembert": (RemBertConfig, {"input_embedding_size": 16, "output_embedding_size": 16}),
}


def saved(family: str, folder, **changes) -> LocalEncoder:
    kind, more = (FAMILIES | NARROW)[family]
    tokens = tokenizer(tiny.ENCODER)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = kind(vocab_size=len(tokens), **{**_SIZES, **more, **changes})
        MODEL_MAPPING[type(config)](config).save_pretrained(folder)
    tokens.save_pretrained(folder)
    return LocalEncoder(path=str(folder))


@pytest.mark.parametrize("family", [*FAMILIES, *NARROW])
def test_an_encoder_of_each_family_is_aligned_trained_and_scored(family, tmp_path):
    encoder = resolve_encoder(replace(tiny.ENCODER, text=saved(family, tmp_path / "model")))
    stages = [tiny.training(tiny.CAPTION, kind=StageKind.ALIGN_IMAGES, steps=1, alignment=Alignment.CONTRASTIVE)]
    stages.append(tiny.training(tiny.NLI, tiny.SQUAD, steps=2, parent="to be set", dropout=0.1))
    again = family != "albert"  # which cannot compute activations again
    stages.append(tiny.training(tiny.VISUAL, steps=2, parent="to be set", gradient_checkpointing=again))
    stages.append(tiny.evaluation(tiny.VISUAL, "to be set"))
    parent, digest = None, ""
    for number, made in enumerate(stages):
        stage = replace(made, encoder=encoder, parent=digest)
        outcome = run_stage(stage, parent=parent, output=tmp_path / str(number))
        parent, digest = tmp_path / str(number), stage.digest
    assert [(score.language, score.count) for score in outcome.scores] == [("en", 24), ("de", 24)]
    before, after = tiny.weights(tmp_path / "1"), tiny.weights(tmp_path / "2")
    assert any(name.startswith("model.") and not before[name].equal(after[name]) for name in before)


class HalfOfTwo(Ranks):
    """One of two processes, the other of which says nothing."""

    size = 2


@pytest.mark.parametrize("ranks", [Ranks(), HalfOfTwo()])
@pytest.mark.parametrize("alignment", Alignment)
def test_patches_are_aligned_with_words_that_are_narrower_than_layers(alignment, ranks, tmp_path):
    encoder = resolve_encoder(replace(tiny.ENCODER, text=saved("rembert", tmp_path / "model"), level_patches=True))
    stage = tiny.training(tiny.CAPTION, kind=StageKind.ALIGN_IMAGES, steps=1, encoder=encoder, alignment=alignment)
    stage = replace(stage, shape=replace(stage.shape, workers=ranks.size))
    assert run_stage(stage, parent=None, output=tmp_path / "out", ranks=ranks).steps_executed == 1


def test_an_output_whose_image_side_is_as_wide_as_layers_and_saw_no_image_is_read(tmp_path):
    encoder = resolve_encoder(replace(tiny.ENCODER, text=saved("rembert", tmp_path / "model")))
    reader = Reader(load(tmp_path / "model", 0.0), encoder, 0, 0.0)

    def written(width: int):
        reader.vision = image_side(encoder.patches, width, None)
        checkpoint.write_model(reader, encoder, tmp_path / str(width))
        checkpoint.write_trained(reader, checkpoint.kept_weights(tmp_path / str(width), 1))
        return checkpoint.read_model(tmp_path / str(width), encoder, seed=0, dropout=0.0, carry_heads=True)

    before = written(32)  # as all were written once
    assert before.vision.segment.shape == (16,)
    checkpoint.lay_over(before, checkpoint.weights_of((1,), 2, tmp_path / "32", before)[1, 2])
    assert written(16).vision.row.equal(reader.vision.row)
    with pytest.raises(Invalid, match="its image side must fit"):
        written(24)


@pytest.mark.parametrize("kind", [*(kind for kind, _ in FAMILIES.values()), DistilBertConfig])
def test_the_modules_that_adapters_can_be_put_beside_are_those_of_the_libraries_own_model(kind):
    trunk = MODEL_MAPPING[kind](kind(vocab_size=99, **_SIZES, **dict(FAMILIES.values()).get(kind, {})))
    found = [
        name
        for name, module in trunk.named_modules()
        if isinstance(module, torch.nn.Linear) and layer_of(name) is not None
    ]
    assert {name.rpartition(".")[2] for name in found} == set(MODULES[kind.model_type].split())
    assert 1 + max(layer_of(name) for name in found) == trunk.config.num_hidden_layers


def test_a_tokenizer_without_a_mask_token_trains_but_predicts_no_masked_word(tmp_path):
    text = saved("bert", tmp_path / "model")
    tokens = tokenizer(tiny.ENCODER)
    from transformers import PreTrainedTokenizerFast

    bare = PreTrainedTokenizerFast(
        tokenizer_object=tokens.backend_tokenizer,
        cls_token="<s>",
        sep_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
    )
    for old in (tmp_path / "model").glob("*token*"):
        old.unlink()
    bare.save_pretrained(tmp_path / "model")
    encoder = resolve_encoder(replace(tiny.ENCODER, text=text))
    run_stage(replace(tiny.training(tiny.NLI, steps=1), encoder=encoder), parent=None, output=tmp_path / "out")
    masked = replace(tiny.training(tiny.PARALLEL, kind=StageKind.PRETRAIN, steps=1), encoder=encoder)
    with pytest.raises(Invalid, match="its tokenizer must have a mask token, because pretrain predicts masked words"):
        run_stage(masked, parent=None, output=tmp_path / "no")


def test_distilbert_has_no_tokens_types_and_is_read_all_the_same(tmp_path):
    tokens = tokenizer(tiny.ENCODER)
    config = DistilBertConfig(
        vocab_size=len(tokens),
        dim=32,
        hidden_dim=48,
        n_layers=1,
        n_heads=2,
        max_position_embeddings=130,
        pad_token_id=1,
    )
    MODEL_MAPPING[type(config)](config).save_pretrained(tmp_path / "model")
    tokens.save_pretrained(tmp_path / "model")
    encoder = resolve_encoder(replace(tiny.ENCODER, text=LocalEncoder(path=str(tmp_path / "model"))))
    stage = replace(tiny.training(tiny.VISUAL, steps=1), encoder=encoder)
    assert run_stage(stage, parent=None, output=tmp_path / "out").steps_executed == 1


#: What a small one of a kind needs beside `_SIZES`, under the names of its own configuration.
_MORE = {
    **{kind: {"embedding_size": 16} for kind in ("albert", "convbert", "electra")},
    **{kind: {"emb_dim": 32, "n_layers": 2, "n_heads": 2, "pad_index": 1} for kind in ("flaubert", "xlm")},
    "distilbert": {"dim": 32, "hidden_dim": 48, "n_layers": 2, "n_heads": 2},
    "eurobert": {"num_key_value_heads": 2},
    "gemma3_text": {"num_key_value_heads": 1, "head_dim": 16},
    "longformer": {"attention_window": 8},
    "luke": {"entity_vocab_size": 5, "entity_emb_size": 8},
    "mistral": {"num_key_value_heads": 2, "head_dim": 16},
    "mobilebert": {
        "embedding_size": 16,
        "intra_bottleneck_size": 16,
        "true_hidden_size": 16,
        "num_feedforward_networks": 1,
    },
    "modernbert": {"cls_token_id": 0, "sep_token_id": 2},
    "xmod": {"default_language": "en_XX"},
}


def of_kind(kind: str, folder, **said) -> Reader:
    """A reader of a small encoder of that kind with random weights, whose positions differ as much as words."""
    config = CONFIG_MAPPING[kind](vocab_size=len(tokenizer(tiny.ENCODER)), **_SIZES, **_MORE.get(kind, {}), **said)
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        model = MODEL_MAPPING[type(config)](config)
        for weights in model.parameters():
            weights.normal_(std=0.2)
    model.save_pretrained(folder)
    tokenizer(tiny.ENCODER).save_pretrained(folder)
    encoder = resolve_encoder(replace(tiny.ENCODER, text=LocalEncoder(path=str(folder))))
    assert list(kind_faults(folder, [], loaded=True)) == []
    return Reader(load(folder, 0.0), encoder, 0, 0.0).eval()


def sample(task, folder):
    encoder = resolve_encoder(replace(tiny.ENCODER, text=LocalEncoder(path=str(folder))))
    return batch(rows(task, "test", ("en",), encoder), np.arange(3))


@pytest.mark.parametrize("kind", sorted(ENCODERS | {"mra", "yoso"}))
def test_an_encoder_of_a_kind_that_is_trusted_by_its_name_reads_texts_as_it_does_itself_and_images(kind, tmp_path):
    reader = of_kind(kind, tmp_path)
    assert (kind in KEEPING) != can_recompute(kind)
    text = sample(tiny.NLI, tmp_path)
    columns = torch.arange(text.ids.shape[1])
    there = columns < text.lengths[:, None]
    second = (columns >= text.starts[:, None]).long()
    types = {"token_type_ids": second} if text.types == (0, 1) and reader._takes_types else {}
    with torch.no_grad():
        own = reader.trunk(input_ids=text.ids, attention_mask=there.long(), **types).last_hidden_state
        assert torch.allclose(reader.states(text)[there], own[there], atol=1e-4)
        seen = reader.logits(sample(tiny.VISUAL, tmp_path), tiny.VISUAL.head, 3)
        assert bool(seen.isfinite().all())
    from_padding = patch_position(reader.trunk) < position_offset(reader.trunk)
    usable = 130 - from_padding * position_offset(reader.trunk)
    encoder = replace(tiny.ENCODER, text=LocalEncoder(path=str(tmp_path)))
    resolve_encoder(replace(encoder, maximum_tokens=usable))
    with pytest.raises(Invalid, match=f"maximum_tokens must be at most the {usable} positions"):
        resolve_encoder(replace(encoder, maximum_tokens=usable + 1))


@pytest.mark.parametrize("kind", sorted(BOTH_WAYS))
def test_a_decoder_whose_configuration_has_it_read_both_ways_is_an_encoder(kind, tmp_path):
    flag, value = BOTH_WAYS[kind]
    reader = of_kind(kind, tmp_path, **{flag: value})
    text = sample(tiny.NLI, tmp_path)
    ids = text.ids.clone()
    ids[torch.arange(3), text.lengths - 1] = 9
    with torch.no_grad():
        first, other = (reader.states(one)[:, 0] for one in (text, replace(text, ids=ids)))
        assert float((first - other).abs().max(-1).values.min()) > 1e-4
        assert bool(reader.logits(sample(tiny.VISUAL, tmp_path), tiny.VISUAL.head, 3).isfinite().all())
    said = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**said, flag: not value}))
    (fault,) = kind_faults(tmp_path, [], loaded=False)
    assert "must read both ways" in fault


@pytest.mark.parametrize("kind", ["bert", "xlm_roberta"])
def test_weights_that_are_damaged_are_told_as_such(kind, tmp_path):
    saved(kind, tmp_path)
    load(tmp_path, 0.0)
    weights = tmp_path / "model.safetensors"
    for data in (weights.read_bytes()[:-1], b"version https://git-lfs"):
        weights.write_bytes(data)
        with pytest.raises(Invalid, match="it must be a directory that AutoModel loads offline, got: "):
            load(tmp_path, 0.0)


@pytest.mark.parametrize(
    ("changes", "lost"),
    [
        ({"num_hidden_layers": 3}, "got none for encoder.layer.2.attention.output.LayerNorm.bias, "),
        (
            {"intermediate_size": 40},
            "intermediate.dense.bias (and 3 others) must have the size that config.json states, 40, got 48 in",
        ),
        (
            {"vocab_size": 5_000},
            "embeddings.word_embeddings.weight must have the size that config.json states, 5000 × 32",
        ),
        (
            {"max_position_embeddings": 200},
            "states, 200 × 32, got 130 × 32 in the weights; set config.json back to what",
        ),
        ({"type_vocab_size": 3}, "embeddings.token_type_embeddings.weight must have the size that config.json states"),
    ],
)
def test_weights_that_a_configuration_states_and_no_file_has_are_never_drawn_at_random(changes, lost, tmp_path):
    saved("bert", tmp_path)
    said = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(said | changes))
    with pytest.raises(Invalid, match=re.escape(lost)):
        load(tmp_path, 0.0)


@pytest.mark.parametrize(
    ("renamed", "told"),
    [
        ({"position_embeddings": None}, "got none for embeddings.position_embeddings.weight; save model and config"),
        ({"embeddings.LayerNorm": None}, "got none for embeddings.LayerNorm.bias, embeddings.LayerNorm.weight; save"),
        ({"": "0.auto_model."}, " more, and others that it does not know: 0.auto_model.embeddings.LayerNorm.bias, "),
        (
            {"embeddings.word_embeddings": "cls.decoder"},
            "does not know: cls.decoder.weight; save them under AutoModel's",
        ),
    ],
)
def test_weights_under_other_names_are_told_with_them(renamed, told, tmp_path):
    saved("bert", tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    for old, new in renamed.items():
        found = {name: weights.pop(name) for name in list(weights) if old in name}
        weights |= {} if new is None else {name.replace(old, new, 1): value for name, value in found.items()}
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(Invalid, match=re.escape(told)):
        load(tmp_path, 0.0)


@pytest.mark.parametrize(("kind", "without"), [("layoutlm", "pooler"), ("roformer", "embed_positions")])
def test_weights_without_a_pooler_or_sinusoids_are_those_of_an_encoder_all_the_same(kind, without, tmp_path):
    config = CONFIG_MAPPING[kind](vocab_size=99, **_SIZES)  # a class that always has them
    MODEL_MAPPING[type(config)](config).save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    kept = {name: value for name, value in weights.items() if without not in name}
    assert len(kept) < len(weights)
    save_file(kept, tmp_path / "model.safetensors", {"format": "pt"})
    found = load(tmp_path, 0.0).state_dict()
    assert all(found[name].equal(value) for name, value in weights.items() if "pooler" not in name)
