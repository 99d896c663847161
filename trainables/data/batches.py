"""From (seed, task, how-many-th step) to the rows of a batch, and from rows to tensors; keeps no position."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch

from trainables.catalogue.task import Kind
from trainables.data.seeds import seed_of
from trainables.data.sequences import ABSENT, NOWHERE, Rows


@dataclass
class Sampler:
    """Which rows step after step of one task sees: epoch after epoch, each a seeded permutation of all rows.

    Rows are drawn without end; every `pool` batches of them are sorted by length, cut and shuffled as whole
    batches. Where a batch lies depends on nothing but (seed, task, step), so a resumed stage needs no position.
    """

    lengths: np.ndarray
    batch_size: int
    seed: int
    task: str
    pool: int = 1
    _pool: tuple[int, np.ndarray] = field(default=(-1, np.empty(0, dtype=np.int64)))

    def rows(self, step: int) -> np.ndarray:
        """(batch,) The rows of the step-th batch of this task, counted from 0."""
        which, within = divmod(step, self.pool)
        if self._pool[0] != which:
            self._pool = (which, self._drawn(which))
        return self._pool[1][within]

    def _drawn(self, which: int) -> np.ndarray:
        size = self.pool * self.batch_size
        count = len(self.lengths)
        first_epoch, skipped = divmod(which * size, count)
        epochs = range(first_epoch, (which * size + size - 1) // count + 1)
        stream = np.concatenate(
            [
                np.random.default_rng(seed_of("epoch", self.seed, self.task, epoch)).permutation(count)
                for epoch in epochs
            ]
        )
        drawn = stream[skipped : skipped + size]
        ordered = drawn[np.argsort(self.lengths[drawn], kind="stable")].reshape(self.pool, self.batch_size)
        return ordered[np.random.default_rng(seed_of("pool", self.seed, self.task, which)).permutation(self.pool)]


def shard(rows: np.ndarray, parts: int) -> list[np.ndarray]:
    """A global batch in contiguous parts whose sizes differ by at most 1; some are empty if rows are fewer.

    Part m * workers + r is the m-th forward pass of rank r, so workers and accumulation divide one and the same
    global batch.
    """
    return np.array_split(rows, parts)


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Tensors of some rows; axes are named in brackets, B being sequences and T tokens.

    `labels` is [row], [row, 2] of a span or [B, T] of tags; `hidden` [B, T] marks the tokens that were masked and
    `originals` [hidden] what stood there. `starts` [B] is where the second text begins. `images` is [row, channel, row,
    column] of uint8.
    """

    kind: Kind
    ids: torch.Tensor
    lengths: torch.Tensor
    first_start: int
    first_lengths: torch.Tensor
    starts: torch.Tensor
    second_lengths: torch.Tensor
    types: tuple[int, int]
    padded: bool
    rows: int
    mask: int
    labels: torch.Tensor | None = None
    may_be_nowhere: bool = False
    endings: torch.Tensor | None = None
    images: torch.Tensor | None = None
    image_numbers: torch.Tensor | None = None
    text_numbers: torch.Tensor | None = None
    hidden: torch.Tensor | None = None
    originals: torch.Tensor | None = None

    def to(self, device: torch.device) -> Batch:
        """The same batch on a device."""
        if device.type == "cpu":
            return self
        moved = {
            name: value.to(device, non_blocking=True) if isinstance(value, torch.Tensor) else value
            for name, value in vars(self).items()
        }
        return Batch(**moved)


