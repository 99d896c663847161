"""What a further trial costs beyond its training steps, here and in the pattern that Ray documents.

    python -m tests.benchmarks.bench_overhead          # about two minutes

Both sides train the same kind of stage: two optimiser steps of a tiny model from the weights of a parent, each step
scored. Nothing is subtracted, so these few steps count as overhead on both sides. Exits 1 where a goal is missed.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest.mock import patch

os.environ.setdefault("RAY_TRAIN_ENABLE_V2_MIGRATION_WARNINGS", "0")

from search_spaces.domains import LogRange
from search_spaces.space import Space
from search_spaces.transfer_grid import Cell, CellRole
from sweep.definition import Preparation, Sweep
from sweep.search import Search
from trainables.catalogue import lab
from trainables.catalogue.encoder import SmallEncoder
from trainables.gangs import Gangs
from trainables.machine import processors
from trainables.settings import Precision, Settings

GOAL_SECONDS, GOAL_RATIO = 0.2, 0.1

#: Trials of each of the two cells; the first of all are left out, while caches fill and pruning finds its median.
TRIALS, WARM = 16, 8
#: Each takes many seconds, and the first is the coldest: the median is of a warm one.
RAY_TRIALS = 3

_SETTINGS = Settings(
    learning_rate=1e-3,
    maximum_steps=2,
    batch_size=16,
    warmup_steps=0,
    dropout=0.0,
    precision=Precision.FLOAT32,
    evaluation_interval_steps=1,
)


def tiny_sweep() -> Sweep:
    """Two cells whose stages train next to nothing, on one gang, with pruning."""
    captions = replace(lab.CAPTIONS, splits=tuple(replace(split, rows=64) for split in lab.CAPTIONS.splits))
    nli = replace(lab.NLI, splits=tuple(replace(split, rows=64) for split in lab.NLI.splits))
    text = SmallEncoder(layers=1, width=32, heads=2, feed_forward=64, positions=96, alignment=lab.ALIGNMENT)
    return Sweep(
        name="overhead",
        target=lab.visual_nli(train=64, dev=32, test=16),
        encoder=replace(lab.ENCODER, name="tiny", text=text),
        cells=(Cell(name="none", role=CellRole.BASELINE), Cell(name="nli", intermediates=(nli,))),
        align_images=Preparation(task=captions, settings=_SETTINGS),
        intermediate_settings=_SETTINGS,
        target_settings=_SETTINGS,
        space=Space(target={"learning_rate": LogRange(1e-4, 1e-2)}),
        search=Search(trials=TRIALS, fan_out=TRIALS),
        confirmation_seeds=(1,),
        gangs=Gangs(count=1),
    )


def ours(storage: Path) -> tuple[list[float], list[float], int]:
    """Seconds between the ends of consecutive trials, seconds of their last stage in the gang, and trials pruned."""
    from sweep.launch import run
    from sweep.ledger import Ledger
    from sweep.records import Happening, Phase, State, What

    ends: list[float] = []
    record = Ledger.record

    def noting(ledger: Ledger, happening: Happening) -> None:
        record(ledger, happening)
        if happening.trial.phase is Phase.SEARCH and happening.what in (What.FINISHED, What.PRUNED):
            ends.append(time.monotonic())

    with patch.object(Ledger, "record", noting):
        results = run(tiny_sweep(), storage)
    records = [record for record in results.standing().records.values() if record.key.phase is Phase.SEARCH]
    if len(ends) != 2 * TRIALS or not results.complete:
        raise SystemExit(f"all {2 * TRIALS} trials must end finished or pruned, got {len(ends)}")
    between = [after - before for before, after in pairwise(ends)][WARM:]
    stages = [record.stage_runs[-1]["seconds"] for record in records if record.state is State.FINISHED]
    return between, stages, sum(record.state is State.PRUNED for record in records)


def rays(storage: Path) -> list[float]:
    """Seconds from the end of one trial to that of the next in Ray's pattern: a trainer made and run by each trial."""
    from ray import tune

    from trainables.store import Store

    stage, parent = _target(storage)
    files = Store(str(storage)).fetch(parent)
    scratch = storage / "ray"
    config = {"stage": stage, "parent": str(files), "folder": str(scratch), "cache": str(storage / "cache")}
    ends = [time.time()]

    class Ends(tune.Callback):
        def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
            ends.append(time.time())

    tuner = tune.Tuner(
        trial_of_ray,
        param_space={**config, "number": tune.grid_search(list(range(RAY_TRIALS)))},
        tune_config=tune.TuneConfig(max_concurrent_trials=1, metric="score", mode="max"),
        run_config=tune.RunConfig(storage_path=str(scratch), verbose=0, callbacks=[Ends()]),
    )
    grid = tuner.fit()
    if grid.errors or len(ends) != RAY_TRIALS + 1:
        raise SystemExit(f"all {RAY_TRIALS} trials of Ray's pattern must end well, got {grid.errors}")
    return [after - before for before, after in pairwise(ends)]


