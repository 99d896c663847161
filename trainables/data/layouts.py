"""How the rows of each kind of task become sequences with special tokens; reads no file and keeps nothing."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from transformers import PreTrainedTokenizerBase

from trainables.catalogue.encoder import Encoder
from trainables.catalogue.task import Kind
from trainables.data import images, tokens
from trainables.data.reading import encoded_images
from trainables.data.sequences import ABSENT, NOWHERE, Rows, Sequences
from trainables.data.tokens import Ragged, Template
from trainables.settings import Visible

#: Tokens from the beginning of one window of a long context to that of the next, and the most tokens of a question
#: beside it: XTREME's and BERT's recipes for SQuAD.
WINDOW_STRIDE = 128
LONGEST_QUESTION = 64

#: Languages whose words are put together without a space, so that no tokenizer need set one before each.
_UNSPACED = tokens.UNSPACED | {"ja"}


def _texts(table: pa.Table, name: str, made: PreTrainedTokenizerBase) -> Ragged:
    return tokens.tokenise(table[name].to_pylist(), made)


def _names(table: pa.Table) -> dict[str, tuple[str, ...]]:
    languages = table["language" if "language" in table.column_names else "target_language"]
    return {"ids": tuple(table["id"].to_pylist()), "languages": tuple(languages.to_pylist())}


def _join(first: Ragged | None, second: Ragged, template: Template, maximum: int) -> Sequences:
    """Put the special tokens around one text or two; too long a pair loses the ends of its longer text."""
    special = len(template.prefix) + len(template.suffix) + (0 if first is None else len(template.middle))
    room = maximum - special
    parts: list[np.ndarray] = []
    first_lengths = np.zeros(len(second), dtype=np.int64)
    second_lengths = np.zeros(len(second), dtype=np.int64)
    prefix, middle, suffix = (
        np.array(part, dtype=np.int64) for part in (template.prefix, template.middle, template.suffix)
    )
    for number in range(len(second)):
        right = second.row(number)
        if first is None:
            right = right[:room]
            parts.append(np.concatenate((prefix, right, suffix)))
        else:
            left = first.row(number)
            left_room, right_room = _shared_room(len(left), len(right), room)
            left, right = left[:left_room], right[:right_room]
            parts.append(np.concatenate((prefix, left, middle, right, suffix)))
            first_lengths[number] = len(left)
        second_lengths[number] = len(right)
    return Sequences(
        tokens=Ragged.of(parts), first_lengths=first_lengths, second_lengths=second_lengths, single=first is None
    )


def _shared_room(left: int, right: int, room: int) -> tuple[int, int]:
    if left + right <= room:
        return left, right
    shorter = min(left, right, room // 2)
    return (shorter, room - shorter) if left <= right else (room - shorter, shorter)


def _pair(table: pa.Table, encoder: Encoder, made: PreTrainedTokenizerBase, template: Template, _: Visible) -> Rows:
    joined = _join(_texts(table, "premise", made), _texts(table, "hypothesis", made), template, encoder.maximum_tokens)
    return Rows(kind=Kind.PAIR, sequences=joined, template=template, labels=_labels(table), **_names(table))


def _labels(table: pa.Table) -> np.ndarray:
    return pc.fill_null(table["label"], ABSENT).to_numpy().astype(np.int64)


def _image_text(
    table: pa.Table, encoder: Encoder, made: PreTrainedTokenizerBase, template: Template, visible: Visible
) -> Rows:
    if visible is Visible.IMAGE_ONLY:
        texts = Ragged.of([[template.pad if template.mask is None else template.mask]] * table.num_rows)
    else:
        texts = _texts(table, "hypothesis", made)
    keys, numbers = None, None
    if visible is not Visible.HYPOTHESIS_ONLY and not table["image"].null_count:  # a text proxy has no images
        keys, numbers = images.distinct(encoded_images(table["image"]))
    return Rows(
        kind=Kind.IMAGE_TEXT,
        sequences=_join(None, texts, template, encoder.maximum_tokens),
        template=template,
        labels=_labels(table),
        image_keys=keys,
        image_numbers=numbers,
        text_numbers=_numbered(texts),
        **_names(table),
    )


def _numbered(texts: Ragged) -> np.ndarray:
    return _numbered_texts(texts.row(row).tobytes() for row in range(len(texts)))


def _numbered_texts(texts: Iterable[Hashable]) -> np.ndarray:
    """(text,): equal numbers are equal texts."""
    known: dict[Hashable, int] = {}
    return np.array([known.setdefault(text, len(known)) for text in texts], dtype=np.int64)


def _caption(table: pa.Table, encoder: Encoder, made: PreTrainedTokenizerBase, template: Template, _: Visible) -> Rows:
    keys, numbers = images.distinct(encoded_images(table["image"]))
    texts = _texts(table, "caption", made)
    return Rows(
        kind=Kind.CAPTION,
        sequences=_join(None, texts, template, encoder.maximum_tokens),
        template=template,
        image_keys=keys,
        image_numbers=numbers,
        text_numbers=_numbered(texts),
        **_names(table),
    )


def _parallel(table: pa.Table, encoder: Encoder, made: PreTrainedTokenizerBase, template: Template, _: Visible) -> Rows:
    sources = _texts(table, "source", made) if any(table["source"].to_pylist()) else None
    joined = _join(sources, _texts(table, "target", made), template, encoder.maximum_tokens)
    return Rows(kind=Kind.MASKED_LM, sequences=joined, template=template, **_names(table))


def _words(table: pa.Table, encoder: Encoder, made: PreTrainedTokenizerBase, template: Template, _: Visible) -> Rows:
    sources, targets = table["source"].to_pylist(), table["target"].to_pylist()
    both = [word for pair in zip(sources, targets, strict=True) for word in pair]
    numbered = _numbered_texts(zip(table["target_language"].to_pylist(), targets, strict=True))
    return Rows(
        kind=Kind.WORDS,
        sequences=_join(None, tokens.tokenise(both, made), template, encoder.maximum_tokens),
        template=template,
        endings=np.arange(0, 2 * len(sources) + 1, 2, dtype=np.int64),
        image_numbers=_numbered_texts(sources),
        text_numbers=numbered,
        **_names(table),
    )


def _choice(table: pa.Table, encoder: Encoder, made: PreTrainedTokenizerBase, template: Template, _: Visible) -> Rows:
    listed = table["endings"].to_pylist()
    ends = np.concatenate(([0], np.cumsum([len(endings) for endings in listed]))).astype(np.int64)
    contexts = [text for text, endings in zip(table["context"].to_pylist(), listed, strict=True) for _ in endings]
    joined = _join(
        tokens.tokenise(contexts, made),
        tokens.tokenise([ending for endings in listed for ending in endings], made),
        template,
        encoder.maximum_tokens,
    )
    return Rows(
        kind=Kind.CHOICE, sequences=joined, template=template, labels=_labels(table), endings=ends, **_names(table)
    )


def _span(table: pa.Table, encoder: Encoder, made: PreTrainedTokenizerBase, template: Template, _: Visible) -> Rows:
    contexts = table["context"].to_pylist()
    texts = table["answer_text"].to_pylist()
    starts = table["answer_start"].to_pylist()
    accepted = table["answers"].to_pylist() if "answers" in table.column_names else [[text] for text in texts]
    context_tokens, places = tokens.tokenise_with_places(contexts, made)
    questions = _texts(table, "question", made)
    room = encoder.maximum_tokens - len(template.prefix) - len(template.middle) - len(template.suffix)
    items, first_tokens = _windows(questions.lengths, context_tokens.lengths, room)
    asked = [questions.row(item)[: _question_room(room)] for item in items]
    parts = [
        context_tokens.row(item)[first : first + room - len(question)]
        for item, first, question in zip(items, first_tokens, asked, strict=True)
    ]
    joined = _join(Ragged.of(asked), Ragged.of(parts), template, encoder.maximum_tokens)
    may_be_nowhere = len(items) > len(contexts) or not all(texts)
    missing = NOWHERE if may_be_nowhere else ABSENT
    spans = []
    for row, (item, first) in enumerate(zip(items, first_tokens, strict=True)):
        within = places.row(item)[first:]
        end = starts[item] + len(texts[item])
        span = answer_tokens(within, starts[item], end, int(joined.second_lengths[row]))
        # the window must hold all of the answer: its first token may begin in the middle of it
        whole = span[0] != ABSENT and (first == 0 or starts[item] >= int(within[0] >> 32))
        spans.append(span if whole else (missing, missing))
    names = _names(table)
    return Rows(
        kind=Kind.SPAN,
        ids=tuple(names["ids"][item] for item in items),
        languages=tuple(names["languages"][item] for item in items),
        sequences=joined,
        template=template,
        labels=np.array(spans, dtype=np.int64).reshape(-1, 2),
        items=items,
        contexts=tuple(contexts),
        answers=tuple(tuple(one) for one in accepted),
        places=places,
        window_starts=first_tokens,
        may_be_nowhere=may_be_nowhere,
    )


def _question_room(room: int) -> int:
    return min(LONGEST_QUESTION, room // 2)


def _windows(questions: np.ndarray, contexts: np.ndarray, room: int) -> tuple[np.ndarray, np.ndarray]:
    """The example and the first context token of each window; a context that fits has one."""
    items, firsts = [], []
    for item, (question, context) in enumerate(zip(questions.tolist(), contexts.tolist(), strict=True)):
        fits = room - min(question, _question_room(room))
        stride = min(WINDOW_STRIDE, max(1, fits // 2))
        begins = [0]
        while begins[-1] + fits < context:
            begins.append(begins[-1] + stride)
        items += [item] * len(begins)
        firsts += begins
    return np.array(items, dtype=np.int64), np.array(firsts, dtype=np.int64)


def _tagging(table: pa.Table, encoder: Encoder, made: PreTrainedTokenizerBase, template: Template, _: Visible) -> Rows:
    """Words tokenised one by one, as XTREME does; too long a sentence is cut between words into several rows."""
    names = _names(table)
    room = encoder.maximum_tokens - len(template.prefix) - len(template.suffix)
    sentences = _in_sentences(table, made)
    pieces = _word_pieces(sentences, names["languages"], made)
    items, texts, word_starts, tags = [], [], [], []
    for item, (words, labels) in enumerate(zip(sentences, table["tags"].to_pylist(), strict=True)):
        text: list[int] = []
        begins: list[int] = []
        given: list[int] = []
        for word, label in zip(words, labels, strict=True):
            piece = pieces[word, names["languages"][item] in _UNSPACED][:room]
            if len(text) + len(piece) > room:
                items.append(item), texts.append(text), word_starts.append(begins), tags.append(given)
                text, begins, given = [], [], []
            begins.append(len(text))
            given.append(label)
            text = [*text, *piece]
        items.append(item), texts.append(text), word_starts.append(begins), tags.append(given)
    return Rows(
        kind=Kind.TAGGING,
        ids=tuple(names["ids"][item] for item in items),
        languages=tuple(names["languages"][item] for item in items),
        sequences=_join(None, Ragged.of(texts), template, encoder.maximum_tokens),
        template=template,
        items=np.array(items, dtype=np.int64),
        word_starts=Ragged.of(word_starts),
        tags=Ragged.of(tags),
    )


def _in_sentences(table: pa.Table, made: PreTrainedTokenizerBase) -> list[list[str]]:
    """The words of every sentence, with the space before them where the tokenizer does not set one by itself: to a
    byte-level one, and to Gemma's, a word without it is the inside of another.
    """
    sentences = table["tokens"].to_pylist()
    if not tokens.needs_spaces(made):
        return sentences
    return [
        words if language in _UNSPACED else [*words[:1], *(f" {word}" for word in words[1:])]
        for language, words in zip(table["language"].to_pylist(), sentences, strict=True)
    ]


def _word_pieces(
    sentences: Iterable[Iterable[str]], languages: Iterable[str], made: PreTrainedTokenizerBase
) -> dict[tuple[str, bool], list[int]]:
    """(word, whether its language writes no spaces) → its tokens, at least one.

    The piece that stands for a space alone is left out before a word that no space stands before.
    """
    known = {
        (word, language in _UNSPACED): None
        for language, words in zip(languages, sentences, strict=True)
        for word in words
    }
    encoded = tokens.tokenise([word for word, _ in known], made)
    space = made.convert_tokens_to_ids(tokens.SPACE)
    unknown = made.unk_token_id if made.unk_token_id is not None else made.mask_token_id
    found = {}
    for number, (word, unspaced) in enumerate(known):
        ids = encoded.row(number).tolist()
        if unspaced and len(ids) > 1 and ids[0] == space:
            ids = ids[1:]
        found[word, unspaced] = ids or [unknown]
    return found


def _retrieval(
    table: pa.Table, encoder: Encoder, made: PreTrainedTokenizerBase, template: Template, _: Visible
) -> Rows:
    return Rows(
        kind=Kind.RETRIEVAL,
        sequences=_join(None, _texts(table, "text", made), template, encoder.maximum_tokens),
        template=template,
        english=table["is_english"].to_numpy(zero_copy_only=False),
        matches=tuple(table["match"].to_pylist()),
        **_names(table),
    )


def answer_tokens(places: np.ndarray, start: int, end: int, kept: int) -> tuple[int, int]:
    """The first and last token that touch the characters start..end (end excluded), or ABSENT twice.

    ABSENT is an answer that is not there, or that reaches beyond the `kept` tokens.
    """
    begins, ends = places >> 32, places & 0xFFFFFFFF
    touching = np.flatnonzero((ends > start) & (begins < end)) if 0 <= start < end else np.empty(0, dtype=np.int64)
    if not len(touching) or touching[-1] >= kept:
        return ABSENT, ABSENT
    return int(touching[0]), int(touching[-1])


LAYOUTS: dict[Kind, Callable[[pa.Table, Encoder, PreTrainedTokenizerBase, Template, Visible], Rows]] = {
    Kind.PAIR: _pair,
    Kind.IMAGE_TEXT: _image_text,
    Kind.CAPTION: _caption,
    Kind.MASKED_LM: _parallel,
    Kind.WORDS: _words,
    Kind.CHOICE: _choice,
    Kind.SPAN: _span,
    Kind.TAGGING: _tagging,
    Kind.RETRIEVAL: _retrieval,
}
