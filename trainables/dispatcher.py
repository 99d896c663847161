"""The one actor of a running sweep that hands ready stages to free gangs; it carries out what the board decides."""

from __future__ import annotations

import asyncio
import logging
import math
import os
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import ray
from ray.actor import ActorHandle
from ray.exceptions import GetTimeoutError, RayActorError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from trainables.board import Assign, Board, Cancel, Decision, Notify
from trainables.equipment import Question
from trainables.faults import refuse
from trainables.gang import HEAD, Post, start_host
from trainables.gangs import RUNNERS, GangKind, Gangs, Runner
from trainables.mailbox import Request
from trainables.outputs import Outputs
from trainables.processes import end, is_gone
from trainables.roster import Roster
from trainables.scores import Cancelled, Done, Failed, Progress, event_from_json, event_to_json
from trainables.stages import Stage
from trainables.store import Store, absolute

_log = logging.getLogger(__name__)

#: How often a Ray of this process alone is started; Ray itself waits half a minute, too short on a crowded machine.
LOCAL_STARTS = 3

#: Ray's namespace for the dispatcher's name.
NAMESPACE = "transfer-sweep"

#: A trial hears at least this often, if only that nothing has happened, so that whoever asks for it can stop it.
SILENCE_SECONDS = 15.0

#: A trial's process that gives no sign of life for so long is frozen, and is ended, so that Tune starts another for its
#: trial.
FROZEN_SECONDS = 4 * SILENCE_SECONDS

#: A rank gives a sign of life at least this often.
SIGN_SECONDS = 5.0

#: When this process was late by more, it stood still.
STILL_SECONDS = 1.0

#: How long a checkpoint may take to write when a sweep is asked to stop; a second Ctrl-C does not wait for it.
PATIENT_SECONDS = 300.0

#: How often machines are looked at: gone ones, those about to go, and gangs without work.
LOOK_SECONDS = 2.0

#: How long gangs may take to stop what they run when the sweep ends, before their processes are ended.
CLOSING_SECONDS = 15.0

#: How long the end of a sweep may wait for what nobody needs to be deleted; its gangs have ended by then.
TIDY_SECONDS = CLOSING_SECONDS / 2


