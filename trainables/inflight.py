"""Checkpoints of a stage under way: whole or absent, with the one before in case of damage; knows no tensor."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import platform
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

from trainables.on_disk import NO_FILE, settle, sha256_of

_log = logging.getLogger(__name__)

#: What a checkpoint's files must hash to; written last.
SEAL = "seal.json"

#: The newest, and the one before for the day on which the newest cannot be read.
KEPT = 2

#: A checkpoint that is being written is of a name that begins so, then says on which machine.
_WRITING = ".writing-"

#: One that another machine left half-written goes after a day: more than any takes to be written.
_WRITTEN_WITHIN_SECONDS = 86400.0


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
        """Write aside, seal, rename, then drop all but the newest two.

        Another sweep may be at the same stage. What it is writing stays, and what it deletes under this one's hands is
        written once more.

        Raises:
            OSError: where that was deleted too.
        """
        _drop_abandoned(self.directory)
        try:
            self._save(step, write)
        except _Deleted:
            self._save(step, write)
        for old in self._newest_first()[KEPT:]:
            shutil.rmtree(old, ignore_errors=True)

    def _save(self, step: int, write: Callable[[Path], None]) -> None:
        name = uuid.uuid4().hex[:8]
        aside = self.directory / f"{_WRITING}{_machine()}-{name}"
        try:
            aside.mkdir(parents=True)
            with _held(aside):
                write(aside)
                _seal(aside)
                aside.rename(self.directory / f"step-{step:09d}-{name}")
                settle(self.directory)
        except Exception as error:  # where its folder is gone, a library says so in an error of its own
            if aside.is_dir():
                raise
            raise _Deleted(f"{aside} was deleted while it was written ({error})") from error
        finally:
            shutil.rmtree(aside, ignore_errors=True)

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
        return sorted(found, key=lambda path: (path.name.split("-")[1], written_at(path)), reverse=True)


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


class _Deleted(OSError):
    """What was being written is gone."""


def forget(directory: Path) -> None:
    """Delete the checkpoints of a stage that needs none any more; what another sweep is writing there stays."""
    _drop_abandoned(directory)
    for path in directory.glob("*"):
        if path.name.startswith(_WRITING):
            continue
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    with suppress(OSError):  # something is being written there, or there was nothing
        directory.rmdir()


def written_at(path: Path) -> int:
    """When a checkpoint was written, in nanoseconds since the epoch; 0 where it has been deleted since."""
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def _drop_abandoned(directory: Path) -> None:
    """Delete what nobody writes any more: nobody on this machine holds it, or nothing was written for a day."""
    for left in directory.glob(f"{_WRITING}*"):
        with suppress(OSError):  # somebody holds it, it has its name now, or somebody else has deleted it
            if time.time() - left.stat().st_mtime > _WRITTEN_WITHIN_SECONDS:
                shutil.rmtree(left, ignore_errors=True)
            elif left.name.startswith(f"{_WRITING}{_machine()}-"):
                _delete_unheld(left)


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Hold a folder, for the machine to know that its writer lives: it lets go for a process that is killed."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # a filesystem without locks, where age decides
            fcntl.flock(handle, fcntl.LOCK_SH)
        yield
    finally:
        os.close(handle)


def _delete_unheld(folder: Path) -> None:
    """Delete a folder that nobody holds; whoever is about to hold it waits, and finds it gone.

    Raises:
        OSError: where somebody holds it, or it is gone.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(handle)


def _machine() -> str:
    """What locks are known to: the running system, whichever of its containers asks; none outlives its restart."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text()[:8]
    except OSError:
        return platform.node().replace("-", ".") or "unknown"


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
