"""What each sweep in a storage keeps the others from deleting, in a small file of its own; deletes nothing."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace

from pyarrow import fs

from trainables.storage_clock import storage_time, written_at
from trainables.store import Store
from trainables.whole_files import put_whole

_log = logging.getLogger(__name__)

FILE = "pins.json"

#: The sweep's file is written again at least so often while the sweep runs.
RENEWED_SECONDS = 60.0

#: What open trials need is kept from others for so long after it was last said, by the storage's clock; a run that is
#: over needs nothing soon.
NEEDED_SECONDS = 900.0


@dataclass(frozen=True, kw_only=True)
class Pins:
    """What one sweep needs of a store."""

    session: str = ""
    """That of its last run; the names of its attempts begin with it."""
    written: float = 0.0
    """In seconds since the epoch, by the clock of whoever wrote it."""
    leaves: tuple[str, ...] = ()
    """Digests of the outputs that it keeps for good: the best of each cell."""
    open: tuple[str, ...] = ()
    """Digests of the stages of trials that have not ended: their weights may be read next, and their checkpoints gone
    on from, also by a run that has not begun."""

    def says_the_same_as(self, other: Pins) -> bool:
        """Whether only the time differs."""
        return (self.session, self.leaves, self.open) == (other.session, other.leaves, other.open)


def kept_from_others(pins: Iterable[Pins], *, now: float) -> set[str]:
    """The digests of which nobody else may delete the weights."""
    kept: set[str] = set()
    for one in pins:
        kept.update(one.leaves)
        if now - one.written < NEEDED_SECONDS:
            kept.update(one.open)
    return kept


class PinFile:
    """The file of one sweep, and those of the others beside it.

    `folder` is the sweep's, relative to the store's root, in a folder that holds those of all sweeps. Reading looks at
    the folder of every one of them.
    """

    def __init__(self, store: Store, folder: str) -> None:
        self._filesystem = store.filesystem
        self._folder = f"{store.root}/{folder}" if store.root else folder
        self._writing = threading.Lock()
        self.last = self._read(self._folder) or Pins()
        """What the file says, by this process or an earlier one."""

    def write(self, pins: Pins) -> None:
        """Put it there whole, unless a file of a minute ago says the same. One that cannot be written stays as it is.

        A file that is not there keeps nothing from anybody.
        """
        with self._writing:
            if pins.says_the_same_as(self.last) and 0 <= pins.written - self.last.written < RENEWED_SECONDS:
                return
            try:
                self._filesystem.create_dir(self._folder, recursive=True)
                put_whole(self._filesystem, f"{self._folder}/{FILE}", json.dumps(asdict(pins)).encode())
            except OSError as error:
                _log.warning("what this sweep keeps from others could not be written: %s", error)
                return
            self.last = pins

    def others(self) -> dict[str, Pins]:
        """By the name of its folder, what every other sweep needs.

        Raises:
            OSError: where that cannot be read; then nothing may be deleted.
        """
        everything, _, mine = self._folder.rpartition("/")
        listed = self._filesystem.get_file_info(fs.FileSelector(everything, allow_not_found=True))
        names = [info.base_name for info in listed if info.type == fs.FileType.Directory and info.base_name != mine]
        read = {name: self._read(f"{everything}/{name}") for name in names}
        return {name: pins for name, pins in read.items() if pins is not None}

    def kept_by_others(self) -> set[str]:
        """The digests of which the others want the weights kept, by the storage's clock where it states times.

        Raises:
            OSError: where that cannot be read; then nothing may be deleted.
        """
        others, everything = self.others(), self._folder.rpartition("/")[0]
        now = storage_time(self._filesystem, f"{self._folder}/{FILE}") if others else None
        if now is None:
            return kept_from_others(others.values(), now=time.time())
        said = {name: written_at(self._filesystem, f"{everything}/{name}/{FILE}") for name in others}
        return kept_from_others((replace(others[name], written=said[name] or now) for name in others), now=now)

    def _read(self, folder: str) -> Pins | None:
        path = f"{folder}/{FILE}"
        try:
            with self._filesystem.open_input_stream(path) as stream:
                said = json.loads(stream.read())
            return Pins(
                session=str(said["session"]),
                written=float(said["written"]),
                leaves=tuple(said["leaves"]),
                open=tuple(said["open"]),
            )
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError) as error:
            _log.warning("%s is damaged (%s); it keeps nothing from anybody", path, error)
            return None
