"""One rank's end of a gang's mailbox: what it asks of the dispatcher and tells it; runs no stage."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

import ray
from ray.actor import ActorHandle

from trainables.processes import started_at
from trainables.scores import Event, event_to_json


@dataclass(frozen=True, kw_only=True)
class Request:
    """One stage handed to a gang. `sequence` rises with every request of that gang."""

    sequence: int
    stage: str
    attempt: str


class Mailbox:
    """One rank's end of a gang's mailbox.

    `incarnation` is equal on all ranks of one start of the worker group and differs between starts, so that the
    dispatcher sees a restart, and so that a process that was cut off and comes back is not listened to.
    """

    def __init__(self, dispatcher: ActorHandle, gang: str, incarnation: str, rank: int) -> None:
        self._dispatcher = dispatcher
        self._gang = gang
        self._incarnation = incarnation
        self._rank = rank
        self._reported: ray.ObjectRef | None = None
        self._me = (os.getpid(), ray.get_runtime_context().get_node_id(), started_at(os.getpid()))

    def take(self, after: int) -> Request | None:
        """The next request after a sequence number; waits for it. None when there will be none."""
        return ray.get(self._dispatcher.take.remote(self._gang, self._incarnation, after, self._rank, *self._me))

    def refuse(self, faults: list[str], *, passes: bool = False) -> None:
        """Say what the machine of this rank lacks, so that no gang is tried there again, or what keeps it from taking
        part that `passes`; any rank may.
        """
        text = f"{ray.util.get_node_ip_address()}: {'; '.join(faults)}"
        ray.get(self._dispatcher.refuse.remote(self._gang, self._incarnation, self._me[1], text, passes))

    def report(self, attempt: str, event: Event) -> None:
        """Send an event after the one before has arrived; only rank 0 speaks."""
        if self._rank != 0:
            return
        self.settle()
        self._reported = self._dispatcher.report.remote(self._gang, attempt, event_to_json(event))

    def settle(self) -> None:
        """Wait until the last event has arrived."""
        if self._reported is not None:
            ray.get(self._reported)
            self._reported = None

    def watch(self, attempt: str) -> Callable[[], bool]:
        """A flag that says, at no cost to the caller, whether the attempt is to stop."""
        asked = self._dispatcher.cancelled.remote(self._gang, attempt).future()
        return lambda: asked.done() and asked.exception() is None and asked.result()

    def accepts(self, attempt: str) -> bool:
        """Whether the attempt may commit what it made."""
        return ray.get(self._dispatcher.accepts.remote(self._gang, attempt))

    def holds(self, attempt: str) -> bool:
        """Whether the attempt is this gang's present one, so that what it keeps is gone on from; also at the end."""
        return ray.get(self._dispatcher.holds.remote(self._gang, attempt))

    def parent_missing(self, attempt: str, reason: str) -> None:
        """Say that the output of the parent stage is gone, or not what was written."""
        if self._rank == 0:
            self.settle()
            ray.get(self._dispatcher.parent_missing.remote(self._gang, attempt, reason))

    def unfit(self, attempt: str, reason: str, *, of_machine: bool) -> None:
        """Say why this start of the gang is about to end, and whether a disk of this rank's machine or a storage is the
        cause; any rank may.
        """
        told = (self._gang, self._incarnation, attempt, reason, of_machine)
        ray.get(self._dispatcher.unfit.remote(*told, self._me[1]))

    def wanted(self, digest: str) -> bool:
        """Whether anybody may go on with a stage that was stopped."""
        return ray.get(self._dispatcher.wanted.remote(digest))

    def notice(self, text: str) -> None:
        """Tell whoever watches the sweep."""
        ray.get(self._dispatcher.notice.remote(text))

    def pulse(self, silence: float) -> bool:
        """Say how long this process has got on with nothing; whether it is to end for that."""
        return ray.get(self._dispatcher.pulse.remote(self._gang, self._incarnation, self._rank, silence))
