"""Records a table of real trials of the lab: mixtures of its four intermediate tasks, each trained once.

    python -m tests.benchmarks.record_mixtures --storage FOLDER --output tests/fixtures/mixtures.csv

Every point is the path of a search trial of the demo's `all_four` cell with a shorter intermediate stage: 60 steps of
32 examples of the mixture, then the demo's 20 of visual NLI. First the even mixture and each task alone, then draws
from the simplex, flat and near its edges in turn, for as long as `--seconds` says. `bench_simplex` searches the table.
What the paths share is kept in the storage, with the scores; weights of single points are not.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from search_spaces.transfer_grid import Cell
from sweep.definition import Sweep
from sweep.paths import path_of
from sweep.presets import lab
from sweep.records import Phase
from tests.benchmarks.record_two_stage import trained
from trainables.stages import Training
from trainables.store import Store

STEPS, EXAMPLES = 60, 32
CELL = "all_four"


def definition() -> tuple[Sweep, Cell]:
    """The demo with the shorter stage, and its cell of four tasks."""
    demo = lab()
    cell = next(cell for cell in demo.cells if cell.name == CELL)
    assert demo.intermediate_settings is not None
    short = replace(
        demo.intermediate_settings,
        maximum_steps=STEPS,
        batch_size=EXAMPLES,
        warmup_steps=STEPS // 10,
        evaluation_interval_steps=STEPS,
    )
    return replace(demo, intermediate_settings=short), cell


def mixtures(tasks: int) -> Iterator[np.ndarray]:
    """Shares without end, the same in every run."""
    random = np.random.default_rng(0)
    yield np.full(tasks, 1 / tasks)
    yield from np.eye(tasks)
    while True:
        yield random.dirichlet(np.ones(tasks))
        yield random.dirichlet(np.full(tasks, 0.4))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--storage", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=660.0)
    options = parser.parse_args(arguments)
    sweep, cell = definition()
    assert sweep.intermediate_settings is not None
    names = [task.name for task in cell.intermediates]
    rates = {
        "intermediate.learning_rate": sweep.intermediate_settings.learning_rate,
        "target.learning_rate": sweep.target_settings.learning_rate,
    }
    store, seen, began = Store(options.storage), set(), time.monotonic()
    with options.output.open("w") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*(f"share.{name}" for name in names), "english_dev", "items"])
        for shares in mixtures(len(names)):
            if time.monotonic() - began > options.seconds:
                return 0
            values = {f"share.{name}": float(share) for name, share in zip(names, shares, strict=True)}
            path = path_of(sweep, cell, rates | values, phase=Phase.SEARCH, seed=0)
            *_, mixed, target = path
            if target.digest in seen:
                continue
            seen.add(target.digest)
            assert isinstance(mixed.work, Training)
            whole = {portion.task.name: portion.steps / STEPS for portion in mixed.work.portions}
            _, score, items = trained(path, store, options.storage / "cache")[-1]
            writer.writerow([*(f"{whole.get(name, 0.0):.6f}" for name in names), f"{score:.6f}", items])
            file.flush()
            for stage in (mixed, target):
                store.evict(stage.digest)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
