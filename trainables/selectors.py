"""Which of a run's own checkpoints is reported, by what each selector may see; evaluates none of them.

What may be seen is a type: `DevScore` is made of development scores of role `select` alone, `OracleScore` of scores of
role `oracle`, or of the test itself where the word is that it measures a gap and chooses nothing that is reported.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from trainables.catalogue.task import LabSource, Role, Task
from trainables.scores import CheckpointScores, Progress, Score

#: The language that selection by "English dev" means.
ENGLISH = "en"


class Selector(StrEnum):
    """How a run's checkpoint is chosen. Only `ORACLE` sees labels of a target language, and only by that name."""

    ENGLISH_DEV = "english_dev"
    """The checkpoint with the best English development score; of equals the later."""
    LAST_STEP = "last_step"
    AVERAGE = "average"
    """The mean of the weights of all checkpoints kept: the last evaluated steps."""
    SOURCE_DEV = "source_dev"
    """By development data in the language that the target is learned from; English dev where that is English."""
    ORACLE = "oracle"
    """By target-language labels: the best mean over the languages other than English on what the task shows an oracle,
    development data in those of them that have any, or else half of the test."""


class DevScore(float):
    """A development score in a language that the target is learned from, or in English."""

    @classmethod
    def of(cls, task: Task, scores: Iterable[Score], languages: Collection[str]) -> DevScore | None:
        """The task's deciding metric on its development split, the mean over languages; None where it has none.

        Raises:
            ValueError: for a development score of the task that is of another role than `select`.
        """
        values = []
        for score in scores:
            if score.task != task.name or score.split != "dev" or score.language not in languages:
                continue
            if score.role is not Role.SELECT:
                raise ValueError(f"a development score must be of role 'select' to choose by it, got {score.role!s}")
            if score.metric == task.score_names[0] and score.value is not None:
                values.append(score.value)
        return cls(sum(values) / len(values)) if values else None


class OracleScore(float):
    """A score over target-language labels: the mean over the languages other than English."""

    @classmethod
    def of(cls, scores: Iterable[Score], metric: str, role: Role = Role.ORACLE) -> OracleScore | None:
        """The mean of the scores of one role; None where there are none.

        Raises:
            ValueError: for another role than `oracle`, or `report` where a gap is measured on the test itself.
        """
        if role not in (Role.ORACLE, Role.REPORT):
            raise ValueError(f"an oracle's score must be of role 'oracle' or 'report', got {role!s}")
        mine = [s for s in scores if s.role is role and s.metric == metric and s.value is not None]
        away = [s.value for s in mine if s.language != ENGLISH] or [s.value for s in mine]
        return cls(sum(value or 0.0 for value in away) / len(away)) if away else None


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What the selectors are shown of one run's checkpoints, by step; `last` is the end of the training."""

    last: int
    steps: tuple[int, ...]
    english_dev: Mapping[int, DevScore]
    source_dev: Mapping[int, DevScore]
    oracle: Mapping[int, OracleScore]


def chosen(selector: Selector, seen: Seen) -> tuple[int, ...]:
    """The step of the checkpoint that a selector chooses, or all those that it averages; empty where it cannot choose.

    Of equal scores the later checkpoint wins: it is what the run would have ended with.
    """
    if selector is Selector.LAST_STEP:
        return (seen.last,)
    if selector is Selector.AVERAGE:
        return seen.steps
    shown: Mapping[int, float] = {
        Selector.ENGLISH_DEV: seen.english_dev,
        Selector.SOURCE_DEV: seen.source_dev,
        Selector.ORACLE: seen.oracle,
    }[selector]
    known = [(shown[step], step) for step in seen.steps if step in shown]
    return (max(known)[1],) if known else ()


def seen_of(
    target: Task,
    learned: Task,
    source: Task | None,
    history: Iterable[Progress],
    evaluated: Iterable[CheckpointScores],
    *,
    oracle: Role = Role.ORACLE,
) -> Seen:
    """What the selectors are shown: the training's own English scores, and what the evaluation scored beside.

    `learned` is what the target was trained on; `source` its development split in the language that it is learned
    from, None where that is English or where there is no such split. With `oracle` as `report`, the oracle is shown the
    test itself: for measuring what a choice costs, and for no choice that is reported.
    """
    single = {one.steps[0]: one.scores for one in evaluated if len(one.steps) == 1}
    steps = tuple(sorted(single))
    told = {progress.step: progress.scores for progress in history}
    english = {step: DevScore.of(learned, told.get(step, ()), (ENGLISH,)) for step in steps}
    languages = source_languages(learned)
    spoken = english if languages == (ENGLISH,) else dict.fromkeys(steps)
    if source is not None:
        spoken = {step: DevScore.of(source, scores, languages) for step, scores in single.items()}
    away = {step: OracleScore.of(scores, target.score_names[0], oracle) for step, scores in single.items()}
    return Seen(
        last=steps[-1] if steps else 0,
        steps=steps,
        english_dev={step: score for step, score in english.items() if score is not None},
        source_dev={step: score for step, score in spoken.items() if score is not None},
        oracle={step: score for step, score in away.items() if score is not None},
    )


def source_languages(learned: Task) -> tuple[str, ...]:
    """The languages that a target is learned from."""
    train = learned.split("train")
    return train.languages if train else ()


def source_dev(learned: Task) -> Task | None:
    """What a target is learned from, with a development split in the languages of its training split.

    None where that is its English one already, and for every task but the lab's, which says its rows in any language:
    what XNLI, PAWS-X, PAN-X and the treebanks publish for development in other languages is shown to an oracle alone.
    """
    languages = source_languages(learned)
    if languages == (ENGLISH,) or not isinstance(learned.source, LabSource):
        return None
    splits = tuple(replace(one, languages=languages) if one.name == "dev" else one for one in learned.splits)
    return replace(learned, splits=splits)


def has_oracle(task: Task) -> bool:
    """Whether a task keeps target-language labels apart for an oracle."""
    return task.oracle is not None
