"""What a running sweep says of itself for other terminals, and how that reads; changes nothing of it."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pyarrow.fs as pafs

from sweep.lock import holder, identity
from trainables.whole_files import put_whole, read_json

if TYPE_CHECKING:
    from sweep.results import Results

_log = logging.getLogger(__name__)

FILE = "live.json"

#: What the dispatcher counted in the last run that ended: gangs started and started again, stages by their end.
COUNTS_FILE = "gangs.json"

#: Stages of one run: made here, found made, waiting for a gang, stopped since nobody waited for them any more, and made
#: here while another sweep made them too.
STAGES = ("executed", "reused", "queued", "cancelled", "duplicate")

#: A status is at most this old; on an object store each is a request.
INTERVAL_SECONDS = 2.0


class Live:
    """Writes what `ask` answers beside the ledger every few seconds until it is closed, each time after `heed`.

    `run` is the identity of this run: what a killed one has left is not taken for what this one says.

    What it says may be missing or late, and nothing else depends on it: a disk that is full costs the status alone.
    """

    def __init__(
        self,
        filesystem: pafs.FileSystem,
        folder: str,
        ask: Callable[[], dict[str, Any]],
        *,
        run: Mapping[str, Any],
        heed: Callable[[], None] = lambda: None,
        interval_seconds: float = INTERVAL_SECONDS,
    ) -> None:
        self._filesystem, self._path, self._ask = filesystem, f"{folder}/{FILE}", ask
        self._run, self._heed = dict(run), heed
        self._interval_seconds = interval_seconds
        self._closed = threading.Event()
        self._said: set[str] = set()
        self._thread = threading.Thread(target=self._go_on, name="sweep status", daemon=True)

    def start(self) -> Live:
        """Begin to write."""
        self._thread.start()
        return self

    def close(self) -> None:
        """Stop, and take away what would be out of date from now on."""
        self._closed.set()
        self._thread.join(timeout=5)
        try:
            self._filesystem.delete_file(self._path)
        except OSError:
            return

    def _go_on(self) -> None:
        while True:
            self._careless("whether the sweep shall stop could not be seen", self._heed)
            self._careless("the status of the sweep could not be written", self._write)
            if self._closed.wait(self._interval_seconds):
                return

    def _write(self) -> None:
        said = {**self._ask(), "run": self._run, "written": time.time()}
        put_whole(self._filesystem, self._path, json.dumps(said).encode())

    def _careless(self, what: str, do: Callable[[], None]) -> None:
        """Whatever goes wrong, the sweep goes on without it; said once, until it has gone well again."""
        try:
            do()
        except Exception as error:
            if what not in self._said:
                _log.warning("%s: %s", what, error)
            self._said.add(what)
        else:
            self._said.discard(what)


def live_lines(results: Results, *, now: Callable[[], float] = time.time) -> str:
    """What the process that runs the sweep does at this moment, or that none does."""
    filesystem, root = results.place
    running = holder(filesystem, root, results.name)
    if running is None:
        counted = stages_text(read_json(filesystem, f"{root}/sweeps/{results.name}/{COUNTS_FILE}") or {})
        return "no process runs it now" + (f"; its last run to the end: {counted}" if counted else "")
    head = f"process {running['process']} on {running['host']} runs it, since {running['since']}"
    said = read_json(filesystem, f"{root}/sweeps/{results.name}/{FILE}")
    mine = identity(running)
    if said is None or said.get("run", mine) != mine:  # an earlier version names no run
        return f"{head}; its gangs are starting, or it is about to end"
    lines = [head, *_pace(said, now() - said["written"])]
    if counted := stages_text(said):
        lines.append(f"in this run: {counted}")
    for gang in said["gangs"]:
        lines.append(f"  {gang['gang']}: {gang['doing']}")
    lines += [f"  {entry['trial']} waits {entry['reason']}" for entry in said["waiting"]]
    lines += [f"  {cell}: {reason}" for cell, reason in sorted(said["cells"].items())]
    lines += [f"  note: {text}" for text in said["notices"]]
    return "\n".join(lines)


def stages_text(said: Mapping[str, Any]) -> str:
    """The stages of a run by what became of them; empty where nothing is said of them."""
    counted = [f"{said[name]:,} {name}" for name in STAGES if name in said]
    return f"stages {', '.join(counted)}" if counted else ""


def _pace(said: dict[str, Any], age: float) -> list[str]:
    words = [f"{said['steps_done']:,} of {said['steps_planned']:,} optimiser steps"]
    if said["steps_per_second"] > 0:
        words.append(f"{said['steps_per_second']:.1f} steps/s")
    if said["seconds_left"] is not None:
        left = datetime.fromtimestamp(time.time() + said["seconds_left"], UTC)
        words.append(f"about {_duration(said['seconds_left'])} left, until {left:%Y-%m-%d %H:%M} UTC")
    lines = [", ".join(words) + (f"; said {_duration(age)} ago" if age > 10 * INTERVAL_SECONDS else "")]
    return [*lines, f"it is stopping: {said['stopping']}"] if said["stopping"] else lines


def _duration(seconds: float) -> str:
    whole = max(0, round(seconds))
    if whole < 90:
        return f"{whole} s"
    return f"{whole // 60} min" if whole < 5400 else f"{whole / 3600:.1f} h"
