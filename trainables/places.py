"""Where a storage root is, and a remote filesystem that is patient: retried, whole, verified; knows no store."""

from __future__ import annotations

import errno
import hashlib
import io
import logging
import random
import re
import shutil
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeVar

import pyarrow as pa
from pyarrow import fs

from trainables.faults import Invalid

_log = logging.getLogger(__name__)

T = TypeVar("T")

_CHUNK = 1 << 20

#: A file being written is kept in memory up to this size, then on the local disk, until it is put as a whole.
_IN_MEMORY_BYTES = 32 << 20

#: Filesystems where a file can be seen before it is whole; there it is written aside and renamed. Never a directory.
_RENAMING = frozenset({"local", "subtree", "hdfs"})

#: Of these, the ones that move no file onto another; there the old one goes first, and is absent for a moment.
_NOT_REPLACING = frozenset({"hdfs"})

#: Filesystems without directories: a name with slashes needs none to be made first.
_FLAT = frozenset({"s3", "gcs", "abfs"})

#: How a URI begins that lacks a slash. One letter would be no scheme.
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/(?!/)")

#: No second try makes these right.
_FINAL = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError, FileExistsError)

#: What Amazon's client says where no second try makes it right, then Google's and Azure's by their documented codes
#: (neither was at hand); all raise plain `OSError` for everything.
_FINAL_WORDS = (
    *("ACCESS_DENIED", "NO_SUCH_BUCKET", "INVALID_ACCESS_KEY", "INVALID_CLIENT_TOKEN", "SIGNATURE_DOES_NOT"),
    *("PERMISSION_DENIED", "UNAUTHENTICATED"),
    *("AuthenticationFailed", "AuthorizationFailure", "AuthorizationPermissionMismatch"),
)

#: What a disk says of a file that it alone cannot read. A network folder says the same while its server is away.
_UNREADABLE = (errno.EIO, errno.EBADMSG, errno.EUCLEAN)


