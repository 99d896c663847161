"""What ended trials teach whoever proposes the next: their scores, and of failures that they are no better; asks none.

A proposal that is told nothing of failures goes where they are again and again: of thirty trials with a region that
fails, four fifths failed that would have been a third by chance. A trial that failed through its machine is not among
these: it stays open.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from sweep.records import State, TrialRecord
from sweep.search import ExpectedGain

#: Ended trials that teach anything before expected gains can be told.
LEAST = 4


def known_score(record: TrialRecord) -> float | None:
    """The score of an ended trial; a pruned one has that of its last step, for it is known to be no better."""
    ended = record.state in (State.FINISHED, State.PRUNED)
    return record.score if ended and record.score is not None and math.isfinite(record.score) else None


def lessons(records: Iterable[TrialRecord]) -> dict[int, float]:
    """By number, the score of each ended trial; one that failed has the worst of all that have one.

    None where no trial has one: then nothing is worse than anything.
    """
    ended = sorted((one for one in records if one.state is not State.OPEN), key=lambda record: record.key.number)
    scores = {record.key.number: known_score(record) for record in ended}
    known = [score for score in scores.values() if score is not None]
    if not known:
        return {}
    return {number: min(known) if score is None else score for number, score in scores.items()}


def pays_to_compare(how: ExpectedGain, number: int, records: Iterable[TrialRecord]) -> bool:
    """Whether the next trial, `number`, of a cell goes where the expected gain is, or opens settings as at first."""
    return number >= how.first and len(lessons(records)) >= LEAST
