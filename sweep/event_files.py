"""TensorBoard event files, a folder per run, on any pyarrow filesystem; knows neither trials nor what events say."""

from __future__ import annotations

import io
import itertools
import os
import socket
import time
from dataclasses import dataclass, field
from typing import Any

import pyarrow.fs as pafs

from trainables.whole_files import put_whole

#: An object store has no files that grow: there a file is put anew as a whole, at most this often while a run is open.
PUT_SECONDS = 15.0

_COUNTER = itertools.count()


@dataclass
class _Open:
    path: str
    buffer: io.BytesIO
    records: Any
    written: int = 0
    put_at: float = field(default_factory=lambda: -PUT_SECONDS)


class EventFiles:
    """Event files of several runs under one folder, each in `<folder>/<run>/`.

    What is added is seen by a reader after `flush`: at once on a disk, where files grow, and within `PUT_SECONDS` of
    it on an object store. Every process writes files of its own, so a run that is taken up again goes on in a second
    one. A write that fails raises `OSError` and is made up for by the next.
    """

    def __init__(self, filesystem: pafs.FileSystem, folder: str) -> None:
        self._filesystem, self.folder = filesystem, folder.rstrip("/")
        self._open: dict[str, _Open] = {}
        self._grows = isinstance(filesystem, pafs.LocalFileSystem)

    def add(self, run: str, summary: Any, step: int = 0) -> None:
        """Take one summary on."""
        from tensorboard.compat.proto import event_pb2

        event = event_pb2.Event(wall_time=time.time(), step=step, summary=summary)
        self._of(run).records.write(event.SerializeToString())

    def flush(self, run: str) -> None:
        """Let readers see what has been added to a run, if it has been touched and its time has come."""
        one = self._open.get(run)
        if one is not None and (self._grows or time.monotonic() - one.put_at >= PUT_SECONDS):
            self._write(run, one)

    def close(self, run: str) -> None:
        """Let readers see all of a run and forget it."""
        one = self._open.get(run)
        if one is not None:
            self._write(run, one)
            del self._open[run]

    def close_all(self) -> None:
        """Close every run that is open."""
        for run in tuple(self._open):
            self.close(run)

    def delete(self, run: str) -> None:
        """Take a run away with all its files; silent where there is none."""
        self._open.pop(run, None)
        try:
            self._filesystem.delete_dir(f"{self.folder}/{run}")
        except FileNotFoundError:
            return

    def holds(self, run: str, tag: str) -> bool:
        """Whether any file of a run, of this process or of an earlier one, has a summary of that tag."""
        selector = pafs.FileSelector(f"{self.folder}/{run}", allow_not_found=True)
        for entry in self._filesystem.get_file_info(selector):
            with self._filesystem.open_input_stream(entry.path) as stream:
                if tag.encode() in stream.read():  # nothing in these files is compressed
                    return True
        return False

    def put_once(self, name: str, summary: Any) -> None:
        """Write a file of this one summary, unless the same one is there already."""
        buffer, records = _begun(wall_time=0)  # without a time of writing, equal summaries are equal bytes
        from tensorboard.compat.proto import event_pb2

        records.write(event_pb2.Event(wall_time=0, summary=summary).SerializeToString())
        path = f"{self.folder}/{name}"
        try:
            with self._filesystem.open_input_stream(path) as stream:
                if stream.read() == buffer.getvalue():
                    return
        except FileNotFoundError:
            self._filesystem.create_dir(path.rpartition("/")[0], recursive=True)
        if self._grows:  # in place: what stands beside an event file for a moment would be read as one
            with open(path, "wb") as file:  # noqa: PTH123 - pyarrow's path
                file.write(buffer.getvalue())
        else:
            put_whole(self._filesystem, path, buffer.getvalue())

    def _of(self, run: str) -> _Open:
        if run not in self._open:
            buffer, records = _begun(wall_time=time.time())
            # As TensorBoard's own writer names them: it reads the files of a run in the order of their names.
            name = (
                f"events.out.tfevents.{int(time.time()):010d}.{socket.gethostname()}.{os.getpid()}.{next(_COUNTER):06d}"
            )
            self._open[run] = _Open(f"{self.folder}/{run}/{name}", buffer, records)
        return self._open[run]

    def _write(self, run: str, one: _Open) -> None:
        size = one.buffer.tell()
        if size == one.written:
            return
        if one.written == 0:
            self._filesystem.create_dir(f"{self.folder}/{run}", recursive=True)
        if self._grows:
            # Not appended: a write that failed half way is written over.
            with open(one.path, "r+b" if one.written else "wb") as file:  # noqa: PTH123 - pyarrow's path
                file.seek(one.written)
                file.write(one.buffer.getbuffer()[one.written : size])
        else:
            put_whole(self._filesystem, one.path, one.buffer.getvalue())
        one.written, one.put_at = size, time.monotonic()


def _begun(wall_time: float) -> tuple[io.BytesIO, Any]:
    """A buffer with the first record of an event file, and what writes further ones."""
    from tensorboard.compat.proto import event_pb2
    from tensorboard.summary.writer.record_writer import RecordWriter

    buffer = io.BytesIO()
    records = RecordWriter(buffer)
    records.write(event_pb2.Event(wall_time=wall_time, file_version="brain.Event:2").SerializeToString())
    return buffer, records