class NotAsWritten(OSError):
    """What a filesystem gives back is not what was put there."""


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How often and how long to try. The pause doubles each time, with up to half of it added by chance."""

    tries: int = 6
    first_pause_seconds: float = 0.5
    longest_pause_seconds: float = 20.0

    def pause_seconds(self, failures: int) -> float:
        """How long to wait after so many failures."""
        pause = min(self.first_pause_seconds * 2 ** (failures - 1), self.longest_pause_seconds)
        return pause * random.uniform(1.0, 1.5)  # several machines that failed together shall not return together


def place_of(storage: str, patience: Patience = Patience()) -> tuple[fs.FileSystem, str]:
    """The filesystem and the path in it that a path or URI names; a remote one is patient.

    Raises:
        Invalid: if it names no filesystem.
    """
    if "://" not in storage:
        return fs.LocalFileSystem(), str(local(storage))
    try:
        filesystem, path = fs.FileSystem.from_uri(storage)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, ValueError, ImportError, OSError) as error:
        known = "a path or a URI that pyarrow.fs knows (file, s3, gs, abfs, hdfs), or of fsspec after fsspec+"
        fault = f"{storage!r} must be {known}: {error}"
        raise Invalid("the storage", [fault]) from error
    return patient(filesystem, patience), path.rstrip("/")


def local(storage: str) -> Path:
    """A path made absolute, since processes elsewhere start in other directories.

    Raises:
        Invalid: for nothing at all, and for what looks like a URI and is none.
    """
    scheme = _SCHEME.match(storage)
    if not storage or scheme:
        way = f"write {scheme[1]}://…, or ./{storage} for a folder of that name" if scheme else "'.' is this folder"
        raise Invalid("the storage", [f"it must be a path or a URI, got {storage!r}; {way}"])
    return Path(storage).expanduser().absolute()


def patient(filesystem: fs.FileSystem, patience: Patience = Patience()) -> fs.FileSystem:
    """The filesystem with retries and verification; a local one, or one that is patient already, as it is."""
    if isinstance(filesystem, fs.LocalFileSystem) or _handler(filesystem) is not None:
        return filesystem
    return fs.PyFileSystem(Patient(filesystem, patience))


def upload(source: Path, filesystem: fs.FileSystem, path: str) -> None:
    """Put a local file in place as a whole, without keeping another copy of it on the way."""
    handler = _handler(filesystem)
    if handler is not None:
        handler.put(lambda: source.open("rb"), path)
        return
    with source.open("rb") as incoming, filesystem.open_output_stream(path) as outgoing:
        shutil.copyfileobj(incoming, outgoing, _CHUNK)


def _handler(filesystem: fs.FileSystem) -> Patient | None:
    handler = getattr(filesystem, "handler", None)
    return handler if isinstance(handler, Patient) else None


class Patient(fs.FileSystemHandler):
    """Another filesystem behind retries.

    Every call is tried several times, with pauses. A file appears when its stream is closed, whole or not at all, and
    is read back: only if it is what was written has the write succeeded. A read that breaks goes on where it broke.
    """

    def __init__(self, inner: fs.FileSystem, patience: Patience) -> None:
        self.inner = inner
        self.patience = patience

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Patient) and self.inner == other.inner

    def __hash__(self) -> int:
        return hash(self.inner.type_name)

    # Trying

    def trying(self, what: str, work: Callable[[int], T]) -> T:
        """What `work` returns, given how often it has failed so far.

        Raises:
            OSError: the last one, or the first that no other try makes right.
        """
        for failures in range(self.patience.tries):
            try:
                return work(failures)
            except OSError as error:
                if is_final(error) or failures + 1 == self.patience.tries:
                    raise
                pause = self.patience.pause_seconds(failures + 1)
                _log.info("%s failed (%s); trying again in %.1f s", what, error, pause)
                time.sleep(pause)
        raise AssertionError("tries is at least 1")

    def put(self, opened: Callable[[], IO[bytes]], path: str) -> None:
        """Write a whole file and read it back; `opened` gives its content from the start each time."""
        renaming = self.inner.type_name in _RENAMING

        def work(_: int) -> None:
            self._make_parent(path)
            target = f"{path}.{uuid.uuid4().hex[:8]}.part" if renaming else path
            with opened() as incoming, self.inner.open_output_stream(target) as outgoing:
                written = _copied(incoming, outgoing)
            if renaming:
                self._make_way(path)
                self.inner.move(target, path)
            self._verify(path, *written)

        self.trying(f"writing {path}", work)

    def _make_way(self, path: str) -> None:
        if self.inner.type_name in _NOT_REPLACING and self.inner.get_file_info(path).type != fs.FileType.NotFound:
            self.inner.delete_file(path)

    def _make_parent(self, path: str) -> None:
        parent = path.rpartition("/")[0]
        if parent and self.inner.type_name not in _FLAT:
            self.inner.create_dir(parent, recursive=True)

    def _verify(self, path: str, size: int, digest: str) -> None:
        try:
            with self.inner.open_input_stream(path) as stored:
                found = _copied(stored, None)
        except FileNotFoundError as error:
            raise NotAsWritten(f"{path} was written and is not there") from error
        if found != (size, digest):
            raise NotAsWritten(f"{path} has {found[0]} bytes of other content than the {size} that were written")

    # What pyarrow asks for

    def get_type_name(self) -> str:
        """`patient+` and the inner filesystem's."""
        return f"patient+{self.inner.type_name}"

    def normalize_path(self, path: str) -> str:
        """As the inner filesystem does."""
        return self.inner.normalize_path(path)

    def get_file_info(self, paths: list[str]) -> list[fs.FileInfo]:
        """Tried several times."""
        return self.trying(f"looking at {', '.join(paths[:3])}", lambda _: self.inner.get_file_info(paths))

    def get_file_info_selector(self, selector: fs.FileSelector) -> list[fs.FileInfo]:
        """Tried several times."""
        return self.trying(f"listing {selector.base_dir}", lambda _: self.inner.get_file_info(selector))

    def create_dir(self, path: str, recursive: bool) -> None:
        """Tried several times; nothing where there are no directories."""
        if self.inner.type_name not in _FLAT:
            self.trying(f"making {path}", lambda _: self.inner.create_dir(path, recursive=recursive))

    def delete_dir(self, path: str) -> None:
        """Tried several times."""
        self._gone(f"deleting {path}", lambda: self.inner.delete_dir(path))

    def delete_dir_contents(self, path: str, missing_dir_ok: bool) -> None:
        """Tried several times."""
        self._gone(f"emptying {path}", lambda: self.inner.delete_dir_contents(path, missing_dir_ok=missing_dir_ok))

    def delete_root_dir_contents(self) -> None:
        """Never: nothing of this project empties a whole filesystem."""
        raise PermissionError("the root of a filesystem is not emptied")

    def delete_file(self, path: str) -> None:
        """Tried several times."""
        self._gone(f"deleting {path}", lambda: self.inner.delete_file(path))

    def move(self, src: str, dest: str) -> None:
        """Tried several times; a try that was carried out and not acknowledged counts."""

        def work(failures: int) -> None:
            try:
                self.inner.move(src, dest)
            except FileNotFoundError:
                if not failures or self.inner.get_file_info(dest).type == fs.FileType.NotFound:
                    raise

        self.trying(f"moving {src}", work)

    def copy_file(self, src: str, dest: str) -> None:
        """Tried several times."""
        self.trying(f"copying {src}", lambda _: self.inner.copy_file(src, dest))

    def open_input_stream(self, path: str) -> pa.NativeFile:
        """A stream that goes on where it broke."""
        return self.open_input_file(path)

    def open_input_file(self, path: str) -> pa.NativeFile:
        """A file that goes on where it broke."""
        return pa.PythonFile(_Reading(self, path), mode="r")

    def open_output_stream(self, path: str, metadata: Any) -> pa.NativeFile:
        """A stream that is put as a whole when it is closed."""
        return pa.PythonFile(_Writing(self, path), mode="w")

    def open_append_stream(self, path: str, metadata: Any) -> pa.NativeFile:
        """Never: object stores cannot."""
        raise OSError(f"{path} cannot be appended to; write it as a whole")

    def _gone(self, what: str, work: Callable[[], None]) -> None:
        """Delete; on a second try, what is no longer there was deleted by the first."""

        def once(failures: int) -> None:
            try:
                work()
            except FileNotFoundError:
                if not failures:
                    raise

        self.trying(what, once)


