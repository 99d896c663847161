"""Checkpoints that are sent to a remote filesystem beside the training, often enough; knows no gang and no tensor."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any, Protocol

_log = logging.getLogger(__name__)


class Destination(Protocol):
    """Where checkpoints are sent: `trainables.under_way.UnderWay`."""

    def keep(self, digest: str, step: int, *, admitted: Callable[[], bool]) -> None:
        """Put the newest local checkpoint of a stage there, whole or not at all."""
        ...


def spacing_steps(interval_steps: int) -> int:
    """Steps from one sent checkpoint to the next, so that no more than an interval is ever done again.

    While the newest is on its way the one before it is what another machine finds, and the newest has arrived before
    the next is saved: at most two spacings are lost at once.
    """
    return max(1, interval_steps // 2)


class SentCheckpoints:
    """Checkpoints kept on this machine that also go to where the next machine finds them; on rank 0.

    Sending goes on beside the training, one at a time; where an interval is a single step there is no time for that,
    and the training waits. A checkpoint that cannot be sent costs its steps, not the stage, and is told. One that
    arrives when the stage has long been given to another attempt does not count.
    """

    def __init__(
        self,
        kept: Any,
        destination: Destination,
        digest: str,
        *,
        interval_steps: int,
        admitted: Callable[[], bool],
        tell: Callable[[str], None],
    ) -> None:
        self._kept = kept
        self._destination = destination
        self._digest = digest
        self._at_once = interval_steps == 1
        self._admitted = admitted
        self._tell = tell
        self._sending: threading.Thread | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._kept, name)

    def save(self, step: int, *what: Any) -> None:
        """Save here once the one before is sent, then send it."""
        self.settle()
        self._kept.save(step, *what)
        self._sending = threading.Thread(target=self._send, args=(step,), daemon=True)
        self._sending.start()
        if self._at_once:
            self.settle()

    def settle(self) -> None:
        """Wait until the last one is sent."""
        if self._sending is not None:
            self._sending.join()
            self._sending = None

    def _send(self, step: int) -> None:
        try:
            self._destination.keep(self._digest, step, admitted=self._admitted)
        except OSError as error:
            _log.warning("the checkpoint of stage %s at step %d was not sent: %s", self._digest, step, error)
            self._tell(
                f"the checkpoint of stage {self._digest} at step {step} was not sent ({error}); until the next one is, "
                "a loss of its machine costs the steps since the one before"
            )
