"""The stage outputs of a running sweep: which are there, which stay and which go for want of room; makes none."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TypeVar

from trainables.board import Board, Decision
from trainables.keeping import Kept, evictions, under_way_bytes
from trainables.leftovers import bytes_by_digest
from trainables.listing import seen_in
from trainables.pins import PinFile, Pins
from trainables.places import is_final
from trainables.scores import Done
from trainables.stages import Stage
from trainables.store import Manifest, Store

_log = logging.getLogger(__name__)

T = TypeVar("T")

#: How long a storage that did not answer, beside the tries that each request makes, is left alone.
AGAIN_SECONDS = 5.0

#: What a storage refuses for good, such as every request without a right, ends the sweep when it was asked so often.
REFUSALS = 3

#: What an attempt has written is nobody's so long after it was lost: a machine that was cut off may be at a request,
#: which it makes up to six times with pauses, and name it as the stage's output when the network is back.
LATE_SECONDS = 600.0


@dataclass(kw_only=True)
class Found:
    """What a store knows of some stages, as it was when they were looked up."""

    stored: dict[str, Done] = field(default_factory=dict)
    gone: list[str] = field(default_factory=list)
    """Those of them whose weights it no longer has."""
    made: list[Kept] = field(default_factory=list)
    """What it took to make these."""
    kept: list[Kept] = field(default_factory=list)


class Outputs:
    """Knows which outputs are in the store, and deletes weights that nobody needs, each after telling the board.

    What the board decides when they are gone, `carry` carries out; `say` is called with what whoever watches should
    know. `folder` is the sweep's in the store, beside those of other sweeps; without it these hear of nothing. `gangs`
    is how many may write at once. `session` is that of the board.
    """

    def __init__(
        self,
        store: Store,
        board: Board,
        *,
        carry: Callable[[tuple[Decision, ...]], Awaitable[None]],
        say: Callable[[str], None],
        session: str,
        gangs: int,
        limit_bytes: float = math.inf,
        folder: str = "",
    ) -> None:
        self._store, self._board, self._carry, self._say = store, board, carry, say
        self._session, self._gangs, self._limit_bytes = session, gangs, limit_bytes
        self._kept: dict[str, Kept] = {}
        self._gone: dict[str, Kept] = {}
        """Of what was kept before, what it took to make."""
        self._leaves: dict[str, set[str]] = {}
        """By cell, the outputs to keep for good."""
        self._spare: dict[str, set[str]] = {}
        """By cell, those to keep while there is room."""
        self._mine: set[str] = set()
        """Every stage that this sweep has asked for, in this run or an earlier one."""
        self._open: set[str] = set()
        """Stages of trials that have not ended, as far as they are not on the board."""
        self._pin_file = PinFile(store, folder) if folder else None
        self._earlier = self._pin_file.last if self._pin_file else Pins()
        """What an earlier run of this sweep kept from the others; it stands until this one has said what it keeps."""
        self._pinning = asyncio.Lock()
        self.evicted = 0
        """How many outputs this run has deleted the weights of."""
        self._evicting = asyncio.Lock()
        """Held while weights are chosen and deleted, so that the room of each is made once."""
        self._lost: list[tuple[float, str, str]] = []
        """Attempts that no gang will answer: when each was lost, its stage and its name."""
        self._clearing: set[asyncio.Task[None]] = set()
        self._asking_again = asyncio.Lock()
        """Held by the one that asks a storage again whether it answers at all, for all who wait for it; what each looks
        for it asks again by itself.
        """
        self._is_silent = False

    def stored_bytes(self) -> int:
        """What the weights take that are there."""
        return sum(kept.size_bytes for kept in self._kept.values())

    # What is there

    async def found(self, stages: tuple[Stage, ...]) -> Found:
        """What the store knows of those stages of a path that the board does not."""
        self._mine.update(stage.digest for stage in stages)
        unknown = [stage.digest for stage in stages if not self._board.known(stage.digest)]
        found = await self._answer(lambda: self._look_up(unknown)) or Found()
        for stage in stages:
            if stage.digest in found.gone:
                seconds = found.stored[stage.digest].seconds
                found.made.append(Kept(digest=stage.digest, size_bytes=0, seconds=seconds, parent=stage.parent))
        return found

    def heed(self, found: Found) -> tuple[dict[str, Done], list[str]]:
        """What the board is told of it. Nothing may be awaited from here until it is told."""
        self._hold(found.kept)
        self._gone |= {kept.digest: kept for kept in found.made if not self._board.known(kept.digest)}
        return found.stored, found.gone

    async def looked_up(self, digest: str) -> Kept | None:
        """What the store has of a stage that has just been made."""
        return await self._answer(lambda: self._kept_of(digest))

    def add(self, made: Kept) -> None:
        """It counts from now on. In the same breath the board must know it to be done, and who needs it."""
        self._kept[made.digest] = made
        self._gone.pop(made.digest, None)

    async def _answer(self, look: Callable[[], T]) -> T | None:
        """What `look` finds, as soon as the storage answers: what cannot be seen may be there, and is not made anew.

        None where the board hands out nothing any more before that.
        """
        failures = 0
        while True:
            try:
                return await asyncio.to_thread(look)
            except OSError as error:
                failures += 1
                if failures == 2:
                    self._say(f"the storage answers, but for this, which is asked again: {error}")
                if failures > 1:
                    await asyncio.sleep(AGAIN_SECONDS)
            await self._until_it_answers()
            if self._board.ended:
                return None

    async def _until_it_answers(self) -> None:
        """Wait until the storage answers anything at all, or the board hands out nothing any more: it stops where the
        storage refuses every answer for good.
        """
        refusals = 0
        async with self._asking_again:
            while not self._board.ended:
                try:
                    await asyncio.to_thread(self._store.files.ask)
                except OSError as error:
                    refusals = refusals + 1 if is_final(error) else 0
                    if refusals >= REFUSALS:
                        self.leave_open()
                        await self._carry(self._board.stop(f"the storage refuses every answer: {error}"))
                        return
                    self._hear_nothing(error)
                    await asyncio.sleep(AGAIN_SECONDS)
                    continue
                if self._is_silent:
                    self._is_silent = False
                    self._say("the storage answers again; the sweep goes on")
                return

    def _hear_nothing(self, error: OSError) -> None:
        if not self._is_silent:
            self._is_silent = True
            _log.warning("the storage does not answer: %s", error)
            since = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
            self._say(
                f"since {since} the storage does not answer ({error}); the sweep waits until it does, and goes on by "
                "itself"
            )

    def _look_up(self, digests: list[str]) -> Found:
        found = Found()
        for digest in digests:
            manifest = self._store.find(digest)
            results = manifest.results if manifest is not None else self._store.whole_results(digest)
            if manifest is not None:
                found.kept.append(_kept(manifest))
            elif results is not None:
                found.gone.append(digest)
            if digest in self._store.damage:
                self._say(
                    f"stage {digest} was damaged ({self._store.damage.pop(digest)}); it is trained again where needed"
                )
            if results is not None:
                found.stored[digest] = results.done()
        return found

    def _kept_of(self, digest: str) -> Kept | None:
        manifest = self._store.find(digest)
        return _kept(manifest) if manifest is not None else None

    def _hold(self, found: Iterable[Kept]) -> None:
        """Weights that are in the store count, but for those that were deleted since they were looked up."""
        for kept in found:
            if not self._board.is_gone(kept.digest):
                self.add(kept)

    # What stays

    async def remember(self, digests: list[str], still_open: Iterable[str] = ()) -> None:
        """Stages of earlier runs of this sweep, whose weights count for its budget, and those of trials that have not
        ended. The best of every cell must have been named before.
        """
        self._mine.update(digests)
        self._open.update(still_open)
        self._earlier = Pins()
        await self.pin()
        found = await self._answer(lambda: [self._kept_of(digest) for digest in digests])
        self._hold(kept for kept in found or () if kept is not None)
        await self.make_room()

    async def keep(self, cell: str, best: list[str], others: list[str], spare: Iterable[str] = ()) -> None:
        """Of the leaves of a cell keep the best, and the spare while there is room; the others are read by nobody.

        No other sweep deletes the spare ones either.
        """
        self._leaves[cell], self._spare[cell] = set(best), set(spare)
        await self.pin()
        async with self._evicting:
            if any(self._may_go(digest) for digest in others):
                await self._evict(others, elsewhere=await self._needed_elsewhere())

    def take_up(self, stages: Iterable[Stage]) -> None:
        """A trial of these stages is about to be on the board, which says from then on what it needs."""
        self._open.difference_update(stage.digest for stage in stages)

    def leave_open(self) -> None:
        """The board is about to let go of all trials, which have not ended for that."""
        self._open |= self._board.ahead_of_trials()

    async def pin(self) -> None:
        """Let other sweeps in the storage know what they must not delete, where that has changed."""
        if self._pin_file is None:
            return
        async with self._pinning:
            pins = Pins(
                session=self._session,
                written=time.time(),
                leaves=tuple(sorted(set(self._earlier.leaves).union(*self._leaves.values(), *self._spare.values()))),
                open=tuple(sorted(self._open.union(self._board.ahead_of_trials(), self._earlier.open))),
            )
            await asyncio.to_thread(self._pin_file.write, pins)

    def _needed(self) -> set[str]:
        return self._board.needed().union(*self._leaves.values(), self._earlier.leaves)

    async def _needed_elsewhere(self) -> set[str] | None:
        """What other sweeps in the storage need; None where that cannot be seen, and then nothing may go."""
        if self._pin_file is None:
            return set()
        try:
            return await asyncio.to_thread(self._pin_file.kept_by_others)
        except OSError as error:
            _log.warning("what other sweeps need could not be seen, so nothing is deleted: %s", error)
            return None

    # What goes

    async def make_room(self) -> None:
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
        running = set(self._board.running().values())
        waiting = sum(size for digest, size in checkpoints.items() if digest in self._mine and digest not in running)
        largest = max((one.size_bytes for one in self._kept.values()), default=0)
        under_way = self._gangs * under_way_bytes(largest, max(checkpoints.values(), default=0))
        excess = self.stored_bytes() + waiting + under_way - self._limit_bytes
        return evictions(self._kept.values(), needed=self._needed() | elsewhere, excess_bytes=excess, gone=self._gone)

    def _may_go(self, digest: str) -> bool:
        """Whether the weights are there and nobody of this sweep needs them."""
        return digest in self._kept and digest not in self._needed()

    async def _evict(self, digests: Iterable[str], *, elsewhere: set[str] | None) -> None:
        """Delete the weights of those that are there and that nobody needs at the moment at which each goes."""
        for digest in digests:
            if elsewhere is None or digest in elsewhere or not self._may_go(digest):
                continue
            # Nothing is awaited from the question to the answer: a trial that comes later finds it gone.
            self._gone[digest] = self._kept.pop(digest)
            self._board.evicting(digest)
            self.evicted += 1
            try:
                await asyncio.to_thread(self._store.evict, digest)
            except OSError as error:  # what stays of it costs room and nothing else
                _log.warning("the weights of stage %s could not be deleted: %s", digest, error)
            await self._carry(self._board.evicted(digest))

    def lost(self, digest: str, attempt: str, *, is_gone: Callable[[], bool]) -> None:
        """No gang will answer this attempt. What it has written goes if its process `is_gone`, which may take a while
        to tell. Else it stays for now: the machine may only be cut off, and have been admitted to name it as the output
        of its stage.
        """
        self._lost.append((time.monotonic(), digest, attempt))
        self._clearing.add(task := asyncio.create_task(asyncio.to_thread(self._clear_if, is_gone, digest, attempt)))
        task.add_done_callback(self._clearing.discard)

    def _clear_if(self, is_gone: Callable[[], bool], digest: str, attempt: str) -> None:
        if is_gone():
            self._clear([(digest, attempt)])

    async def tidy(self) -> None:
        """Delete what attempts have written that were lost a while ago, unless they were committed at the last moment.

        What stays goes when the sweep is run again.
        """
        before = time.monotonic() - LATE_SECONDS
        await asyncio.to_thread(
            self._clear, [(digest, attempt) for when, digest, attempt in self._lost if when < before]
        )

    def _clear(self, attempts: list[tuple[str, str]]) -> None:
        try:
            for digest, attempt in attempts:
                manifest = self._store.find(digest)
                if manifest is None or manifest.attempt != attempt:
                    self._store.discard(digest, attempt)
        except OSError as error:
            _log.warning("what lost attempts have written could not be looked at, so it stays: %s", error)


def _kept(manifest: Manifest) -> Kept:
    size, seconds = manifest.size_bytes, manifest.results.seconds
    return Kept(digest=manifest.stage.digest, size_bytes=size, seconds=seconds, parent=manifest.stage.parent)
