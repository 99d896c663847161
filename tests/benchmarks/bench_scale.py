"""What the driver costs when a sweep has very many trials, and what their ledger costs to keep and to read.

    python -m tests.benchmarks.bench_scale                 # 10,000 trials: the better part of an hour on two cores
    python -m tests.benchmarks.bench_scale --trials 500    # the driver with fewer
    python -m tests.benchmarks.bench_scale --trials 0      # the ledger alone, in about a minute
    python -m tests.benchmarks.bench_scale --hours 1000    # under a budget of hours, which is asked before each trial

The driver's part rehearses cells of a hundred trials through the real Tuner, searcher, scheduler and dispatcher. The
ledger's part writes 10,000 trials with accuracies in fifteen languages, reads and pivots them to the best trial of each
cell by language, and compares its bytes with the `result.json` files that Ray Tune writes for the same numbers,
measured on a few trials. The ledger that the driver's part leaves is measured too. Each verdict is printed when it is
known. Exits 1 where a goal is missed.
"""

from __future__ import annotations

import argparse
import math
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow.fs as pafs

from search_spaces import Cell, CellRole
from sweep.ledger import FOLD_AT, Ledger
from sweep.paths import made_with
from sweep.records import Happening, Phase, State, TrialKey, What, proposed
from sweep.results import Results
from sweep.search import Budget, Search
from tests.pure.small_sweep import small_sweep
from trainables.catalogue import lab
from trainables.catalogue.task import Role
from trainables.gangs import GangKind, Gangs

CELLS, PER_CELL = 100, 100
GOAL_GROWTH, GOAL_BYTES, GOAL_SECONDS, GOAL_SHARE = 1.5, 2e9, 1.0, 0.2
RAY_TRIALS = 4


def cells(count: int) -> tuple[Cell, ...]:
    """The baseline, and transfer cells that differ by the name of their task."""
    others = (
        Cell(name=f"cell-{number:03d}", intermediates=(replace(lab.NLI, name=f"nli_{number:03d}"),))
        for number in range(1, count)
    )
    return (Cell(name="none", role=CellRole.BASELINE), *others)


