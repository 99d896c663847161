"""One split of a task as the trunk reads it, tokenised once and kept; knows no layout and no batches."""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
from tqdm import tqdm

from trainables import pulse
from trainables.canonical import canonical, digest, encode
from trainables.catalogue.encoder import Encoder, Patches
from trainables.catalogue.task import ORACLE_HALF, Kind, Task
from trainables.data import images, kept, tokens, tower
from trainables.data.fingerprint import is_pinned
from trainables.data.layouts import LAYOUTS
from trainables.data.published import left_out
from trainables.data.reading import encoded_images, read
from trainables.data.sequences import Rows, Sequences
from trainables.data.tokens import Ragged, Template
from trainables.machine import numeric_versions
from trainables.settings import Visible
from trainables.stages import as_read, without_places

#: Raised when the code here, the layout of a kind, or what files are read as changes what a split is laid out as.
LAYOUT_VERSION = 5

#: Splits kept laid out in memory, the least recently used dropped; a gang meets the same few again and again.
_KEPT = 32

#: Fewer images than these are made in a moment, and without a progress bar.
_SHOWN_IMAGES = 2_000

_kept: OrderedDict[str, Rows] = OrderedDict()


def rows(
    task: Task,
    split: str,
    languages: tuple[str, ...] | None,
    encoder: Encoder,
    visible: Visible = Visible.BOTH,
    cache: Path | None = None,
) -> Rows:
    """The split laid out for an encoder; the same call answers from memory, which changes no number.

    Raises:
        Invalid: where the split cannot be read or the kind of the task cannot be trained here.
    """
    key = digest([canonical(task), split, languages, canonical(encoder), visible])
    if key not in _kept:
        laid_out = _tokenised(task, split, languages, encoder, visible, cache)
        _kept[key] = _with_pixels(laid_out, encoder, cache, lambda: read(task, split, languages, cache))
    _kept.move_to_end(key)
    while len(_kept) > _KEPT:
        _kept.popitem(last=False)
    return _kept[key]


def _tokenised(
    task: Task, split: str, languages: tuple[str, ...] | None, encoder: Encoder, visible: Visible, cache: Path | None
) -> Rows:
    """The rows without their pixels: once per (task, tokenizer, length) and then mapped from `cache`."""
    tokenizer = tokens.fingerprint(encoder)
    if cache is None or not tokenizer or not is_pinned(task):
        return _lay_out(read(task, split, languages, cache), task.kind, encoder, visible)
    read_from = "test" if split == ORACLE_HALF else split
    said = [LAYOUT_VERSION, without_places(as_read(encode(task), (read_from,))), split, languages, visible]
    name = digest([*said, tokenizer, encoder.maximum_tokens])
    path = cache / "tokens" / f"{task.name}-{split}-{name}.arrow"

    def lay_out() -> Rows:
        return _lay_out(read(task, split, languages, cache), task.kind, encoder, visible)

    return kept.made_once(lay_out, path, (Rows, Sequences, Ragged, Template, Kind))


def _with_pixels(laid_out: Rows, encoder: Encoder, cache: Path | None, table: Callable[[], pa.Table]) -> Rows:
    """The rows with the arrays of their images, made once per image and then mapped from `cache`."""
    if laid_out.image_keys is None:
        return laid_out
    look = encoder.patches
    name = (
        digest(["pixels", look.height, look.width, dict(numeric_versions())["pillow"]])
        if isinstance(look, Patches)
        else tower.digest(look)
    )
    make = images.pixels(look) if isinstance(look, Patches) else tower.features(look)
    return replace(
        laid_out,
        pixels=images.arrays(
            laid_out.image_keys,
            make,
            lambda: encoded_images(table()["image"]),
            None if cache is None else cache / "images" / name,
            _told(encoder.name),
        ),
    )


def _told(encoder: str) -> Callable[[int, int], None]:
    """A progress bar on the standard error, where there are enough images to wait for; signs of life always."""
    bars: list[tqdm] = []

    def tell(done: int, total: int) -> None:
        pulse.beat()
        if not bars and total >= _SHOWN_IMAGES:
            every = 0.5 if sys.stderr.isatty() else 30.0
            bars.append(tqdm(total=total, desc=f"images of {encoder}", unit="image", mininterval=every))
        for bar in bars:
            bar.update(done - bar.n)
            if done == total:
                bar.close()

    return tell


def lay_out(table: pa.Table, kind: Kind, encoder: Encoder, visible: Visible = Visible.BOTH) -> Rows:
    """A table in the schema of its kind, laid out for an encoder."""
    return _with_pixels(_lay_out(table, kind, encoder, visible), encoder, None, lambda: table)


def _lay_out(table: pa.Table, kind: Kind, encoder: Encoder, visible: Visible) -> Rows:
    made = tokens.tokenizer(encoder)
    wrong = tuple((language, "; ".join(faults)) for language, faults in left_out(table).items())
    return replace(LAYOUTS[kind](table, encoder, made, tokens.template(made), visible), left_out=wrong)
