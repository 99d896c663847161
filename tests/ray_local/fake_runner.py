"""A runner for real gangs that trains nothing: the rehearsal under the checkpoints and ranks of the real loop.

It takes the place of `trainables.training.loop.run_stage` where a test is about the gang and not about learning.
"""

from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import Any

from trainables import rehearsal
from trainables.canonical import encode
from trainables.gangs import Runner
from trainables.stages import Training

#: Long enough for a stage of a few hundred steps to be interrupted, short enough for a test.
STEP_SECONDS = 0.01

#: Rank 0 alone writes checkpoints, as in the real loop.
NEVER = 10**9

FAKE = Runner(run="tests.ray_local.fake_runner:run_stage", checkpoints="trainables.rehearsal:JsonCheckpoints")


def run_stage(stage: Any, *, ranks: Any, **given: Any) -> Any:
    """Rehearse a stage on every rank; all ranks must have been given it."""
    given.pop("explosion_multiple", None)  # nothing is learned
    if ranks is not None:
        ranks.barrier()
        if ranks.rank:
            given["checkpoints"].interval_steps = NEVER
    slow = any("slow" in task.name for task in stage.tasks)
    return rehearsal.run_stage(stage, ranks=None, **{**given, "step_seconds": STEP_SECONDS if slow else 0.0})


#: What the output of a training stage weighs where weights are heavy; with an optimiser's state, three times so.
HEAVY_BYTES = 100_000

HEAVY = Runner(run="tests.ray_local.fake_runner:weigh", checkpoints="tests.ray_local.fake_runner:HeavyCheckpoints")


class HeavyCheckpoints(rehearsal.JsonCheckpoints):
    """Checkpoints of a model of that weight."""

    def save(self, step: int, history: tuple[Any, ...]) -> None:
        """Keep the state beside the position."""
        text = json.dumps({"step": step, "history": encode(history)})

        def write(folder: Path) -> None:
            (folder / "rehearsal.json").write_text(text)
            (folder / "state").write_bytes(bytes(3 * HEAVY_BYTES))

        self._kept.save(step, write)


def weigh(stage: Any, *, output: Path, **given: Any) -> Any:
    """Rehearse a stage whose output is as heavy as weights are."""
    outcome = rehearsal.run_stage(stage, output=output, **given)
    if isinstance(stage.work, Training) and not outcome.was_cancelled:
        (output / "weights").write_bytes(bytes(HEAVY_BYTES))
    return outcome


def fill_disk_once(stage: Any, *, output: Path, **given: Any) -> Any:
    """Rehearse a stage, at the first call on a disk that has no room."""
    marker = output.parent.parent / "was-full"
    if not marker.exists():
        marker.touch()
        raise OSError(errno.ENOSPC, "No space left on device")
    return rehearsal.run_stage(stage, output=output, **given)


def break_disk_once(stage: Any, *, output: Path, **given: Any) -> Any:
    """Rehearse a stage, at the first call on a disk that does not work."""
    marker = output.parent.parent / "was-broken"
    if not marker.exists():
        marker.touch()
        raise OSError(errno.EIO, "Input/output error")
    return run_stage(stage, output=output, **given)


def fail_on_rank_one(stage: Any, *, ranks: Any, **given: Any) -> Any:
    """Rehearse a stage; in the third step of one that "fails_on_one", rank 1 raises and the others do not."""

    def step(number: int) -> None:
        if number == 3 and ranks.rank == 1 and any("fails_on_one" in task.name for task in stage.tasks):
            raise ValueError("planted on rank 1")

    for number in range(1, 6):
        ranks.together(lambda number=number: step(number))
    return run_stage(stage, ranks=ranks, **given)
