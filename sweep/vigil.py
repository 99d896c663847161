"""Whether the dispatcher is still there: a run that has lost it must end, for Tune would wait for ever."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import ray
from ray.actor import ActorHandle
from ray.exceptions import (
    ActorDiedError,
    ActorUnavailableError,
    GetTimeoutError,
    LocalRayletDiedError,
    NodeDiedError,
    RayError,
    RaySystemError,
    WorkerCrashedError,
)

#: What an answer may take.
ANSWER_SECONDS = 10.0

#: So many questions in a row without an answer, some six minutes, and nobody will answer any more. Questions are
#: counted, not seconds: a machine that was asleep has asked nothing meanwhile.
UNANSWERED = 30

#: How a dispatcher that may answer yet does not.
NO_ANSWER = (GetTimeoutError, ActorUnavailableError)

#: How Ray's own processes are found dead, while a sweep is being set up too.
DIED = (ActorDiedError, LocalRayletDiedError, NodeDiedError, RaySystemError, WorkerCrashedError)


class Gone(RuntimeError):
    """The dispatcher is gone, and nothing that still waits will ever be answered."""


class Vigil:
    """Asks the dispatcher, and calls `lose` with the reason once it is known to be gone.

    Its process dies with the raylet of its machine, and where a machine is out of memory. Tune only sees that trials
    end, starts them again, and waits without an end for a machine that is not there.
    """

    def __init__(self, dispatcher: ActorHandle, lose: Callable[[str], None]) -> None:
        self._dispatcher, self._lose = dispatcher, lose
        self._unanswered = 0
        self._unheard = ""
        """The reason to pause that it has not acknowledged."""
        self.gone = ""
        """Why there is no dispatcher any more; empty while there is one."""

    def status(self) -> dict[str, Any]:
        """What it says of itself.

        Raises:
            Gone: if it is gone.
            NO_ANSWER: if it did not answer in time, and may answer yet.
        """
        if self._unheard:
            self.pause(self._unheard)
        return self._asked(self._dispatcher.status.remote())

    def last_status(self) -> dict[str, Any]:
        """What it says of itself once all is done; asked on until it answers or counts as gone.

        Raises:
            Gone: if it is gone.
        """
        while True:
            with suppress(*NO_ANSWER):
                return self.status()

    def pause(self, reason: str) -> None:
        """Let every gang end its step and write a checkpoint; where it is not heard, with the next status again.

        Raises:
            As `status` does.
        """
        self._unheard = reason
        self._asked(self._dispatcher.pause.remote(reason))
        self._unheard = ""

    def look(self) -> None:
        """Ask once, for what `gone` says afterwards."""
        try:
            self.status()
        except (Gone, *NO_ANSWER):
            return

    def check(self) -> None:
        """Nothing while there is a dispatcher.

        Raises:
            Gone: if it is gone.
        """
        if self.gone:
            raise Gone(self.gone)

    def _asked(self, reference: Any) -> Any:
        self.check()
        try:
            answer = ray.get(reference, timeout=ANSWER_SECONDS)
        except ActorDiedError as error:
            self._end(f"the dispatcher's process died: {why(error)}")
            raise Gone(self.gone) from error
        except NO_ANSWER as error:
            if isinstance(error, ActorUnavailableError):  # that is known at once
                time.sleep(ANSWER_SECONDS)
            self._unanswered += 1
            if self._unanswered < UNANSWERED:
                raise
            self._end(f"the dispatcher has left {UNANSWERED} questions of {ANSWER_SECONDS:g} s each without an answer")
            raise Gone(self.gone) from error
        self._unanswered = 0
        return answer

    def _end(self, reason: str) -> None:
        self.gone = self.gone or reason
        self._lose(self.gone)


def why(error: RayError) -> str:
    """What has happened, out of a long text with names, numbers and advice."""
    words = " ".join(str(error).split())
    for after in ("Worker exit detail:", "Worker exit type:", "The actor is dead because"):
        if after in words:
            return words.partition(after)[2].strip().partition(". ")[0].rstrip(".")
    return words.partition(". ")[0].rstrip(".")
