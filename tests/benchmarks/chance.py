"""What a lab twin scores without reading: the level that a benchmark's margin is counted from; trains nothing."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from trainables.catalogue.task import Kind, Metric, Task
from trainables.data.reading import read
from trainables.scores import Score
from trainables.training import metrics

#: Rows looked at.
_ROWS = 300

#: Standard errors above chance that guessing passes once in a hundred times.
_SPREADS = 2.33


def chance(task: Task) -> float:
    """The score of the best answer that looks at no question: the commonest label, tag or kind of answer.

    Of a span, the better of no answer and of a word of the right kind from a place chosen blindly; of retrieval, 0.
    """
    if task.kind is Kind.RETRIEVAL:
        return 0.0
    split = next(name for name in ("dev", "test") if task.split(name) is not None)
    few = replace(task, splits=tuple(replace(one, rows=_ROWS) for one in task.splits))
    rows = read(few, split, ("en",), None).to_pylist()
    if task.kind is Kind.TAGGING:
        return _tags(task, [[task.labels[tag] for tag in row["tags"]] for row in rows])
    if task.kind is Kind.SPAN:
        empty = sum(not row["answer_text"] for row in rows) / len(rows)
        return max(empty, sum(_blind(row) for row in rows if row["answer_text"]) / len(rows))
    return max(Counter(row["label"] for row in rows).values()) / len(rows)


def at_chance(scores: Sequence[Score], floor: float, languages: Sequence[str]) -> list[str]:
    """Those of the languages whose score guessing could have: within `_SPREADS` standard errors of the chance level.

    They are those of as many answers that are right or wrong, which no score from 0 to 1 exceeds. A level of 0 counts
    as one item of them all.
    """
    found = []
    for score in scores:
        if score.language in languages:
            rate = max(floor, 1 / score.count)
            margin = _SPREADS * math.sqrt(rate * (1 - rate) / score.count)
            if score.value is None or score.value <= rate + margin:
                found.append(score.language)
    return found


def _tags(task: Task, gold: list[list[str]]) -> float:
    commonest = Counter(tag for row in gold for tag in row).most_common(1)[0][0]
    guessed = [[commonest] * len(row) for row in gold]
    if task.measured_by is Metric.ACCURACY:
        words = sum(map(len, gold))
        return sum(tag == commonest for row in gold for tag in row) / words
    return (metrics.entity_f1 if task.measured_by is Metric.ENTITIES else metrics.tag_f1)(gold, guessed)


def _blind(row: dict) -> float:
    """How often a word of the right kind is right: of two that the question names, or of those in the context."""
    from trainables.lab.world import ATTRIBUTES

    kind = next(values for values in ATTRIBUTES.values() if row["answer_text"] in values)
    named = [word for word in row["question"].split() if word in kind]
    candidates = named or [word.strip(",") for word in row["context"].split() if word.strip(",") in kind]
    return sum(word == row["answer_text"] for word in candidates) / len(candidates)
