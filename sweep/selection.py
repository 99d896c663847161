"""What the search promised and what came of it: optimism, expected best scores, English dev against zero-shot."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from search_spaces.transfer_grid import CellRole
from sweep import statistics
from sweep.columns import CORRELATIONS, EXPECTED_BEST, IMPORTANCES, SELECTION
from sweep.outcomes import Answers
from sweep.per_language import BLIND, groups
from sweep.records import State, TrialRecord
from sweep.standing import CellInfo, Standing
from sweep.tables import SOURCE_LANGUAGE, sorted_table

if TYPE_CHECKING:
    from sweep.definition import Sweep

#: With fewer finished trials an importance is noise: PED-ANOVA compares the best tenth with the rest.
LEAST_TRIALS = 10

#: With fewer points a correlation can be anything.
LEAST_POINTS = 4


def selection(standing: Standing, answers: Answers) -> pa.Table:
    """One row per cell: the score that won its search beside the score of the same settings on fresh seeds.

    The first is the best of several noisy numbers and so too high on average (the winner's curse); only the second is
    reported.
    """
    zero_shot = _zero_shot(standing)
    rows = []
    for cell in standing.cells:
        leader = standing.leaders().get(cell.name)
        runs = standing.confirmations(cell.name)
        confirmed = [run.score for run in runs if run.score is not None]
        row: dict[str, Any] = {
            "sweep": standing.sweep,
            "cell": cell.name,
            "role": str(cell.role),
            "trials": len(_scores(standing, cell.name)),
            "search_score": leader.score if leader else None,
            "absent_reason": "" if leader and confirmed else standing.missing(cell.name) or "no score is stored",
        }
        if leader and leader.score is not None and confirmed:
            row |= {"confirmed_score": float(np.mean(confirmed)), "optimism": leader.score - float(np.mean(confirmed))}
        if len(confirmed) > 1:
            interval = statistics.over_seeds(confirmed)
            if interval.standard_error > 0:
                row |= {"confirmed_low": max(0.0, interval.low), "confirmed_high": min(1.0, interval.high)}
        if points := list(_points(standing, answers, cell, zero_shot)):
            row |= {"zero_shot": float(np.mean([point.test for point in points])), "seed_gap": _gap(points)}
        rows.append(row)
    return sorted_table(rows, SELECTION, ("cell",))


def expected_best(standing: Standing) -> pa.Table:
    """One row per cell and number of trials: the expected best English dev score of so many trials of its search.

    Trials count with their last score, pruned ones too; those that failed without a score are left out.
    """
    rows = []
    for cell in standing.cells:
        scores = _scores(standing, cell.name)
        if not scores:
            continue
        curve = statistics.expected_best(scores)
        rows += [
            {
                "sweep": standing.sweep,
                "cell": cell.name,
                "trials": number,
                "score": float(mean),
                "score_low": float(low),
                "score_high": float(high),
            }
            for number, (mean, low, high) in enumerate(zip(*curve, strict=True), start=1)
        ]
    return sorted_table(rows, EXPECTED_BEST, ("cell", "trials"))


@dataclass(frozen=True, kw_only=True)
class Point:
    """A run, or the mean of a cell: its English dev score, its test score, and that on either half of the items."""

    name: str
    dev: float
    test: float
    halves: tuple[float, float] | None = None
    """None where no item's score is known, as of F1 over all answers at once."""


def correlations(standing: Standing, answers: Answers) -> pa.Table:
    """How well English dev, which all selection goes by, ranks runs and cells by their accuracy in each language.

    The oracle's choice would need the test labels that no selection may see; its gap is what that costs. The oracle
    chooses on one half of the items and is scored on the other, and the other way round: on the items that it chose by,
    it would gain where all points are equally good. Over runs there is no interval: the seeds of a cell are no
    independent points, and Fisher's, which takes them for such, left out a true correlation of 0 in a quarter of
    simulated sweeps (11 cells of three seeds).
    """
    cells = [cell for cell in standing.cells if cell.role not in (*BLIND, CellRole.CONTROL)]
    rows = []
    for language, languages in groups(standing, answers).items():
        by_cell = {cell.name: list(_points(standing, answers, cell, languages)) for cell in cells}
        runs = [point for points in by_cell.values() for point in points]
        means = [_mean(name, points) for name, points in by_cell.items() if points]
        for over, points in (("runs", runs), ("cells", means)):
            found = _correlation(points, independent=over == "cells")
            rows.append({"sweep": standing.sweep, "over": over, "language": language, **found})
    return sorted_table(rows, CORRELATIONS, ("over", "language"))


def _points(standing: Standing, answers: Answers, cell: CellInfo, languages: Sequence[str]) -> Iterator[Point]:
    """A cell's reported runs that have a score in all these languages."""
    for run in standing.confirmations(cell.name):
        outcome = answers.outcome(run.evaluation, languages)
        if run.score is not None and outcome is not None:
            halves = answers.halves(run.evaluation, languages)
            yield Point(name=f"{cell.name}, seed {run.seed}", dev=run.score, test=outcome.value, halves=halves)


def _mean(name: str, points: Sequence[Point]) -> Point:
    """The mean of a cell's runs."""
    halves = [point.halves for point in points if point.halves is not None]
    first, second = np.mean(halves, axis=0) if len(halves) == len(points) else (None, None)
    return Point(
        name=name,
        dev=float(np.mean([point.dev for point in points])),
        test=float(np.mean([point.test for point in points])),
        halves=None if first is None else (float(first), float(second)),
    )


def _gap(points: Sequence[Point]) -> float:
    """How much better than the point that English dev chooses the one is that target-language labels choose.

    Without a bias: it may come out below 0. Of points without halves the labels that choose also score, and the gap is
    too large.
    """
    chosen = max(points, key=lambda point: point.dev)
    halves = [point.halves for point in points if point.halves is not None]
    if len(halves) < len(points):
        return max(point.test for point in points) - chosen.test
    by_dev = halves[points.index(chosen)]
    gaps = [max(halves, key=lambda half: half[sees])[1 - sees] - by_dev[1 - sees] for sees in (0, 1)]
    return sum(gaps) / 2


def _correlation(points: Sequence[Point], *, independent: bool) -> dict[str, Any]:
    row: dict[str, Any] = {"points": len(points), "chosen": "", "oracle": "", "oracle_sees": "", "absent_reason": ""}
    if points:
        chosen, oracle = max(points, key=lambda point: point.dev), max(points, key=lambda point: point.test)
        sees = "half" if all(point.halves is not None for point in points) else "report"
        row |= {"chosen": chosen.name, "oracle": oracle.name, "oracle_sees": sees, "oracle_gap": _gap(points)}
    dev, test = [point.dev for point in points], [point.test for point in points]
    if len(points) < LEAST_POINTS or len(set(dev)) == 1 or len(set(test)) == 1:
        return row | {"absent_reason": f"a correlation needs {LEAST_POINTS} points that differ, got {len(points)}"}
    from scipy import stats

    pearson = stats.pearsonr(dev, test)
    row |= {"pearson": float(pearson.statistic), "spearman": float(stats.spearmanr(dev, test).statistic)}
    if not independent:
        return row
    interval = pearson.confidence_interval(statistics.CONFIDENCE)
    return row | {"pearson_low": float(interval.low), "pearson_high": float(interval.high)}


def importances(standing: Standing, sweep: Sweep) -> pa.Table:
    """One row per cell and searched parameter, mixing weights included: how much of the good scores it explains.

    By Optuna's PED-ANOVA over the values of the cell's finished search trials: of a mixing weight that is the share,
    not its draw. Importances sum to 1 within a cell.
    """
    rows = []
    for cell in sweep.cells:
        parameters = sweep.parameters(cell)
        trials = [r for r in _search(standing, cell.name) if r.state is State.FINISHED and r.score is not None]
        row = {"sweep": standing.sweep, "cell": cell.name, "trials": len(trials)}
        reason = f"needs {LEAST_TRIALS} finished trials, got {len(trials)}" if len(trials) < LEAST_TRIALS else ""
        found = {} if reason or not parameters else _importances(sweep, cell.name, trials)
        total = sum(found.values())
        for name in parameters:
            share = found.get(name, 0.0) / total if total > 0 else None
            absent = reason or ("" if share is not None else "no parameter tells good trials from others")
            rows.append({**row, "parameter": name, "importance": share, "absent_reason": absent})
    return sorted_table(rows, IMPORTANCES, ("cell", "parameter"))


def _importances(sweep: Sweep, cell: str, trials: Sequence[TrialRecord]) -> dict[str, float]:
    import optuna

    from sweep.study import finished_study

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the evaluator is experimental, and that few trials differ
        evaluator = optuna.importance.PedAnovaImportanceEvaluator()
        study = finished_study(sweep, next(one for one in sweep.cells if one.name == cell), trials)
        return optuna.importance.get_param_importances(study, evaluator=evaluator, normalize=False)


def _search(standing: Standing, cell: str) -> list[TrialRecord]:
    return standing.searched(cell)


def _scores(standing: Standing, cell: str) -> list[float]:
    """The last English dev score of each search trial that has one."""
    found = [r.score if r.score is not None else r.scored[-1][1] if r.scored else None for r in _search(standing, cell)]
    return [score for score in found if score is not None]


def _zero_shot(standing: Standing) -> tuple[str, ...]:
    """The languages other than the source; the source where it is the only one."""
    return tuple(code for code in standing.languages if code != SOURCE_LANGUAGE) or standing.languages
