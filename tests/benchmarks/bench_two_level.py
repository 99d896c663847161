"""Using intermediate settings again as it pays, against plain TPE, at the same number of optimiser steps.

    python -m tests.benchmarks.bench_two_level          # about five minutes

An intermediate stage costs three times a target stage. Scores are those of a table of real trials and of two formulas,
counted as right answers among 600 items like the lab's development split: nothing is trained here.
- *recorded*: English development accuracy of 36 trials of the lab (`tests/fixtures/two_stage.csv`): 240 steps of text
  NLI, then 80 of visual NLI, six learning rates for each, trained once with seed 0 on two cores in bfloat16 by
  `record_two_stage`; between the grid's points, interpolated over the logarithms of both rates;
- *rehearsal*: the rehearsal's own, in which both learning rates matter and the intermediate one less;
- *coupled*: the best target rate and dropout move with the intermediate rate, so that a setting cannot be judged by one
  target run.

Plain TPE opens a new setting with every trial. What is compared is how many target trials the same steps pay for, and
the expected score, without noise, of the trial that each search would choose. Exits 1 where a goal is missed.
"""

from __future__ import annotations

import argparse
import csv
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.interpolate import RegularGridInterpolator

from search_spaces import LogRange, Range, Space
from sweep.points import intermediate, stage_costs
from sweep.records import TrialRecord
from sweep.search import ExpectedGain, NoPruning, Search, Tpe
from tests.benchmarks.searched import interval, searched
from tests.pure.small_sweep import ALONE, BASELINE, SETTINGS, small_sweep
from trainables.rehearsal import TEXT_INFERENCE_USEFULNESS, fit

PLAIN_TRIALS, SEEDS, ITEMS = 25, 30, 600
GOAL_RATIO = 1.8
#: No worse: the interval of the difference ends above minus a quarter of the standard error of one score (0.02).
MARGIN = 0.005
SPACE = Space(
    intermediate={"learning_rate": LogRange(1e-5, 1e-2), "weight_decay": Range(0.0, 0.2)},
    target={"learning_rate": LogRange(1e-5, 1e-2), "dropout": Range(0.0, 0.5)},
)


RECORDED = Path(__file__).parents[1] / "fixtures" / "two_stage.csv"


def table() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Logarithms of the intermediate and of the target rates, and `(intermediate, target)` accuracies at the end."""
    with RECORDED.open() as file:
        rows = [row for row in csv.DictReader(file) if row["step"] == "80"]
    found = {
        (float(row["intermediate_learning_rate"]), float(row["target_learning_rate"])): float(row["english_dev"])
        for row in rows
    }
    before, after = (sorted({key[place] for key in found}) for place in (0, 1))
    accuracies = np.array([[found[first, second] for second in after] for first in before])
    return np.log(before), np.log(after), accuracies


BEFORE, AFTER, ACCURACIES = table()
BETWEEN = RegularGridInterpolator((BEFORE, AFTER), ACCURACIES)
RATES = LogRange(1e-4, 3.2e-3)
RECORDED_SPACE = Space(intermediate={"learning_rate": RATES}, target={"learning_rate": RATES})


def recorded(values: Mapping[str, float]) -> float:
    point = np.log([values["intermediate.learning_rate"], values["target.learning_rate"]])
    return float(BETWEEN(np.clip(point, [BEFORE[0], AFTER[0]], [BEFORE[-1], AFTER[-1]]))[0])


def rehearsed(values: Mapping[str, float]) -> float:
    gift = TEXT_INFERENCE_USEFULNESS * fit(values["intermediate.learning_rate"])
    return (1 + 2 * (0.9 * fit(values["target.learning_rate"]) + 0.1 * gift)) / 3


def coupled(values: Mapping[str, float]) -> float:
    before = math.log10(values["intermediate.learning_rate"])
    rate, dropout = math.log10(values["target.learning_rate"]), values["target.dropout"]
    opened = math.exp(-((before + 3.4) ** 2) / 0.6 - (values["intermediate.weight_decay"] - 0.05) ** 2 / 0.04)
    away = (rate + 3.0 + 0.4 * (before + 3.4)) ** 2 / 0.5 + (dropout - 0.1 - 0.1 * (before + 3.4)) ** 2 / 0.1
    used = math.exp(-away)
    return 0.34 + 0.5 * (0.4 + 0.6 * opened) * used


SURFACES = (("recorded", recorded, RECORDED_SPACE), ("rehearsal", rehearsed, SPACE), ("coupled", coupled, SPACE))


def steps(records: Sequence[TrialRecord], opening: int, target: int) -> int:
    settings = {tuple(intermediate(record.draws).items()) for record in records}
    return len(settings) * opening + len(records) * target


def run(formula: Callable[[Mapping[str, float]], float], space: Space, seed: int, search: Search) -> tuple[int, float]:
    """Target trials within the steps of the plain search, and the expected score of the trial that would be chosen."""
    sweep = small_sweep(
        cells=(BASELINE, ALONE),
        space=space,
        intermediate_settings=replace(SETTINGS, maximum_steps=60),
        search=replace(search, seed=100 + seed),
    )
    opening, target = stage_costs(sweep, ALONE)
    assert opening == 3 * target
    budget = PLAIN_TRIALS * (opening + target)
    random = np.random.default_rng(seed)
    records = searched(
        sweep,
        ALONE,
        lambda values: random.binomial(ITEMS, formula(values)) / ITEMS,
        lambda done: steps(done, opening, target) >= budget,
    )
    while steps(records, opening, target) > budget:
        records.pop()
    chosen = max(records, key=lambda record: (record.score or 0.0, -record.key.number))
    return len(records), formula(chosen.values)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [name for name, *_ in SURFACES]
    parser.add_argument("--only", choices=names, nargs="+", default=names, help="which scores to search")
    wanted = parser.parse_args(arguments).only
    missed = False
    plain = Search(trials=PLAIN_TRIALS, sampler=Tpe(), pruner=NoPruning())
    adaptive = Search(trials=999, sampler=Tpe(), pruner=NoPruning(), fan_out=ExpectedGain())
    fixed = Search(trials=999, sampler=Tpe(), pruner=NoPruning(), fan_out=4)
    print(f"steps of {PLAIN_TRIALS} plain trials, cost 3 : 1, {SEEDS} seeds; 95% bootstrap intervals of paired means\n")
    for name, formula, space in (surface for surface in SURFACES if surface[0] in wanted):
        without = [run(formula, space, seed, plain) for seed in range(SEEDS)]
        print(f"{name}: plain TPE {PLAIN_TRIALS} trials, score {np.mean([score for _, score in without]):.4f}")
        for how, search in (("ExpectedGain()", adaptive), ("fan_out=4", fixed)):
            found = [run(formula, space, seed, search) for seed in range(SEEDS)]
            ratio, *between = interval([count / PLAIN_TRIALS for count, _ in found])
            gain, low, high = interval([a[1] - b[1] for a, b in zip(found, without, strict=True)])
            good = ratio >= GOAL_RATIO and low >= -MARGIN
            missed |= not good and search is adaptive
            print(
                f"  {how}: {ratio:.2f} times the target trials [{between[0]:.2f}, {between[1]:.2f}], "
                f"score {gain:+.4f} [{low:+.4f}, {high:+.4f}]"
                + ("" if good or search is fixed else f"  GOAL MISSED: {GOAL_RATIO} times, and no lower score"),
                flush=True,
            )
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