def batch(rows: Rows, chosen: np.ndarray, hidden: Hidden | None = None, longest: int | None = None) -> Batch:
    """The tensors of the chosen rows.

    `hidden` are flat positions in `rows.sequences.tokens` to mask, as `draw_hidden` gives them.
    `longest` pads to that many tokens instead of to the longest row.
    """
    sequences, template = rows.sequences, rows.template
    picked = chosen if rows.endings is None else _all_endings(rows.endings, chosen)
    begins = sequences.tokens.offsets[picked]
    lengths = sequences.tokens.offsets[picked + 1] - begins
    width = int(lengths.max()) if longest is None else longest
    columns = np.arange(width)
    inside = columns < lengths[:, None]
    flat = np.where(inside, begins[:, None] + columns, 0)
    ids = np.where(inside, sequences.tokens.values[flat], template.pad)
    masked: dict[str, torch.Tensor] = {}
    if hidden is not None:
        covered = inside & np.isin(flat, hidden.places)
        masked = {"hidden": torch.from_numpy(covered), "originals": torch.from_numpy(ids[covered])}
        ids[covered] = hidden.shown[np.searchsorted(hidden.places, flat[covered])]
    first = sequences.first_lengths[picked]
    between = 0 if sequences.single else len(template.middle)
    images = {}
    if rows.image_numbers is not None:
        numbers = rows.image_numbers[chosen]
        images = {
            "images": None if rows.pixels is None else torch.from_numpy(rows.pixels[numbers]),
            "image_numbers": torch.from_numpy(numbers),
            "text_numbers": None if rows.text_numbers is None else torch.from_numpy(rows.text_numbers[chosen]),
        }
    return Batch(
        kind=rows.kind,
        ids=torch.from_numpy(ids),
        lengths=torch.from_numpy(lengths),
        first_start=len(template.prefix),
        first_lengths=torch.from_numpy(first),
        starts=torch.from_numpy(len(template.prefix) + first + between),
        second_lengths=torch.from_numpy(sequences.second_lengths[picked]),
        types=(0, 0) if sequences.single and rows.pixels is None else template.types,
        padded=bool(lengths.min() < width),
        rows=len(chosen),
        mask=template.mask,
        labels=_labels(rows, chosen, width),
        may_be_nowhere=rows.may_be_nowhere,
        endings=None if rows.endings is None else torch.from_numpy(np.diff(rows.endings)[chosen]),
        **images,
        **masked,
    )


@dataclass(frozen=True, kw_only=True)
class Hidden:
    """Flat places in `Rows.sequences.tokens`, ascending, and the token that is shown at each instead: (place,)."""

    places: np.ndarray
    shown: np.ndarray


def _labels(rows: Rows, chosen: np.ndarray, width: int) -> torch.Tensor | None:
    if rows.tags is None or rows.word_starts is None:
        return None if rows.labels is None else torch.from_numpy(rows.labels[chosen])
    labels = np.full((len(chosen), width), ABSENT, dtype=np.int64)
    for place, row in enumerate(chosen):
        labels[place, len(rows.template.prefix) + rows.word_starts.row(row)] = rows.tags.row(row)
    return torch.from_numpy(labels)


def _all_endings(endings: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    return np.concatenate([np.arange(endings[row], endings[row + 1]) for row in chosen])


def draw_hidden(rows: Rows, chosen: np.ndarray, share: float, seed: int, replaced_share: float = 0.0) -> Hidden:
    """Tokens of the second texts to hide: each with probability `share`, one at least per row.

    Of these, `replaced_share` show another token that was seen between the same two neighbours, the rest the mask.
    Drawn over the whole global batch, so that every division of it over workers hides the same tokens.
    """
    sequences = rows.sequences
    between = 0 if sequences.single else len(rows.template.middle)
    counts = sequences.second_lengths[chosen]
    begins = sequences.tokens.offsets[chosen] + len(rows.template.prefix) + sequences.first_lengths[chosen] + between
    rng = np.random.default_rng(seed)
    noise = rng.random(int(counts.sum()))
    row_starts = np.concatenate(([0], np.cumsum(counts)[:-1]))
    flat = np.arange(len(noise)) + np.repeat(begins - row_starts, counts)
    some = counts > 0
    least = np.minimum.reduceat(noise, row_starts[some]) if some.any() else np.empty(0)
    places = np.sort(flat[(noise < share) | (noise == np.repeat(least, counts[some]))])
    shown = np.full(len(places), rows.template.mask)
    if replaced_share:
        replaced = rng.random(len(places)) < replaced_share
        shown[replaced] = rows.fillers.draw(places[replaced], rng)
    return Hidden(places=places, shown=shown)


__all__ = ["ABSENT", "NOWHERE", "Batch", "Hidden", "Sampler", "batch", "draw_hidden", "shard"]
