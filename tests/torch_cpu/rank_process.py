"""One rank of the tests in test_ranks.py, which runs job after job; asserts nothing.

That it comes to the end shows that no failure leaves a rank in a collective.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import nullcontext
from pathlib import Path
from unittest import mock

import torch

from trainables.model.reader import Reader
from trainables.stages import Stage
from trainables.training import attempt, loop
from trainables.training.ranks import DistributedRanks, RankFailed, RankLost


def broken(method: str, after: int):
    """Let a method of the model raise from the `after`-th call on."""
    original, calls = getattr(Reader, method), iter(range(10**6))

    def raising(*arguments, **named):
        if next(calls) >= after:
            raise MemoryError("planted")
        return original(*arguments, **named)

    return mock.patch.object(Reader, method, raising)


#: Fault → the method that breaks on rank 1, and from which call on.
FAULTS = {
    "loss": ("loss", 2),
    "evaluation": ("predict", 0),
    "encode": ("vectors", 2),
    "contrast": ("contrastive_loss", 2),
}


def run(job: dict, folder: Path, rank: int) -> dict:
    asked = iter(range(10**6))

    def cancelled() -> bool:
        if job["fault"] == "cancelled" and rank == 1 and next(asked) >= 1:
            raise MemoryError("planted")
        return job["fault"] == "cancel" and rank == 1 and next(asked) >= 1

    def report(progress) -> None:
        if job["fault"] == "report":  # asked of rank 0 alone
            raise MemoryError("planted")

    stage = Stage.from_json(job["stage"])
    try:
        outcome = loop.run_stage(
            stage,
            parent=None,
            output=folder / job["name"],
            cache=folder / "cache",
            cancelled=cancelled,
            report=report,
            ranks=DistributedRanks(stage.shape.device),
        )
    except RankLost as error:
        return {"raised": "RankLost", "alone": error.alone, "text": str(error)}
    except RankFailed as error:
        return {"raised": "RankFailed", "ranks": error.ranks, "alone": error.alone, "text": str(error)}
    return {
        "steps": outcome.steps_executed,
        "cancelled": outcome.was_cancelled,
        "correct": [[score.correct for score in progress.scores] for progress in outcome.history],
    }


def main() -> None:
    folder, rank = Path(sys.argv[1]), int(os.environ["RANK"])
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", rank=rank, world_size=2)
    attempt.SELECT_BATCH_SIZE = 8  # so that both ranks have a part of the development split
    said = {}
    for job in json.loads((folder / "jobs.json").read_text()):
        if rank == 1 and job["fault"] in FAULTS:
            with broken(*FAULTS[job["fault"]]):
                said[job["name"]] = run(job, folder, rank)
        else:
            said[job["name"]] = run(job, folder, rank)
    (folder / f"said-{rank}.json").write_text(json.dumps(said))
    lose_one(folder, rank)


def lose_one(folder: Path, rank: int) -> None:
    """Rank 1 ends in the middle of a stage, without a word."""
    job = json.loads((folder / "last.json").read_text())
    with mock.patch.object(Reader, "loss", lambda *_, **__: os._exit(0)) if rank == 1 else nullcontext():
        said = run(job, folder, rank)
    (folder / "left.json").write_text(json.dumps(said))
    os._exit(0)  # torch may abort a process that tears down its group when another rank is gone


if __name__ == "__main__":
    main()
