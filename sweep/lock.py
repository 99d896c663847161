"""That one process at a time runs a sweep: a file lock on a disk, a lease on an object store; knows no trial."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow.fs as pafs
from filelock import FileLock, Timeout

from trainables.faults import Invalid
from trainables.storage_clock import storage_time, written_at
from trainables.whole_files import put_whole, read_json

_log = logging.getLogger(__name__)

#: A lease that its holder has not renewed for so long is nobody's, by the clock of the storage. Where that states no
#: times, and for whoever may not write there, the clocks of two machines count, which may differ by a part of it.
LEASE_SECONDS = 90.0

#: A holder that could not renew it for so long stops: the rest is for its gangs to end their steps in.
LOST_SECONDS = 0.75 * LEASE_SECONDS

#: An object store may show an overwritten file late; whoever finds another's name after this has lost the race.
SETTLING_SECONDS = 2.0


#: Whoever looks at a lock of a disk keeps it for microseconds; one that is still kept after this is another run's.
LOOKED_AT_SECONDS = 2.0


#: The largest tables take minutes to write.
TABLES_SECONDS = 1800.0


#: What tells one run of a sweep from every other.
_IDENTITY = ("host", "boot", "process", "since")


class Hold:
    """The right to run a sweep, and why it was lost, if it was."""

    def __init__(self) -> None:
        self.lost = ""
        self._stop: Callable[[str], None] | None = None
        self._deciding = threading.Lock()

    def when_lost(self, stop: Callable[[str], None] | None) -> None:
        """From now on call this with the reason when the right is lost, from another thread; now if it is already."""
        with self._deciding:
            self._stop = stop
            if stop is not None and self.lost:
                stop(self.lost)

    def lose(self, reason: str) -> None:
        """It is another's now, or may be soon."""
        _log.warning("%s", reason)
        with self._deciding:
            self.lost = reason
            if self._stop is not None:
                self._stop(reason)


@contextmanager
def held(filesystem: pafs.FileSystem, root: str, name: str) -> Iterator[Hold]:
    """Be the one process that runs the sweep of this name, whose folder is there, for as long as the block lasts.

    On a disk the kernel lets go of the lock when its holder dies. On an object store the lease runs out instead, and is
    no more than a best effort: of two processes that begin within a second, both may believe that they hold it. Whoever
    is told by its `Hold` that the lease is lost must stop.

    Raises:
        Invalid: naming the process that runs it.
    """
    folder = f"{root.rstrip('/')}/sweeps/{name}"
    hold = _locked if isinstance(filesystem, pafs.LocalFileSystem) else _leased
    with hold(filesystem, folder, name) as mine:
        yield mine


@contextmanager
def writing_tables(filesystem: pafs.FileSystem, folder: str) -> Iterator[None]:
    """Be the one process that writes a sweep's tables into its folder, so that all of them are of one moment.

    It waits for whoever writes them now. On an object store nobody does.

    Raises:
        TimeoutError: where another does not end.
    """
    if not isinstance(filesystem, pafs.LocalFileSystem):
        yield
        return
    lock = FileLock(f"{folder}/tables.lock")
    try:
        lock.acquire(timeout=TABLES_SECONDS)
    except Timeout:
        fault = f"another process has been writing the tables in {folder} for {TABLES_SECONDS:.0f} s; wait or end it"
        raise TimeoutError(fault) from None
    try:
        yield
    finally:
        lock.release()


def holder(filesystem: pafs.FileSystem, root: str, name: str, *, may_write: bool = False) -> dict[str, Any] | None:
    """Who runs the sweep now, as `host`, `process` and `since`; None where nobody does.

    On an object store whoever `may_write` there is told by its clock, and others by that of this machine.
    """
    folder = f"{root.rstrip('/')}/sweeps/{name}"
    if not isinstance(filesystem, pafs.LocalFileSystem):
        path = f"{folder}/lease.json"
        said = read_json(filesystem, path)
        if said is None:
            return None
        stands = _stands(filesystem, path, said) if may_write else said["expires"] > time.time()
        return said if stands else None
    if _is_locked(Path(folder, "lock")):
        return read_json(filesystem, f"{folder}/lock.json") or _me()
    return None


def identity(running: dict[str, Any] | None) -> dict[str, Any]:
    """The part of what a holder says of itself that no other run shares; empty where there is none."""
    return {name: running.get(name) for name in _IDENTITY} if running else {}


