"""Text to token numbers: the tokenizer of an encoder, whole columns at once; knows no labels and no batches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from trainables.canonical import canonical, digest
from trainables.catalogue.encoder import Encoder, HubEncoder, LocalEncoder, SmallEncoder
from trainables.data.fingerprint import tokenizer_fingerprint
from trainables.data.hub import model_folder
from trainables.data.model_files import configuration
from trainables.faults import Invalid, refuse
from trainables.machine import numeric_versions

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

#: XLM-R's special tokens in XLM-R's order, so that a small encoder's numbers mean the same as a large one's.
SPECIAL = ("<s>", "<pad>", "</s>", "<unk>")
MASK = "<mask>"

#: Languages written without spaces between words.
UNSPACED = frozenset({"zh", "th"})

#: What SentencePiece puts in the place of a space.
SPACE = "▁"

#: Marks that end or divide sentences in the lab's fifteen languages.
PUNCTUATION = ".,:;?!¿¡'\"()-؟،؛。，、？！：；।"

Forms = Mapping[str, Mapping[str, str]]
"""Language → surface form → concept."""


@dataclass(frozen=True)
class Ragged:
    """Rows of different lengths: row r is `values[offsets[r] : offsets[r + 1]]`."""

    values: np.ndarray
    offsets: np.ndarray

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> np.ndarray:
        """(row,) of int64."""
        return np.diff(self.offsets)

    def row(self, number: int) -> np.ndarray:
        """One row, as a view."""
        return self.values[self.offsets[number] : self.offsets[number + 1]]

    @staticmethod
    def of(rows: Sequence[Sequence[int]]) -> Ragged:
        """The same rows, packed."""
        offsets = np.zeros(len(rows) + 1, dtype=np.int64)
        np.cumsum([len(row) for row in rows], out=offsets[1:])
        values = np.empty(int(offsets[-1]), dtype=np.int64)
        for number, row in enumerate(rows):
            values[offsets[number] : offsets[number + 1]] = row
        return Ragged(values, offsets)


@dataclass(frozen=True)
class Template:
    """The special tokens around one text and between two, as the encoder's own tokenizer puts them.

    `types` are the token types of the first and of the second text; (0, 0) where the encoder has but one.
    """

    prefix: tuple[int, ...]
    middle: tuple[int, ...]
    suffix: tuple[int, ...]
    types: tuple[int, int]
    pad: int
    mask: int | None
    """None where the tokenizer has no mask token: masked prediction is then refused."""


@lru_cache(maxsize=8)
def lab_forms() -> Forms:
    """The surface forms of every language of the lab and what each means."""
    from trainables.lab.lexicon import GRAMMARS  # only small encoders need it

    return {language: dict(grammar.forms) for language, grammar in sorted(GRAMMARS.items())}


def tokenizer(encoder: Encoder) -> PreTrainedTokenizerBase:
    """The tokenizer of an encoder, made once per process.

    Raises:
        Invalid: where an encoder's directory holds none that loads offline, or one that knows no words, has no pad
            token, or more tokens than the encoder has embeddings.
    """
    return _tokenizer(encoder.text.__class__, canonical(encoder.text), encoder)


@lru_cache(maxsize=8)
def _tokenizer(kind: type, key: str, encoder: Encoder) -> PreTrainedTokenizerBase:
    if isinstance(encoder.text, SmallEncoder):
        return small_tokenizer(lab_forms(), encoder.text.positions)
    return _local_tokenizer(encoder.text, encoder.name)


def _local_tokenizer(text: LocalEncoder | HubEncoder, name: str) -> PreTrainedTokenizerBase:
    from transformers import AutoTokenizer

    folder = model_folder(text)
    try:
        loaded = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # a damaged tokenizer.json raises no class of its own
        raise Invalid(
            f"encoder {name!r}",
            [f"{folder} must hold a tokenizer that AutoTokenizer loads offline, got: {error}; save its own there"],
        ) from error
    refuse(f"encoder {name!r}", _tokenizer_faults(loaded, folder))
    return loaded


def _tokenizer_faults(tokens: PreTrainedTokenizerBase, folder: Path) -> Iterator[str]:
    """Why an encoder could not read what its tokenizer says."""
    if tokens.pad_token_id is None:
        yield f"the tokenizer in {folder} must have a pad token, got none; set one and save it"
    numbers = set(tokens.get_vocab().values())
    if numbers <= set(tokens.all_special_ids):
        yield (
            f"the tokenizer in {folder} must know words, got {len(numbers)} special tokens alone, as transformers "
            "makes one where it finds no vocabulary; save the encoder's own there"
        )
    size = configuration(folder).get("vocab_size")
    if isinstance(size, int) and max(numbers, default=0) >= size:
        yield (
            f"every token must have an embedding, got {len(numbers)} tokens with numbers up to {max(numbers)} in "
            f"{folder} and vocab_size {size} in its config.json; save the tokenizer that the encoder was trained with, "
            "or both after resize_token_embeddings"
        )


def fingerprint(encoder: Encoder) -> str:
    """What decides how text becomes tokens, as a digest; empty where nobody has pinned the encoder's files."""
    libraries = [(name, version) for name, version in numeric_versions() if name in ("tokenizers", "transformers")]
    text = encoder.text
    if isinstance(text, SmallEncoder):
        return digest([_lab_pieces(), text.positions, libraries])
    return digest([tokenizer_fingerprint(model_folder(text)), libraries]) if text.fingerprint else ""


