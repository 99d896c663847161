"""Records a table of real trials of the lab: a grid of intermediate and target learning rates, each trained once.

    python -m tests.benchmarks.record_two_stage --storage FOLDER --output tests/fixtures/two_stage.csv

Every point is the path of a search trial of the demo's `lab_nli` cell: 240 steps of text NLI, then 80 of visual NLI, so
a target run costs a third of an intermediate stage. `bench_two_level` searches the table. Stages are kept in the
storage and found again: stop it when you like.
"""

from __future__ import annotations

import argparse
import csv
import io
import time
from collections.abc import Sequence
from pathlib import Path

from sweep.paths import Path as Stages
from sweep.paths import path_of
from sweep.presets import lab
from sweep.records import Phase
from trainables.store import Store
from trainables.training.loop import run_stage

INTERMEDIATE = (1e-4, 2e-4, 4e-4, 8e-4, 1.6e-3, 3.2e-3)
TARGET = (1e-4, 2e-4, 4e-4, 8e-4, 1.6e-3, 3.2e-3)
CELL = "lab_nli"
COLUMNS = ("seed", "intermediate_learning_rate", "target_learning_rate", "step", "english_dev", "items")


def path(intermediate: float, target: float, seed: int) -> Stages:
    """The stages of one point."""
    sweep = lab()
    cell = next(cell for cell in sweep.cells if cell.name == CELL)
    values = {
        "intermediate.learning_rate": intermediate,
        "target.learning_rate": target,
        **{f"share.{task.name}": 1.0 for task in cell.intermediates},
    }
    return path_of(sweep, cell, values, phase=Phase.SEARCH, seed=seed)


def trained(stages: Stages, store: Store, cache: Path) -> list[tuple[int, float, int]]:
    """Train what is missing of a path; (step, English dev accuracy, items) of its target."""
    for stage in stages:
        if store.results(stage.digest) is not None:
            continue
        began, output = time.monotonic(), store.workspace(stage.digest, "recorded")
        parent = store.fetch(stage.parent) if stage.parent else None
        done = run_stage(stage, parent=parent, output=output, cache=cache)
        seconds = time.monotonic() - began
        store.commit(stage, output, "recorded", steps=stage.steps, seconds=seconds, history=done.history)
        print(f"{stage.kind} {'+'.join(task.name for task in stage.tasks)}: {seconds:.0f} s", flush=True)
    kept = store.results(stages[-1].digest)
    assert kept is not None
    return [(one.step, one.scores[0].value or 0.0, one.scores[0].count) for one in kept.history]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--storage", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    options = parser.parse_args(arguments)
    store, rows = Store(options.storage), []
    for seed in options.seeds:
        for intermediate in INTERMEDIATE:
            for target in TARGET:
                scored = trained(path(intermediate, target, seed), store, options.storage / "cache")
                rows += [(seed, intermediate, target, step, f"{value:.6f}", items) for step, value, items in scored]
                print(seed, intermediate, target, scored, flush=True)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([COLUMNS, *rows])
    options.output.write_text(text.getvalue())
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
