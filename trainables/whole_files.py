"""Files that a reader sees whole or not at all, on any pyarrow filesystem; knows no meaning."""

from __future__ import annotations

import json
import os
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.fs as pafs

from trainables.places import upload

#: What a file that has not got its name yet ends in.
PARTIAL = ".partial"

#: What has not got its name after a day never will: its writer was killed.
LEFT_SECONDS = 86400.0


def put_whole(filesystem: pafs.FileSystem, path: str, data: pa.Buffer | bytes) -> None:
    """Write a file that a reader sees whole or not at all: moved into place on a disk, one put on an object store.

    On a disk its content is there before its name is, whatever happens to the power.
    """
    if not isinstance(filesystem, pafs.LocalFileSystem):
        with filesystem.open_output_stream(path) as stream:
            stream.write(data)
        return
    with whole_file(filesystem, path) as file:
        file.write(data)


def read_json(filesystem: pafs.FileSystem, path: str) -> Any:
    """What a small JSON file says; None where it is absent or damaged."""
    try:
        with filesystem.open_input_stream(path) as stream:
            return json.loads(stream.read())
    except (FileNotFoundError, ValueError):
        return None


@contextmanager
def whole_file(filesystem: pafs.FileSystem, path: str) -> Iterator[IO[bytes]]:
    """A stream to write such a file to, piece by piece; after an error in the block the path is as it was before.

    Of several who write the same file at once the last one's stays.
    """
    if not isinstance(filesystem, pafs.LocalFileSystem):
        with tempfile.TemporaryDirectory() as folder:
            local = Path(folder) / "file"
            with local.open("wb") as file:
                yield file
            upload(local, filesystem, path)
        return
    aside = Path(f"{path}.{uuid.uuid4().hex[:8]}{PARTIAL}")
    try:
        with aside.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    filesystem.move(str(aside), path)


def clear_left(filesystem: pafs.FileSystem, folder: str) -> None:
    """Delete what killed writers have left in a folder of a disk; what another may be writing there stays."""
    if not isinstance(filesystem, pafs.LocalFileSystem):
        return
    for path in Path(folder).glob(f"*.{'[0-9a-f]' * 8}{PARTIAL}"):
        with suppress(OSError):  # somebody else has deleted it, or may alone
            if time.time() - path.stat().st_mtime > LEFT_SECONDS:
                path.unlink()
