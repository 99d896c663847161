"""Ending one process of this machine for certain, frozen or not, and no other of its number; knows no Ray."""

from __future__ import annotations

import os
import signal
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


def end(process: int, started: int) -> bool:
    """Kill the process of that number that was started then; False where it is gone, or cannot be told from others."""
    if not started or started_at(process) != started:
        return False
    with suppress(ProcessLookupError):
        os.kill(process, signal.SIGKILL)  # unlike any other signal, this one reaches a process that is stopped
    return True
