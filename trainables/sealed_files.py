"""Files under one root on any pyarrow filesystem: written whole, sealed, read back verified; knows no stage."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyarrow import fs

from trainables.canonical import canonical, encode
from trainables.on_disk import NO_FILE, settle, sha256_of
from trainables.places import upload
from trainables.room import LEAST_BYTES, fits

_log = logging.getLogger(__name__)

#: Filesystems where a file appears by renaming; elsewhere (object stores) it appears when its stream is closed.
_RENAMING = frozenset({"local", "subtree", "hdfs"})

_CHUNK = 1 << 20


@dataclass(frozen=True, kw_only=True)
class StoredFile:
    """A file of an output: `name` is relative to the attempt's directory, with '/' between folders."""

    name: str
    size: int
    sha256: str


class SealedFiles:
    """Files under a root; paths are relative to it, with '/' between folders."""

    def __init__(self, filesystem: fs.FileSystem, root: str) -> None:
        self.filesystem, self.root = filesystem, root
        self.local = Path(root) if isinstance(filesystem, fs.LocalFileSystem) else None
        """The root as a folder that is seen without being fetched; None on a remote filesystem."""

    def at(self, path: str) -> str:
        return f"{self.root}/{path}" if self.root else path

    def ask(self) -> None:
        """Ask the storage something that it answers whatever became of any one file.

        Raises:
            OSError: where it does not answer.
        """
        self.filesystem.get_file_info(fs.FileSelector(self.root, allow_not_found=True))

    def read(self, path: str) -> bytes:
        with self.filesystem.open_input_stream(path) as stream:
            return stream.read()

    def write(self, path: str, data: bytes) -> None:
        """Put a whole file in place at once; several may write the same one, as attempts that overlap do."""
        self.filesystem.create_dir(path.rsplit("/", 1)[0], recursive=True)
        renaming = self.filesystem.type_name in _RENAMING
        target = f"{path}.{uuid.uuid4().hex[:8]}.part" if renaming else path
        with self.filesystem.open_output_stream(target) as stream:
            stream.write(data)
        if renaming:
            if self.local:
                settle(Path(target))
            self.filesystem.move(target, path)

    def copy(self, source: Path, path: str) -> None:
        """Upload a file; a remote filesystem reads it back, a local one is judged by its sha256 when it is found."""
        self.filesystem.create_dir(path.rsplit("/", 1)[0], recursive=True)
        upload(source, self.filesystem, path)

    def seal(self, path: str, value: Any) -> None:
        """Write a value beside its own sha256, so that a torn or altered file shows."""
        text = canonical(value)
        seal = hashlib.sha256(text.encode()).hexdigest()
        self.write(self.at(path), json.dumps({"sha256": seal, "value": encode(value)}, sort_keys=True).encode())

    def sealed(self, path: str) -> Any:
        """The JSON data that `seal` wrote, or None where there is none or it is damaged.

        Raises:
            OSError: where there is no answer, which tells nothing of what is there.
        """
        try:
            data = self.read(self.at(path))
        except NO_FILE:
            return None
        try:
            sealed = json.loads(data)
            text = json.dumps(sealed["value"], sort_keys=True, separators=(",", ":"), ensure_ascii=False)
            if hashlib.sha256(text.encode()).hexdigest() == sealed["sha256"]:
                return sealed["value"]
        except (ValueError, KeyError, TypeError):
            pass  # no JSON, or not of this form: as damaged as a wrong sum
        _log.warning("%s is damaged; taken as absent", path)
        return None

    def bring(self, where: str, files: Iterable[StoredFile], folder: Path) -> None:
        """Download files; whether they are whole is for their sha256 to say."""
        folder.mkdir(parents=True, exist_ok=True)
        for file in files:
            target = folder / file.name
            target.parent.mkdir(parents=True, exist_ok=True)
            with self.filesystem.open_input_stream(self.at(f"{where}/{file.name}")) as incoming:
                with target.open("wb") as outgoing:
                    shutil.copyfileobj(incoming, outgoing, _CHUNK)

    def has_room(self, needed_bytes: int) -> bool:
        """Whether so many bytes can be written; of a remote filesystem, which cannot tell, whether a few megabytes."""
        if self.local:
            return fits(self.local, needed_bytes)
        probe = self.at(f"probe-{uuid.uuid4().hex}")
        try:
            self.write(probe, bytes(LEAST_BYTES))
        except OSError:
            return False
        finally:
            for path in (probe, *self._parts(probe)):
                self._delete_quietly(path)
        return True

    def _parts(self, path: str) -> list[str]:
        """What a write that did not end has left beside a path."""
        folder, _, name = path.rpartition("/")
        found = self.filesystem.get_file_info(fs.FileSelector(folder, allow_not_found=True))
        return [entry.path for entry in found if entry.base_name.startswith(f"{name}.")]

    def _delete_quietly(self, path: str) -> None:
        try:
            self.filesystem.delete_file(path)
        except OSError:
            return


def described(path: Path, directory: Path) -> StoredFile:
    return StoredFile(name=path.relative_to(directory).as_posix(), size=path.stat().st_size, sha256=sha256_of(path))


def differing(files: Iterable[StoredFile], folder: Path) -> Iterator[str]:
    """What is wrong with each file that is not as it was written.

    Raises:
        OSError: where one cannot be read, which tells nothing of what is in it.
    """
    for file in files:
        try:
            if sha256_of(folder / file.name) != file.sha256:
                yield f"{file.name} has another sha256 than when it was written"
        except NO_FILE as error:
            yield f"{file.name} is no file: {error}"
