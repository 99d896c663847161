"""Asking a sweep to stop through its storage, from any machine that sees it; stops nothing itself."""

from __future__ import annotations

import json
import time
from typing import Any

import pyarrow.fs as pafs

from sweep.lock import holder, identity
from trainables.whole_files import put_whole, read_json

FILE = "stop.json"

#: How often whoever waits for the end looks; on an object store each is five requests.
_LOOK_SECONDS = 2.0


class StopRequest:
    """The request, as the run sees it that may be meant: it counts only where it names this run.

    So one that came too late is none to the next run. Must be made by the process that holds the sweep.
    """

    def __init__(self, filesystem: pafs.FileSystem, root: str, name: str) -> None:
        self._filesystem, self._path = filesystem, _path(root, name)
        self.run = identity(holder(filesystem, root, name))
        """What tells this run from every other."""

    def has_come(self) -> bool:
        """Whether this run was asked to stop."""
        return bool(self.run) and read_json(self._filesystem, self._path) == self.run

    def take_away(self) -> None:
        """Take away what named this run, if it is there."""
        try:
            if self.has_come():
                self._filesystem.delete_file(self._path)
        except OSError:
            return  # it names a run that is over


def ask_to_stop(filesystem: pafs.FileSystem, root: str, name: str) -> dict[str, Any] | None:
    """Ask the process that runs the sweep now to stop as at a Ctrl-C; who that is, or None where nobody runs it."""
    running = holder(filesystem, root, name, may_write=True)
    if running is not None:
        put_whole(filesystem, _path(root, name), json.dumps(identity(running)).encode())
    return running


def await_end(filesystem: pafs.FileSystem, root: str, name: str, running: dict[str, Any], *, seconds: float) -> bool:
    """Wait until that process runs the sweep no more; whether it came to that in so many seconds."""
    stop = time.monotonic() + seconds
    while identity(holder(filesystem, root, name, may_write=True)) == identity(running):
        if time.monotonic() > stop:
            return False
        time.sleep(_LOOK_SECONDS)
    return True


def _path(root: str, name: str) -> str:
    return f"{root.rstrip('/')}/sweeps/{name}/{FILE}"
