"""The answer: accuracy per cell and language and its gain over the baseline; knows no file."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from search_spaces.transfer_grid import CellRole
from sweep import statistics
from sweep.columns import PER_GROUP, PER_LANGUAGE
from sweep.languages import grouped
from sweep.outcomes import Answers, Outcome, aligned, paired
from sweep.standing import CellInfo, Standing
from sweep.tables import SOURCE_LANGUAGE, sorted_table

#: What stands in the `language` column for a mean over languages.
MEAN, MEAN_WITHOUT_SOURCE = "mean", "mean_without_en"

BLIND = (CellRole.IMAGE_ONLY, CellRole.HYPOTHESIS_ONLY)


def per_language(standing: Standing, answers: Answers) -> pa.Table:
    """One row per cell and language, then one for the mean and one for the mean without English.

    A gain is paired by seed and by item with the baseline. An accuracy or gain that cannot be given is null, with the
    reason. A mean is over the languages that any run has, with a remark where that is not all, and absent as soon as
    the cell lacks one of them.
    """
    fewer = without(standing, answers)
    rows = [
        {
            "sweep": standing.sweep,
            "cell": cell.name,
            "role": str(cell.role),
            "intermediates": "+".join(cell.intermediates),
            "language": name,
            "is_mean": name in (MEAN, MEAN_WITHOUT_SOURCE),
            **row(standing, cell, languages, answers, fewer if name.startswith(MEAN) else ""),
        }
        for cell in standing.cells
        for name, languages in groups(standing, answers).items()
    ]
    return sorted_table(rows, PER_LANGUAGE, ("cell", "language"))


def per_group(standing: Standing, answers: Answers, grouping: str) -> pa.Table:
    """One row per cell and group of languages: the mean over the group's languages and its gain, as in `per_language`.

    The source language stands in no group: it was trained on. `grouping` is one of `sweep.languages.GROUPINGS`.
    """
    zero_shot = tuple(language for language in answers.scored_languages if language != SOURCE_LANGUAGE)
    rows = [
        {
            "sweep": standing.sweep,
            "cell": cell.name,
            "role": str(cell.role),
            "intermediates": "+".join(cell.intermediates),
            "grouping": grouping,
            "group": name,
            "languages": " ".join(languages),
            **row(standing, cell, languages, answers),
        }
        for cell in standing.cells
        for name, languages in grouped(zero_shot, grouping).items()
    ]
    return sorted_table(rows, PER_GROUP, ("cell", "grouping", "group"))


def groups(standing: Standing, *answers: Answers) -> dict[str, tuple[str, ...]]:
    """Each language alone, and where there are several the means over those in which all of `answers` have a run."""
    found: dict[str, tuple[str, ...]] = {language: (language,) for language in standing.languages}
    if len(standing.languages) > 1:
        scored = [set(one.scored_languages) for one in answers]
        found[MEAN] = tuple(name for name in standing.languages if all(name in some for some in scored))
        found[MEAN_WITHOUT_SOURCE] = tuple(name for name in found[MEAN] if name != SOURCE_LANGUAGE)
        found = {name: languages for name, languages in found.items() if languages}
    return found


def without(standing: Standing, *answers: Answers) -> str:
    """Which languages the means leave out, since no run of one of `answers` has a score there; empty where none."""
    covered = groups(standing, *answers).get(MEAN, standing.languages)
    left = [name for name in standing.languages if name not in covered]
    if not left:
        return ""
    none = "no run" if len(answers) < 2 else "one of the two"
    has = "has a score" if len(answers) < 2 else "has no score"
    return f"mean over {len(covered)} of {len(standing.languages)} languages: {none} {has} in {', '.join(left)}"


def row(
    standing: Standing, cell: CellInfo, languages: Sequence[str], answers: Answers, remark: str = ""
) -> dict[str, Any]:
    """Accuracy and gain of a cell on the average of some languages, with what a reader should know of them."""
    baseline = standing.baseline
    mine = answers.by_seed(cell.name, languages)
    row: dict[str, Any] = {
        "seeds": len(mine),
        "baseline": baseline.name if baseline else "",
        "absent_reason": "",
        "gain_absent_reason": "",
        "remark": "; ".join(filter(None, (standing.remark, cell.remark, remark))),
    }
    if not mine:
        reason = why_absent(standing, cell, languages, answers)
        return {**row, "absent_reason": reason, "gain_absent_reason": "the cell has no accuracy"}
    row["accuracy"] = float(np.mean([outcome.value for outcome in mine.values()]))
    remarks = [row["remark"], _seen(cell, languages), standing.missing(cell.name)]
    remarks += [_unscored(standing, cell, mine, languages, answers), standing.kept(cell.name)]
    together = aligned(list(mine.values()))
    if together is not None:
        interval = statistics.accuracy_interval(together[1])
        row |= {"items": interval.items, "accuracy": interval.mean}
        row |= {"accuracy_low": interval.low, "accuracy_high": interval.high}
        remarks.append(interval.remark)
    elif len(mine) > 1:
        interval = statistics.over_seeds([outcome.value for outcome in mine.values()])
        if interval.standard_error > 0:
            row |= {"accuracy_low": max(0.0, interval.low), "accuracy_high": min(1.0, interval.high)}
        told = interval.remark if interval.standard_error > 0 else statistics.NO_SPREAD
        remarks.append(f"{_why_no_items(mine)}: {told}")
    elif outcome_count(mine) and all(outcome.is_mean for outcome in mine.values()):
        interval = statistics.counted_accuracy(row["accuracy"], outcome_count(mine))
        row |= {"items": interval.items, "accuracy_low": interval.low, "accuracy_high": interval.high}
        remarks.append("no predictions stored: interval over items only, one seed")
    else:
        remarks.append(f"no interval: one seed and {_why_no_items(mine)}")
    gain, gain_remark = _gain(standing, cell, languages, answers)
    row |= gain
    remarks.append(gain_remark)
    remarks.append(standing.searched_otherwise(cell.name) if "gain" in gain else "")
    remarks += _warnings(standing, cell, languages, answers)
    row["remark"] = "; ".join(remark for remark in remarks if remark)
    return row


def _why_no_items(outcomes: Mapping[int, Outcome]) -> str:
    if not all(outcome.is_mean for outcome in outcomes.values()):
        return "a score of all answers at once"
    without = sum(outcome.ids is None for outcome in outcomes.values())
    return (
        "no predictions stored"
        if without in (0, len(outcomes))
        else f"no predictions stored of {without} of {len(outcomes)} runs"
    )


def outcome_count(outcomes: Mapping[int, Outcome]) -> int:
    """The items that each of the runs is of; 0 where nobody said or they differ."""
    counts = {outcome.count for outcome in outcomes.values()}
    return counts.pop() if len(counts) == 1 else 0


def _seen(cell: CellInfo, languages: Sequence[str]) -> str:
    """Which of the languages the target training of a cell has read, other than the source language."""
    seen = [one for one in languages if one in cell.learned_in and one != SOURCE_LANGUAGE]
    return f"learned from {', '.join(seen)}: not zero-shot there" if seen else ""


def why_absent(standing: Standing, cell: CellInfo, languages: Sequence[str], answers: Answers) -> str:
    """Why no run of a cell has all these languages; empty where one has."""
    runs = standing.confirmations(cell.name)
    if not runs:
        return standing.missing(cell.name)
    if answers.by_seed(cell.name, languages):
        return ""
    reasons = [answers.absence(run.evaluation, language) for run in runs for language in languages]
    return "; ".join(sorted({reason for reason in reasons if reason}))


def _unscored(
    standing: Standing, cell: CellInfo, scored: Collection[int], languages: Sequence[str], answers: Answers
) -> str:
    """How many reported runs of a cell the row does not rest on, and why."""
    runs = standing.confirmations(cell.name)
    without = [run for run in runs if run.seed not in scored]
    if not without:
        return ""
    reasons = {answers.absence(run.evaluation, language) for run in without for language in languages} - {""}
    return f"{len(without)} of {len(runs)} runs not counted ({'; '.join(sorted(reasons))})"


def _gain(standing: Standing, cell: CellInfo, languages: Sequence[str], answers: Answers) -> tuple[dict[str, Any], str]:
    """The gain's columns, and a remark where it rests on less than the row says."""
    baseline = standing.baseline
    if baseline is None:
        return {"gain_absent_reason": "the sweep has no baseline"}, ""
    if cell == baseline:
        return {"gain_absent_reason": "this is the baseline"}, ""
    mine = answers.by_seed(cell.name, languages)
    theirs = answers.by_seed(baseline.name, languages)
    seeds = sorted(set(mine) & set(theirs))
    if not seeds:
        reason = why_absent(standing, baseline, languages, answers) or "no run of the same seeds"
        reason = f"the baseline {baseline.name!r}: {reason}"
        return {"gain_absent_reason": reason}, ""
    fewer = f"gain over {len(seeds)} of {len(mine)} seeds" if len(seeds) < len(mine) else ""
    both = paired(mine, theirs)
    if both is not None:
        interval = statistics.paired_gain(both[0] - both[1])
    elif len(seeds) > 1:
        interval = statistics.over_seeds([mine[seed].value - theirs[seed].value for seed in seeds])
        if interval.standard_error == 0:
            return {"gain": interval.mean}, "; ".join(filter(None, (fewer, f"gain: {statistics.NO_SPREAD}")))
    elif outcome_count(mine) and outcome_count(theirs):
        interval = statistics.counted_gain(
            (mine[seeds[0]].value, outcome_count(mine)), (theirs[seeds[0]].value, outcome_count(theirs))
        )
        fewer = "gain not paired by item: from counts alone, its interval wider than a paired one"
    else:
        return {"gain": mine[seeds[0]].value - theirs[seeds[0]].value}, fewer
    return {"gain": interval.mean, "gain_low": interval.low, "gain_high": interval.high}, fewer


def _warnings(standing: Standing, cell: CellInfo, languages: Sequence[str], answers: Answers) -> Iterator[str]:
    """Where nothing shows that a cell looks at the image and at the text both."""
    if cell.role in BLIND:
        return
    mine = answers.by_seed(cell.name, languages)
    for other in standing.cells:
        both = paired(mine, answers.by_seed(other.name, languages)) if other.role in BLIND else None
        if both is not None and statistics.no_better_than(*both):
            yield f"no better than {other.name}"
    if len(languages) > 1 and all(answers.ignores_text(run.evaluation) for run in standing.confirmations(cell.name)):
        yield "same answers in every language: the text is ignored"
