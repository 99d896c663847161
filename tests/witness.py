"""Gangs that write down every optimiser step as they begin it, beside the storage; changes nothing that they make.

`watch()` in a definition file puts them in the place of the usual runners for that run of the sweep. What a killed
process did is in no ledger: this is how a test learns of steps that were run twice. A stage without steps, which
evaluates, is one line, of step 0.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from trainables import rehearsal
from trainables.gangs import RUNNERS, GangKind
from trainables.stages import Stage
from trainables.store import Store

#: Beside `stages` in the storage: a file for each stage, a line for each step, `attempt step steps-of-the-stage`.
FOLDER = "steps-begun"

#: A stage of which no step was begun for so long is not in the middle of its steps.
STILL_SECONDS = 0.3


def watch() -> None:
    """From now on have the gangs that this process starts write down their steps."""
    for kind, run in ((GangKind.TRAIN, "train_stage"), (GangKind.REHEARSAL, "rehearse_stage")):
        RUNNERS[kind] = replace(RUNNERS[kind], run=f"{__name__}:{run}")


def rehearse_stage(stage: Stage, *, output: Path, checkpoints: Any, cancelled: Callable[[], bool], **given: Any) -> Any:
    """As `trainables.rehearsal.run_stage`."""
    step, note = checkpoints.load()[0], _pen(stage, output)
    if not stage.steps:
        note(0)

    def asked() -> bool:
        nonlocal step
        if stop := cancelled():
            return stop
        step += 1
        note(step)
        return False

    return rehearsal.run_stage(stage, output=output, checkpoints=checkpoints, cancelled=asked, **given)


def train_stage(stage: Stage, *, output: Path, **given: Any) -> Any:
    """As `trainables.training.loop.run_stage`."""
    from trainables.training import loop

    note, usual = _pen(stage, output), loop.Attempt
    if not stage.steps:
        note(0)

    class Watched(usual):
        def _step(self, step: int, *rest: Any) -> bool:
            note(step + 1)
            return super()._step(step, *rest)

    loop.Attempt = Watched
    try:
        return loop.run_stage(stage, output=output, **given)
    finally:
        loop.Attempt = usual


def _pen(stage: Stage, output: Path) -> Callable[[int], None]:
    """What notes a step: a line is whole or absent, and is there whatever happens to this process after it.

    A file without a line is one that was made at this moment, or whose maker was killed then.
    """
    folder = output.parents[2] / FOLDER
    folder.mkdir(exist_ok=True)
    path, attempt = folder / stage.digest, output.name

    def note(step: int) -> None:
        handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        try:
            os.write(handle, f"{attempt} {step} {stage.steps}\n".encode())
        finally:
            os.close(handle)

    return note


@dataclass(frozen=True, kw_only=True)
class Begun:
    """The steps that one attempt at a stage has begun: `first` to `last`, both included, without a gap."""

    digest: str
    attempt: str
    first: int
    last: int


def attempts(storage: Path) -> Iterator[list[Begun]]:
    """The attempts at each stage that has steps, in their order.

    Raises:
        AssertionError: where an attempt left out a step, or came back after another had begun.
    """
    for path in sorted((storage / FOLDER).iterdir()):
        begun: dict[str, list[int]] = {}
        last = ""
        for line in path.read_text().splitlines():
            attempt, step, steps = line.split()
            if steps == "0":
                continue
            assert attempt == last or attempt not in begun, f"{path.name}: {attempt} came back"
            last = attempt
            begun.setdefault(attempt, []).append(int(step))
        for attempt, steps in begun.items():
            assert steps == list(range(steps[0], steps[-1] + 1)), f"{path.name}: {attempt} ran {steps}"
        if begun:
            yield [
                Begun(digest=path.name, attempt=attempt, first=steps[0], last=steps[-1])
                for attempt, steps in begun.items()
            ]


def begun_when_done(storage: Path) -> list[str]:
    """The stages, evaluations among them, that were begun again after the attempt whose output counts."""
    store, found = Store(storage), []
    for path in sorted((storage / FOLDER).iterdir()):
        manifest = store.find(path.name)
        lines = path.read_text().splitlines()  # none of a process that was killed as it began the first
        last = lines[-1].split()[0] if lines else None
        if last is not None and manifest is not None and manifest.attempt != last:
            kind = manifest.stage.kind
            found.append(f"{kind} {path.name} was done by attempt {manifest.attempt}, and {last} began after it")
    return found


def in_mid_stage(storage: Path, *, beyond: int = 0) -> bool:
    """Whether some gang is now in the middle of the steps of a stage, beyond its first steps and not at its last."""
    now = time.time()
    recent = [path for path in (storage / FOLDER).glob("*") if now - path.stat().st_mtime < STILL_SECONDS]
    for path in recent:
        lines = path.read_text().splitlines()  # none yet where the file has just been made
        _, step, steps = lines[-1].split() if lines else ("", 0, 0)
        if beyond < int(step) < int(steps):
            return True
    return False
