"""XTREME-M from XVNLI's files or from a user's own, and text pairs of a user's own; reads none of them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from trainables.catalogue.files import TextFiles, VisualFiles, VisualFormat, XvnliSource
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
    language: str = "en",
    rows: int = 0,
    licence: str = "stated by its owner",
) -> Task:
    """A visual NLI task whose three splits are Parquet files in one folder.

    `languages` are those of the test split, `language` is that of the training split: in another than English the task
    is a source to learn the target from (`search_spaces.variants.from_source`), under a name of its own. Development is
    English, since no other label may reach the search. `rows` counts the training rows for `Proportions`; a plan
    compares it with the file. The files are checked when a sweep is planned or run.
    """
    base = Path(folder).expanduser()
    return Task(
        name=name,
        kind=Kind.IMAGE_TEXT,
        labels=tuple(labels),
        splits=(
            Split(name="train", languages=(language,), rows=rows),
            Split(name="dev", languages=("en",)),
            Split(name="test", languages=tuple(languages)),
        ),
        source=ParquetSource(train=str(base / train), dev=str(base / dev), test=str(base / test)),
        licence=licence,
    )


def text_pair_task(
    name: str,
    *,
    train: str | Path,
    dev: str | Path = "",
    test: str | Path = "",
    labels: Sequence[str] = NLI_LABELS,
    language: str = "en",
    dev_language: str = "",
    test_languages: Sequence[str] = (),
    rows: int = 0,
    licence: str = "stated by its owner",
) -> Task:
    """A pair classification, such as text NLI, from one TSV, CSV, JSONL or Parquet file per split.

    Columns: premise, hypothesis, label (place or name), and where a split has several languages `language`; `id` is
    taken where there is one. Without a development file the task is not scored while it trains. All splits are in
    `language` unless stated otherwise: a source to learn an English target from has `dev_language="en"`. `rows` counts
    the training rows for `Proportions`; a plan compares it with the file.
    """
    paths = {"train": train, "dev": dev, "test": test}
    languages = {"train": (language,), "dev": (dev_language or language,), "test": tuple(test_languages) or (language,)}
    return Task(
        name=name,
        kind=Kind.PAIR,
        labels=tuple(labels),
        splits=tuple(
            Split(name=split, languages=languages[split], rows=rows if split == "train" else 0)
            for split, path in paths.items()
            if path
        ),
        source=TextFiles(**{split: _place(path) for split, path in paths.items()}),
        licence=licence,
    )


def _place(path: str | Path) -> str:
    return str(Path(path).expanduser()) if path else ""


#: The languages of XVNLI's test split.
XVNLI_LANGUAGES = ("en", "ar", "es", "fr", "ru")

#: Rows of XVNLI's test in each language, counted in e-bug/iglue; 14 of them have no gold label.
XVNLI_TEST = 1_164

#: The name of the task without its images, which no table may show as XVNLI.
TEXT_PROXY = "xvnli_text_proxy"


def iglue(annotations: str | Path, name: str, images: str | Path = "") -> VisualFiles:
    """IGLUE's `annotations/<language>/<name>.jsonl`, with the folder of Flickr30k's JPEG files."""
    path = str(Path(_place(annotations)) / "{language}" / f"{name}.jsonl")
    return VisualFiles(format=VisualFormat.IGLUE_JSONL, path=path, images=_place(images))


def snli_ve(path: str | Path, images: str | Path = "") -> VisualFiles:
    """One JSONL file of necla-ml/SNLI-VE, with the folder of Flickr30k's JPEG files."""
    return VisualFiles(format=VisualFormat.SNLI_VE_JSONL, path=_place(path), images=_place(images))


def xvnli_hub(folder: str | Path) -> VisualFiles:
    """The Parquet files of floschne/xvnli, in a folder as `hf download` lays it: test rows alone, images included."""
    return VisualFiles(
        format=VisualFormat.XVNLI_PARQUET, path=str(Path(_place(folder)) / "data" / "{language}-*.parquet")
    )


def snli_ve_hub(folder: str | Path, split: str) -> VisualFiles:
    """The Parquet files of a split of sedrickkeh/snli-ve, images included."""
    path = str(Path(_place(folder)) / "data" / f"{split}-*.parquet")
    return VisualFiles(format=VisualFormat.SNLI_VE_PARQUET, path=path)


def e_snli_ve_hub(folder: str | Path, split: str) -> VisualFiles:
    """The Parquet files of a split of Dec2Enc/e-snli-ve, whose labels were corrected, images included."""
    path = str(Path(_place(folder)) / "data" / f"{split}-*.parquet")
    return VisualFiles(format=VisualFormat.E_SNLI_VE_PARQUET, path=path)


def xvnli(
    *,
    train: VisualFiles,
    dev: VisualFiles,
    test: VisualFiles,
    languages: Sequence[str] = XVNLI_LANGUAGES,
    language: str = "en",
) -> Task:
    """XVNLI (Bugliarello et al. 2022, IGLUE): Flickr30k image + hypothesis, English to train, five languages to test.

    Captions are not read. Rows without a gold label train nothing; in the test they count by IGLUE's definition. With
    another `language` its training files are translations of a user's own, and the task, `xvnli_de`, is a source to
    learn XVNLI from; development stays English.
    """
    return _xvnli("xvnli", XvnliSource(train=train, dev=dev, test=test), languages, language, remark="")


def mirrored_xvnli() -> Task:
    """XVNLI as it lies in the mirror folder that SWEEP_DATA names, or in DIR where it names none: a clone of
    e-bug/iglue, and the JPEG files of Flickr30k in `flickr30k-images`.
    """
    mirror = Path(os.environ.get("SWEEP_DATA") or "DIR").expanduser()
    notes, images = mirror / "e-bug/iglue/datasets/XVNLI/annotations", mirror / "flickr30k-images"
    train, dev, test = (iglue(notes, split, images) for split in ("train", "dev", "test"))
    return xvnli(train=train, dev=dev, test=test)


def xvnli_text_proxy(
    *,
    train: VisualFiles,
    dev: VisualFiles,
    test: VisualFiles,
    languages: Sequence[str] = XVNLI_LANGUAGES,
    language: str = "en",
) -> Task:
    """XVNLI where Flickr30k is not at hand: the hypothesis alone, without image and without caption.

    An easier or a harder task than XVNLI, and in any case another: every table says so.
    """
    source = XvnliSource(train=train, dev=dev, test=test, text_proxy=True)
    return _xvnli(TEXT_PROXY, source, languages, language, remark="text proxy: no image was read")


def _xvnli(name: str, source: XvnliSource, languages: Sequence[str], language: str, *, remark: str) -> Task:
    return Task(
        name=name if language == "en" else f"{name}_{language}",
        kind=Kind.IMAGE_TEXT,
        labels=NLI_LABELS,
        splits=(
            Split(name="train", languages=(language,)),
            Split(name="dev", languages=("en",)),
            Split(name="test", languages=tuple(languages), rows=XVNLI_TEST),
        ),
        source=source,
        licence="annotations MIT, texts from SNLI (CC BY-SA 4.0), images Flickr30k (research only)",
        remark=remark,
        keeps_unlabelled=True,
    )
