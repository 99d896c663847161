"""How much room must be free for what did not fit on a disk, and waiting for it with all ranks; knows no stage."""

from __future__ import annotations

import errno
import os
import shutil
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from trainables import pulse

#: How often ranks that wait for room look again, together, so that none is alone in a collective for longer.
ROOM_SECONDS = 5.0

#: The longest pause before what did not fit, though there was said to be room, is tried again.
LONGEST_PAUSE_SECONDS = 600.0

#: A disk on which less than this fits counts as full.
LEAST_BYTES = 4 << 20

#: AdamW keeps two moments beside each weight, and a checkpoint under way holds all three.
STATE_PER_WEIGHT = 3

#: What is asked for beyond the size that is known: other files grow on the same disk meanwhile.
MARGIN = 1.1

#: What is asked for rises at most to the larger of so many times the size that is known and so many bytes: a size that
#: was guessed much too small is reached by doubling, and none is asked for that no disk has.
MOST_TIMES, MOST_BYTES = 4, 1 << 30

#: What a filesystem says that can reserve no blocks.
_UNABLE = (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS, errno.ENODEV)

_CHUNK = 1 << 20


def least_needed(*, trains: bool, checkpoint_bytes: int, parent_bytes: int, written_bytes: int) -> int:
    """Bytes that a stage will write next, by what is known of it; 0 stands for what is not there.

    Its checkpoint under way if it has one, else what one comes to where all of the parent's weights are trained; its
    output, which is as large as the parent's; and twice what it had written of the output when there was no more room.
    An evaluation writes nothing of its parent.
    """
    sizes = [2 * written_bytes]
    if trains:
        sizes += [checkpoint_bytes, parent_bytes if checkpoint_bytes else STATE_PER_WEIGHT * parent_bytes]
    return max(LEAST_BYTES, int(MARGIN * max(sizes)))


class Asked:
    """What is asked of a disk before a stage is tried again.

    Where it did not fit although there was said to be room, without having got further, twice as much is asked for, and
    the pause before the next try doubles: a disk that lies makes no hot loop.
    """

    def __init__(self) -> None:
        self._failures = 0
        self._reached = ""

    def again(self, least_bytes: int, reached: str) -> tuple[int, float]:
        """The bytes that must be free now and the seconds to wait first; `reached` names how far the stage had come."""
        self._failures = self._failures + 1 if reached == self._reached else 1
        self._reached = reached
        doubled = least_bytes * 2 ** min(self._failures - 1, 62)
        pause = ROOM_SECONDS * 2.0 ** min(self._failures - 2, 62) if self._failures > 1 else 0.0
        return min(doubled, max(MOST_TIMES * least_bytes, MOST_BYTES)), min(pause, LONGEST_PAUSE_SECONDS)


def await_room(
    has_room: Callable[[], bool], stopped: Callable[[], bool], *, ranks: Any, pause_seconds: float = 0.0
) -> bool:
    """Wait until every rank has room; False where any is to stop before that.

    All ranks look, tell one another and sleep again and again; meanwhile none of them is said to hang.
    """
    until = time.monotonic() + pause_seconds
    pulse.rest()
    try:
        while True:
            lacking = _any(ranks, time.monotonic() < until or not has_room())
            if _any(ranks, stopped()):
                return False
            if not lacking:
                return True
            time.sleep(ROOM_SECONDS)
    finally:
        pulse.beat()


def fits(folder: Path, needed_bytes: int) -> bool:
    """Whether so many bytes more can be written to a folder: by what is free on its disk, and by taking them.

    Only taking them shows a quota. The blocks are reserved and given back; where the filesystem cannot do that, they
    are written.
    """
    probe = folder / f"probe-{uuid.uuid4().hex}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if shutil.disk_usage(folder).free < needed_bytes:
            return False
        with probe.open("wb") as file:
            _take(file, needed_bytes)
            os.fsync(file.fileno())
    except OSError:
        return False
    finally:
        probe.unlink(missing_ok=True)
    return True


def size_of(folder: Path) -> int:
    """Bytes of the files in a folder; 0 where there is none. What goes meanwhile counts or not."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                total += (Path(place) / name).stat().st_size
            except OSError:
                continue
    return total


def _take(file: BinaryIO, needed_bytes: int) -> None:
    reserve = getattr(os, "posix_fallocate", None)
    if reserve is not None:
        try:
            reserve(file.fileno(), 0, needed_bytes)
            file.write(bytes(min(needed_bytes, LEAST_BYTES)))
            file.flush()
            return
        except OSError as error:
            if error.errno not in _UNABLE:
                raise
    for start in range(0, needed_bytes, _CHUNK):
        file.write(bytes(min(_CHUNK, needed_bytes - start)))
    file.flush()


def _any(ranks: Any, flag: bool) -> bool:
    return flag if ranks is None else ranks.any(flag)