class Dispatcher:
    """Trials submit paths and wait for events; gangs take requests and report.

    Every method but `start` and `close` returns as soon as it has an answer, and many may wait at once.
    """

    def __init__(
        self,
        gangs: Gangs,
        store: str,
        cache: str,
        runner: Runner,
        storage_limit_bytes: float = math.inf,
        question: Question | None = None,
        folder: str = "",
        may_grow: bool = False,
        alone: bool = False,
    ) -> None:
        self._gangs = gangs
        self._question = question
        self._store = Store(store, cache=Path(cache))
        self._store_uri, self._cache, self._runner = store, cache, runner
        self._session = uuid.uuid4().hex[:8]
        self._board = Board(session=self._session)
        self._roster = Roster(
            gangs,
            self._board,
            _Rays(gangs.kind, self._post),
            carry=self._carry,
            give_up=self._give_up,
            say=lambda text: self._notices.append(text),
            left=self._lost,
            may_grow=may_grow,
            alone=alone,
        )
        self._slots = self._roster.slots
        self._outputs = Outputs(
            self._store,
            self._board,
            carry=self._carry,
            say=lambda text: self._notices.append(text),
            session=self._session,
            gangs=gangs.count,
            limit_bytes=storage_limit_bytes,
            folder=folder,
        )
        self._tickets: dict[str, int] = {}
        self._last_ticket = 0
        self._events: dict[str, list[str]] = {}
        self._changed = asyncio.Condition()
        self._closing = False
        self._steps = 0
        self._recent: deque[tuple[float, int]] = deque(maxlen=64)
        self._last_step: dict[str, int] = {}
        self._notices: deque[str] = deque(maxlen=20)
        self._watching: asyncio.Task[None] | None = None
        self._trial_processes: dict[tuple[int, int], float] = {}
        """By the number and the start of a trial's process, when it last gave a sign of life."""
        self._me: ActorHandle | None = None
        self._looking: asyncio.Task[None] | None = None
        self._pinning: asyncio.Task[None] | None = None
        self._stage_seconds, self._metered, self._training = 0.0, time.monotonic(), 0

    async def start(self) -> None:
        """Start the gangs, or look out for work if they are elastic; they take it as soon as each is ready."""
        self._me = ray.get_runtime_context().current_actor
        await self._outputs.pin()
        self._looking = asyncio.create_task(self._look())
        self._pinning = asyncio.create_task(self._pin())
        self._watching = asyncio.create_task(self._watch())
        self._roster.begin()

    # Trials

    async def submit(self, trial: str, path: list[str]) -> int:
        """Take a trial on; `path` is the JSON text of its stages. Returns the ticket that the other calls ask for.

        A trial submitted again gets a new ticket, and whoever holds the old one has no say any more: Tune may end a
        trial's process long after it has started another for the same trial.
        """
        stages = tuple(Stage.from_json(text) for text in path)
        found = await self._outputs.found(stages)
        self._outputs.take_up(stages)
        self._last_ticket += 1
        ticket = self._tickets[trial] = self._last_ticket
        self._events[trial] = []
        await self._carry(self._board.submit(trial, stages, *self._outputs.heed(found)))
        await self._outputs.make_room()
        return ticket

    async def foresee(self, paths: list[list[str]]) -> None:
        """Take on stages that trials to come are certain to need; gangs for which no trial has work run them."""
        for path in paths:
            stages = tuple(Stage.from_json(text) for text in path)
            found = await self._outputs.found(stages)
            await self._carry(self._board.foresee(stages, *self._outputs.heed(found)))

    async def next_events(self, trial: str, ticket: int) -> list[str]:
        """The events since the last call, as JSON texts; waits for one, and is empty after a silence.

        Raises:
            LookupError: if the ticket is not that of the trial, or the sweep is ending.
        """

        def heard() -> bool:
            return bool(self._tickets.get(trial) != ticket or self._events[trial] or self._closing)

        async def wait() -> None:
            async with self._changed:
                await self._changed.wait_for(heard)

        try:
            await asyncio.wait_for(wait(), SILENCE_SECONDS)
        except TimeoutError:
            return []
        if self._tickets.get(trial) != ticket:
            raise LookupError(
                f"trial {trial!r} must hold its latest ticket, got {ticket}; it was submitted again or let go"
            )
        if self._closing and not self._events[trial]:
            raise LookupError(f"trial {trial!r} gets no more events: the sweep is ending")
        events, self._events[trial] = self._events[trial], []
        return events

    async def detach(self, trial: str, ticket: int) -> None:
        """Forget a trial; a stage that nobody else waits for is stopped. An old ticket changes nothing."""
        if self._tickets.get(trial) != ticket:
            return
        del self._tickets[trial], self._events[trial]
        await self._carry(self._board.detach(trial))

    async def lives(self, process: int, started: int) -> None:
        """A sign of life of a trial's process of this machine, whether it has a trial or waits for one."""
        self._trial_processes[process, started] = time.monotonic()

    # Gangs

    async def take(
        self, gang: str, incarnation: str, after: int, rank: int, process: int, node: str, started: int = 0
    ) -> Request | None:
        """The request of a gang after a sequence number; None where the caller is to end."""
        slot = self._slots[gang]
        async with slot.joining:
            if incarnation in slot.past:
                return None
            if incarnation != slot.incarnation:
                await self._roster.join(gang, incarnation)
        if incarnation != slot.incarnation:
            return None
        slot.processes[rank] = process
        slot.places[rank] = (node, process, started)
        slot.heard[rank] = (time.monotonic(), 0.0)
        slot.nodes.add(node)

        def ready() -> bool:
            return self._closing or slot.incarnation != incarnation or _after(slot.request, after) is not None

        async with self._changed:
            await self._changed.wait_for(ready)
        if self._closing or slot.incarnation != incarnation:
            return None
        return _after(slot.request, after)

    async def report(self, gang: str, attempt: str, event: str) -> None:
        """An event of the stage that the gang runs."""
        said = event_from_json(event)
        if self._board.gets_further(gang, attempt, said):
            self._slots[gang].worked = True
        if isinstance(said, Progress) and self._board.accepts(gang, attempt):
            self._count(attempt, said.step)
        if isinstance(said, Cancelled) and self._slots[gang].leaving and self._board.accepts(gang, attempt):
            await self._roster.leave(gang)
            return
        if isinstance(said, Failed) and said.of_machine and self._board.accepts(gang, attempt):
            if place := self._slots[gang].places.get(0):  # it is rank 0 that says so
                self._roster.blame(place[0])
            await self._roster.begin_anew(gang, said.reason)
            return
        kept = await self._outputs.looked_up(said.digest) if isinstance(said, Done) else None
        if kept is not None and self._board.accepts(gang, attempt):
            self._outputs.add(kept)  # and in the same breath it is known to be done, and who needs it
        await self._carry(self._board.report(gang, attempt, said))
        if self._slots[gang].leaving and not isinstance(said, Progress):
            await self._roster.ask_to_leave(gang)  # its stage had ended before it was stopped, and it may have the next
        if isinstance(said, Done):
            await self._outputs.make_room()

    async def accepts(self, gang: str, attempt: str) -> bool:
        """Whether the attempt may commit."""
        return self._board.accepts(gang, attempt)

    async def holds(self, gang: str, attempt: str) -> bool:
        """Whether the attempt is the last that the gang was given, and the gang is still what it was then."""
        request = self._slots[gang].request
        return request is not None and request.attempt == attempt

    async def cancelled(self, gang: str, attempt: str) -> bool:
        """Waits until the attempt is to stop, or is no longer the gang's, and says True."""
        slot = self._slots[gang]

        def settled() -> bool:
            return self._closing or slot.stopping == attempt or not self._board.accepts(gang, attempt)

        async with self._changed:
            await self._changed.wait_for(settled)
        # An attempt that has ended in any other way, or was given to another gang, has nothing left to win.
        return True

    async def parent_missing(self, gang: str, attempt: str, reason: str) -> None:
        """The gang could not read the output of the parent stage, or found it other than it was written."""
        if self._board.accepts(gang, attempt):
            self._notices.append(f"{reason}; trained again")
        await self._carry(self._board.parent_missing(gang, attempt))

    async def unfit(self, gang: str, incarnation: str, attempt: str, reason: str, of_machine: bool, node: str) -> None:
        """The gang is about to end for this reason, which a rank on this machine gives. The first counts: others may
        hear of it as a broken connection. But whose own disk or storage it was says so itself, whenever it is heard.
        """
        slot = self._slots[gang]
        if slot.incarnation == incarnation and self._board.accepts(gang, attempt):
            slot.unfit = slot.unfit or reason
            slot.of_machine = slot.of_machine or of_machine
            if of_machine:
                self._roster.blame(node)

    async def refuse(self, gang: str, incarnation: str, node: str, text: str, passes: bool) -> None:
        """A machine of the gang cannot take part, for good or until what keeps it from that `passes`."""
        await self._roster.refuse(gang, incarnation, node, text, passes=passes)

    async def pulse(self, gang: str, incarnation: str, rank: int, silence: float) -> bool:
        """A sign of life, with how long the process has got on with nothing; whether it is to end for that."""
        slot = self._slots[gang]
        if incarnation != slot.incarnation:
            return incarnation in slot.past
        slot.heard[rank] = (time.monotonic(), silence)
        if silence <= self._gangs.patience_seconds or slot.request is None:
            return False
        slot.unfit = slot.unfit or (
            f"rank {rank} got on with nothing for {silence:.0f} s, longer than patience_seconds "
            f"({self._gangs.patience_seconds:g}), and was ended"
        )
        self._notices.append(f"{gang}: {slot.unfit}")
        return True

    async def wanted(self, digest: str) -> bool:
        """Whether the checkpoints of a stage that was stopped are worth keeping."""
        return self._closing or self._board.wanted(digest)

    async def notice(self, text: str) -> None:
        """Something that whoever watches should know."""
        self._notices.append(text)

    # The disk

    async def remember(self, digests: list[str], still_open: Iterable[str] = ()) -> None:
        """Stages of earlier runs of this sweep, whose weights count for its budget, and those of trials that have not
        ended. The best of every cell must have been named before.
        """
        await self._outputs.remember(digests, still_open)

    async def keep(self, cell: str, best: list[str], others: list[str], spare: Iterable[str] = ()) -> None:
        """Of the leaves of a cell keep the best, and the spare while there is room; the others are read by nobody."""
        await self._outputs.keep(cell, best, others, spare)

    async def pause(self, reason: str) -> None:
        """Stop what runs, each stage after a checkpoint, and leave every trial open."""
        self._outputs.leave_open()
        await self._carry(self._board.stop(reason))

    # What is going on

    async def status(self) -> dict[str, Any]:
        """Counts and what is waited for, as plain values."""
        counts = self._board.counts
        self._meter()
        return {
            "gangs_started": self._roster.begun,
            "gangs_restarted": self._roster.restarted,
            "executed": counts["executed"],
            "reused": counts["reused"],
            "failed": counts["failed"],
            "cancelled": counts["cancelled"],
            "lost": counts["lost"],
            "remade": counts["remade"],
            "duplicate": counts["duplicate"],
            "evicted": self._outputs.evicted,
            "stored_bytes": self._outputs.stored_bytes(),
            "gangs": [{"gang": name, "doing": self._doing(name)} for name in self._slots],
            "notices": list(self._notices),
            "moved": counts["moved"],
            "gangs_running": self._roster.serving(),
            "gang_hours": round(self._roster.spent_hours(), 4),
            "stage_seconds": round(self._stage_seconds, 1),
            "running": self._board.running(),
            "queued": self._board.queued(),
            "waiting": [asdict(waiting) for waiting in self._board.waiting(gangless=self._roster.gangless)],
            "steps": self._steps,
            "steps_per_second": self._speed(),
            "processes": {name: dict(slot.processes) for name, slot in self._slots.items()},
            "nodes": {name: sorted(slot.nodes) for name, slot in self._slots.items()},
        }

    async def close(self, seconds: float = CLOSING_SECONDS) -> None:
        """Stop what runs and end the gangs, by force after so many seconds; trials that wait get no more events."""
        if self._watching is not None:
            self._watching.cancel()
        if self._pinning is not None:
            self._pinning.cancel()
        async with self._changed:
            self._closing = self._roster.closing = True
            self._changed.notify_all()
        if self._looking is not None:
            self._looking.cancel()
        await self._outputs.pin()
        await self._roster.close(seconds)
        try:
            async with asyncio.timeout(TIDY_SECONDS):
                await self._outputs.tidy()
                await asyncio.to_thread(self._tidy)
        except TimeoutError:
            _log.warning("what is left to be deleted stays until the sweep is run again: the storage takes its time")

    # Moves

    def _doing(self, gang: str) -> str:
        """In words, what a gang does."""
        if why := self._roster.waits(gang):
            return why
        slot = self._slots[gang]
        stage = self._board.stage_of(gang)
        if stage is None:
            return "waits for a stage that is ready"
        step = self._last_step.get(slot.request.attempt, 0) if slot.request else 0
        words = f"{stage.kind} {'+'.join(task.name for task in stage.tasks)}"
        return f"{words}, step {step} of {stage.steps}" if stage.steps else words

    async def _watch(self) -> None:
        """End what gives no sign of life, not even by the thread that should: hosts of gangs, processes of trials."""
        patience = self._gangs.patience_seconds + 3 * SIGN_SECONDS
        pause = min(SIGN_SECONDS, patience / 4)
        while True:
            before = time.monotonic()
            await asyncio.sleep(pause)
            if (late := time.monotonic() - before - pause) > STILL_SECONDS:
                self._excuse(late)
            try:
                self._end_frozen_trials(min(FROZEN_SECONDS, patience))
                self._roster.end_silent(patience)
            except Exception as error:  # Ray may be unreachable, or a process be gone already; the next look ends it
                _log.warning("what gives no sign of life could not be ended: %s", error)

    def _excuse(self, seconds: float) -> None:
        """This process stood still for so long, maybe with the whole machine: nobody could be heard meanwhile."""
        now = time.monotonic()
        self._roster.excuse(seconds)
        self._trial_processes = {one: min(now, when + seconds) for one, when in self._trial_processes.items()}

    def _end_frozen_trials(self, patience_seconds: float) -> None:
        """A trial asks for nothing else than processors, so one that is not heard at all hears nothing either."""
        now = time.monotonic()
        silent = [one for one, when in self._trial_processes.items() if now - when > patience_seconds]
        for process, started in silent:
            del self._trial_processes[process, started]
            if end(process, started):
                self._notices.append(
                    f"the process of a trial, {process}, gave no sign of life for {patience_seconds:g} s and was "
                    "ended; another takes its trial up"
                )

    def _post(self, gang: str, number: int) -> Post:
        """What the host of a gang is told."""
        assert self._me is not None
        return Post(
            dispatcher=self._me,
            gang=gang,
            gangs=self._gangs,
            runner=self._runner,
            store=self._store_uri,
            cache=self._cache,
            session=f"{self._session}-{number}",
            question=self._question,
            avoid=tuple(sorted(self._roster.avoided())),
        )

    async def _give_up(self, reason: str) -> None:
        """There will be no gang any more; trials stay open."""
        self._outputs.leave_open()
        await self._carry(self._board.gangs_gone(reason))

    def _lost(self, request: Request) -> None:
        """A gang will not answer this request. Of a process of this machine it can be seen that it writes no more."""
        places = next((slot.places for slot in self._slots.values() if slot.request is request), {})
        node, process, started = places.get(0, ("", 0, 0))
        here = node == ray.get_runtime_context().get_node_id()
        digest = Stage.from_json(request.stage).digest
        self._outputs.lost(digest, request.attempt, is_gone=lambda: here and is_gone(process, started))

    async def _look(self) -> None:
        """As long as the sweep runs, see what has become of the machines."""
        while True:
            try:
                await self._roster.look()
            except Exception as error:  # Ray's own state may be unreachable for a moment; the next look may see
                _log.warning("the machines could not be looked at: %s", error)
            await asyncio.sleep(LOOK_SECONDS)

    async def _pin(self) -> None:
        """As long as the sweep runs, say what is kept from other sweeps: no look at machines waits for the storage."""
        while True:
            try:
                await self._outputs.pin()
            except Exception as error:  # whatever it is, what was said before stands, and is said again
                _log.warning("what this sweep keeps from others could not be said: %s", error)
            await asyncio.sleep(LOOK_SECONDS)

    async def _carry(self, decisions: tuple[Decision, ...]) -> None:
        """Do what the board has decided; whoever waits looks again."""
        for decision in decisions:
            if isinstance(decision, Assign):
                slot = self._slots[decision.gang]
                slot.sequence += 1
                slot.request = Request(sequence=slot.sequence, stage=decision.stage.to_json(), attempt=decision.attempt)
            elif isinstance(decision, Cancel):
                self._slots[decision.gang].stopping = decision.attempt
            elif isinstance(decision, Notify):
                self._events[decision.trial].append(event_to_json(decision.event))
        self._meter()
        async with self._changed:
            self._changed.notify_all()

    def _meter(self) -> None:
        """Count the time that gangs spend on stages, whatever becomes of the attempt."""
        now = time.monotonic()
        self._stage_seconds += (now - self._metered) * self._training
        self._metered = now
        self._training = sum(self._board.stage_of(gang) is not None for gang in self._slots)

    def _count(self, attempt: str, step: int) -> None:
        steps = step - self._last_step.get(attempt, 0)
        self._last_step[attempt] = step
        if steps > 0:
            self._steps += steps
            self._recent.append((time.monotonic(), steps))

    def _speed(self) -> float:
        """Optimiser steps per second over the last reports of all gangs; 0.0 before there are two."""
        if len(self._recent) < 2:
            return 0.0
        seconds = time.monotonic() - self._recent[0][0]
        return round(sum(steps for _, steps in list(self._recent)[1:]) / max(seconds, 1e-6), 2)

    def _tidy(self) -> None:
        for start in range(1, self._roster.begun + 1):
            for gang in self._slots:
                self._store.discard_scratch(f"{self._session}-{start}-{gang}")


