"""What a task and its source are, as values; refuses to know how rows are read."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from trainables.catalogue.files import SentenceFiles, TextFiles, WordFiles, XvnliSource
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
    WORDS = "word_pairs"


class Role(StrEnum):
    """What a score may be used for."""

    FIT = "fit"
    SELECT = "select"
    REPORT = "report"
    ORACLE = "oracle"


class Metric(StrEnum):
    """How the answers of a task become scores; each has an official evaluator (`trainables.training.metrics`)."""

    OF_KIND = "of_kind"
    """The usual one of the task's kind."""
    ACCURACY = "accuracy"
    SQUAD = "squad"
    """F1 over words and exact match, normalised as SQuAD 1.1 does in every language."""
    MLQA = "mlqa"
    """F1 over words and exact match, normalised as MLQA does, language by language."""
    ENTITIES = "entities"
    """F1 over whole entities in BIO tags, by seqeval."""
    TAGS = "tags"
    """XTREME's F1 of parts of speech: seqeval over runs of equal tags, not over single words."""
    RETRIEVAL = "retrieval"
    """Share of the English sentences whose nearest one of the other language is their translation."""
    MINING = "mining"
    """F1 of mined sentence pairs at a threshold tuned on the dev split."""


#: The metric that `Metric.OF_KIND` stands for.
_OF_KIND = {
    Kind.PAIR: Metric.ACCURACY,
    Kind.CHOICE: Metric.ACCURACY,
    Kind.IMAGE_TEXT: Metric.ACCURACY,
    Kind.SPAN: Metric.SQUAD,
    Kind.TAGGING: Metric.ACCURACY,
    Kind.RETRIEVAL: Metric.RETRIEVAL,
}

#: What else the answers of a kind can be scored by.
_ALSO = {
    Kind.SPAN: (Metric.MLQA,),
    Kind.TAGGING: (Metric.ENTITIES, Metric.TAGS),
    Kind.RETRIEVAL: (Metric.MINING,),
}

#: The names of the scores of each metric, the one that decides first. What is mined from files without distractors
#: is scored as `pair_retrieval_accuracy` instead, since an F1 would mean nothing there.
SCORE_NAMES = {
    Metric.ACCURACY: ("accuracy",),
    Metric.SQUAD: ("f1", "exact_match"),
    Metric.MLQA: ("f1", "exact_match"),
    Metric.ENTITIES: ("f1",),
    Metric.TAGS: ("f1",),
    Metric.RETRIEVAL: ("accuracy",),
    Metric.MINING: ("f1",),
}

#: Accuracy by IGLUE's definition: items without a gold label count, as wrong.
IGLUE_ACCURACY = "accuracy_iglue"

#: The one label order of natural language inference here; sources are mapped by name, since their integers differ.
NLI_LABELS = ("entailment", "neutral", "contradiction")

#: A split of this name is half of the test files, by a hash of the item's id; `test` is then the other half alone.
ORACLE_HALF = "oracle"

