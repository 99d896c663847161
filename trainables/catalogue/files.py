"""Files of a user's own as the sources of tasks, as values; reads none of them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True, kw_only=True)
class TextFiles:
    """Pairs of texts in columns, one file per split: TSV, CSV, JSONL or Parquet by the ending of its name.

    `dev` and `test` are empty where the task has no such split. `fingerprint` covers the files' contents; it is empty
    until `trainables.data.fingerprint` has taken it.
    """

    train: str
    dev: str = ""
    test: str = ""
    fingerprint: str = ""

    def path(self, split: str) -> str:
        """The file of a split: train, dev or test."""
        return {"train": self.train, "dev": self.dev, "test": self.test}[split]


#: What stands for a language's code in the paths of files that are one per language.
LANGUAGE = "{language}"


@dataclass(frozen=True, kw_only=True)
class WordFiles:
    """Pairs of an English word and one of another language, a file for each; `{language}` in a path is its code.

    A line is a pair, divided by a tab or a space, as in the dictionaries of MUSE. Without `dev` a share of the English
    words of `train` is held back as the control split. With `shuffled`, every English word of the training split stands
    beside the translations of another: a control, whose pairs mean nothing. `fingerprint` covers the files' contents;
    it is empty until `trainables.data.fingerprint` has taken it.
    """

    train: str
    dev: str = ""
    shuffled: bool = False
    fingerprint: str = ""

    def path(self, split: str) -> str:
        """The files of a split, train or dev, with `{language}` where its code stands."""
        return self.dev if split == "dev" and self.dev else self.train


@dataclass(frozen=True, kw_only=True)
class SentenceFiles:
    """Text for masked language modelling, one file per language; `{language}` in the path stands for its code.

    TXT has an example on each line, JSONL and Parquet have one in each row's column `text`. `fingerprint` as above.
    """

    train: str
    fingerprint: str = ""

    def path(self, split: str) -> str:
        """The files of the one split, train."""
        return {"train": self.train}[split]


class VisualFormat(StrEnum):
    """How a file states pairs of an image and a hypothesis. Captions stand in all of them and are never read."""

    IGLUE_JSONL = "iglue_jsonl"
    """gold_label, sentence2, pairID, Flikr30kID; the image is `<Flikr30kID>.jpg` in a folder."""
    SNLI_VE_JSONL = "snli_ve_jsonl"
    """The same with Flickr30K_ID, as necla-ml/SNLI-VE has it."""
    XVNLI_PARQUET = "xvnli_parquet"
    """hypothesis, label (name), pair_id, image; one file per language, as floschne/xvnli has it."""
    SNLI_VE_PARQUET = "snli_ve_parquet"
    """hypothesis, label (0 entailment, 1 neutral, 2 contradiction), filename, image, as sedrickkeh/snli-ve has it."""
    E_SNLI_VE_PARQUET = "e_snli_ve_parquet"
    """hypothesis, label (name), image, as Dec2Enc/e-snli-ve has it."""

    @property
    def has_images(self) -> bool:
        """Whether the images stand in the file itself."""
        return self not in (VisualFormat.IGLUE_JSONL, VisualFormat.SNLI_VE_JSONL)

    @property
    def way(self) -> str:
        """How to get files of this format."""
        return {
            VisualFormat.IGLUE_JSONL: (
                "git clone https://github.com/e-bug/iglue DIR/e-bug/iglue; the English training file is there as "
                "train.jsonl.zip: unzip it beside, in datasets/XVNLI/annotations/en"
            ),
            VisualFormat.SNLI_VE_JSONL: "they are made as the README of https://github.com/necla-ml/SNLI-VE says",
            VisualFormat.XVNLI_PARQUET: "hf download floschne/xvnli --repo-type dataset --local-dir …",
            VisualFormat.SNLI_VE_PARQUET: "hf download sedrickkeh/snli-ve --repo-type dataset --local-dir …",
            VisualFormat.E_SNLI_VE_PARQUET: "hf download Dec2Enc/e-snli-ve --repo-type dataset --local-dir …",
        }[self]


@dataclass(frozen=True, kw_only=True)
class VisualFiles:
    """Where the rows of one split lie.

    `path` is a file or a pattern of several; `{language}` in it stands for the code of each language. `images` is
    the folder of JPEG files for formats without images of their own; empty leaves the images out.
    `fingerprint` covers the files' contents and the names and sizes of the images; empty until it was taken.
    """

    format: VisualFormat
    path: str
    images: str = ""
    fingerprint: str = ""


@dataclass(frozen=True, kw_only=True)
class XvnliSource:
    """XVNLI: English training and development files, test files in several languages.

    With `text_proxy` no image is read from any of them: the model sees hypotheses alone.
    """

    train: VisualFiles
    dev: VisualFiles
    test: VisualFiles
    text_proxy: bool = False

    def files(self, split: str) -> VisualFiles:
        """The files of a split: train, dev or test."""
        return {"train": self.train, "dev": self.dev, "test": self.test}[split]