class _Rays:
    """The cluster of a roster is Ray's."""

    def __init__(self, kind: GangKind, post: Callable[[str, int], Post]) -> None:
        self._kind, self._post = kind, post

    def start(self, gang: str, number: int) -> ActorHandle:
        return start_host(self._post(gang, number))

    def end(self, host: ActorHandle) -> None:
        ray.kill(host)

    def end_start(self, host: ActorHandle) -> None:
        ray.kill(host, no_restart=self._kind is not GangKind.REHEARSAL)

    def end_process(self, node: str, process: int, started: int) -> None:
        if node == ray.get_runtime_context().get_node_id():
            end(process, started)
            return
        there = NodeAffinitySchedulingStrategy(node, soft=False)
        ray.remote(end).options(num_cpus=0, scheduling_strategy=there).remote(process, started)

    def machines(self) -> tuple[set[str], set[str]]:
        return _machines()

    def resources(self) -> dict[str, dict[str, float]]:
        return _resources()


def _machines() -> tuple[set[str], set[str]]:
    """The ids of the machines that live, and of those that were told to go."""
    alive = {node["NodeID"] for node in ray.nodes() if node["Alive"]}
    return alive, set(ray._private.state.state.get_draining_nodes())


def _resources() -> dict[str, dict[str, float]]:
    """By its id, what each machine that lives has, whoever uses it."""
    return {node["NodeID"]: node["Resources"] for node in ray.nodes() if node["Alive"]}


