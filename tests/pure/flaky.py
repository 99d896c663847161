"""A filesystem that delays, drops and repeats writes, by a seeded plan, for the tests of storage."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pyarrow as pa
from pyarrow import fs


class Flaky(fs.FileSystemHandler):
    """A local folder behind a bad line.

    Every call may fail before or after it has been carried out; a written file may be lost, cut short, arrive late,
    or arrive a second time, though the write was said to have worked.
    """

    def __init__(self, root: Path, *, seed: int, share: float, delay_seconds: float = 0.0) -> None:
        self.inner = fs.SubTreeFileSystem(str(root), fs.LocalFileSystem())
        self.random = random.Random(seed)
        self.share = share
        self.delay_seconds = delay_seconds
        self.troubles: list[str] = []
        self.repeated: list[tuple[str, bytes]] = []
        self.dead = False

    def trouble(self, kind: str) -> bool:
        if self.dead:
            raise OSError("the line is dead")
        if self.random.random() < self.share:
            self.troubles.append(kind)
            return True
        return False

    def carried(self, kind, work):
        """Carry a call out, with trouble before, after, or none."""
        if self.delay_seconds:
            time.sleep(self.random.random() * self.delay_seconds)
        if self.trouble(f"{kind} failed"):
            raise TimeoutError(f"{kind}: no answer")
        answer = work()
        if self.trouble(f"{kind} was done and not acknowledged"):
            raise ConnectionResetError(f"{kind}: the line broke after it")
        return answer

    def put(self, path: str, data: bytes) -> None:
        if self.repeated and self.trouble("an earlier write was repeated"):
            self.inner.create_dir(self.repeated[-1][0].rpartition("/")[0], recursive=True)
            self._store(*self.repeated.pop())
        if self.trouble("a write was lost"):
            return
        if data and self.trouble("a write was cut short"):
            self._store(path, data[: len(data) // 2])
            return
        self._store(path, data)
        self.repeated.append((path, data))

    def _store(self, path: str, data: bytes) -> None:
        with self.inner.open_output_stream(path) as stream:
            stream.write(data)

    def get_type_name(self):
        return "flaky"

    def normalize_path(self, path):
        return path

    def get_file_info(self, paths):
        return self.carried("looking", lambda: self.inner.get_file_info(paths))

    def get_file_info_selector(self, selector):
        return self.carried("listing", lambda: self.inner.get_file_info(selector))

    def create_dir(self, path, recursive):
        self.carried("making", lambda: self.inner.create_dir(path, recursive=recursive))

    def delete_dir(self, path):
        self.carried("deleting", lambda: self.inner.delete_dir(path))

    def delete_dir_contents(self, path, missing_dir_ok):
        self.carried("emptying", lambda: self.inner.delete_dir_contents(path, missing_dir_ok=missing_dir_ok))

    def delete_root_dir_contents(self):
        raise NotImplementedError

    def delete_file(self, path):
        self.carried("deleting", lambda: self.inner.delete_file(path))

    def move(self, src, dest):
        raise AssertionError("nothing is renamed on an object store")

    def copy_file(self, src, dest):
        self.carried("copying", lambda: self.inner.copy_file(src, dest))

    def open_input_stream(self, path):
        return self.open_input_file(path)

    def open_input_file(self, path):
        opened = self.carried("opening", lambda: self.inner.open_input_file(path))
        return pa.PythonFile(_Read(self, opened), mode="r")

    def open_output_stream(self, path, metadata):
        return pa.PythonFile(_Write(self, path), mode="w")

    def open_append_stream(self, path, metadata):
        raise NotImplementedError


class _Read:
    """A file whose reads may break."""

    def __init__(self, line: Flaky, file) -> None:
        self.line, self.file = line, file
        self.closed = False

    def read(self, size=-1):
        return self.line.carried("reading", lambda: self.file.read(None if size < 0 else size))

    def seek(self, offset, whence=0):
        return self.file.seek(offset, whence)

    def tell(self):
        return self.file.tell()

    def close(self):
        self.closed = True
        self.file.close()


class _Write:
    """A file that arrives when it is closed, if it does."""

    def __init__(self, line: Flaky, path: str) -> None:
        self.line, self.path, self.kept = line, path, bytearray()
        self.closed = False

    def write(self, data):
        self.kept += bytes(data)
        return len(data)

    def tell(self):
        return len(self.kept)

    def close(self):
        if not self.closed:
            self.closed = True
            self.line.carried("writing", lambda: self.line.put(self.path, bytes(self.kept)))
