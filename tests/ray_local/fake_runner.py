"""A runner for real gangs that trains nothing: the rehearsal under the checkpoints and ranks of the real loop.

It takes the place of `trainables.training.loop.run_stage` where a test is about the gang and not about learning.
"""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

from trainables import rehearsal
from trainables.gangs import Runner

#: Long enough for a stage of a few hundred steps to be interrupted, short enough for a test.
STEP_SECONDS = 0.01

#: Rank 0 alone writes checkpoints, as in the real loop.
NEVER = 10**9

FAKE = Runner(run="tests.ray_local.fake_runner:run_stage", checkpoints="trainables.rehearsal:JsonCheckpoints")


def run_stage(stage: Any, *, ranks: Any, **given: Any) -> Any:
    """Rehearse a stage on every rank; all ranks must have been given it."""
    if ranks is not None:
        ranks.barrier()
        if ranks.rank:
            given["checkpoints"].interval_steps = NEVER
    slow = any("slow" in task.name for task in stage.tasks)
    return rehearsal.run_stage(stage, ranks=None, **{**given, "step_seconds": STEP_SECONDS if slow else 0.0})


def fill_disk_once(stage: Any, *, output: Path, **given: Any) -> Any:
    """Rehearse a stage, at the first call on a disk that has no room."""
    marker = output.parent.parent / "was-full"
    if not marker.exists():
        marker.touch()
        raise OSError(errno.ENOSPC, "No space left on device")
    return rehearsal.run_stage(stage, output=output, **given)


def fail_on_rank_one(stage: Any, *, ranks: Any, **given: Any) -> Any:
    """Rehearse a stage; in the third step of one that "fails_on_one", rank 1 raises and the others do not."""

    def step(number: int) -> None:
        if number == 3 and ranks.rank == 1 and any("fails_on_one" in task.name for task in stage.tasks):
            raise ValueError("planted on rank 1")

    for number in range(1, 6):
        ranks.together(lambda number=number: step(number))
    return run_stage(stage, ranks=ranks, **given)
