"""Ctrl-C once and twice: the first asks, the second interrupts; knows nothing of what is asked to stop."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType

#: Schedulers of clusters send the second when a job's time is up.
SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopping:
    """A context in which the first signal calls `ask` and the second raises KeyboardInterrupt in the main thread.

    `ask` runs in a thread of its own, since a signal may arrive anywhere. In another thread than the main one, where
    signals cannot be heard, the context does nothing.
    """

    def __init__(self, ask: Callable[..., None]) -> None:
        self._ask = ask
        self.times = 0
        """How many signals have come."""
        self.asked = False
        """Whether a signal, or anything else, has asked."""
        self._before: dict[signal.Signals, object] = {}

    def __enter__(self) -> Stopping:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._heard) for number in SIGNALS}
        return self

    def __exit__(self, *raised: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def ask_once(self, *reason: str) -> None:
        """Ask as the first signal does; nothing if it was asked before. Counts as no signal, so one more still asks."""
        if not self.asked:
            self.asked = True
            self._ask(*reason)

    def _heard(self, number: int, frame: FrameType | None) -> None:
        self.times += 1
        if self.times > 1:
            raise KeyboardInterrupt
        self.asked = True
        threading.Thread(target=self._ask, name="sweep stopping", daemon=True).start()
