"""Whether one process of this machine is gone for certain, and ending it; no other of its number, and knows no Ray."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path


def started_at(process: int) -> int:
    """When a process was started, in ticks of the system's clock; 0 where there is none or the system does not say.

    With its number it names a process for good: numbers are given again.
    """
    try:
        # The name, in brackets, may hold anything; 19 fields after it (proc(5), field 22).
        return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return 0


def is_gone(process: int, started: int, *, within_seconds: float = 10.0) -> bool:
    """Whether the process of that number that was started then is known to be gone by so long from now.

    One that was killed and that its parent has not heard of yet does nothing any more, and counts as gone.
    """
    stop = time.monotonic() + within_seconds
    while started:
        if started_at(process) != started or _is_dead(process):
            return True
        if time.monotonic() >= stop:
            return False
        time.sleep(0.05)
    return False


def _is_dead(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except (OSError, IndexError):
        return False


def end(process: int, started: int) -> bool:
    """Kill the process of that number that was started then; False where it is gone, or cannot be told from others."""
    if not started or started_at(process) != started:
        return False
    with suppress(ProcessLookupError):
        os.kill(process, signal.SIGKILL)  # unlike any other signal, this one reaches a process that is stopped
    return True
