"""The one actor of a running sweep that hands ready stages to free gangs; it carries out what the board decides."""

from __future__ import annotations

import asyncio
import logging
import math
import os
import re
import time
import uuid
from collections import deque
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import ray
from ray.actor import ActorHandle
from ray.exceptions import GetTimeoutError

from trainables.board import Assign, Board, Cancel, Decision, Notify
from trainables.equipment import Question
from trainables.faults import refuse
from trainables.gang import HEAD, Post, Request, start_host
from trainables.gangs import RUNNERS, GangKind, Gangs, Runner
from trainables.keeping import Kept, evictions
from trainables.scores import Cancelled, Done, Progress, event_from_json, event_to_json
from trainables.stages import Stage
from trainables.store import Store, absolute

_log = logging.getLogger(__name__)

#: How often a Ray of this process alone is started; Ray itself waits half a minute, too short on a crowded machine.
LOCAL_STARTS = 3

#: Ray's namespace for the dispatcher's name.
NAMESPACE = "transfer-sweep"

#: A trial hears at least this often, if only that nothing has happened, so that whoever asks for it can stop it.
SILENCE_SECONDS = 15.0

#: A gang is started this often in a row without getting on with any stage; Ray Train restarts its workers by itself,
#: uncounted.
HOST_STARTS = 3

#: A rank gives a sign of life at least this often.
SIGN_SECONDS = 5.0

#: How long a checkpoint may take to write when a sweep is asked to stop; a second Ctrl-C does not wait for it.
PATIENT_SECONDS = 300.0

#: How often machines are looked at: gone ones, those about to go, and gangs without work.
LOOK_SECONDS = 2.0

#: How long work may wait for machines before that is said; to rent one takes a few minutes.
LACKING_SECONDS = 60.0

#: How long gangs may take to stop what they run when the sweep ends, before their processes are ended.
CLOSING_SECONDS = 15.0

#: How the text of a traceback begins to tell of an exception.
_NAMED = re.compile(r"[\w.]*(Error|Exception): ")

#: Why a gang ended whose machine is gone.
LOST_MACHINE = "its machine was lost"


