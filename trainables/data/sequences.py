"""A split as numbers: token sequences, labels and what is told of each row; knows no table and no tokenizer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from trainables.catalogue.task import Kind
from trainables.data import images
from trainables.data.tokens import Ragged, Template

#: A label that no loss counts: a span whose answer is not in the context, a token that begins no word, no gold label.
ABSENT = -100

#: The label of a window that does not hold the answer, where the model may say so: it points at the first token.
NOWHERE = -1


@dataclass(frozen=True, kw_only=True)
class Sequences:
    """Token numbers with all special tokens: `prefix first middle second suffix`, or `prefix second suffix`.

    `first_lengths` and `second_lengths` are (sequence,); a first text of no tokens has no middle either when
    `single` is set.
    """

    tokens: Ragged
    first_lengths: np.ndarray
    second_lengths: np.ndarray
    single: bool

    def __len__(self) -> int:
        return len(self.tokens)


@dataclass(frozen=True, kw_only=True)
class Rows:
    """A split as numbers.

    `sequences` holds one sequence per row, or one per ending of a multiple choice, or the source and the target of a
    word pair; row r is then `endings[r] : endings[r + 1]`. `labels` is (row,), or (row, 2) with the first and last
    answer token of a span, counted from the first context token of the row. `pixels` is (distinct image, channel, row,
    column) of uint8, or (distinct image, vector, width) of float16 from a vision tower.

    An example of a long context is several rows, overlapping windows of it, and one of a long tagged sentence several
    pieces: `items` says which example each row is of, and what is told of examples is in that order.
    """

    kind: Kind
    ids: tuple[str, ...]
    languages: tuple[str, ...]
    sequences: Sequences
    template: Template
    labels: np.ndarray | None = None
    endings: np.ndarray | None = None
    image_keys: np.ndarray | None = None
    """(distinct image, byte) of the images that `image_numbers` count."""
    pixels: images.Arrays | None = None
    image_numbers: np.ndarray | None = None
    """Equal numbers are equal images; of word pairs, equal sources."""
    text_numbers: np.ndarray | None = None
    """Of rows with an image: equal numbers are equal texts; of word pairs, equal targets."""
    items: np.ndarray | None = None
    """(row,) The example of each row; None where each row is one."""
    contexts: tuple[str, ...] = ()
    answers: tuple[tuple[str, ...], ...] = ()
    """Of each example of a span task, every accepted answer."""
    places: Ragged | None = None
    """Of each example of a span task: for each context token, the characters it stands for, as start * 2**32 + end."""
    window_starts: np.ndarray | None = None
    """(row,) Of a span: the context token that the row's context begins with."""
    may_be_nowhere: bool = False
    """Whether the first token stands for an answer that is not in the row's context."""
    word_starts: Ragged | None = None
    """Of tags: where each word of the row begins, in tokens of its second text."""
    tags: Ragged | None = None
    """Of tags: the label of each word of the row."""
    english: np.ndarray | None = None
    """(row,) Of retrieval: whether the sentence is English."""
    matches: tuple[str, ...] = ()
    """Of retrieval: the id of the English sentence that each row translates, or an empty string."""
    left_out: tuple[tuple[str, str], ...] = ()
    """(language, why) of the languages that have no rows because their files cannot be used."""

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def fillers(self) -> Fillers:
        """What else stands between the same two tokens in these rows."""
        return Fillers(self.sequences.tokens.values)

    @property
    def examples(self) -> np.ndarray:
        """(example,) The first row of each example: its id and language are the example's."""
        if self.items is None:
            return np.arange(len(self))
        return np.unique(self.items, return_index=True)[1]

    @property
    def is_trained_by_labels(self) -> bool:
        """Whether the rows carry labels of any form."""
        return self.labels is not None or self.tags is not None

    @property
    def lengths(self) -> np.ndarray:
        """(row,) Tokens of the longest sequence of a row; rows are bucketed by it."""
        lengths = self.sequences.tokens.lengths
        return lengths if self.endings is None else np.maximum.reduceat(lengths, self.endings[:-1])


class Fillers:
    """Tokens that could stand at a place, judged by both neighbours: those seen there anywhere in the same tokens."""

    def __init__(self, values: np.ndarray) -> None:
        self._values = values
        before, after = np.roll(values, 1).astype(np.int64), np.roll(values, -1).astype(np.int64)
        _, self._group = np.unique(before << 32 | after, return_inverse=True)
        self._order = np.argsort(self._group, kind="stable")
        self._counts = np.bincount(self._group)
        self._starts = np.cumsum(self._counts) - self._counts

    def draw(self, places: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """(place,) A token for each flat place, as frequent as it is between those neighbours; it may be the same."""
        group = self._group[places]
        nth = (rng.random(len(places)) * self._counts[group]).astype(np.int64)
        return self._values[self._order[self._starts[group] + nth]]


def answer_text(rows_: Rows, row: int, first: int, last: int) -> str:
    """The characters of the context that tokens first..last (both included) of a row stand for, outer spaces cut."""
    assert rows_.places is not None and rows_.items is not None and rows_.window_starts is not None
    item = int(rows_.items[row])
    places = rows_.places.row(item)[int(rows_.window_starts[row]) :]
    if not 0 <= first <= last < len(places):
        return ""
    return rows_.contexts[item][int(places[first] >> 32) : int(places[last] & 0xFFFFFFFF)].strip()


def subset(whole: Rows, chosen: Sequence[int]) -> Rows:
    """Some rows of an image-text or caption split, in the order given."""
    packed = Ragged.of([whole.sequences.tokens.row(row) for row in chosen])
    picked = np.asarray(chosen, dtype=np.int64)
    return Rows(
        kind=whole.kind,
        ids=tuple(whole.ids[row] for row in chosen),
        languages=tuple(whole.languages[row] for row in chosen),
        sequences=Sequences(
            tokens=packed,
            first_lengths=whole.sequences.first_lengths[picked],
            second_lengths=whole.sequences.second_lengths[picked],
            single=whole.sequences.single,
        ),
        template=whole.template,
        labels=None if whole.labels is None else whole.labels[picked],
        image_keys=whole.image_keys,
        pixels=whole.pixels,
        image_numbers=None if whole.image_numbers is None else whole.image_numbers[picked],
        text_numbers=None if whole.text_numbers is None else whole.text_numbers[picked],
    )