def _after(request: Request | None, after: int) -> Request | None:
    return request if request is not None and request.sequence > after else None


def start_dispatcher(
    gangs: Gangs,
    *,
    store: str | Path,
    cache: Path,
    name: str,
    runner: Runner | None = None,
    may_grow: bool = False,
    alone: bool = False,
    storage_limit_bytes: float = math.inf,
    question: Question | None = None,
    folder: str = "",
) -> ActorHandle:
    """Start the dispatcher and its gangs on the Ray cluster that this process is connected to.

    Trials find it by `name`. It ends with this process. None for `runner` means that of the gangs' kind. Whether the
    gangs fit is proved first, unless they are elastic or the cluster `may_grow`: there machines are rented for gangs
    that have no room; where this machine is `alone`, none ever comes. `question` is what every machine must have that a
    gang is to run on. `folder` is the sweep's in the store, beside those of other sweeps: there stands what these must
    not delete; without it, nothing does.

    Raises:
        Invalid: if the store cannot be written or the gangs do not fit.
    """
    if not (may_grow or gangs.elastic):
        has = ray.cluster_resources()
        refuse("the gangs of this sweep", gangs.fits(cpus=has.get("CPU", 0.0), gpus=has.get("GPU", 0.0)))
    Store(store, cache=cache).check_writable()
    handle = (
        ray.remote(Dispatcher)
        .options(name=name, namespace=NAMESPACE, num_cpus=0, resources=HEAD, max_concurrency=1000)
        .remote(
            gangs,
            absolute(str(store)),
            absolute(str(cache)),
            runner or RUNNERS[gangs.kind],
            storage_limit_bytes,
            question,
            folder,
            may_grow,
            alone,
        )
    )
    ray.get(handle.start.remote())
    return handle