def driver(trials: int, storage: Path, hours: float = math.inf) -> tuple[list[float], list[float], int]:
    """Between the ends of consecutive search trials the seconds that passed and those that this process computed, and
    the peak of its memory in bytes. What it computes does not depend on who else uses the machine. `hours` are a budget
    of wall clock, large enough for every trial.
    """
    from sweep.conduct import Conductor
    from sweep.launch import run

    ends: list[tuple[float, float]] = []
    real = Conductor._end

    def end(conductor: Conductor, key: TrialKey, what: What, payload: dict[str, object]) -> None:
        real(conductor, key, what, payload)
        if key.phase is not Phase.SEARCH:
            return
        ends.append((time.monotonic(), time.process_time()))
        if len(ends) % 500 == 0:
            since, computed = (now - then for now, then in zip(ends[-1], ends[-500], strict=True))
            print(f"{len(ends)} trials; {since / 499:.4f} s each, {computed / 499:.4f} s computed", flush=True)

    Conductor._end = end  # type: ignore[method-assign]
    sweep = small_sweep(
        name="scale",
        cells=cells(max(1, trials // PER_CELL)),
        search=Search(trials=min(trials, PER_CELL), fan_out=10),
        confirmation_seeds=(1,),
        gangs=Gangs(kind=GangKind.REHEARSAL, count=2),
        budget=Budget(wall_clock_hours=hours),
    )
    results = run(sweep, storage)
    states = {record.state for record in results.standing().records.values()}
    if not results.complete or states - {State.FINISHED, State.PRUNED}:
        raise SystemExit(f"every trial must end well, got {states}")
    between = [after[0] - before[0] for before, after in pairwise(ends)]
    computed = [after[1] - before[1] for before, after in pairwise(ends)]
    return between, computed, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def write_ledger(folder: Path) -> Ledger:
    """10,000 finished trials of two scores and fifteen accuracies each, as a sweep leaves them."""
    chance, ledger = random.Random(0), Ledger(pafs.LocalFileSystem(), str(folder), "scale").open()
    for cell in range(CELLS):
        for number in range(PER_CELL):
            for entry in _trial(TrialKey(cell=f"cell-{cell:03d}", phase=Phase.CONFIRMATION, number=number), chance):
                ledger._loose[entry.name] = entry  # as if each had been a fragment first
                if len(ledger._loose) >= FOLD_AT:
                    ledger.fold()
    ledger.fold()
    return ledger


def _trial(key: TrialKey, chance: random.Random) -> list[Happening]:
    digests = [f"{chance.getrandbits(96):024x}" for _ in range(4)]
    rates = {
        "intermediate.learning_rate": chance.uniform(1e-4, 1e-2),
        "target.learning_rate": chance.uniform(1e-4, 1e-2),
    }
    values = rates | {"share.lab_nli": 1.0}
    examples = {"lab_nli": {"expected": 640.0, "actual": 640}}
    more = {"stages": digests, "winner": 0, "made_with": made_with(small_sweep(), ()), "examples": examples}
    stage = {"kind": "train", "steps": 80, "steps_executed": 80, "reused": False, "seconds": round(chance.random(), 3)}
    elapsed = {"elapsed": round(chance.uniform(0, 1e5), 1)}
    finished = {
        "score": chance.random(),
        "target": digests[2],
        "evaluation": digests[3],
        "accuracy": {language: round(chance.random(), 6) for language in lab.LANGUAGES},
    }
    return [
        Happening(trial=key, what=What.PROPOSED, payload={**proposed(values, rates, 1), **more}),
        *(
            Happening(trial=key, what=What.STAGE, sequence=place, payload={**stage, "digest": digest, **elapsed})
            for place, digest in enumerate(digests)
        ),
        *(
            Happening(
                trial=key,
                what=What.SCORED,
                sequence=step,
                payload={"step": step, "score": chance.random(), "role": Role.SELECT},
            )
            for step in (40, 80)
        ),
        Happening(trial=key, what=What.FINISHED, payload={**finished, **elapsed}),
    ]


def size_of(folder: Path) -> int:
    """Bytes of the ledgers under a folder."""
    return sum(path.stat().st_size for path in folder.rglob("ledger/**/*.parquet"))


def bytes_of_ray() -> float:
    """`measure_ray`, in a process of its own: a sweep turns the writing of `result.json` off for its own process."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TUNE_")}
    command = [sys.executable, "-m", "tests.benchmarks.bench_scale", "--ray"]
    said = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout
    return float(said.split()[-1])


def measure_ray(folder: Path) -> float:
    """Bytes of `result.json` per trial that reports two scores, and with the second its fifteen accuracies."""
    import ray
    from ray import tune

    from trainables.dispatcher import start_local_ray

    start_local_ray(cpus=2)
    tuner = tune.Tuner(
        _report,
        param_space={"number": tune.grid_search(list(range(RAY_TRIALS))), "learning_rate": tune.uniform(1e-4, 1e-2)},
        run_config=tune.RunConfig(storage_path=str(folder), verbose=0),
    )
    tuner.fit()
    ray.shutdown()
    return statistics.mean(path.stat().st_size for path in folder.rglob("result.json"))


def _report(config: dict[str, Any]) -> None:
    from ray import tune

    chance = random.Random(config["number"])
    tune.report({"score": chance.random(), "step": 40})
    tune.report({"score": chance.random(), "step": 80, **{code: round(chance.random(), 6) for code in lab.LANGUAGES}})


class Verdicts:
    """Goals, each printed as soon as it is judged."""

    def __init__(self) -> None:
        self.missed = 0

    def say(self, what: str, goal: str, met: bool) -> None:
        """Print one."""
        self.missed += not met
        print(f"  {what:60s}{goal:>16s}   {'met' if met else 'MISSED'}", flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=CELLS * PER_CELL)
    parser.add_argument("--hours", type=float, default=math.inf, help="a budget of wall clock, of more than it takes")
    parser.add_argument("--ray", action="store_true", help="only the bytes of Ray's files for a trial")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="bench-scale-") as name:
        folder, verdicts = Path(name), Verdicts()
        if options.ray:
            print(measure_ray(folder))
            return 0
        theirs = bytes_of_ray()
        print(f"Ray Tune's result.json: {theirs:.0f} bytes for a trial", flush=True)
        judge_ledger(folder, theirs, verdicts)
        if options.trials:
            judge_driver(options.trials, folder, theirs, verdicts, options.hours)
    return 1 if verdicts.missed else 0


def judge_ledger(folder: Path, theirs: float, verdicts: Verdicts) -> None:
    """The ledger of a sweep of 10,000 confirmations."""
    began = time.perf_counter()
    ledger = write_ledger(folder / "written")
    print(f"the ledger of {CELLS * PER_CELL} trials was folded in {time.perf_counter() - began:.0f} s", flush=True)
    began = time.perf_counter()
    found = Results(str(folder / "written"), "scale").best_runs()
    seconds = time.perf_counter() - began
    assert len(found) == CELLS and all(len(row) == len(lab.LANGUAGES) for row in found.values())
    verdicts.say(f"load and pivot {seconds:.2f} s", f"at most {GOAL_SECONDS} s", seconds <= GOAL_SECONDS)
    began = time.perf_counter()
    count = len(ledger.happenings())
    print(f"all {count} happenings as objects, as a run that goes on reads them: {time.perf_counter() - began:.2f} s")
    judge_bytes("written ledger", folder / "written", CELLS * PER_CELL * theirs, verdicts)


def judge_bytes(what: str, folder: Path, theirs: float, verdicts: Verdicts) -> None:
    """The bytes of a ledger beside those of Ray's files."""
    size = size_of(folder)
    words = f"{what}: {size / 1e6:.2f} MB of {theirs / 1e6:.2f} MB: {size / theirs:.3f}"
    verdicts.say(words, f"at most {GOAL_SHARE}", size / theirs <= GOAL_SHARE)


def judge_driver(trials: int, folder: Path, theirs: float, verdicts: Verdicts, hours: float = math.inf) -> None:
    """The driver of a sweep of so many search trials, and the ledger that it leaves."""
    between, computed, memory = driver(trials, folder / "driver", hours)
    part = max(1, min(1000, len(between) // 3))
    first, last = statistics.mean(between[:part]), statistics.mean(between[-part:])
    print(f"{len(between) + 1} trials: {first:.4f} s each in the first {part}, {last:.4f} s in the last {part}")
    ours = [statistics.mean(some) for some in (computed[:part], computed[-part:])]
    print(f"computed by the driver: {ours[0]:.4f} s each in the first {part}, {ours[1]:.4f} s in the last {part}")
    verdicts.say(f"growth {last / first:.2f}", f"at most {GOAL_GROWTH}", last <= GOAL_GROWTH * first)
    verdicts.say(f"driver's memory {memory / 1e9:.2f} GB", f"at most {GOAL_BYTES / 1e9:g} GB", memory <= GOAL_BYTES)
    confirmed = max(1, trials // PER_CELL)  # one confirmation for each cell
    judge_bytes("ledger of the driver", folder / "driver", (trials + confirmed) * theirs, verdicts)


if __name__ == "__main__":
    sys.exit(main())
