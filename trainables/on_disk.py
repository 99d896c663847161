"""What a file on a local disk hashes to, and bringing it there for good; knows no format."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

#: What says that there is no such file. Any other error leaves open what is there: a disk or a storage does not answer.
NO_FILE = (FileNotFoundError, IsADirectoryError, NotADirectoryError)


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file's content, in hexadecimal digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def settle(path: Path) -> None:
    """Flush a file, or the names in a folder, to the disk, or a power cut could leave a name without content."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
