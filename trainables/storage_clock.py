"""What time it is by the clock of a storage, which is one for all machines that use it; trusts no machine's own."""

from __future__ import annotations

import uuid
from contextlib import suppress

import pyarrow.fs as pafs

from trainables.whole_files import put_whole


def storage_time(filesystem: pafs.FileSystem, beside: str) -> float | None:
    """Seconds since the epoch, by a small file that is written beside that path, looked at and deleted.

    None where the storage states no times.
    """
    probe = f"{beside}.{uuid.uuid4().hex[:8]}"
    put_whole(filesystem, probe, b"now")
    try:
        return written_at(filesystem, probe)
    finally:
        with suppress(OSError):  # what stays costs three bytes
            filesystem.delete_file(probe)


def written_at(filesystem: pafs.FileSystem, path: str) -> float | None:
    """When a file was last written, by the same clock; None where the storage states no times or has no such file."""
    changed = filesystem.get_file_info(path).mtime_ns
    return changed / 1e9 if changed and changed > 0 else None