def _is_locked(path: Path) -> bool:
    """Whether a process runs the sweep whose lock this is. Many may look at once: none of them is taken for one."""
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False
    return False


@contextmanager
def _locked(filesystem: pafs.FileSystem, folder: str, name: str) -> Iterator[Hold]:
    lock = FileLock(f"{folder}/lock")
    try:
        lock.acquire(timeout=LOOKED_AT_SECONDS)
    except Timeout:
        raise _refused(name, read_json(filesystem, f"{folder}/lock.json")) from None
    try:
        put_whole(filesystem, f"{folder}/lock.json", json.dumps(_me()).encode())
        yield Hold()
    finally:
        if filesystem.get_file_info(f"{folder}/lock.json").type == pafs.FileType.File:
            filesystem.delete_file(f"{folder}/lock.json")
        lock.release()


@contextmanager
def _leased(filesystem: pafs.FileSystem, folder: str, name: str) -> Iterator[Hold]:
    path, mine = f"{folder}/lease.json", _me() | {"lease": uuid.uuid4().hex}

    def write() -> None:
        text = json.dumps(mine | {"expires": time.time() + LEASE_SECONDS})
        put_whole(filesystem, path, text.encode())

    said = read_json(filesystem, path)
    if said and not _is_gone(said) and _stands(filesystem, path, said):
        raise _refused(name, said)
    write()
    renewed = time.monotonic()
    time.sleep(SETTLING_SECONDS)
    said = read_json(filesystem, path)
    if said and said["lease"] != mine["lease"]:
        raise _refused(name, said)
    hold, ended = Hold(), threading.Event()

    def renew() -> None:
        last, pause = renewed, LEASE_SECONDS / 4
        while not ended.wait(pause):
            try:
                said = read_json(filesystem, path)
                if said and said["lease"] != mine["lease"]:
                    hold.lose(f"another process ({_words(said)}) has taken the lease of sweep {name!r}")
                    return
                began = time.monotonic()
                write()
                last, pause = began, LEASE_SECONDS / 4
            except OSError as error:
                silent, pause = time.monotonic() - last, LEASE_SECONDS / 20
                if silent > LOST_SECONDS:
                    hold.lose(f"the lease of sweep {name!r} could not be renewed for {silent:.0f} s ({error})")
                    return
                _log.warning("the lease of sweep %r was not renewed (%s); trying again", name, error)

    thread = threading.Thread(target=renew, name="sweep lease", daemon=True)
    thread.start()
    try:
        yield hold
    finally:
        ended.set()
        thread.join(timeout=5)
        with suppress(OSError):  # a lease that cannot be taken away runs out
            said = read_json(filesystem, path)
            if said and said["lease"] == mine["lease"]:
                filesystem.delete_file(path)


def _stands(filesystem: pafs.FileSystem, path: str, said: dict[str, Any]) -> bool:
    """Whether a lease that was found is its holder's still."""
    age = _age(filesystem, path)
    return said["expires"] > time.time() if age is None else age < LEASE_SECONDS


def _age(filesystem: pafs.FileSystem, path: str) -> float | None:
    """Seconds since a file was written, by the clock of its storage alone; None where that states no times."""
    now, then = storage_time(filesystem, path), written_at(filesystem, path)
    return now - then if now and then else None


def _refused(name: str, said: dict[str, Any] | None) -> Invalid:
    fault = f"one process at a time may run it, got another: {_words(said)}"
    return Invalid(f"sweep {name!r}", [f"{fault}; wait for that one or stop it, or see how far it is: sweep status"])


def _words(said: dict[str, Any] | None) -> str:
    return f"process {said['process']} on {said['host']}, since {said['since']}" if said else "one that has just begun"


def _is_gone(said: dict[str, Any]) -> bool:
    """Whether the holder was a process of this machine, in this run of it, and lives no more."""
    me = _me()
    if not me["boot"] or (said["host"], said.get("boot")) != (me["host"], me["boot"]):
        return False
    try:
        os.kill(said["process"], 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


def _me() -> dict[str, Any]:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        boot = ""
    return {
        "host": socket.gethostname(),
        "boot": boot,
        "process": os.getpid(),
        "since": datetime.now(UTC).isoformat(sep=" ", timespec="seconds"),
    }
