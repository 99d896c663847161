"""The stages that a trial is a path of, each named by a digest of all that determines its output; runs none."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property, lru_cache
from typing import Any

from trainables.canonical import canonical, decode, digest_of_form, encode
from trainables.catalogue.encoder import Encoder, HubEncoder, SmallEncoder
from trainables.catalogue.files import SentenceFiles, TextFiles, XvnliSource
from trainables.catalogue.task import (
    ORACLE_DEV,
    ORACLE_HALF,
    Kind,
    Metric,
    ParquetSource,
    PublishedSource,
    Role,
    Task,
)
from trainables.faults import refuse
from trainables.selectors import Selector
from trainables.settings import Settings, Visible


class StageKind(StrEnum):
    """What a stage does. `TRAIN` serves intermediate mixtures and targets alike."""

    PRETRAIN = "pretrain"
    ALIGN_WORDS = "align_words"
    ALIGN_IMAGES = "align_images"
    TRAIN = "train"
    EVALUATE = "evaluate"


#: Raised when the code of a stage kind changes what comes out; a golden loss trace forces it (tests/torch_cpu).
VERSIONS = {
    StageKind.PRETRAIN: 3,
    StageKind.ALIGN_WORDS: 3,
    StageKind.ALIGN_IMAGES: 3,
    StageKind.TRAIN: 3,
    StageKind.EVALUATE: 2,
}

#: The version of `evaluate` for tasks of a kind that came to be scored otherwise alone, in place of that above.
SCORING_VERSIONS = {Kind.RETRIEVAL: 3, Kind.SPAN: 3}

#: The same for published tasks alone: the items of their answers have other ids than those of version 2.
PUBLISHED_SCORING_VERSIONS = {Kind.TAGGING: 3}

#: The least version of stages that read tasks of a kind whose words came to be read otherwise, by encoders that are
#: not known to read them as before.
READING_VERSIONS = {Kind.TAGGING: 4}

#: Encoders of the hub, beside small ones, whose tokenizers have the same tokens for a word alone and after a space.
READ_AS_BEFORE = (
    "FacebookAI/xlm-roberta-base",
    "FacebookAI/xlm-roberta-large",
    "google-bert/bert-base-multilingual-cased",
)


#: The least version of stages that read other rows of a task than before: that train on published answers, but for
#: those of SQuAD, which all stand where they are said to, and that read labels in text which are named by numbers.
ROWS_VERSION = 5

_ANSWERS_AS_SAID = ("rajpurkar/squad", "rajpurkar/squad_v2")


@dataclass(frozen=True, kw_only=True)
class Portion:
    """How many optimiser steps of a stage go to one task; every step draws from a single task."""

    task: Task
    steps: int


@dataclass(frozen=True, kw_only=True)
class Training:
    """The work of a training stage: a mixture, as whole steps per task, under one setting."""

    settings: Settings
    portions: tuple[Portion, ...]
    kept_steps: tuple[int, ...] = ()
    """Steps before the last whose weights are kept beside the output, for selectors to choose among; evaluated ones."""

    def __post_init__(self) -> None:
        refuse("a training stage", self._faults())

    def _faults(self) -> Iterator[str]:
        if not self.portions:
            yield "portions must hold at least one task"
        total = sum(portion.steps for portion in self.portions)
        if total != self.settings.maximum_steps:
            yield f"the steps of the portions must sum to maximum_steps ({self.settings.maximum_steps}), got {total}"
        names = [portion.task.name for portion in self.portions]
        if len(set(names)) != len(names):
            yield f"each task may have one portion, got {names!r}"
        unscored = [step for step in self.kept_steps if step not in self.settings.evaluated_steps()[:-1]]
        if unscored:
            yield f"kept_steps must be evaluated steps before the last, got {unscored!r}"


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The work of an `evaluate` stage: one split of one task, in the languages stated."""

    task: Task
    split: str
    languages: tuple[str, ...]
    visible: Visible = Visible.BOTH
    batch_size: int = 256
    role: Role = Role.REPORT
    layer: int = 0
    """Of retrieval: the trunk's layer, counted from 1, whose mean states are a sentence's vector; 0 its embeddings."""
    checkpoints: tuple[int, ...] = ()
    """Steps before the last whose kept weights are scored too, and their mean with the last; empty for the last alone.
    `selector` then says which of them the scores and predictions are of."""
    selector: Selector = Selector.LAST_STEP
    learned: Task | None = None
    """What the target was trained on, whose English development scores the training reported; with checkpoints only."""
    source: Task | None = None
    """Its development split in the language that it is learned from, to be scored; None where that is English."""


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What of a gang determines the numbers that come out: its size, threads and resolved precision."""

    workers: int
    threads: int
    precision: str
    """`float32`, `bfloat16` or `float16`; never `auto`."""
    device: str = "cpu"
    deterministic: bool = True


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One unit of work.

    `parent` is the digest of the stage whose weights this one starts from, or empty at the root.
    `versions` are the libraries that change numbers, as (name, version) sorted by name.
    """

    kind: StageKind
    work: Training | Evaluation
    encoder: Encoder
    parent: str
    seed: int
    shape: Shape
    versions: tuple[tuple[str, str], ...]

    @cached_property
    def digest(self) -> str:
        """The name of this stage and of its output: 24 hexadecimal digits, the same on every machine."""
        value = without_places(encode(self, keep=(Task, Encoder)))
        value["encoder"] = _form(_Same(self.encoder))
        work = value["work"]
        if isinstance(self.work, Evaluation):
            del work["role"]
            work["task"] = self._scored_form(self.work)
            if self.work.source is not None:
                work["source"] = as_read(_form(_Same(self.work.source)), ("dev",))
            del work["learned"]  # the parent's digest has it
            if not self.work.checkpoints:
                del work["checkpoints"], work["selector"], work["source"]
        else:
            if not self.work.kept_steps:
                del work["kept_steps"]
            for form, portion in zip(work["portions"], self.work.portions, strict=True):
                form["task"] = as_read(_form(_Same(portion.task)), ("train", "dev"))
        version = VERSIONS[self.kind]
        if isinstance(self.work, Evaluation):
            version = SCORING_VERSIONS.get(self.work.task.kind, version)
            if isinstance(self.work.task.source, PublishedSource):
                version = PUBLISHED_SCORING_VERSIONS.get(self.work.task.kind, version)
        return digest_of_form([max(version, *self.reading.values(), 0), value])

    @property
    def reading(self) -> dict[Kind, int]:
        """By kind of the tasks that the stage reads, the version of how, where that changed for them or its encoder."""
        trains = isinstance(self.work, Training)
        rows = {task.kind: ROWS_VERSION for task in self.tasks if _has_other_rows(task, trained=trains)}
        text = self.encoder.text
        if isinstance(text, SmallEncoder) or (isinstance(text, HubEncoder) and text.repository in READ_AS_BEFORE):
            return rows
        words = {task.kind: READING_VERSIONS[task.kind] for task in self.tasks if task.kind in READING_VERSIONS}
        return words | rows

    @staticmethod
    def _scored_form(work: Evaluation) -> dict[str, Any]:
        """The form of the task that is scored. What is mined depends on the split that tunes its threshold as well."""
        mined = work.task.kind is Kind.RETRIEVAL and work.task.measured_by is Metric.MINING
        seen = (work.split, ORACLE_DEV) if work.split == "test" else (work.split,)
        task = as_read(_form(_Same(work.task)), ("dev", *seen) if mined else seen)
        # The languages that are scored are stated.
        splits = [{name: part for name, part in split.items() if name != "languages"} for split in task["splits"]]
        form = {**task, "splits": splits}
        if mined:
            dev = work.task.split("dev")
            form["tuned"] = [language for language in work.languages if dev and language in dev.languages]
        if (shown := work.task.split(ORACLE_DEV)) and work.split == "test":
            form["shown_to_oracle"] = [language for language in work.languages if language in shown.languages]
        return form

    @property
    def steps(self) -> int:
        """Optimiser steps: 0 for an evaluation."""
        return self.work.settings.maximum_steps if isinstance(self.work, Training) else 0

    @property
    def tasks(self) -> tuple[Task, ...]:
        """The tasks whose rows the stage reads."""
        if isinstance(self.work, Evaluation):
            return (self.work.task, *([self.work.source] if self.work.source else []))
        return tuple(portion.task for portion in self.work.portions)

    def to_json(self) -> str:
        """The canonical JSON text."""
        return canonical(self)

    @staticmethod
    def from_json(text: str) -> Stage:
        """The stage that `to_json` wrote.

        Raises:
            ValueError: where the text is no stage.
        """
        return decode(Stage, json.loads(text))