@dataclass(kw_only=True)
class _Slot:
    """The dispatcher's end of one gang's mailbox."""

    host: ActorHandle | None = None
    starts: int = 0
    incarnation: str = ""
    past: set[str] = field(default_factory=set)
    request: Request | None = None
    sequence: int = 0
    stopping: str = ""
    """The attempt that is to stop."""
    unfit: str = ""
    """Why the gang said it was about to end."""
    of_machine: bool = False
    """Whether any of its ranks said that a disk or a storage was to blame."""
    worked: bool = False
    """Whether it has got on with a stage since its host was started."""
    refused: str = ""
    """What a machine lacks on which it was to run."""
    processes: dict[int, int] = field(default_factory=dict)
    """The process id of each rank."""
    heard: dict[int, tuple[float, float]] = field(default_factory=dict)
    """By rank, when it last gave a sign of life, and how long it had then got on with nothing."""
    nodes: set[str] = field(default_factory=set)
    """The machines of its ranks."""
    leaving: bool = False
    """Whether it is to end in good order as soon as it has stopped what it runs."""
    since: float = 0.0
    """When it became ready; 0.0 while it is not."""
    idle_since: float = 0.0
    joining: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while one rank of a new start makes it known for all of them."""


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
    ) -> None:
        self._gangs = gangs
        self._question = question
        self._limit_bytes = storage_limit_bytes
        self._kept: dict[str, Kept] = {}
        self._pins: dict[str, set[str]] = {}
        self._store = Store(store, cache=Path(cache))
        self._store_uri, self._cache, self._runner = store, cache, runner
        self._session = uuid.uuid4().hex[:8]
        self._board = Board(session=self._session)
        self._slots = {name: _Slot() for name in gangs.names}
        self._tickets: dict[str, int] = {}
        self._last_ticket = 0
        self._events: dict[str, list[str]] = {}
        self._changed = asyncio.Condition()
        self._closing = False
        self._serving: dict[str, asyncio.Task[None]] = {}
        self._gangs_started = 0
        self._gangs_restarted = 0
        self._steps = 0
        self._recent: deque[tuple[float, int]] = deque(maxlen=64)
        self._last_step: dict[str, int] = {}
        self._notices: deque[str] = deque(maxlen=20)
        self._watching: asyncio.Task[None] | None = None
        self._dead: dict[str, str] = {}
        """Gangs that are not started again, and why."""
        self._begun = 0
        self._lacking = ""
        """What the machines that are there lack for a gang to start."""
        self._lacking_since = 0.0
        self._room = math.inf
        """How many gangs have room on the machines that are there."""
        self._gang_seconds = 0.0
        self._me: ActorHandle | None = None
        self._looking: asyncio.Task[None] | None = None
        self._evicted = 0
        self._stage_seconds, self._metered, self._training = 0.0, time.monotonic(), 0

    async def start(self) -> None:
        """Start the gangs, or look out for work if they are elastic; they take it as soon as each is ready."""
        self._me = ray.get_runtime_context().current_actor
        self._looking = asyncio.create_task(self._look())
        self._watching = asyncio.create_task(self._watch())
        if not self._gangs.elastic:
            for name in self._slots:
                self._begin(name)

    # Trials

    async def submit(self, trial: str, path: list[str]) -> int:
        """Take a trial on; `path` is the JSON text of its stages. Returns the ticket that the other calls ask for.

        A trial submitted again gets a new ticket, and whoever holds the old one has no say any more: Tune may end a
        trial's process long after it has started another for the same trial.
        """
        stages = tuple(Stage.from_json(text) for text in path)
        stored, gone = await self._found(stages)
        self._last_ticket += 1
        ticket = self._tickets[trial] = self._last_ticket
        self._events[trial] = []
        await self._carry(self._board.submit(trial, stages, stored, gone))
        await self._make_room()
        return ticket

    async def foresee(self, paths: list[list[str]]) -> None:
        """Take on stages that trials to come are certain to need; gangs for which no trial has work run them."""
        for path in paths:
            stages = tuple(Stage.from_json(text) for text in path)
            await self._carry(self._board.foresee(stages, *await self._found(stages)))

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

    # Gangs

    async def take(self, gang: str, incarnation: str, after: int, rank: int, process: int, node: str) -> Request | None:
        """The request of a gang after a sequence number; None where the caller is to end."""
        slot = self._slots[gang]
        async with slot.joining:
            if incarnation in slot.past:
                return None
            if incarnation != slot.incarnation:
                await self._join(gang, slot, incarnation)
        slot.processes[rank] = process
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
        if isinstance(said, Progress | Done) and self._board.accepts(gang, attempt):
            self._slots[gang].worked = True
        if isinstance(said, Progress) and self._board.accepts(gang, attempt):
            self._count(attempt, said.step)
        if isinstance(said, Cancelled) and self._slots[gang].leaving and self._board.accepts(gang, attempt):
            await self._leave(gang)
            return
        if isinstance(said, Done) and self._board.accepts(gang, attempt):
            await asyncio.to_thread(self._take_note, said.digest)
        await self._carry(self._board.report(gang, attempt, said))
        if self._slots[gang].leaving and not isinstance(said, Progress):
            await self._ask_to_leave(gang)  # its stage had ended before it was stopped, and it may have the next
        if isinstance(said, Done):
            await self._make_room()

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

    async def unfit(self, gang: str, incarnation: str, attempt: str, reason: str, of_machine: bool) -> None:
        """The gang is about to end for this reason. The first counts: others may hear of it as a broken connection."""
        slot = self._slots[gang]
        if slot.incarnation == incarnation and self._board.accepts(gang, attempt):
            slot.unfit = slot.unfit or reason
            slot.of_machine = slot.of_machine or of_machine

    async def refuse(self, gang: str, incarnation: str, text: str) -> None:
        """A machine of the gang cannot take part, and the gang is about to end for that."""
        slot = self._slots[gang]
        if incarnation not in slot.past:
            slot.refused = slot.refused or text

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

    async def remember(self, digests: list[str]) -> None:
        """Stages of earlier runs of this sweep, whose weights count for its budget."""
        await asyncio.to_thread(lambda: [self._take_note(digest) for digest in digests])
        await self._make_room()

    async def keep(self, cell: str, best: list[str], others: list[str]) -> None:
        """Of the leaves of a cell keep the best; the others are read by nobody any more."""
        self._pins[cell] = set(best)
        needed = self._needed()
        await self._evict([digest for digest in others if digest in self._kept and digest not in needed])

    def _needed(self) -> set[str]:
        return self._board.needed().union(*self._pins.values())

    def _take_note(self, digest: str) -> None:
        manifest = self._store.find(digest)
        if manifest is not None:
            self._kept[digest] = Kept(digest=digest, size_bytes=manifest.size_bytes, seconds=manifest.results.seconds)

    async def _make_room(self) -> None:
        """Delete what is cheapest to make again until the budget holds what is there and what gangs are writing.

        A gang may hold an output and three checkpoints of three times its size at once.
        """
        if math.isinf(self._limit_bytes):
            return
        largest = max((kept.size_bytes for kept in self._kept.values()), default=0)
        under_way = self._gangs.count * largest * 10
        excess = sum(kept.size_bytes for kept in self._kept.values()) + under_way - self._limit_bytes
        await self._evict(evictions(self._kept.values(), needed=self._needed(), excess_bytes=excess))

    async def _evict(self, digests: Iterable[str]) -> None:
        for digest in digests:
            self._kept.pop(digest, None)
            self._board.evicted(digest)
            self._evicted += 1
            await asyncio.to_thread(self._store.evict, digest)

    async def pause(self, reason: str) -> None:
        """Stop what runs, each stage after a checkpoint, and leave every trial open."""
        await self._carry(self._board.stop(reason))

    # What is going on

    async def status(self) -> dict[str, Any]:
        """Counts and what is waited for, as plain values."""
        counts = self._board.counts
        self._meter()
        return {
            "gangs_started": self._gangs_started,
            "gangs_restarted": self._gangs_restarted,
            "executed": counts["executed"],
            "reused": counts["reused"],
            "failed": counts["failed"],
            "cancelled": counts["cancelled"],
            "lost": counts["lost"],
            "remade": counts["remade"],
            "duplicate": counts["duplicate"],
            "evicted": self._evicted,
            "stored_bytes": sum(kept.size_bytes for kept in self._kept.values()),
            "gangs": [{"gang": name, "doing": self._doing(name)} for name in self._slots],
            "notices": list(self._notices),
            "moved": counts["moved"],
            "gangs_running": sum(not task.done() for task in self._serving.values()),
            "gang_hours": round(self._spent_hours(), 4),
            "stage_seconds": round(self._stage_seconds, 1),
            "running": self._board.running(),
            "queued": self._board.queued(),
            "waiting": [
                asdict(waiting) for waiting in self._board.waiting(gangless=self._lacking or "for a gang to start")
            ],
            "steps": self._steps,
            "steps_per_second": self._speed(),
            "processes": {name: dict(slot.processes) for name, slot in self._slots.items()},
            "nodes": {name: sorted(slot.nodes) for name, slot in self._slots.items()},
        }

    async def close(self, seconds: float = CLOSING_SECONDS) -> None:
        """Stop what runs and end the gangs, by force after so many seconds; trials that wait get no more events."""
        if self._watching is not None:
            self._watching.cancel()
        async with self._changed:
            self._closing = True
            self._changed.notify_all()
        if self._looking is not None:
            self._looking.cancel()
        tasks = list(self._serving.values())
        if tasks:
            _, left = await asyncio.wait(tasks, timeout=seconds)
            for task in left:
                task.cancel()
        for slot in self._slots.values():
            if slot.host is not None:
                ray.kill(slot.host)
        await asyncio.to_thread(self._tidy)

    # Moves

    def _doing(self, gang: str) -> str:
        """In words, what a gang does."""
        slot = self._slots[gang]
        if gang in self._dead:
            return f"is not started again: {self._dead[gang]}"
        if not slot.incarnation:
            return self._starting(gang)
        stage = self._board.stage_of(gang)
        if stage is None:
            return "waits for a stage that is ready"
        step = self._last_step.get(slot.request.attempt, 0) if slot.request else 0
        words = f"{stage.kind} {'+'.join(task.name for task in stage.tasks)}"
        return f"{words}, step {step} of {stage.steps}" if stage.steps else words

    def _starting(self, gang: str) -> str:
        """In words, why a gang is not ready."""
        if not self._is_serving(gang):
            return "is not needed: no work waits for it"
        if self._lacking:
            return f"waits {self._lacking}"
        if sum(bool(slot.incarnation) for slot in self._slots.values()) >= self._room:
            return f"waits for machines: those that are there have room for {self._room:g} such gangs, which run"
        return "starts"

    async def _watch(self) -> None:
        """End the host of a gang of which a rank gives no sign of life: not even its thread that should."""
        patience = self._gangs.patience_seconds + 3 * SIGN_SECONDS
        while True:
            await asyncio.sleep(min(SIGN_SECONDS, patience / 4))
            for gang, slot in self._slots.items():
                silent = [rank for rank, (when, _) in slot.heard.items() if time.monotonic() - when > patience]
                if silent and slot.incarnation and slot.host is not None:
                    slot.unfit = f"rank {silent[0]} gave no sign of life for {patience:.0f} s, and was ended"
                    self._notices.append(f"{gang}: {slot.unfit}")
                    slot.heard = {}
                    ray.kill(slot.host, no_restart=self._gangs.kind is not GangKind.REHEARSAL)

    def _begin(self, gang: str) -> None:
        """Ask for the machines of a gang."""
        assert self._me is not None
        self._slots[gang].leaving = False
        self._serving[gang] = asyncio.create_task(self._keep(gang, self._me))

    async def _keep(self, gang: str, me: ActorHandle) -> None:
        """Keep a gang's host running until the sweep ends, it has left, has died too often, or cannot take part."""
        slot = self._slots[gang]
        reason, deaths = "", 0
        while deaths < HOST_STARTS:
            self._gangs_started += 1
            self._begun += 1
            slot.worked = False
            slot.host = start_host(
                Post(
                    dispatcher=me,
                    gang=gang,
                    gangs=self._gangs,
                    runner=self._runner,
                    store=self._store_uri,
                    cache=self._cache,
                    session=f"{self._session}-{self._begun}",
                    question=self._question,
                )
            )
            try:
                await slot.host.serve.remote()
                reason = "its host ended by itself"
            except Exception as error:  # Ray raises what it likes here; the gang is lost whatever it is
                reason = _last_words(error)
            if self._closing:
                return
            if slot.refused:
                reason = slot.refused
                self._notices.append(f"{gang} cannot run on {reason}")
                break
            if slot.leaving:
                ray.kill(slot.host)
                slot.host = None
                if self._gangs.elastic:
                    return  # asked for again when work waits
                slot.leaving = False
                continue
            deaths = 1 if slot.worked else deaths + 1
            _log.warning("%s was lost: %s", gang, reason)
            await self._carry(self._part(slot, gang, slot.unfit or reason))
        self._dead[gang] = reason
        if len(self._dead) == len(self._slots):
            await self._carry(self._board.gangs_gone(f"no gang could be kept running; the last reason: {reason}"))

    async def _join(self, gang: str, slot: _Slot, incarnation: str) -> None:
        """A gang has started, or Ray has started it again after its workers died."""
        decisions: list[Decision] = []
        machine = bool(slot.incarnation) and await self._is_lost(slot.nodes)
        if slot.incarnation:
            self._gangs_restarted += 1
            reason = LOST_MACHINE if machine else slot.unfit or "a worker process died"
            decisions += self._part(slot, gang, reason, of_machine=machine or slot.of_machine)
        slot.incarnation, slot.leaving = incarnation, False  # whatever the processes before it were asked
        slot.since = slot.idle_since = time.monotonic()
        await self._carry((*decisions, *self._board.gang_ready(gang)))

    def _part(self, slot: _Slot, gang: str, reason: str, *, of_machine: bool = False) -> tuple[Decision, ...]:
        """Listen no more to the present processes of a gang, which are lost."""
        self._forget(slot)
        return self._board.gang_lost(gang, reason, of_machine=of_machine)

    def _forget(self, slot: _Slot) -> None:
        slot.past.add(slot.incarnation)
        slot.incarnation, slot.request, slot.unfit, slot.of_machine = "", None, "", False
        slot.processes, slot.heard, slot.nodes = {}, {}, set()
        if slot.since:
            self._gang_seconds += time.monotonic() - slot.since
        slot.since = 0.0

    # Machines that come and go

    async def _look(self) -> None:
        """See what has become of the machines, for as long as the sweep runs."""
        while True:
            try:
                alive, draining = await asyncio.to_thread(_machines)
                await self._heed(alive, draining)
                self._see_room(await asyncio.to_thread(_resources))
            except Exception as error:  # Ray's own state may be unreachable for a moment; the next look may see
                _log.warning("the machines could not be looked at: %s", error)
            await asyncio.sleep(LOOK_SECONDS)

    def _see_room(self, machines: list[dict[str, float]]) -> None:
        """Take note of what the machines lack for a gang, and say so once it has kept work waiting for a while."""
        before, self._lacking = self._lacking, self._gangs.waits_for(machines)
        self._room = self._gangs.room_for_gangs(machines)
        if self._lacking != before or not self._board.queued():
            self._lacking_since = time.monotonic()
        elif self._lacking and time.monotonic() - self._lacking_since >= LACKING_SECONDS:
            self._lacking_since = math.inf  # once
            self._notices.append(
                f"work waits {self._lacking}. Where no autoscaler rents them, start machines that have it, or stop and "
                "use smaller workers"
            )

    async def _is_lost(self, nodes: set[str]) -> bool:
        """Whether a machine of these is known to be gone."""
        nodes = set(nodes)
        try:
            alive, _ = await asyncio.to_thread(_machines)
        except Exception as error:  # Ray's own state may be unreachable for a moment; then nothing is known
            _log.warning("the machines could not be looked at: %s", error)
            return False
        return bool(nodes - alive)

    async def _heed(self, alive: set[str], draining: set[str]) -> None:
        """Queue again what ran on a machine that is gone, and move what runs on one that is about to go."""
        for gang, slot in self._slots.items():
            if slot.incarnation and slot.nodes - alive:
                self._gangs_restarted += 1
                await self._carry(self._part(slot, gang, LOST_MACHINE, of_machine=True))
            elif slot.incarnation and slot.nodes & draining and not slot.leaving:
                await self._ask_to_leave(gang)
        await self._fit_to_work()
        if self._spent_hours() >= self._gangs.gang_hours:
            ceiling = f"the gangs have spent the {self._gangs.gang_hours:g} gang-hours that the definition allows"
            await self._carry(self._board.gangs_gone(ceiling))

    async def _fit_to_work(self) -> None:
        """Ask for gangs where work waits, and let go of those that have had none for a while."""
        if not self._gangs.elastic:
            return
        now = time.monotonic()
        starting = sum(not slot.incarnation and self._is_serving(gang) for gang, slot in self._slots.items())
        wanted = self._board.queued() - starting
        for gang, slot in self._slots.items():
            if gang in self._dead:
                continue
            if not self._is_serving(gang) and wanted > 0:
                self._begin(gang)
                wanted -= 1
            elif not self._board.is_free(gang):
                slot.idle_since = now
            elif not slot.leaving and now - slot.idle_since > self._gangs.idle_seconds:
                await self._ask_to_leave(gang)

    def _is_serving(self, gang: str) -> bool:
        task = self._serving.get(gang)
        return task is not None and not task.done()

    async def _ask_to_leave(self, gang: str) -> None:
        """Have a gang stop what it runs, with a checkpoint, and end; at once where it runs nothing."""
        slot = self._slots[gang]
        slot.leaving = True
        if self._board.is_free(gang) or slot.request is None:
            await self._leave(gang)
            return
        slot.stopping = slot.request.attempt
        async with self._changed:
            self._changed.notify_all()

    async def _leave(self, gang: str) -> None:
        """Let a gang that has stopped go; what it ran is queued for another."""
        decisions = self._board.gang_left(gang)
        self._forget(self._slots[gang])
        await self._carry(decisions)

    def _spent_hours(self) -> float:
        running = sum(time.monotonic() - slot.since for slot in self._slots.values() if slot.since)
        return (self._gang_seconds + running) / 3600

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

    async def _found(self, stages: tuple[Stage, ...]) -> tuple[dict[str, Done], list[str]]:
        """What the store knows of those stages of a path that the board does not."""
        unknown = [stage.digest for stage in stages if not self._board.known(stage.digest)]
        return await asyncio.to_thread(self._look_up, unknown)

    def _look_up(self, digests: list[str]) -> tuple[dict[str, Done], list[str]]:
        """What the store knows of these stages, and those of them whose weights it no longer has."""
        stored: dict[str, Done] = {}
        gone = []
        for digest in digests:
            manifest = self._store.find(digest)
            kept = manifest.results if manifest is not None else self._store.results(digest)
            if manifest is not None:
                self._kept[digest] = Kept(digest=digest, size_bytes=manifest.size_bytes, seconds=kept.seconds)
            elif kept is not None:
                gone.append(digest)
            if digest in self._store.damage:
                self._notices.append(
                    f"stage {digest} was damaged ({self._store.damage.pop(digest)}); it is trained again where needed"
                )
            if kept is not None:
                stored[digest] = kept.done()
        return stored, gone

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
        for start in range(1, self._begun + 1):
            for gang in self._slots:
                self._store.discard_scratch(f"{self._session}-{start}-{gang}")


def _machines() -> tuple[set[str], set[str]]:
    """The ids of the machines that live, and of those that were told to go."""
    alive = {node["NodeID"] for node in ray.nodes() if node["Alive"]}
    return alive, set(ray._private.state.state.get_draining_nodes())


def _resources() -> list[dict[str, float]]:
    """What each machine that lives has, whoever uses it."""
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def _last_words(error: Exception) -> str:
    """The last exception that the text of an error tells of, all its lines in one."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    first = max((number for number, line in enumerate(lines) if _NAMED.match(line)), default=len(lines) - 1)
    return " ".join(line.strip() for line in lines[first:])


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
    storage_limit_bytes: float = math.inf,
    question: Question | None = None,
) -> ActorHandle:
    """Start the dispatcher and its gangs on the Ray cluster that this process is connected to.

    Trials find it by `name`. It ends with this process. None for `runner` means that of the gangs' kind. Whether the
    gangs fit is proved first, unless they are elastic or the cluster `may_grow`. `question` is what every machine must
    have that a gang is to run on.

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
