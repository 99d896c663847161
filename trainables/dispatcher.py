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
from dataclasses import asdict, dataclass, field
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
from trainables.keeping import Kept, evictions, under_way_bytes
from trainables.leftovers import bytes_by_digest
from trainables.listing import seen_in
from trainables.mailbox import Request
from trainables.pins import PinFile, Pins
from trainables.processes import end
from trainables.roster import Roster
from trainables.scores import Cancelled, Done, Progress, event_from_json, event_to_json
from trainables.stages import Stage
from trainables.store import Manifest, Store, absolute

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


@dataclass(kw_only=True)
class _Found:
    """What a store knows of some stages, as it was when they were looked up."""

    stored: dict[str, Done] = field(default_factory=dict)
    gone: list[str] = field(default_factory=list)
    """Those of them whose weights it no longer has."""
    kept: list[Kept] = field(default_factory=list)


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
    ) -> None:
        self._gangs = gangs
        self._question = question
        self._limit_bytes = storage_limit_bytes
        self._kept: dict[str, Kept] = {}
        self._leaves: dict[str, set[str]] = {}
        """By cell, the outputs to keep for good."""
        self._mine: set[str] = set()
        """Every stage that this sweep has asked for, in this run or an earlier one."""
        self._open: set[str] = set()
        """Stages of trials that have not ended, as far as they are not on the board."""
        self._store = Store(store, cache=Path(cache))
        self._store_uri, self._cache, self._runner = store, cache, runner
        self._session = uuid.uuid4().hex[:8]
        self._pin_file = PinFile(self._store, folder) if folder else None
        self._earlier = self._pin_file.last if self._pin_file else Pins()
        """What an earlier run of this sweep kept from the others; it stands until this one has said what it keeps."""
        self._pinning = asyncio.Lock()
        self._board = Board(session=self._session)
        self._roster = Roster(
            gangs,
            self._board,
            _Rays(gangs.kind, self._post),
            carry=self._carry,
            give_up=self._give_up,
            say=lambda text: self._notices.append(text),
            left=self._discard,
            may_grow=may_grow,
        )
        self._slots = self._roster.slots
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
        self._clearing: set[asyncio.Task[None]] = set()
        self._evicted = 0
        self._evicting = asyncio.Lock()
        """Held while weights are chosen and deleted, so that the room of each is made once."""
        self._stage_seconds, self._metered, self._training = 0.0, time.monotonic(), 0

    async def start(self) -> None:
        """Start the gangs, or look out for work if they are elastic; they take it as soon as each is ready."""
        self._me = ray.get_runtime_context().current_actor
        await self._pin()
        self._looking = asyncio.create_task(self._look())
        self._watching = asyncio.create_task(self._watch())
        self._roster.begin()

    # Trials

    async def submit(self, trial: str, path: list[str]) -> int:
        """Take a trial on; `path` is the JSON text of its stages. Returns the ticket that the other calls ask for.

        A trial submitted again gets a new ticket, and whoever holds the old one has no say any more: Tune may end a
        trial's process long after it has started another for the same trial.
        """
        stages = tuple(Stage.from_json(text) for text in path)
        found = await self._found(stages)
        self._open.difference_update(stage.digest for stage in stages)
        self._last_ticket += 1
        ticket = self._tickets[trial] = self._last_ticket
        self._events[trial] = []
        await self._carry(self._board.submit(trial, stages, *self._heed_found(found)))
        await self._make_room()
        return ticket

    async def foresee(self, paths: list[list[str]]) -> None:
        """Take on stages that trials to come are certain to need; gangs for which no trial has work run them."""
        for path in paths:
            stages = tuple(Stage.from_json(text) for text in path)
            found = await self._found(stages)
            await self._carry(self._board.foresee(stages, *self._heed_found(found)))

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
        if isinstance(said, Progress | Done) and self._board.accepts(gang, attempt):
            self._slots[gang].worked = True
        if isinstance(said, Progress) and self._board.accepts(gang, attempt):
            self._count(attempt, said.step)
        if isinstance(said, Cancelled) and self._slots[gang].leaving and self._board.accepts(gang, attempt):
            await self._roster.leave(gang)
            return
        kept = await asyncio.to_thread(self._looked_up, said.digest) if isinstance(said, Done) else None
        if kept is not None and self._board.accepts(gang, attempt):
            self._kept[said.digest] = kept  # and in the same breath it is known to be done, and who needs it
        await self._carry(self._board.report(gang, attempt, said))
        if self._slots[gang].leaving and not isinstance(said, Progress):
            await self._roster.ask_to_leave(gang)  # its stage had ended before it was stopped, and it may have the next
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
        self._mine.update(digests)
        self._open.update(still_open)
        self._earlier = Pins()
        await self._pin()
        found = await asyncio.to_thread(lambda: [self._looked_up(digest) for digest in digests])
        self._hold(kept for kept in found if kept is not None)
        await self._make_room()

    async def keep(self, cell: str, best: list[str], others: list[str]) -> None:
        """Of the leaves of a cell keep the best; the others are read by nobody any more."""
        self._leaves[cell] = set(best)
        await self._pin()
        async with self._evicting:
            if any(self._may_go(digest) for digest in others):
                await self._evict(others, elsewhere=await self._needed_elsewhere())

    def _needed(self) -> set[str]:
        return self._board.needed().union(*self._leaves.values(), self._earlier.leaves)

    def _may_go(self, digest: str) -> bool:
        """Whether the weights are there and nobody of this sweep needs them."""
        return digest in self._kept and digest not in self._needed()

    async def _pin(self) -> None:
        """Let other sweeps in the storage know what they must not delete, where that has changed."""
        if self._pin_file is None:
            return
        async with self._pinning:
            pins = Pins(
                session=self._session,
                written=time.time(),
                leaves=tuple(sorted(set(self._earlier.leaves).union(*self._leaves.values()))),
                open=tuple(sorted(self._open.union(self._board.ahead_of_trials(), self._earlier.open))),
            )
            await asyncio.to_thread(self._pin_file.write, pins)

    async def _needed_elsewhere(self) -> set[str] | None:
        """What other sweeps in the storage need; None where that cannot be seen, and then nothing may go."""
        if self._pin_file is None:
            return set()
        try:
            return await asyncio.to_thread(self._pin_file.kept_by_others)
        except OSError as error:
            _log.warning("what other sweeps need could not be seen, so nothing is deleted: %s", error)
            return None

    def _looked_up(self, digest: str) -> Kept | None:
        manifest = self._store.find(digest)
        return _kept(manifest) if manifest is not None else None

    def _hold(self, found: Iterable[Kept]) -> None:
        """Weights that are in the store count, but for those that were deleted since they were looked up."""
        self._kept.update((kept.digest, kept) for kept in found if not self._board.is_gone(kept.digest))

    async def _make_room(self) -> None:
        """Delete what is cheapest to make again until the budget holds what is there and what gangs are writing."""
        if math.isinf(self._limit_bytes):
            return
        async with self._evicting:
            checkpoints = await asyncio.to_thread(self._checkpoint_bytes)
            if self._too_many(checkpoints, set()):
                elsewhere = await self._needed_elsewhere()
                if elsewhere is not None:
                    await self._evict(self._too_many(checkpoints, elsewhere), elsewhere=elsewhere)

    def _checkpoint_bytes(self) -> dict[str, int]:
        """By stage, what its checkpoints take; those of stages that were stopped lie there until they are gone on with.

        On an object store this is one request for a thousand files.
        """
        try:
            return bytes_by_digest(seen_in(self._store, "inflight"), "inflight")
        except OSError as error:
            _log.warning("what checkpoints take could not be seen: %s", error)
            return {}

    def _too_many(self, checkpoints: dict[str, int], elsewhere: set[str]) -> tuple[str, ...]:
        """The stages to delete for the budget, none of which is needed here or elsewhere."""
        kept = sum(one.size_bytes for one in self._kept.values())
        running = set(self._board.running().values())
        waiting = sum(size for digest, size in checkpoints.items() if digest in self._mine and digest not in running)
        largest = max((one.size_bytes for one in self._kept.values()), default=0)
        under_way = self._gangs.count * under_way_bytes(largest, max(checkpoints.values(), default=0))
        excess = kept + waiting + under_way - self._limit_bytes
        return evictions(self._kept.values(), needed=self._needed() | elsewhere, excess_bytes=excess)

    async def _evict(self, digests: Iterable[str], *, elsewhere: set[str] | None) -> None:
        """Delete the weights of those that are there and that nobody needs at the moment at which each goes."""
        for digest in digests:
            if elsewhere is None or digest in elsewhere or not self._may_go(digest):
                continue
            # Nothing is awaited from the question to the answer: a trial that comes later finds it gone.
            del self._kept[digest]
            self._board.evicting(digest)
            self._evicted += 1
            try:
                await asyncio.to_thread(self._store.evict, digest)
            except OSError as error:  # what stays of it costs room and nothing else
                _log.warning("the weights of stage %s could not be deleted: %s", digest, error)
            await self._carry(self._board.evicted(digest))

    async def pause(self, reason: str) -> None:
        """Stop what runs, each stage after a checkpoint, and leave every trial open."""
        self._leave_open()
        await self._carry(self._board.stop(reason))

    def _leave_open(self) -> None:
        """The board is about to let go of all trials, which have not ended for that."""
        self._open |= self._board.ahead_of_trials()

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
            "evicted": self._evicted,
            "stored_bytes": sum(kept.size_bytes for kept in self._kept.values()),
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
        async with self._changed:
            self._closing = self._roster.closing = True
            self._changed.notify_all()
        if self._looking is not None:
            self._looking.cancel()
        await self._pin()
        await self._roster.close(seconds)
        await asyncio.to_thread(self._tidy)

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
            avoid=tuple(sorted(self._roster.refused)),
        )

    async def _give_up(self, reason: str) -> None:
        """There will be no gang any more; trials stay open."""
        self._leave_open()
        await self._carry(self._board.gangs_gone(reason))

    def _discard(self, request: Request) -> None:
        """A gang will not answer this request."""
        digest = Stage.from_json(request.stage).digest
        self._clearing.add(task := asyncio.create_task(asyncio.to_thread(self._clear, digest, request.attempt)))
        task.add_done_callback(self._clearing.discard)

    def _clear(self, digest: str, attempt: str) -> None:
        """Delete what an attempt has written that will never be committed, unless it was at the last moment."""
        manifest = self._store.find(digest)
        if manifest is None or manifest.attempt != attempt:
            self._store.discard(digest, attempt)

    async def _look(self) -> None:
        """As long as the sweep runs, say what is kept from other sweeps, and see what has become of the machines."""
        while True:
            try:
                await self._pin()
                await self._roster.look()
            except Exception as error:  # Ray's own state may be unreachable for a moment; the next look may see
                _log.warning("the machines could not be looked at: %s", error)
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

    async def _found(self, stages: tuple[Stage, ...]) -> _Found:
        """What the store knows of those stages of a path that the board does not."""
        self._mine.update(stage.digest for stage in stages)
        unknown = [stage.digest for stage in stages if not self._board.known(stage.digest)]
        return await asyncio.to_thread(self._look_up, unknown)

    def _look_up(self, digests: list[str]) -> _Found:
        found = _Found()
        for digest in digests:
            manifest = self._store.find(digest)
            results = manifest.results if manifest is not None else self._store.results(digest)
            if manifest is not None:
                found.kept.append(_kept(manifest))
            elif results is not None:
                found.gone.append(digest)
            if digest in self._store.damage:
                self._notices.append(
                    f"stage {digest} was damaged ({self._store.damage.pop(digest)}); it is trained again where needed"
                )
            if results is not None:
                found.stored[digest] = results.done()
        return found

    def _heed_found(self, found: _Found) -> tuple[dict[str, Done], list[str]]:
        """What the board is told of it. Nothing may be awaited from here until it is told."""
        self._hold(found.kept)
        return found.stored, found.gone

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


def _kept(manifest: Manifest) -> Kept:
    size, seconds = manifest.size_bytes, manifest.results.seconds
    return Kept(digest=manifest.stage.digest, size_bytes=size, seconds=seconds)


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
    folder: str = "",
) -> ActorHandle:
    """Start the dispatcher and its gangs on the Ray cluster that this process is connected to.

    Trials find it by `name`. It ends with this process. None for `runner` means that of the gangs' kind. Whether the
    gangs fit is proved first, unless they are elastic or the cluster `may_grow`: there machines are rented for gangs
    that have no room. `question` is what every machine must have that a gang is to run on. `folder` is the sweep's in
    the store, beside those of other sweeps: there stands what these must not delete; without it, nothing does.

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
