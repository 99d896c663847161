"""What a task and its source are, as values; refuses to know how rows are read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from trainables.faults import refuse


class Kind(StrEnum):
    """What a task asks of the model."""

    PAIR = "pair_classification"
    CHOICE = "multiple_choice"
    SPAN = "span"
    TAGGING = "tagging"
    MASKED_LM = "masked_language_modelling"
    RETRIEVAL = "retrieval"
    IMAGE_TEXT = "image_text_classification"
    CAPTION = "image_caption"


class Role(StrEnum):
    """What a score may be used for."""

    FIT = "fit"
    SELECT = "select"
    REPORT = "report"
    ORACLE = "oracle"


#: The one label order of natural language inference here; sources are mapped by name, since their integers differ.
NLI_LABELS = ("entailment", "neutral", "contradiction")

#: Kinds that are scored by accuracy over labels.
CLASSIFICATION = frozenset({Kind.PAIR, Kind.CHOICE, Kind.IMAGE_TEXT})


@dataclass(frozen=True, kw_only=True)
class LabSource:
    """A task generated from the lab's world.

    `generator` is a name of `trainables.lab.examples`; `seed` draws the examples; `version` is raised when the
    world's code changes what comes out.
    """

    generator: str
    seed: int = 0
    version: int = 1


@dataclass(frozen=True, kw_only=True)
class ParquetSource:
    """A task in the documented Parquet format, one file per split.

    `fingerprint` covers the files' contents; it is empty until `trainables.data.fingerprint` has taken it.
    """

    train: str
    dev: str
    test: str
    fingerprint: str = ""

    def path(self, split: str) -> str:
        """The file of a split: train, dev or test."""
        return {"train": self.train, "dev": self.dev, "test": self.test}[split]


@dataclass(frozen=True, kw_only=True)
class Split:
    """One part of a task.

    `languages` are ISO 639-1 codes. `rows` counts the rows of one language; 0 means that the source says.
    """

    name: str
    languages: tuple[str, ...]
    rows: int = 0


@dataclass(frozen=True, kw_only=True)
class Task:
    """A labelled data set.

    Raises:
        Invalid: naming every fault, such as a repeated language or a classification without labels.
    """

    name: str
    kind: Kind
    labels: tuple[str, ...] = ()
    splits: tuple[Split, ...]
    source: LabSource | ParquetSource
    licence: str
    twin_of: str = ""
    """Name of the real task that a lab task stands for; empty otherwise."""

    def __post_init__(self) -> None:
        refuse(f"task {self.name!r}", self._faults())

    def _faults(self) -> Iterator[str]:
        if not self.name or not self.name.replace("_", "").replace("-", "").replace(".", "").isalnum():
            yield f"name must be letters, digits, '_', '-' and '.', got {self.name!r}"
        if self.kind in CLASSIFICATION and self.kind is not Kind.CHOICE and len(self.labels) < 2:
            yield f"labels must name at least two classes for kind {self.kind}, got {self.labels!r}"
        for label, times in Counter(self.labels).items():
            if times > 1:
                yield f"labels must differ, got {label!r} {times} times"
        names = [split.name for split in self.splits]
        if "train" not in names:
            yield f"splits must include 'train', got {names!r}"
        for name, times in Counter(names).items():
            if name not in ("train", "dev", "test") or times > 1:
                yield f"splits must be train, dev and test, each once, got {name!r} {times} times"
        for split in self.splits:
            if not split.languages:
                yield f"split {split.name!r} must state at least one language"
            for language, times in Counter(split.languages).items():
                if times > 1:
                    yield f"split {split.name!r} must state each language once, got {language!r} {times} times"

    def split(self, name: str) -> Split | None:
        """The split of that name, or None where the task has none."""
        return next((split for split in self.splits if split.name == name), None)

    @property
    def head(self) -> str:
        """The name of the head that answers this task; tasks that ask the same of the same labels share it."""
        if self.kind in (Kind.PAIR, Kind.IMAGE_TEXT):
            return "pair." + "-".join(self.labels)
        return {Kind.CAPTION: "masked_lm", Kind.MASKED_LM: "masked_lm"}.get(self.kind, str(self.kind))
