"""What each selector would have chosen among a reported run's own checkpoints, and what it costs; trains nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from sweep.columns import SELECTORS
from sweep.outcomes import Answers
from sweep.paths import teacher
from sweep.per_language import BLIND, MEAN_WITHOUT_SOURCE, groups
from sweep.records import TrialRecord
from sweep.standing import Standing
from sweep.tables import sorted_table, with_target
from trainables.catalogue.task import ORACLE_DEV, ORACLE_HALF, Role, Task
from trainables.scores import CheckpointScores
from trainables.selectors import Selector, chosen, seen_of, source_dev

if TYPE_CHECKING:
    from sweep.definition import Sweep

_ONE = "one checkpoint was kept, so there is nothing to choose among; see Sweep.checkpoints"
_NO_SCORES = "it has no score to choose by: {} keeps no such split"


def selectors(standing: Standing, answers: Answers, sweep: Sweep | None) -> pa.Table:
    """One row per reported run, selector and language or mean: its choice, the accuracy and the gap to the oracle.

    The oracle takes one checkpoint for all languages, the best on average over those other than English. It sees what
    the task keeps for it, development data or half of the test, else the test itself: then its accuracy is a little
    high, and so the gaps.
    Empty without the definition.
    """
    rows = []
    for cell in sweep.cells if sweep is not None else ():
        learned = teacher(sweep, cell) if sweep is not None else None
        if sweep is None or learned is None:
            continue
        for run in standing.confirmations(cell.name):
            told = {"sweep": standing.sweep, "cell": cell.name, "number": run.key.number, "seed": run.seed}
            for row in _of_run(standing, answers, sweep, learned, run):
                rows.append({**told, "is_reported": row["selector"] == sweep.selector, **row})
    return with_target(sorted_table(rows, SELECTORS, ("cell", "number", "selector", "language")), standing)


def _of_run(
    standing: Standing, answers: Answers, sweep: Sweep, learned: Task, run: TrialRecord
) -> Iterator[dict[str, Any]]:
    evaluated = {one.steps: one for one in answers.checkpoints(run.evaluation)}
    kept = sweep.target.oracle
    seen = seen_of(
        sweep.target,
        learned,
        source_dev(learned),
        answers.history(run.target),
        evaluated.values(),
        oracle=Role.ORACLE if kept else Role.REPORT,
    )
    best = evaluated.get(chosen(Selector.ORACLE, seen))
    for selector in Selector:
        choice = chosen(selector, seen) if evaluated else ()
        one = evaluated.get(choice)
        for language, languages in groups(standing, answers).items():
            row = {
                "selector": str(selector),
                "steps": "+".join(map(str, choice)),
                "english_dev": seen.english_dev.get(choice[0]) if len(choice) == 1 else None,
                "oracle_sees": (kept.name if kept else str(Role.REPORT)) if evaluated else "",
                "language": language,
                "accuracy": _accuracy(sweep.target, one, languages),
            }
            if one is None:
                yield row | {"absent_reason": _NO_SCORES.format(learned.name) if evaluated else _ONE}
                continue
            most = _accuracy(sweep.target, best, languages)
            known = row["accuracy"] is not None and most is not None
            gap = most - row["accuracy"] if known else None
            yield row | {"oracle_gap": gap, "absent_reason": "" if known else f"no score in {language}"}


def _accuracy(target: Task, one: CheckpointScores | None, languages: Sequence[str]) -> float | None:
    """The reported score of a checkpoint, the mean over languages; None where one of them is missing."""
    if one is None:
        return None
    metric = target.score_names[0]
    found = {
        score.language: score.value
        for score in one.scores
        if score.task == target.name and score.role is Role.REPORT and score.metric == metric
    }
    values = [found.get(language) for language in languages]
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known and len(known) == len(values) else None


def by_selector(standing: Standing, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """By selector, the mean over the runs of all cells but the blind ones, in the languages other than English."""
    blind = {cell.name for cell in standing.cells if cell.role in BLIND}
    spoken = MEAN_WITHOUT_SOURCE if any(row["language"] == MEAN_WITHOUT_SOURCE for row in rows) else None
    found = []
    for selector in Selector:
        mine = [
            row
            for row in rows
            if row["selector"] == selector
            and row["cell"] not in blind
            and row["accuracy"] is not None
            and (spoken is None or row["language"] == spoken)
        ]
        gaps = [row["oracle_gap"] for row in mine if row["oracle_gap"] is not None]
        if mine and gaps:
            accuracy = sum(row["accuracy"] for row in mine) / len(mine)
            largest = max(gaps)
            mean = sum(gaps) / len(gaps)
            reported = mine[0]["is_reported"]
            given = {"selector": str(selector), "runs": len(mine), "is_reported": reported, "accuracy": accuracy}
            found.append({**given, "oracle_gap": mean, "largest_gap": largest})
    return found


def selector_words(stated: Mapping[str, Any]) -> str:
    """By what the checkpoint of a reported run is chosen, of a sweep's `definition.json`."""
    return _WORDS[Selector(stated.get("selector", Selector.LAST_STEP))]


_WORDS = {
    Selector.ENGLISH_DEV: "English development accuracy",
    Selector.LAST_STEP: "nothing: the last step is taken",
    Selector.AVERAGE: "nothing: the mean of the weights of the last ones is taken",
    Selector.SOURCE_DEV: "development accuracy in the language that the target is learned from",
    Selector.ORACLE: "target-language labels (oracle)",
}


#: What the oracle chose by, by `oracle_sees`.
_SEEN = {
    str(Role.REPORT): "which saw the test: a little too large",
    ORACLE_HALF: "which saw the half of the test that is not reported",
    ORACLE_DEV: "which saw development data in other languages",
}


def selector_text(standing: Standing, rows: Sequence[Mapping[str, Any]]) -> str:
    """The same as a sentence for a terminal; empty where no run kept more than its last step."""
    found = by_selector(standing, rows)
    if not found:
        return ""
    words = [
        f"{row['selector']} {row['accuracy']:.3f} ({row['oracle_gap']:+.3f})" + (" reported" * row["is_reported"])
        for row in found
    ]
    sees = {row["oracle_sees"] for row in rows}
    gap = next((f"gap to the oracle, {told}" for seen, told in _SEEN.items() if seen in sees), "gap to the oracle")
    return (
        f"Each run's own checkpoints by selector, {found[0]['runs']} runs, mean accuracy in the other languages "
        f"({gap}): {', '.join(words)}."
    )
