"""The words of a tagged sentence become the tokens that they are in it, whatever a tokenizer does to spaces."""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa
import pytest
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from trainables.catalogue.lab import ENCODER
from trainables.catalogue.task import Kind
from trainables.data import tokens
from trainables.data.layouts import LAYOUTS
from trainables.data.schema import TAGGING
from trainables.settings import Visible

SPECIAL = ["[CLS]", "[SEP]", "[PAD]", "[UNK]", "[MASK]"]
SENTENCE = "the red circle is near the blue ring"
TEXTS = [SENTENCE, "红 圆 在 红 环 边"] * 50


def byte_level() -> Tokenizer:
    """As ModernBERT and EuroBERT have it: a space belongs to the word after it, and none is set before the first."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    made.train_from_iterator(
        TEXTS, trainers.BpeTrainer(vocab_size=500, special_tokens=SPECIAL, initial_alphabet=alphabet)
    )
    return made


def space_replaced() -> Tokenizer:
    """As Gemma and mmBERT have it: spaces become marks, and none is set before the first word."""
    made = Tokenizer(models.BPE(unk_token="[UNK]"))
    made.normalizer = normalizers.Replace(" ", tokens.SPACE)
    made.pre_tokenizer = pre_tokenizers.Split(tokens.SPACE, "merged_with_next")
    made.train_from_iterator(TEXTS, trainers.BpeTrainer(vocab_size=500, special_tokens=SPECIAL))
    return made


def space_before_all() -> Tokenizer:
    """As XLM-R has it: a mark is set before the first word too."""
    made = Tokenizer(models.BPE(unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Metaspace(replacement=tokens.SPACE, prepend_scheme="always")
    made.train_from_iterator(TEXTS, trainers.BpeTrainer(vocab_size=500, special_tokens=SPECIAL))
    return made


def word_pieces() -> Tokenizer:
    """As BERT has it: the parts of a word but the first are marked, spaces are not."""
    made = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.train_from_iterator(TEXTS, trainers.WordPieceTrainer(vocab_size=500, special_tokens=SPECIAL))
    return made


def made_from(tokenizer: Tokenizer) -> PreTrainedTokenizerFast:
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]", special_tokens=[("[CLS]", 0), ("[SEP]", 1)]
    )
    names = dict(zip(("cls", "sep", "pad", "unk", "mask"), SPECIAL, strict=True))
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **{f"{name}_token": at for name, at in names.items()})


def laid_out(language: str, words: list[str], made: PreTrainedTokenizerFast, maximum_tokens: int = 64) -> list[str]:
    """The tokens of the rows that a tagged sentence becomes, without the special ones."""
    table = pa.table([["s"], [language], [words], [[0] * len(words)]], schema=TAGGING)
    encoder = replace(ENCODER, maximum_tokens=maximum_tokens)
    rows = LAYOUTS[Kind.TAGGING](table, encoder, made, tokens.template(made), Visible.BOTH)
    found = [made.convert_ids_to_tokens(rows.sequences.tokens.row(row).tolist()) for row in range(len(rows.ids))]
    return [token for row in found for token in row if token not in SPECIAL]


@pytest.mark.parametrize("kind", [byte_level, space_replaced, space_before_all, word_pieces])
@pytest.mark.parametrize("maximum_tokens", [64, 8])
def test_the_words_of_a_tagged_sentence_are_read_as_in_the_sentence(kind, maximum_tokens):
    made = made_from(kind())
    spoken = made.convert_ids_to_tokens(made(SENTENCE, add_special_tokens=False)["input_ids"])
    assert laid_out("en", SENTENCE.split(), made, maximum_tokens) == spoken


@pytest.mark.parametrize("kind", [byte_level, space_replaced, word_pieces])
def test_a_language_without_spaces_gets_none(kind):
    made = made_from(kind())
    assert not {"Ġ", tokens.SPACE} & {token[0] for token in laid_out("zh", list("红圆在红环边"), made)}
