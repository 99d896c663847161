"""TensorBoard on a sweep in any storage, and its HParams page of every trial; serves files and changes none of them."""

from __future__ import annotations

import logging
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.fs as pafs

from sweep.event_files import EventFiles
from sweep.records import Phase, State, TrialRecord
from sweep.tensorboard import EXPERIMENT, WHOLE, experiment, run_name, session_end, session_start

if TYPE_CHECKING:
    from sweep.results import Results

_log = logging.getLogger(__name__)

#: How often a local copy is brought up to date.
REFRESH_SECONDS = 15.0


def serve(results: Results, *, every_trial: bool = False, port: int = 6006, host: str = "localhost") -> None:
    """Serve the sweep until the process is interrupted. A folder on a disk is served where it lies.

    With `every_trial`, the HParams page of every trial, without curves.
    """
    folder = _local(results)
    if folder is not None and not every_trial:
        _launch(folder, host, port)
        threading.Event().wait()
    with tempfile.TemporaryDirectory(prefix="sweep-tensorboard-") as copy:
        refresh = Sessions(results, copy).refresh if every_trial else Copy(results, copy).refresh
        refresh()
        _launch(copy, host, port)
        while True:
            threading.Event().wait(REFRESH_SECONDS)
            _patiently(refresh)


def _patiently(refresh: Callable[[], None]) -> None:
    try:
        refresh()
    except OSError as error:
        _log.warning("the copy could not be brought up to date: %s", error)


def _launch(folder: str, host: str, port: int) -> None:
    from tensorboard import default, program

    board = program.TensorBoard(plugins=default.get_plugins())
    board.configure(argv=["tensorboard", "--logdir", folder, "--host", host, "--port", str(port)])
    print(f"TensorBoard on {board.launch()} (Ctrl-C ends it)", flush=True)


def _local(results: Results) -> str | None:
    filesystem, root = results.place
    if not isinstance(filesystem, pafs.LocalFileSystem):
        return None
    return f"{root}/sweeps/{results.name}/tensorboard"


class Copy:
    """A local copy of a sweep's TensorBoard folder; a file that has grown grows here too, as TensorBoard wants it."""

    def __init__(self, results: Results, directory: str) -> None:
        self._filesystem, root = results.place
        self._root = f"{root}/sweeps/{results.name}/tensorboard"
        self._directory = Path(directory)

    def refresh(self) -> None:
        """Bring the copy up to date. Files that are gone there stay here."""
        selector = pafs.FileSelector(self._root, recursive=True, allow_not_found=True)
        for entry in self._filesystem.get_file_info(selector):
            here = self._directory / entry.path.removeprefix(f"{self._root}/")
            if entry.type != pafs.FileType.File or (here.is_file() and here.stat().st_size == entry.size):
                continue
            try:
                with self._filesystem.open_input_stream(entry.path) as stream:
                    data = stream.read()
            except FileNotFoundError:  # taken away since it was listed
                continue
            here.parent.mkdir(parents=True, exist_ok=True)
            with here.open("r+b" if here.is_file() and here.name != EXPERIMENT else "wb") as file:
                file.write(data)


class Sessions:
    """A folder with one session of the HParams page for every search trial of the ledger, and nothing else."""

    def __init__(self, results: Results, directory: str) -> None:
        self._results = results
        self._files = EventFiles(pafs.LocalFileSystem(), directory)
        self._begun: set[str] = set()
        self._ended: set[str] = set()

    def refresh(self) -> None:
        """Take up what has happened since."""
        records = [r for r in self._results.standing().records.values() if r.key.phase is Phase.SEARCH]
        self._files.put_once(
            f"{WHOLE}/{EXPERIMENT}", experiment(sorted({r.key.cell for r in records}), _ranges(records))
        )
        for record in records:
            run = run_name(record.key)
            if run not in self._begun:
                self._begun.add(run)
                self._files.add(run, session_start(record))
            if record.state is not State.OPEN and run not in self._ended:
                self._ended.add(run)
                for summary in session_end(record):
                    self._files.add(run, summary, record.key.number)
            if record.state is State.OPEN:
                self._files.flush(run)
            else:
                self._files.close(run)


def _ranges(records: list[TrialRecord]) -> dict[str, tuple[float, float]]:
    """The least and the greatest value that any trial has of each parameter."""
    found: dict[str, list[float]] = {}
    for record in records:
        for name, value in record.values.items():
            found.setdefault(name, []).append(value)
    return {name: (min(values), max(values)) for name, values in found.items()}
