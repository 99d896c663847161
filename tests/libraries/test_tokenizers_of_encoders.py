"""Tokenizers of an encoder's directory that transformers loads and no encoder could be trained with."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import pytest
from sentencepiece import SentencePieceTrainer

from trainables.catalogue import lab
from trainables.catalogue.encoder import LocalEncoder
from trainables.data.fingerprint import resolve_encoder
from trainables.data.tokens import tokenise, tokenizer
from trainables.faults import Invalid

PIECES = len(tokenizer(lab.ENCODER))


def encoder(folder, config: dict, **special):
    """An encoder of that configuration with the lab's tokenizer; it has no weights."""
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "model.safetensors").write_bytes(b"")
    tokenizer(lab.ENCODER).save_pretrained(folder)
    if special:
        path = folder / "tokenizer_config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | special))
    return replace(lab.ENCODER, text=LocalEncoder(path=str(folder)))


def faults(of) -> tuple[str, ...]:
    with pytest.raises(Invalid) as refused:
        tokenizer(of)
    return refused.value.faults


@pytest.mark.parametrize("kind", ["bert", "xlm-roberta", "modernbert"])
def test_a_tokenizer_that_knows_no_words_is_refused_and_never_read_as_unknown_ones(kind, tmp_path):
    """transformers makes one of special tokens alone for mBERT's and XLM-R's kind where a directory holds none."""
    of = encoder(tmp_path, {"model_type": kind, "vocab_size": PIECES})
    assert len(tokenise(["the red circle"], tokenizer(of)).row(0)) == 3
    for path in tmp_path.glob("tokenizer*"):
        path.unlink()
    empty = replace(of, name="without")
    (fault,) = faults(empty)
    ours = "must know words, got 5 special tokens alone" if kind != "modernbert" else "that AutoTokenizer loads offline"
    assert ours in fault
    with pytest.raises(Invalid, match="path must hold a tokenizer's vocabulary"):
        resolve_encoder(empty)


def test_a_vocabulary_that_is_smaller_than_the_tokenizer_is_refused(tmp_path):
    (tmp_path / "fits").mkdir()
    tokenizer(encoder(tmp_path / "fits", {"model_type": "bert", "vocab_size": PIECES}))
    (fault,) = faults(encoder(tmp_path, {"model_type": "bert", "vocab_size": PIECES - 1}))
    assert f"got {PIECES} tokens with numbers up to {PIECES - 1} in {tmp_path} and vocab_size {PIECES - 1}" in fault


def test_a_tokenizer_without_a_pad_token_is_refused(tmp_path):
    (fault,) = faults(encoder(tmp_path, {"model_type": "bert", "vocab_size": PIECES}, pad_token=None))
    assert "must have a pad token, got none" in fault


def test_a_damaged_tokenizer_is_refused(tmp_path):
    of = encoder(tmp_path, {"model_type": "bert", "vocab_size": PIECES})
    text = (tmp_path / "tokenizer.json").read_text()
    (tmp_path / "tokenizer.json").write_text(text.replace('"model"', '"models"'))
    assert "must hold a tokenizer that AutoTokenizer loads offline, got: " in faults(of)[0]


def test_a_sentencepiece_model_alone_is_a_tokenizer(tmp_path):
    """As mDeBERTa is published; its mask token comes after the model's pieces."""
    words = "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu".split()
    model = io.BytesIO()
    SentencePieceTrainer.train(
        sentence_iterator=(" ".join((*words[start:], *words[:start])) for start in range(len(words))),
        model_writer=model,
        vocab_size=30,
        minloglevel=2,
        **{"pad_id": 0, "pad_piece": "[PAD]", "bos_id": 1, "bos_piece": "[CLS]"},
        **{"eos_id": 2, "eos_piece": "[SEP]", "unk_id": 3, "unk_piece": "[UNK]"},
    )
    (tmp_path / "spm.model").write_bytes(model.getvalue())
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "deberta-v2", "vocab_size": 31}))
    (tmp_path / "model.safetensors").write_bytes(b"")
    tokens = tokenizer(resolve_encoder(replace(lab.ENCODER, text=LocalEncoder(path=str(tmp_path)))))
    numbers = tokenise(["alpha gamma"], tokens).row(0).tolist()
    assert tokens.convert_ids_to_tokens(numbers) == ["▁alpha", "▁gamma"]
    assert (tokens.pad_token_id, tokens.mask_token_id, len(tokens)) == (0, 30, 31)
