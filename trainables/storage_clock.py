"""What time it is by the clock of a storage, which is one for all machines that use it; trusts no machine's own."""

from __future__ import annotations

import errno
import time
import uuid
from contextlib import suppress

import pyarrow.fs as pafs

from trainables.whole_files import put_whole

_FULL = (errno.ENOSPC, errno.EDQUOT)


def storage_time(filesystem: pafs.FileSystem, beside: str) -> float | None:
    """Seconds since the epoch, by a small file that is written beside that path, looked at and deleted.

    None where the storage states no times. Of a folder on a disk that is full it is this machine's time, from which
    that of a network folder may differ a little; else nothing could be freed there any more.

    Raises:
        OSError: where the storage cannot be written for another reason.
    """
    probe = f"{beside}.{uuid.uuid4().hex[:8]}"
    try:
        put_whole(filesystem, probe, b"now")
    except OSError as error:
        if isinstance(filesystem, pafs.LocalFileSystem) and error.errno in _FULL:
            return time.time()
        raise
    try:
        return written_at(filesystem, probe)
    finally:
        with suppress(OSError):  # what stays costs three bytes
            filesystem.delete_file(probe)


def written_at(filesystem: pafs.FileSystem, path: str) -> float | None:
    """When a file was last written, by the same clock; None where the storage states no times or has no such file."""
    changed = filesystem.get_file_info(path).mtime_ns
    return changed / 1e9 if changed and changed > 0 else None