def find_dispatcher(name: str) -> ActorHandle:
    """The running dispatcher of that name.

    Raises:
        ValueError: where there is none.
    """
    return ray.get_actor(name, namespace=NAMESPACE)


def close(dispatcher: ActorHandle, *, patiently: bool = False, at_once: bool = False) -> None:
    """End the gangs, then the dispatcher; `patiently` waits for large checkpoints, `at_once` for nothing."""
    seconds = PATIENT_SECONDS if patiently else CLOSING_SECONDS
    try:
        if not at_once:
            ray.get(dispatcher.close.remote(seconds), timeout=seconds + CLOSING_SECONDS)
    except GetTimeoutError:
        _log.warning("the gangs did not end within %g s; they are ended by force", seconds + CLOSING_SECONDS)
    except RayActorError:
        return  # it is gone, and its gangs with it
    ray.kill(dispatcher)


def start_local_ray(*, cpus: int, gpus: int = 0) -> None:
    """Start a Ray cluster of this process alone, quietly; it ends with this process.

    From 2.59 on Ray would write a token file to the home directory at this point, and a `ray start` on the same
    host would later find it and refuse machines that have none. A cluster of one process that listens on the
    loopback interface needs no token, so none is made unless RAY_AUTH_MODE says otherwise.
    """
    os.environ.setdefault("RAY_AUTH_MODE", "disabled")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    # Trials and gangs are more processes than processors on purpose; the raylet warns of each beyond three times this.
    os.environ.setdefault("RAY_worker_maximum_startup_concurrency", "16")
    for tried in range(LOCAL_STARTS):
        try:
            ray.init(
                address="local",  # never somebody else's cluster on this machine
                num_cpus=cpus,
                num_gpus=gpus,
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.ERROR,
                configure_logging=True,
            )
            return
        except Exception as error:  # Ray has no class for it
            if tried + 1 == LOCAL_STARTS or "timed out during startup" not in str(error):
                raise
            ray.shutdown()
