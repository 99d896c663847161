"""What lies in a store, with sizes and ages; opens no file."""

from __future__ import annotations

import math

from pyarrow import fs

from trainables.leftovers import Seen
from trainables.store import Store


def seen_in(store: Store, folder: str, *, deep: bool = True) -> list[Seen]:
    """Everything in a folder of the store, or in its root for ""; nothing where there is none.

    Raises:
        OSError: where that cannot be seen.
    """
    place = "/".join(part for part in (store.root, folder) if part)
    above = len(store.root.strip("/").split("/")) if store.root else 0
    found = store.filesystem.get_file_info(fs.FileSelector(place, recursive=deep, allow_not_found=True))
    return [
        Seen(
            path=tuple(info.path.strip("/").split("/")[above:]),
            size_bytes=info.size or 0,
            changed=_changed(info),
            is_folder=info.type == fs.FileType.Directory,
        )
        for info in found
    ]


def _changed(info: fs.FileInfo) -> float:
    """A folder without a time is as old as what is in it."""
    if info.mtime_ns:
        return info.mtime_ns / 1e9
    return 0.0 if info.type == fs.FileType.Directory else math.inf