def _has_other_rows(task: Task, *, trained: bool) -> bool:
    """Whether a task's rows are read otherwise since `ROWS_VERSION`: its training rows, or all of them."""
    source = task.source
    if isinstance(source, PublishedSource) and task.kind is Kind.SPAN:
        read = [part.repository for part in source.parts if part.split == "train"]
        return trained and not set(read) <= set(_ANSWERS_AS_SAID)
    if isinstance(source, TextFiles) and {".tsv", ".csv"} & {
        path[-4:] for path in (source.train, source.dev, source.test)
    }:
        return any(name.isdecimal() and name != str(place) for place, name in enumerate(task.labels))
    return False


class _Same:
    """A value that is equal to nothing but itself: of equal values, `True` and `1` have different forms."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __hash__(self) -> int:
        return id(self.value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.value is self.value


@lru_cache(maxsize=256)
def _form(same: _Same) -> dict[str, Any]:
    """The form of a task or an encoder, which thousands of stages of a sweep have in common; not to be written to."""
    return without_places(encode(same.value))


def without_places(value: Any) -> Any:
    """The JSON form without the paths of fingerprinted files: where a file lies does not matter, what it holds does."""
    if isinstance(value, dict):
        places = ("path", "images", "train", "dev", "test", "folders", "download") if value.get("fingerprint") else ()
        return {name: without_places(item) for name, item in value.items() if name not in places}
    if isinstance(value, list):
        return [without_places(item) for item in value]
    return value


#: Sources whose rows are those of their files, whatever number of them is stated.
COUNTED = (ParquetSource, SentenceFiles, TextFiles)


def as_read(task: dict[str, Any], splits: tuple[str, ...]) -> dict[str, Any]:
    """The JSON form of a task without what a stage that reads these splits never sees.

    A licence, or a further language to test in, trains nothing anew; nor do the training rows that are stated of files
    of a user's own, which nothing but the shares of a mixture is made of. Halves of a test are seen where the test is;
    development data for an oracle are seen where `splits` names them.
    """
    splits = (*splits, ORACLE_HALF) if "test" in splits else splits
    read = {name: value for name, value in task.items() if name not in ("licence", "twin_of", "remark")}
    read["splits"] = [split for split in task["splits"] if split["name"] in splits]
    if task["source"]["type"] in {kind.__name__ for kind in COUNTED}:
        read["splits"] = [split | ({"rows": 0} if split["name"] == "train" else {}) for split in read["splits"]]
    if taken := task["source"].get("fingerprint"):
        parts = [part for part in taken.split() if part.partition(":")[0] in splits or ":" not in part]
        read["source"] = {**task["source"], "fingerprint": " ".join(parts)}
    if task["source"]["type"] == PublishedSource.__name__ and ORACLE_DEV not in splits:
        others = [part for part in task["source"]["parts"] if part["split"] != ORACLE_DEV]
        instead = [part for part in task["source"]["instead"] if part["split"] != ORACLE_DEV]
        read["source"] = {**read["source"], "parts": others, "instead": instead}
    if task["source"]["type"] == XvnliSource.__name__:
        unread = {"train", "dev", "test"} - set(splits)
        read["source"] = {name: value for name, value in task["source"].items() if name not in unread}
    return read


def refuse_broken(path: tuple[Stage, ...]) -> None:
    """Raise `Invalid` unless each stage of the path starts from the one before it.

    Raises:
        Invalid: naming every break.
    """
    parents = ("", *(stage.digest for stage in path))
    refuse(
        "a path",
        (
            f"stage {number} ({stage.kind}) must start from {parent or 'nothing'!r}, got {stage.parent!r}"
            for number, (stage, parent) in enumerate(zip(path, parents, strict=False))
            if stage.parent != parent
        ),
    )
