"""Tasks with target-language labels for an oracle, and what publishers have for development in such; reads no row.

Where a task's publisher has development data in languages of its test other than English, an oracle chooses by those
and the whole test is reported. A language without any, as four of the treebanks', has no say in the choice: its test is
reported whole as well, and no half of it stands in. Where there are none at all, the test is halved by a hash of the
item's id.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from trainables.catalogue.files import TextFiles
from trainables.catalogue.task import (
    ORACLE_DEV,
    ORACLE_HALF,
    LabSource,
    ParquetSource,
    Part,
    PublishedSource,
    Source,
    Split,
    Task,
    refuse_no_task,
)
from trainables.catalogue.xtreme import (
    MLQA,
    NER,
    PANX_LANGUAGES,
    PAWSX,
    PAWSX_LANGUAGES,
    POS,
    UDPOS_NAMES,
    XNLI,
    XNLI_LANGUAGES,
)
from trainables.faults import Invalid

ENGLISH = "en"

#: Treebanks that have a test set alone.
UDPOS_WITHOUT = ("kk", "th", "tl", "yo")

#: Development questions of MLQA whose context and question are in the same language, by memory: a run tells where files
#: hold others.
MLQA_ROWS = {"ar": 517, "de": 512, "en": 1_148, "es": 500, "hi": 507, "vi": 511, "zh": 504}

#: Targets whose publishers have development data in other languages than English, with rows by language; 0 is a number
#: that nobody here has verified.
DEVELOPED: tuple[tuple[Task, Mapping[str, int]], ...] = (
    (XNLI, dict.fromkeys(XNLI_LANGUAGES, 2_490)),
    (PAWSX, dict.fromkeys(PAWSX_LANGUAGES, 2_000)),
    (POS, {language: 0 for language in UDPOS_NAMES if language not in UDPOS_WITHOUT}),
    (NER, dict.fromkeys(PANX_LANGUAGES, 0)),
    (MLQA, MLQA_ROWS),
)

_Place = tuple[str, str, str, str]


def _place(part: Part) -> _Place:
    return part.repository, part.config, part.origin, part.language


def _beside(task: Task, rows: Mapping[str, int]) -> dict[_Place, Part]:
    """By the place of a part of its test, the publisher's development part in the same language: `validation`."""
    assert isinstance(task.source, PublishedSource)
    return {
        _place(part): replace(part, split=ORACLE_DEV, origin="validation", rows=rows[part.language])
        for part in task.source.parts
        if part.split == "test" and part.language in rows
    }


#: The development part beside each part of a test.
_BESIDE = {place: part for task, rows in DEVELOPED for place, part in _beside(task, rows).items()}


def with_oracle(task: Task, *, development: Sequence[str] = ()) -> Task:
    """The task with target-language labels that are shown to an oracle alone, as its split `oracle_dev` or `oracle`.

    For a definition that asks what selection by target-language labels would have given. `oracle_dev` is development
    data in languages of the test other than English: those of XNLI, PAWS-X, MLQA, PAN-X and the treebanks but four, and
    of their twins in the lab; BUCC's and its twin's own, which tune the threshold of mining as well; and of files of a
    user's own (Parquet, text pairs) the rows of the development file in the languages that `development` names. The
    whole test is then reported, in the languages without such data too. For other tasks `oracle` is half of the test by
    a hash of the item's id, and `test` the other half; an item is in the same half in every language. A test in fewer
    languages is stated before: what an oracle is shown is of its languages alone.

    Raises:
        Invalid: where the task has no test split, shows an oracle something already, or cannot have `development`, and
            for what is no task.
    """
    refuse_no_task("what an oracle is shown", task)
    test = task.split("test")
    if test is None:
        raise Invalid(f"task {task.name!r}", ["it must have a test split for an oracle to be of use; add one"])
    spoken = tuple(language for language in test.languages if language != ENGLISH)
    source, shown = task.source, None
    if development:
        shown = _own(task, spoken, tuple(development))
    elif isinstance(source, PublishedSource):
        source, shown = _published(task, source, spoken)
    elif isinstance(source, LabSource):
        shown = _lab(task, spoken)
    return replace(task, source=source, splits=(*task.splits, shown or replace(test, name=ORACLE_HALF)))


def developed_in(task: Task) -> tuple[str, ...]:
    """The languages in which `with_oracle(task)` finds development data; none where it halves the test."""
    refuse_no_task("what an oracle is shown", task)
    asks = task if task.oracle or not task.split("test") else with_oracle(task)
    shown = asks.split(ORACLE_DEV)
    return shown.languages if shown else ()


def _own(task: Task, spoken: tuple[str, ...], development: tuple[str, ...]) -> Split:
    """The split of a user's own development file in the languages that it is said to have."""
    dev, faults = task.split("dev"), []
    if not isinstance(task.source, ParquetSource | TextFiles) or dev is None:
        faults.append(
            "development must be left out unless the task has a development file of one's own, in Parquet or as text "
            f"pairs, got {' '.join(development)}; what publishers have is known"
        )
    if other := [language for language in development if language not in spoken]:
        faults.append(
            f"development must name languages of the test other than English ({' '.join(spoken) or 'none'}), got "
            f"{' '.join(map(str, other))}; leave them out"
        )
    if faults:
        raise Invalid(f"task {task.name!r}", faults)
    return Split(name=ORACLE_DEV, languages=development, rows=dev.rows if dev else 0)


def _published(task: Task, source: PublishedSource, spoken: tuple[str, ...]) -> tuple[Source, Split | None]:
    """The source with parts for an oracle and their split: its own development parts, or its publisher's others."""

    def own(parts: tuple[Part, ...]) -> tuple[Part, ...]:
        return tuple(replace(one, split=ORACLE_DEV) for one in parts if one.split == "dev" and one.language in spoken)

    tests = [part for part in source.parts if part.split == "test" and part.language in spoken]
    beside = tuple(_BESIDE[_place(part)] for part in tests if _place(part) in _BESIDE)
    parts, instead = (beside, ()) if beside else (own(source.parts), own(source.instead))
    if not parts:
        return source, None
    counts = [part.rows for part in parts]
    languages = tuple(dict.fromkeys(part.language for part in parts))
    rows = round(sum(counts) / len(languages)) if all(counts) else 0
    source = replace(source, parts=(*source.parts, *parts), instead=(*source.instead, *instead))
    return source, Split(name=ORACLE_DEV, languages=languages, rows=rows)


def _lab(task: Task, spoken: tuple[str, ...]) -> Split | None:
    """Of the twins of tasks whose publishers have development data, those that the lab says in all languages."""
    dev = task.teacher.split("dev")
    own = task.split("dev")
    is_twin = task.twin_of in {real.name for real, _ in DEVELOPED}
    languages = spoken if is_twin else tuple(language for language in spoken if own and language in own.languages)
    return Split(name=ORACLE_DEV, languages=languages, rows=dev.rows) if languages and dev else None