@lru_cache(maxsize=1)
def _lab_pieces() -> str:
    return digest(vocabulary(lab_forms()))


def vocabulary(forms: Forms) -> list[str]:
    """Every piece of the small tokenizer, specials first, sorted within; the mask token comes last.

    A word of a spaced language is one piece that begins with the space before it, as in SentencePiece; a word of
    Chinese or Thai is one without. Letters are pieces too, so that an unknown name is spelled and not lost.
    """
    pieces = {SPACE, *PUNCTUATION, *(SPACE + mark for mark in PUNCTUATION)}
    for language, words in forms.items():
        pieces |= {piece(word, language) for word in words if word.strip()}
        pieces |= {letter for word in words for letter in word.lower() if not letter.isspace()}
    return [*SPECIAL, *sorted(pieces), MASK]


def piece(word: str, language: str) -> str:
    """The piece of a word, or of a mark of punctuation, which follows the word before it without a space."""
    joined = SPACE.join(word.lower().split())
    is_mark = not any(letter.isalnum() for letter in word)
    return joined if is_mark or language in UNSPACED else SPACE + joined


def small_tokenizer(forms: Forms, positions: int) -> PreTrainedTokenizerBase:
    """A Unigram tokenizer of whole words with XLM-R's special tokens.

    All pieces weigh the same, so the best segmentation is the one with the fewest pieces: known words stay whole,
    and unspaced text falls into words.
    """
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    pieces = vocabulary(forms)
    made = Tokenizer(models.Unigram([(name, -10.0) for name in pieces], unk_id=SPECIAL.index("<unk>")))
    made.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    made.pre_tokenizer = pre_tokenizers.Metaspace(replacement=SPACE, prepend_scheme="always", split=False)
    made.decoder = decoders.Metaspace(replacement=SPACE, prepend_scheme="always", split=False)
    made.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>",
        pair="<s> $A </s> </s> $B:1 </s>:1",
        special_tokens=[("<s>", 0), ("</s>", 2)],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=made,
        bos_token="<s>",
        eos_token="</s>",
        cls_token="<s>",
        sep_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
        mask_token=MASK,
        model_max_length=positions,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    )


def template(tokens: PreTrainedTokenizerBase) -> Template:
    """The special tokens of a tokenizer, read off two short texts."""
    inner = list(tokens("a", add_special_tokens=False)["input_ids"])
    one = list(tokens("a")["input_ids"])
    pair = tokens("a", "a")
    two = list(pair["input_ids"])
    start = next(place for place in range(len(one)) if one[place : place + len(inner)] == inner)
    suffix = one[start + len(inner) :]
    middle = two[start + len(inner) : len(two) - len(inner) - len(suffix)]
    types = list(pair.get("token_type_ids", [0] * len(two)))
    return Template(
        prefix=tuple(one[:start]),
        middle=tuple(middle),
        suffix=tuple(suffix),
        types=(types[0], types[-1]),
        pad=tokens.pad_token_id,
        mask=tokens.mask_token_id,
    )


def needs_spaces(tokens: PreTrainedTokenizerBase) -> bool:
    """Whether a word alone has other tokens than in the middle of a sentence, where a space stands before it."""
    first, second, both = tokens(["a", "b", "a b"], add_special_tokens=False)["input_ids"]
    return list(both) != [*first, *second]


def tokenise(texts: Sequence[str], tokens: PreTrainedTokenizerBase) -> Ragged:
    """The token numbers of every text, without special tokens; each distinct text is tokenised once."""
    known = {text: number for number, text in enumerate(dict.fromkeys(texts))}
    if not known:
        return Ragged.of([])
    encoded = tokens(list(known), add_special_tokens=False, verbose=False)["input_ids"]
    return Ragged.of([encoded[known[text]] for text in texts])


def tokenise_with_places(texts: Sequence[str], tokens: PreTrainedTokenizerBase) -> tuple[Ragged, Ragged]:
    """The token numbers of every text, and for each token the characters it stands for, as start * 2**32 + end."""
    encoded = tokens(list(texts), add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    packed = [[start << 32 | end for start, end in row] for row in encoded["offset_mapping"]]
    return Ragged.of(encoded["input_ids"]), Ragged.of(packed)
