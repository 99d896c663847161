"""What an error that ended a stage means: for its process, for its machine, and in one line; handles none."""

from __future__ import annotations

import errno
import re
import traceback
from pathlib import Path

from trainables.faults import Invalid

#: Names of exceptions after which a process must not go on: its memory or its GPU is in an unknown state.
UNFIT = frozenset({"MemoryError", "OutOfMemory", "OutOfMemoryError", "AcceleratorError"})

#: What a disk without room says, and a spent quota.
FULL = (errno.ENOSPC, errno.EDQUOT)

#: The same in texts: a rank hears of another's error in no other form, and libraries pass it on so.
_FULL = re.compile(rf"No space left on device|Disk quota exceeded|\[[Ee]rrno ({'|'.join(map(str, FULL))})\]")

#: Where an object lies in memory, as Python writes it: another place in every run.
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")


def is_full(error: BaseException | None) -> bool:
    """Whether a disk without room, or a spent quota, is behind an error; libraries keep that in their texts alone."""
    while error is not None:
        if getattr(error, "errno", None) in FULL:
            return True
        if _FULL.search(str(error)):
            return True
        error = error.__cause__ or error.__context__
    return False


def is_unfit(error: BaseException) -> bool:
    """Whether the process that raised this must not go on: out of memory, a CUDA error, or ranks that disagree."""
    if getattr(error, "alone", False):
        return True
    causes = (error, error.__cause__) if error.__cause__ is not None else (error,)
    return any(type(cause).__name__ in UNFIT or "CUDA error" in str(cause) for cause in causes)


def spoken(error: BaseException) -> str:
    """The error in one line, the same in every run, with the innermost place it comes from.

    What a value was refused for says itself where to look.
    """
    if isinstance(error, Invalid):
        return " ".join(f"{error.what} cannot be used: {'; '.join(error.faults)}".split())
    frames = traceback.extract_tb(error.__traceback__)
    text = _ADDRESS.sub("", " ".join(f"{type(error).__name__}: {error}".split()))
    if not frames:
        return text
    last = frames[-1]
    return f"{text} (in {last.name}, {Path(last.filename).name}:{last.lineno})"
