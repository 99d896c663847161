"""XTREME-M from files of the user's own, in the documented Parquet format; reads none of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from trainables.catalogue.task import NLI_LABELS, Kind, ParquetSource, Split, Task

#: The columns of the format: image (struct of bytes and path, or binary; PNG or JPEG), hypothesis (string), label
#: (integer place in the task's labels, or the label itself), language (ISO 639-1 code), id (string; the same item has
#: the same id in every language).
COLUMNS = ("image", "hypothesis", "label", "language", "id")


def parquet_task(
    name: str,
    folder: str | Path,
    *,
    languages: Sequence[str],
    labels: Sequence[str] = NLI_LABELS,
    train: str = "train.parquet",
    dev: str = "dev.parquet",
    test: str = "test.parquet",
    licence: str = "stated by its owner",
) -> Task:
    """A visual NLI task whose three splits are Parquet files in one folder.

    `languages` are those of the test split; training and development are English. The files are checked
    when a sweep is planned or run.
    """
    base = Path(folder).expanduser()
    return Task(
        name=name,
        kind=Kind.IMAGE_TEXT,
        labels=tuple(labels),
        splits=(
            Split(name="train", languages=("en",)),
            Split(name="dev", languages=("en",)),
            Split(name="test", languages=tuple(languages)),
        ),
        source=ParquetSource(train=str(base / train), dev=str(base / dev), test=str(base / test)),
        licence=licence,
    )
