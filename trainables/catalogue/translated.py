"""Training data in other languages than English, as constants made from the English ones; translates nothing.

Where a publisher has training data in a language, those are read: machine translations of the English ones for MNLI (by
XNLI's authors) and PAWS-X, texts of the language itself for PAN-X, parts of speech and TyDiQA. A translated task keeps
the English development split: the search goes on seeing English labels alone, and the same ones whatever is trained on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from trainables.catalogue.intermediate import MNLI
from trainables.catalogue.task import ORACLE_DEV, LabSource, Part, PublishedSource, Split, Task, refuse_no_task
from trainables.catalogue.xtreme import (
    NER,
    PANX_LANGUAGES,
    PANX_TRAINING_ROWS,
    PAWSX,
    PAWSX_LANGUAGES,
    POS,
    TYDIQA,
    TYDIQA_TRAINING_ROWS,
    UDPOS_NAMES,
    UDPOS_TRAINING_ROWS,
    XNLI,
    XNLI_LANGUAGES,
)
from trainables.faults import Invalid

#: The folder of the mirror that holds translations: DIR/translated/de/nyu-mll/glue/qqp/train-….parquet has the columns
#: of DIR/nyu-mll/glue/qqp/train-….parquet, and its texts in German. `trainables.data.places` looks for it there.
FOLDER = "translated"


def _training(repository: str, config: str, rows: Mapping[str, int]) -> dict[str, Part]:
    """By language, a publisher's training part; `{}` in the configuration stands for the language."""
    return {
        language: Part(
            split="train",
            language=language,
            repository=repository,
            config=config.format(language),
            origin="train",
            rows=count,
        )
        for language, count in rows.items()
        if language != "en"
    }


#: The training parts in other languages that the publishers of these tasks, or of their translations, have.
RELEASED: tuple[tuple[Task, Mapping[str, Part]], ...] = (
    (MNLI, _training("facebook/xnli", "{}", dict.fromkeys(XNLI_LANGUAGES, 392_702))),
    (PAWSX, _training("google-research-datasets/paws-x", "{}", dict.fromkeys(PAWSX_LANGUAGES, 49_401))),
    (NER, _training("google/xtreme", "PAN-X.{}", dict.fromkeys(PANX_LANGUAGES, 20_000) | PANX_TRAINING_ROWS)),
    (
        POS,
        {
            language: replace(part, config=f"udpos.{UDPOS_NAMES[language]}")
            for language, part in _training("google/xtreme", "", UDPOS_TRAINING_ROWS).items()
        },
    ),
    (TYDIQA, _training("google-research-datasets/tydiqa", "secondary_task", TYDIQA_TRAINING_ROWS)),
)


def translated(task: Task, language: str) -> Task:
    """The task with its training split in another language, named after both: `qqp_de`.

    A lab task says the same rows in that language. A published one is read from its publisher's training part in the
    language (`RELEASED`) or, where there is none, from the mirror folder, from files of the user's own that are named
    and laid out as its publisher's (`FOLDER`). It has no development data for an oracle.

    Raises:
        Invalid: for a task of the user's own files, whose translation is a task of other files, for one without an
            English training split, and for what is no task.
    """
    refuse_no_task("a translation", task)
    task = _without_development(task)
    train = task.split("train")
    if train is None or train.languages != ("en",) or language == "en":
        spoken = "none" if train is None else " ".join(train.languages)
        raise Invalid(
            f"task {task.name!r} in {language!r}",
            [f"its training split must be English, to be translated into another language, got {spoken}"],
        )
    splits = tuple(replace(split, languages=(language,)) if split is train else split for split in task.splits)
    name = f"{task.name}_{language}"
    if isinstance(task.source, LabSource):
        return replace(task, name=name, splits=splits)
    if not isinstance(task.source, PublishedSource):
        raise Invalid(
            f"task {task.name!r} in {language!r}",
            [
                "its source must be the lab or published; give a translation of files of your own as a task of its "
                f"own, with language={language!r}"
            ],
        )
    part = _released(task.source, language)
    if part is None:
        return replace(task, name=name, splits=splits, source=_mirrored(task.source, language))
    splits = tuple(replace(split, rows=part.rows) if split.name == "train" else split for split in splits)
    return replace(task, name=name, splits=splits, source=_with_training(task.source, part))


def _without_development(task: Task) -> Task:
    """The task without development data for an oracle, which is shown the target's alone."""
    source = task.source
    if isinstance(source, PublishedSource):
        kept = {
            name: tuple(part for part in parts if part.split != ORACLE_DEV)
            for name, parts in (("parts", source.parts), ("instead", source.instead))
        }
        source = replace(source, **kept)
    return replace(task, source=source, splits=tuple(split for split in task.splits if split.name != ORACLE_DEV))


def _mirrored(source: PublishedSource, language: str) -> PublishedSource:
    """The same files of the mirror folder, with those of the training split under `FOLDER`."""
    return replace(source, parts=tuple(_moved(part, language) for part in source.parts), instead=())


def _moved(part: Part, language: str) -> Part:
    if part.split != "train":
        return part
    return replace(part, language=language, repository=f"{FOLDER}/{language}/{part.repository}")


def _released(source: PublishedSource, language: str) -> Part | None:
    """The publisher's training part in the language, for a source that reads the English one."""
    for task, parts in RELEASED:
        assert isinstance(task.source, PublishedSource)
        if source.parts == task.source.parts:
            return parts.get(language)
    return None


def _with_training(source: PublishedSource, part: Part) -> PublishedSource:
    """The source with this training part in place of its own."""
    assert isinstance(XNLI.source, PublishedSource)
    others = tuple(other for other in source.parts if other.split != "train")
    known = dict(XNLI.source.revisions)
    pins = {(part.repository, known[part.repository])} if part.repository in known else set()
    return replace(source, parts=(part, *others), revisions=tuple(sorted({*source.revisions, *pins})))


def sources(task: Task, languages: tuple[str, ...]) -> tuple[Task, ...]:
    """What a target can be learned from: its own training set in each of the languages, English left as it is.

    None has development data for an oracle: those of the target are shown to it.
    """
    refuse_no_task("a translation", task)
    teacher = _without_development(task.teacher)
    return tuple(teacher if language == "en" else translated(teacher, language) for language in languages)


def released_languages() -> tuple[str, ...]:
    """Those into which XNLI's authors translated MNLI."""
    split: Split = XNLI.splits[0]
    return tuple(language for language in split.languages if language != "en")