class _Writing(io.RawIOBase):
    """Keeps what is written until it is closed, and drops it where it is closed because its writer failed.

    pyarrow closes a stream in the same way at the good end of a `with` block and at the bad one; only that another
    exception is under way than when the stream was opened tells them apart.
    """

    def __init__(self, handler: Patient, path: str) -> None:
        self._handler = handler
        self._path = path
        self._kept = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY_BYTES)
        self._before = sys.exception()

    def __del__(self) -> None:
        """What nobody has closed may not be whole: it is dropped."""
        self._kept.close()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        return self._kept.write(data)

    def tell(self) -> int:
        return self._kept.tell()

    def close(self) -> None:
        if self.closed:
            return
        failure = sys.exception()
        try:
            if failure is None or failure is self._before:
                self._handler.put(self._again, self._path)
        finally:
            self._kept.close()
            super().close()

    def _again(self) -> IO[bytes]:
        self._kept.seek(0)
        return _Unclosed(self._kept)  # type: ignore[return-value]


class _Unclosed:
    """A file for a `with` block that leaves it open."""

    def __init__(self, file: Any) -> None:
        self.read = file.read

    def __enter__(self) -> _Unclosed:
        return self

    def __exit__(self, *_: object) -> None:
        return None


class _Reading(io.RawIOBase):
    """Reads, and opens again at the same place where that fails."""

    def __init__(self, handler: Patient, path: str) -> None:
        self._handler = handler
        self._path = path
        self._file: pa.NativeFile | None = None
        self._at = 0
        self._size = handler.trying(f"opening {path}", lambda _: self._open().size())

    def _open(self) -> pa.NativeFile:
        if self._file is None:
            self._file = self._handler.inner.open_input_file(self._path)
        return self._file

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = offset + (0, self._at, self._size)[whence]
        return self._at

    def read(self, size: int | None = -1) -> bytes:
        wanted = self._size - self._at if size is None or size < 0 else min(size, self._size - self._at)

        def work(_: int) -> bytes:
            try:
                file = self._open()
                file.seek(self._at)
                return file.read(wanted)
            except OSError:
                self._file = None
                raise

        data = self._handler.trying(f"reading {self._path}", work) if wanted > 0 else b""
        self._at += len(data)
        return data

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
        super().close()


def is_final(error: OSError) -> bool:
    """Whether no other try makes it right."""
    if isinstance(error, _FINAL) or error.errno == errno.EROFS:
        return True
    return any(word in str(error) for word in _FINAL_WORDS)


def may_be_of_one_file(error: OSError) -> bool:
    """Whether it may be an error of that one file for good, which is so if the storage answers all the same."""
    return is_final(error) or error.errno in _UNREADABLE


def _copied(incoming: Any, outgoing: Any) -> tuple[int, str]:
    """Copy to the end; the size and the SHA-256 of what went through."""
    size, whole = 0, hashlib.sha256()
    while chunk := incoming.read(_CHUNK):
        size += len(chunk)
        whole.update(chunk)
        if outgoing is not None:
            outgoing.write(chunk)
    return size, whole.hexdigest()
