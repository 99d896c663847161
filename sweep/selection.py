"""What the search promised and what came of it: optimism, expected best scores, English dev against zero-shot."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
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
        tested = [(run.score, answers.outcome(run.evaluation, zero_shot)) for run in runs]
        scored = [(score, outcome.value) for score, outcome in tested if score is not None and outcome is not None]
        if scored:
            row["zero_shot"] = float(np.mean([value for _, value in scored]))
            row["seed_gap"] = max(value for _, value in scored) - max(scored)[1]
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


def correlations(standing: Standing, answers: Answers) -> pa.Table:
    """How well English dev, which all selection goes by, ranks runs and cells by their accuracy in each language.

    The oracle's choice would need the test labels that no selection may see; its gap is what that costs. Over runs
    there is no interval: the seeds of a cell are no independent points, and Fisher's, which takes them for such, left
    out a true correlation of 0 in a quarter of simulated sweeps (11 cells of three seeds).
    """
    cells = [cell for cell in standing.cells if cell.role not in (*BLIND, CellRole.CONTROL)]
    rows = []
    for language, languages in groups(standing).items():
        by_cell = {cell.name: list(_points(standing, answers, cell, languages)) for cell in cells}
        runs = [point for points in by_cell.values() for point in points]
        means = [
            (name, float(np.mean([dev for _, dev, _ in points])), float(np.mean([test for _, _, test in points])))
            for name, points in by_cell.items()
            if points
        ]
        for over, points in (("runs", runs), ("cells", means)):
            found = _correlation(points, independent=over == "cells")
            rows.append({"sweep": standing.sweep, "over": over, "language": language, **found})
    return sorted_table(rows, CORRELATIONS, ("over", "language"))


def _points(
    standing: Standing, answers: Answers, cell: CellInfo, languages: Sequence[str]
) -> Iterator[tuple[str, float, float]]:
    """Name, English dev score and test accuracy of a cell's reported runs."""
    for run in standing.confirmations(cell.name):
        outcome = answers.outcome(run.evaluation, languages)
        if run.score is not None and outcome is not None:
            yield f"{cell.name}, seed {run.seed}", run.score, outcome.value


def _correlation(points: Sequence[tuple[str, float, float]], *, independent: bool) -> dict[str, Any]:
    row: dict[str, Any] = {"points": len(points), "chosen": "", "oracle": "", "absent_reason": ""}
    if points:
        chosen, oracle = max(points, key=lambda point: point[1]), max(points, key=lambda point: point[2])
        row |= {"chosen": chosen[0], "oracle": oracle[0], "oracle_gap": oracle[2] - chosen[2]}
    dev, test = [point[1] for point in points], [point[2] for point in points]
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
        parameters = sweep.space.parameters(cell)
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