#: A split of this name is development data in the languages of the test, for an oracle alone; `test` is then whole.
#: Published tasks have parts of this name; the lab and a user's own files are read as their `dev`.
ORACLE_DEV = "oracle_dev"

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

    `fingerprint` covers the files' contents, as `split:hash` for each, so that a stage depends on those that it reads;
    it is empty until `trainables.data.fingerprint` has taken it.
    """

    train: str
    dev: str
    test: str
    fingerprint: str = ""

    def path(self, split: str) -> str:
        """The file of a split: train, dev or test."""
        return {"train": self.train, "dev": self.dev, "test": self.test}[split]


class Layout(StrEnum):
    """How a published data set lies in its folder; `trainables.data.places` knows the file names."""

    HUB = "hub"
    """A data set repository of the Hugging Face hub: Parquet files per config and split."""
    COSMOS_QA = "cosmos_qa"
    """The Git repository wilburOne/cosmosqa: one CSV file per split."""
    XQUAD = "xquad"
    """The Git repository deepmind/xquad: one SQuAD JSON file per language."""
    LASER = "laser"
    """The Git repository facebookresearch/LASER: two text files per language of Tatoeba."""
    BUCC = "bucc"
    """The files of the BUCC 2018 shared task: both texts and the gold pairs, per language and split."""
    CCGBANK = "ccgbank"
    """CCGbank (LDC2005T13): `.auto` files per section of the Wall Street Journal."""


class Shaping(StrEnum):
    """Which reader of `trainables.data.published` makes rows of a published table."""

    PAIR = "pair"
    QUESTION = "question"
    ENDINGS = "endings"
    COSMOS_QA = "cosmos_qa"
    LETTERED = "lettered"
    TAGS = "tags"
    SUPERTAGS = "supertags"
    TRANSLATIONS = "translations"
    MINED = "mined"


@dataclass(frozen=True, kw_only=True)
class Part:
    """Some published files: those of one split and language of a task, or a share of them.

    `config` and `origin` are what the publisher calls the part and its split. `rows` counts its usable rows; 0 is
    a number that nobody here has verified.
    """

    split: str
    language: str
    repository: str
    config: str
    origin: str
    rows: int = 0
    layout: Layout = Layout.HUB


@dataclass(frozen=True, kw_only=True)
class PublishedSource:
    """A task that others publish, read from a mirror folder or the hub's cache; downloaded only if `download` is set.

    `columns` are what its tables must have, as (column, kind of value); `fields` map our columns to theirs; `codes`
    map what their label column holds to our labels; rows labelled with one of `unlabelled` are left out. `instead`
    are parts read where those of the same split and language are absent. `revisions` pin repositories to commits;
    one that is not named was never verified. `folders` and `fingerprint` are empty until
    `trainables.data.fingerprint` has found the files.
    """

    shaping: Shaping
    parts: tuple[Part, ...]
    columns: tuple[tuple[str, str], ...]
    fields: tuple[tuple[str, str], ...] = ()
    codes: tuple[tuple[str, str], ...] = ()
    unlabelled: tuple[str, ...] = ()
    instead: tuple[Part, ...] = ()
    revisions: tuple[tuple[str, str], ...] = ()
    download: bool = False
    folders: tuple[tuple[str, str], ...] = ()
    """(repository, folder) of every repository found."""
    fingerprint: str = ""


Source = LabSource | ParquetSource | PublishedSource | SentenceFiles | TextFiles | WordFiles | XvnliSource


@dataclass(frozen=True, kw_only=True)
class Split:
    """One part of a task.

    `languages` are ISO 639-1 codes. `rows` counts the rows of one language, their mean where languages differ; 0 means
    that the source says. Of halves of a test it counts both.
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
    source: Source
    licence: str
    twin_of: str = ""
    """Name of the real task that a lab task stands for; empty otherwise."""
    metric: Metric = Metric.OF_KIND
    unanswerable: bool = False
    """Whether a question of a span task may have no answer."""
    learned_from: Task | None = None
    """The task whose training and development splits a target learns from; None for its own. Targets that name the
    same task share their training."""
    remark: str = ""
    """What every table says beside the task's scores; empty for nothing."""
    keeps_unlabelled: bool = False
    """Whether rows without a gold label are kept where the task is scored.

    Accuracy is then told twice: over labelled rows, and by IGLUE's definition, which counts the others as wrong.
    """

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
        if self.unanswerable and self.kind is not Kind.SPAN:
            yield f"unanswerable must be False for kind {self.kind}; only spans can be absent"
        usual = _OF_KIND.get(self.kind)
        allowed = (Metric.OF_KIND, *((usual,) if usual else ()), *_ALSO.get(self.kind, ()))
        if self.metric not in allowed or not isinstance(self.metric, Metric):
            listed = ", ".join(f"Metric.{metric.name}" for metric in allowed)
            yield f"metric must be {listed} for kind {self.kind}, got {self.metric!r}; choose one of them"
        names = [split.name for split in self.splits]
        if self.kind is Kind.RETRIEVAL or self.learned_from is not None:
            if "test" not in names:
                yield f"splits must include 'test', got {names!r}"
        elif "train" not in names:
            yield f"splits must include 'train', got {names!r}"
        if self.learned_from is not None and self.learned_from.head != self.head:
            yield f"learned_from must train the head {self.head!r}, got {self.learned_from.head!r}"
        for name, times in Counter(names).items():
            if name not in ("train", "dev", "test", ORACLE_HALF, ORACLE_DEV) or times > 1:
                yield f"splits must be train, dev, test and oracle or oracle_dev, each once, got {name!r} {times} times"
        if ORACLE_HALF in names and ORACLE_DEV in names:
            yield (
                f"splits must show an oracle half of the test ({ORACLE_HALF!r}) or development data ({ORACLE_DEV!r}), "
                "got both; leave one out"
            )
        shown, test = self.split(ORACLE_DEV), self.split("test")
        if shown and test and (other := [code for code in shown.languages if code not in test.languages]):
            yield (
                f"split {ORACLE_DEV!r} must be in languages of the test ({' '.join(map(str, test.languages))}), got "
                f"{' '.join(map(str, other))}; state the languages of the test first, and then with_oracle(task)"
            )
        for split in self.splits:
            if not split.languages:
                yield f"split {split.name!r} must state at least one language"
            if not isinstance(split.rows, int) or isinstance(split.rows, bool) or split.rows < 0:
                yield (
                    f"rows of split {split.name!r} must be a whole number of at least 0, got {split.rows!r}; say how "
                    "many rows there are in one language"
                )
            for language, times in Counter(split.languages).items():
                if not isinstance(language, str) or len(language) < 2:
                    yield (
                        f"split {split.name!r} must state languages by codes such as 'de', got {language!r}; give a "
                        "list of codes, not one string"
                    )
                if times > 1:
                    yield f"split {split.name!r} must state each language once, got {language!r} {times} times"

    def split(self, name: str) -> Split | None:
        """The split of that name, or None where the task has none."""
        return next((split for split in self.splits if split.name == name), None)

    @property
    def oracle(self) -> Split | None:
        """The target-language labels that an oracle chooses by, half of the test or development data; else None."""
        return self.split(ORACLE_DEV) or self.split(ORACLE_HALF)

    @property
    def teacher(self) -> Task:
        """The task that a target's training and development splits come from: often itself."""
        return self.learned_from or self

    @property
    def score_names(self) -> tuple[str, ...]:
        """The names of its scores, the one that decides first; none where the kind is not scored."""
        metric = _OF_KIND.get(self.kind) if self.metric is Metric.OF_KIND else self.metric
        names = SCORE_NAMES[metric] if metric else ()
        return (*names, IGLUE_ACCURACY) if self.keeps_unlabelled else names

    @property
    def is_shuffled(self) -> bool:
        """Whether its training labels or pairs are drawn at random, so that nothing can be learned from them."""
        if isinstance(self.source, LabSource):
            return self.source.generator.endswith("_shuffled")
        return isinstance(self.source, WordFiles) and self.source.shuffled

    @property
    def measured_by(self) -> Metric:
        """The metric, never `OF_KIND`.

        Raises:
            LookupError: for a kind that is not scored.
        """
        if self.metric is not Metric.OF_KIND:
            return self.metric
        if self.kind not in _OF_KIND:
            raise LookupError(f"tasks of kind {self.kind} are not scored, got {self.name!r}")
        return _OF_KIND[self.kind]

    @property
    def head(self) -> str:
        """The name of the head that answers this task; tasks that ask the same of the same labels share it."""
        if self.kind in (Kind.PAIR, Kind.IMAGE_TEXT):
            return "pair." + "-".join(self.labels)
        if self.kind is Kind.TAGGING:  # hundreds of labels make no name
            return "tags." + hashlib.sha256("\0".join(self.labels).encode()).hexdigest()[:12]
        return {Kind.CAPTION: "masked_lm", Kind.MASKED_LM: "masked_lm"}.get(self.kind, str(self.kind))


def refuse_no_task(what: str, given: object) -> None:
    """Raise `Invalid` of `what` unless a task is given.

    Raises:
        Invalid: saying how to get one.
    """
    if not isinstance(given, Task):
        named = f"use task({given!r}) of trainables.catalogue.registry" if isinstance(given, str) else "give a task"
        refuse(what, [f"task must be a Task value, got {given!r}; {named}"])
