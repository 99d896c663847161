"""Checkpoints of a stage under way: whole or absent, with the one before in case of damage; knows no tensor."""

from __future__ import annotations

import json
import logging
import shutil
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

from trainables.on_disk import NO_FILE, settle, sha256_of

_log = logging.getLogger(__name__)

#: What a checkpoint's files must hash to; written last.
SEAL = "seal.json"

#: The newest, and the one before for the day on which the newest cannot be read.
KEPT = 2


class Checkpoints(Protocol):
    """Where running state is kept. `save` and `due` are asked on every rank's behalf by rank 0 alone and by all."""

    def due(self, step: int) -> bool:
        """Whether to save after this many steps; the same answer on every rank."""
        ...

    def save(self, step: int, write: Callable[[Path], None]) -> None:
        """Give `write` an empty directory and keep it, whole or not at all. Called on rank 0."""
        ...

    def kept(self) -> Iterator[Path]:
        """The whole checkpoints, the newest first, the same on every rank. A damaged one is passed over aloud."""
        ...


class LocalCheckpoints:
    """Checkpoints in a directory that every rank sees.

    Written aside, sealed, brought to the disk and renamed when whole: neither a kill nor a power cut leaves half of
    one under its name. The newest two are kept.
    """

    def __init__(self, directory: Path, interval_steps: int) -> None:
        self.directory = directory
        self.interval_steps = interval_steps

    def due(self, step: int) -> bool:
        """Whether `step` is a multiple of the interval."""
        return step % self.interval_steps == 0

    def save(self, step: int, write: Callable[[Path], None]) -> None:
        """Write aside, seal, rename, then drop all but the newest two."""
        self.directory.mkdir(parents=True, exist_ok=True)
        for left in self.directory.glob(".writing-*"):
            shutil.rmtree(left, ignore_errors=True)  # of a process that was killed at it
        name = uuid.uuid4().hex[:8]
        aside = self.directory / f".writing-{name}"
        aside.mkdir()
        try:
            write(aside)
            _seal(aside)
            aside.rename(self.directory / f"step-{step:09d}-{name}")
            settle(self.directory)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
        for old in self._newest_first()[KEPT:]:
            shutil.rmtree(old, ignore_errors=True)

    def kept(self) -> Iterator[Path]:
        """Those whose files are as they were written, by falling steps."""
        for folder in self._newest_first():
            fault = _fault(folder)
            if fault:
                _log.warning("the checkpoint %s is damaged (%s); falling back to the one before", folder, fault)
            else:
                yield folder

    def _newest_first(self) -> list[Path]:
        """By steps, and of as many by age: a stage begun anew passes the same steps again."""
        found = self.directory.glob("step-*")
        return sorted(found, key=lambda path: (path.name.split("-")[1], path.stat().st_mtime_ns), reverse=True)


class NoCheckpoints:
    """For stages that are shorter than it is worth to save."""

    def due(self, step: int) -> bool:
        """Never."""
        return False

    def save(self, step: int, write: Callable[[Path], None]) -> None:
        """Keeps nothing."""

    def kept(self) -> Iterator[Path]:
        """None."""
        return iter(())


def _seal(folder: Path) -> None:
    """Write down what every file of a folder hashes to, and bring all of it to the disk."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    hashes = {path.relative_to(folder).as_posix(): sha256_of(path) for path in files}
    seal = folder / SEAL
    seal.write_text(json.dumps(hashes, sort_keys=True))
    for path in (*files, seal, folder):
        settle(path)


def _fault(folder: Path) -> str:
    """What is wrong with a checkpoint; empty where it is as it was written.

    Raises:
        OSError: where the disk, or a mount, gives no answer: it may be whole.
    """
    try:
        hashes = json.loads((folder / SEAL).read_text())
        for name, expected in hashes.items():
            if sha256_of(folder / name) != expected:
                return f"{name} has another sha256 than when it was written"
    except (*NO_FILE, ValueError, AttributeError) as error:
        return f"{type(error).__name__}: {error}"
    return ""