def _target(storage: Path) -> tuple[str, str]:
    """The text of the baseline's default target stage, and the digest of its parent."""
    from sweep.paths import path_of
    from sweep.records import Phase
    from sweep.resolve import resolved

    sweep = resolved(tiny_sweep())
    *_, before, last = path_of(sweep, sweep.baseline, {}, phase=Phase.SEARCH, seed=sweep.search.seed)
    return last.to_json(), before.digest


def trial_of_ray(config: dict[str, Any]) -> None:
    """A Tune function trainable as in Ray's guide "Hyperparameter tuning with Ray Tune" of Ray Train."""
    from ray.train import RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer
    from ray.tune.integration.ray_train import TuneReportCallback

    TorchTrainer(
        train_of_ray,
        train_loop_config=config,
        scaling_config=ScalingConfig(num_workers=1, use_gpu=False),
        run_config=RunConfig(
            name=f"train-{config['number']}", storage_path=config["folder"], callbacks=[TuneReportCallback()]
        ),
    ).fit()


def train_of_ray(config: dict[str, Any]) -> None:
    """The same stage by the same loop; its score is reported once."""
    import ray.train
    import torch

    from trainables.stages import Stage
    from trainables.training.loop import run_stage

    torch.set_num_threads(1)
    outcome = run_stage(
        Stage.from_json(config["stage"]),
        parent=Path(config["parent"]),
        output=Path(config["folder"]) / f"output-{config['number']}",
        cache=Path(config["cache"]),
    )
    ray.train.report({"score": outcome.history[-1].scores[0].value})


def main() -> int:
    import ray

    from trainables.dispatcher import start_local_ray

    # Ray's pattern takes a processor for the trial and one for the worker.
    start_local_ray(cpus=max(2, processors()))
    try:
        with tempfile.TemporaryDirectory(prefix="bench-overhead-") as name:
            between, stages, pruned = ours(Path(name))
            theirs = rays(Path(name))
    finally:
        ray.shutdown()
    mine, peer = statistics.median(between), statistics.median(theirs)
    ratio = mine / peer
    print(f"seconds per further trial of {tiny_sweep().target_settings.maximum_steps} tiny optimiser steps")
    print(f"  {'':34s}{'median':>8s}{'mean':>8s}{'least':>8s}{'most':>8s}{'trials':>8s}")
    for title, values in (
        (f"one resident gang, {pruned} pruned", between),
        ("  of it in the gang (finished ones)", stages),
        ("Ray's pattern: a trainer a trial", theirs),
    ):
        numbers = (statistics.median(values), statistics.mean(values), min(values), max(values))
        print(f"  {title:34s}{''.join(f'{number:8.3f}' for number in numbers)}{len(values):8d}")
    verdicts = (
        (f"a further trial, s {mine:.3f}", f"at most {GOAL_SECONDS}", mine <= GOAL_SECONDS),
        (f"of Ray's pattern {ratio:.4f}", f"at most {GOAL_RATIO}", ratio <= GOAL_RATIO),
    )
    for found, goal, met in verdicts:
        print(f"  {found:34s}{goal:>16s}   {'met' if met else 'MISSED'}")
    return 0 if all(met for *_, met in verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
