"""The gangs of a running sweep: which starts, works, leaves or is lost, as machines come and go; starts none itself."""

from __future__ import annotations

import asyncio
import logging
import math
import re
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from trainables.board import Board, Decision
from trainables.gangs import Gangs

if TYPE_CHECKING:
    from trainables.mailbox import Request

_log = logging.getLogger(__name__)

Answer = TypeVar("Answer")

#: A gang is started this often in a row without getting on with any stage; Ray Train restarts its workers by itself,
#: uncounted.
HOST_STARTS = 3

#: So many machines that one gang is given one after the other may lack something before it is taken for all of them.
REFUSALS = 3

#: How long work may wait for machines before that is said; to rent one takes a few minutes.
LACKING_SECONDS = 60.0

#: How long a sweep is kept that has no gang and sees only machines that cannot take part: one that was cut off, or is
#: starting again, is back in a few minutes, and others may be added by hand.
DESERTED_SECONDS = 300.0

#: How long no gang is started on a machine that has failed a stage, where others have room: by then its
#: network or its disk may work again.
BLAMED_SECONDS = 600.0

#: Why a gang ended whose machine is gone.
LOST_MACHINE = "its machine was lost"

#: How the text of a traceback begins to tell of an exception.
_NAMED = re.compile(r"[\w.]*(Error|Exception): ")


class Cluster(Protocol):
    """What a roster asks of whatever runs processes on machines."""

    def start(self, gang: str, number: int) -> Any:
        """The host of a gang, with a `serve` to wait for; `number` differs between all starts.

        What `serve` gives is true where the gang ended because no machine came for it.
        No rank of it may be placed on a machine that the roster says is to be `avoided`.
        """
        ...

    def end(self, host: Any) -> None:
        """End a host by force, for good."""
        ...

    def end_start(self, host: Any) -> None:
        """End this start of a host by force; a host that starts itself again does."""
        ...

    def end_process(self, node: str, process: int, started: int) -> None:
        """End a process of a machine, frozen or not, if that can be done; waits for nothing."""
        ...

    def machines(self) -> tuple[set[str], set[str]]:
        """The ids of the machines that live, and of those that were told to go."""
        ...

    def resources(self) -> dict[str, dict[str, float]]:
        """By its id, what each machine that lives has, whoever uses it."""
        ...


@dataclass(kw_only=True)
class Slot:
    """The dispatcher's end of one gang's mailbox."""

    host: Any = None
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
    failed: str = ""
    """What a disk or a storage did, for which it ends and is started anew."""
    worked: bool = False
    """Whether a stage has got further in it than ever before since its host was started."""
    refused: dict[str, str] = field(default_factory=dict)
    """By the id of a machine on which it was to run, what that lacks."""
    first: set[str] = field(default_factory=set)
    """Those of them that had refused no gang before."""
    met: int = 0
    """How often in a row, since it last was ready, it was refused by a machine that came after the time before."""
    seen: set[str] = field(default_factory=set)
    """The machines that were there when it was last refused."""
    unready: dict[str, str] = field(default_factory=dict)
    """By the id of its machine, what keeps that from taking part and may pass."""
    processes: dict[int, int] = field(default_factory=dict)
    """The process id of each rank."""
    places: dict[int, tuple[str, int, int]] = field(default_factory=dict)
    """By rank, its machine, the number of its process there and when that was started."""
    heard: dict[int, tuple[float, float]] = field(default_factory=dict)
    """By rank, when it last gave a sign of life, and how long it had then got on with nothing."""
    ended: bool = False
    """Whether a rank of it was ended for giving no sign of life."""
    nodes: set[str] = field(default_factory=set)
    """The machines of its ranks."""
    leaving: bool = False
    """Whether it is to end in good order as soon as it has stopped what it runs."""
    since: float = 0.0
    """When it became ready; 0.0 while it is not."""
    idle_since: float = 0.0
    joining: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while one rank of a new start makes it known for all of them."""


class Roster:
    """Keeps as many gangs running as there are to be, and tells the board of each that comes or goes.

    What the board decides then, `carry` carries out. `give_up` is called with a reason when there will be no gang any
    more, `say` with what whoever watches should know, and `left` with the request of a gang that will not answer it.
    Where the cluster `may_grow`, somebody rents machines for gangs that have no room; where a machine is `alone`,
    no other ever comes.
    """

    def __init__(
        self,
        gangs: Gangs,
        board: Board,
        cluster: Cluster,
        *,
        carry: Callable[[tuple[Decision, ...]], Awaitable[None]],
        give_up: Callable[[str], Awaitable[None]],
        say: Callable[[str], None],
        left: Callable[[Request], None],
        may_grow: bool = False,
        alone: bool = False,
    ) -> None:
        self._gangs, self._board, self._cluster = gangs, board, cluster
        self._carry, self._give_up, self._say, self._left = carry, give_up, say, left
        self.slots = {name: Slot() for name in gangs.names}
        self.dead: dict[str, str] = {}
        """Gangs that are not started again, and why."""
        self.refused: dict[str, str] = {}
        """By the id of a machine that cannot take part, what it lacks."""
        self._blamed: dict[str, float] = {}
        """By the id of a machine, when it last failed a stage."""
        self._machines: dict[str, dict[str, float]] = {}
        """What each machine had that was there at the last look."""
        self._may_grow, self._alone = may_grow, alone
        self.lacking = ""
        """What the machines that are there, and can take part, lack for a gang to start."""
        self._lacking_since = 0.0
        self._deserted_since = math.inf
        """Since when no gang runs and no machine that is there can take part, where none is rented."""
        self._room = math.inf
        """How many gangs have room on the machines that are there."""
        self.begun = 0
        """Hosts started so far."""
        self.restarted = 0
        self.closing = False
        """From when on a gang that has ended is not started again."""
        self._serving: dict[str, asyncio.Task[None]] = {}
        self._asking = ThreadPoolExecutor(thread_name_prefix="machines")
        """Its threads ask for machines alone: they wait for no storage, as those of all others may."""
        self._gang_seconds = 0.0

    # Coming

    def begin(self) -> None:
        """Ask for all gangs, or for none yet if they are elastic."""
        if not self._gangs.elastic:
            for gang in self.slots:
                self._begin(gang)

    def _begin(self, gang: str) -> None:
        """Ask for the machines of a gang."""
        self.slots[gang].leaving = False
        self._serving[gang] = asyncio.create_task(self._keep(gang))

    async def _keep(self, gang: str) -> None:
        """Keep a gang's host running until the sweep ends, it has left, has died too often, or no machine is left."""
        slot = self.slots[gang]
        reason, deaths = "", 0
        while deaths < HOST_STARTS and gang not in self.dead and not self.closing:
            self.begun += 1
            slot.worked, slot.refused, slot.first = False, {}, set()
            avoided = set(self.refused)
            slot.host = self._cluster.start(gang, self.begun)
            waited = False
            try:
                waited = bool(await slot.host.serve.remote())
                reason = "no machine came for it" if waited else "its host ended by itself"
            except Exception as error:  # Ray raises what it likes here; the gang is lost whatever it is
                reason = last_words(error)
            slot.unready = {}
            failed, slot.failed = slot.failed, ""
            if self.closing:
                return
            if slot.refused:
                reason, slot.leaving = "; ".join(slot.refused.values()), False
                self._cluster.end(slot.host)
                slot.host = None
                await self._carry(self._part(slot, gang, reason, of_machine=True))
                if await self._is_hopeless(slot):
                    if not self._running():
                        await self._bury(self.slots, reason)
                    break
                if self._gangs.elastic and not self._board.queued():
                    return  # asked for again when work waits
                deaths += slot.refused.keys() <= avoided  # it was placed there all the same
                continue
            reason = failed or reason
            has_left, slot.leaving = slot.leaving and not slot.incarnation, False
            if has_left:
                self._cluster.end(slot.host)
                slot.host = None
            if has_left and not failed:
                if self._gangs.elastic:
                    return  # asked for again when work waits
                continue
            if not waited:  # else that was no fault of its own, and it waits on
                deaths = 1 if slot.worked else deaths + 1
            _log.warning("%s was lost: %s", gang, reason)
            await self._carry(self._part(slot, gang, slot.unfit or reason, of_machine=slot.of_machine or waited))
            if (waited or failed) and self._gangs.elastic and not self._board.queued():
                return  # asked for again when work waits
        await self._bury([gang], reason)

    async def _bury(self, gangs: Iterable[str], reason: str) -> None:
        """Start these gangs no more; when none is left, that is the end of the sweep, if it is not ending anyway."""
        if self.closing:
            return
        known = len(self.dead)
        self.dead = dict.fromkeys(gangs, reason) | self.dead
        if known < len(self.dead) == len(self.slots):
            await self._give_up(f"no gang could be kept running; the last reason: {reason}")

    async def join(self, gang: str, incarnation: str) -> None:
        """A gang has started, or Ray has started it again after its workers died.

        Where one of these had blamed a disk or a storage, that is no way to go on: its host too is to start anew.
        """
        slot = self.slots[gang]
        if slot.failed:  # its workers died on their way to the end
            slot.past.add(incarnation)
            return
        decisions: list[Decision] = []
        machine = bool(slot.incarnation) and await self._is_lost(slot.nodes)
        if slot.incarnation:
            self.restarted += 1
            if slot.of_machine and not machine:
                slot.past.add(incarnation)
                await self.begin_anew(gang, slot.unfit)
                return
            reason = LOST_MACHINE if machine else slot.unfit or "a worker process died"
            decisions += self._part(slot, gang, reason, of_machine=machine)
        slot.incarnation = incarnation
        slot.leaving = False  # whatever the processes before it were asked
        slot.unready, slot.refused, slot.first, slot.met = {}, {}, set(), 0
        slot.since = slot.idle_since = time.monotonic()
        await self._carry((*decisions, *self._board.gang_ready(gang)))

    async def refuse(self, gang: str, incarnation: str, node: str, text: str, *, passes: bool) -> None:
        """A machine of a gang cannot take part, for good or until what keeps it from that `passes`.

        This start of the gang is about to end for that. For good, no gang is placed on that machine again.
        """
        slot = self.slots[gang]
        if incarnation in slot.past:
            return
        if slot.incarnation:  # its processes before this start are lost
            await self._carry(self._part(slot, gang, text, of_machine=True))
        if passes:
            if not slot.unready:
                self._say(f"{gang} waits on {text}; it is asked again")
            slot.unready = {node: text}
            return
        slot.refused[node] = text
        if node not in self.refused:
            self._say(f"{gang} cannot run on {text}; no gang is tried there again")
            self.refused[node] = text
            slot.first.add(node)

    def avoided(self) -> set[str]:
        """The machines on which no gang is to be started now: those that have refused, and those that have failed a
        stage of late, if others have room for all gangs that were asked for.
        """
        since = time.monotonic() - BLAMED_SECONDS
        avoided = {node for node, when in self._blamed.items() if when > since} | self.refused.keys()
        others = [has for node, has in self._machines.items() if node not in avoided]
        has_room = bool(others) and self._gangs.room_for_gangs(others) >= self.serving()
        return avoided if has_room else set(self.refused)

    def _running(self) -> int:
        """How many gangs are ready."""
        return sum(bool(slot.incarnation) for slot in self.slots.values())

    async def _is_hopeless(self, slot: Slot) -> bool:
        """Whether no machine is left that can take part and has room for a gang that was refused, and none is likely to
        come: of machines that are rented, so many that came one after the other may refuse it. Where none is, it waits.
        """
        try:
            machines = await self._ask(self._cluster.resources)
        except Exception as error:  # Ray's own state may be unreachable for a moment; then nothing is known
            _log.warning("the machines could not be looked at: %s", error)
            return False
        slot.met += not slot.first <= slot.seen
        slot.seen = set(machines)
        return self._may_grow and slot.met >= REFUSALS and not self._has_room(machines)

    def _has_room(self, machines: Mapping[str, dict[str, float]]) -> bool:
        """Whether those of these machines that can take part have room for a gang beside those that run."""
        able = self._able(machines)
        return bool(able) and self._gangs.room_for_gangs(able) > self._running()

    # Going

    def _part(self, slot: Slot, gang: str, reason: str, *, of_machine: bool = False) -> tuple[Decision, ...]:
        """Listen no more to the present processes of a gang, which are lost."""
        if slot.request is not None and self._board.accepts(gang, slot.request.attempt):
            self._left(slot.request)
        self._forget(slot)
        return self._board.gang_lost(gang, reason, of_machine=of_machine)

    def _forget(self, slot: Slot) -> None:
        slot.past.add(slot.incarnation)
        slot.incarnation, slot.request, slot.unfit, slot.of_machine, slot.ended = "", None, "", False, False
        slot.processes, slot.places, slot.heard, slot.nodes = {}, {}, {}, set()
        if slot.since:
            self._gang_seconds += time.monotonic() - slot.since
        slot.since = 0.0

    async def ask_to_leave(self, gang: str) -> None:
        """Have a gang stop what it runs, with a checkpoint, and end; at once where it runs nothing."""
        slot = self.slots[gang]
        slot.leaving = True
        if self._board.is_free(gang) or slot.request is None:
            await self.leave(gang)
            return
        slot.stopping = slot.request.attempt
        await self._carry(())

    async def leave(self, gang: str) -> None:
        """Let a gang that has stopped go; what it ran is queued for another."""
        decisions = self._board.gang_left(gang)
        self._forget(self.slots[gang])
        await self._carry(decisions)

    def blame(self, node: str) -> None:
        """A disk or a storage has failed a stage on this machine: for a while others are preferred to it."""
        self._blamed[node] = time.monotonic()

    async def begin_anew(self, gang: str, reason: str) -> None:
        """A disk or a storage has failed the stage that a gang runs.

        The stage is queued for another; the gang ends in good order, is started so often in a row and no more, and is
        asked what its machines lack before it takes work.
        """
        slot = self.slots[gang]
        self._say(f"{gang} starts anew, and what it ran is queued again: {reason}")
        slot.leaving, slot.failed = True, reason
        await self._carry(self._part(slot, gang, reason, of_machine=True))

    async def close(self, seconds: float) -> None:
        """Wait until all gangs have ended, by force after so many seconds."""
        self.closing = True
        tasks = list(self._serving.values())
        if tasks:
            _, left = await asyncio.wait(tasks, timeout=seconds)
            for task in left:
                task.cancel()
        for slot in self.slots.values():
            if slot.host is not None:
                self._cluster.end(slot.host)

    # Signs of life

    def end_silent(self, patience_seconds: float) -> None:
        """End a rank that gives no sign of life: not even its thread that should. The gang starts anew by itself then.

        Its host is ended only where that was of no use, for Ray Train leaves the processors of a worker group reserved
        whose host is ended (2.60: what should free them asks a dashboard that may not be there).
        """
        now = time.monotonic()
        for gang, slot in self.slots.items():
            silent = [rank for rank, (when, _) in slot.heard.items() if now - when > patience_seconds]
            if not silent or not slot.incarnation or slot.host is None:
                continue
            slot.unfit = f"rank {silent[0]} gave no sign of life for {patience_seconds:.0f} s, and was ended"
            self._say(f"{gang}: {slot.unfit}")
            found = [slot.places[rank] for rank in silent if rank in slot.places]
            if slot.ended or not found:
                slot.heard = {}
                self._cluster.end_start(slot.host)
                continue
            slot.ended, slot.heard = True, slot.heard | {rank: (now, 0.0) for rank in silent}
            for place in found:
                self._cluster.end_process(*place)

    def excuse(self, seconds: float) -> None:
        """Nobody could be heard for so long, and that was not their fault."""
        now = time.monotonic()
        for slot in self.slots.values():
            slot.heard = {rank: (min(now, when + seconds), idle) for rank, (when, idle) in slot.heard.items()}

    # Machines that come and go

    async def look(self) -> None:
        """See what has become of the machines.

        Raises:
            Exception: whatever the cluster raises where it cannot be asked.
        """
        await self._heed(*await self._ask(self._cluster.machines))
        machines = await self._ask(self._cluster.resources)
        self._see_room(machines)
        refusing = "; ".join(text for node, text in self.refused.items() if node in machines)
        if not refusing or self._may_grow or self._running() or self._has_room(machines):
            self._deserted_since = math.inf
        elif self._alone:
            await self._bury(self.slots, refusing)
        elif math.isinf(self._deserted_since):
            self._deserted_since = time.monotonic()
            self._say(
                f"no machine that is there can take part ({refusing}); unless one comes within "
                f"{DESERTED_SECONDS / 60:g} minutes, the sweep stops"
            )
        elif time.monotonic() - self._deserted_since >= DESERTED_SECONDS:
            await self._bury(self.slots, refusing)

    async def _ask(self, question: Callable[[], Answer]) -> Answer:
        return await asyncio.get_running_loop().run_in_executor(self._asking, question)

    def _able(self, machines: Mapping[str, dict[str, float]]) -> list[dict[str, float]]:
        """What each of these machines has that has not refused."""
        return [has for node, has in machines.items() if node not in self.refused]

    def _see_room(self, machines: Mapping[str, dict[str, float]]) -> None:
        """Take note of what the machines lack for a gang, and say so once it has kept work waiting for a while."""
        able, self._machines = self._able(machines), dict(machines)
        before, self.lacking = self.lacking, self._gangs.waits_for(able)
        if self.lacking and len(able) < len(machines):
            self.lacking += f"; {len(machines) - len(able)} more cannot take part"
        self._room = self._gangs.room_for_gangs(able)
        if self.lacking != before or not self._board.queued():
            self._lacking_since = time.monotonic()
        elif self.lacking and time.monotonic() - self._lacking_since >= LACKING_SECONDS:
            self._lacking_since = math.inf  # once
            self._say(
                f"work waits {self.lacking}. Where no autoscaler rents them, start machines that have it, or stop and "
                "use smaller workers"
            )

    async def _is_lost(self, nodes: set[str]) -> bool:
        """Whether a machine of these is known to be gone."""
        nodes = set(nodes)
        try:
            alive, _ = await self._ask(self._cluster.machines)
        except Exception as error:  # Ray's own state may be unreachable for a moment; then nothing is known
            _log.warning("the machines could not be looked at: %s", error)
            return False
        return bool(nodes - alive)

    async def _heed(self, alive: set[str], draining: set[str]) -> None:
        """Queue again what ran on a machine that is gone, and move what runs on one that is about to go."""
        for gang, slot in self.slots.items():
            if slot.unready.keys() - alive:
                slot.unready = {}  # its gang starts anew elsewhere
            if slot.incarnation and slot.nodes - alive:
                self.restarted += 1
                await self._carry(self._part(slot, gang, LOST_MACHINE, of_machine=True))
            elif slot.incarnation and slot.nodes & draining and not slot.leaving:
                await self.ask_to_leave(gang)
        await self._fit_to_work()
        if self.spent_hours() >= self._gangs.gang_hours:
            await self._give_up(
                f"the gangs have spent the {self._gangs.gang_hours:g} gang-hours that the definition allows"
            )

    async def _fit_to_work(self) -> None:
        """Ask for gangs where work waits, and let go of those that have had none for a while."""
        if not self._gangs.elastic:
            return
        now = time.monotonic()
        coming = [slot for gang, slot in self.slots.items() if not slot.incarnation and self._is_serving(gang)]
        if len({node for slot in coming for node in slot.unready}) < 2 or self._running():
            coming = [slot for slot in coming if not slot.unready]  # another may do; not where it is the storage itself
        wanted = self._board.queued() - len(coming)
        for gang, slot in self.slots.items():
            if gang in self.dead:
                continue
            if not self._is_serving(gang) and wanted > 0:
                self._begin(gang)
                wanted -= 1
            elif not self._board.is_free(gang):
                slot.idle_since = now
            elif not slot.leaving and now - slot.idle_since > self._gangs.idle_seconds:
                await self.ask_to_leave(gang)

    def _is_serving(self, gang: str) -> bool:
        task = self._serving.get(gang)
        return task is not None and not task.done()

    # What is going on

    def serving(self) -> int:
        """How many gangs have been asked for and have not ended."""
        return sum(self._is_serving(gang) for gang in self.slots)

    def spent_hours(self) -> float:
        """Hours that gangs have been ready, all together."""
        running = sum(time.monotonic() - slot.since for slot in self.slots.values() if slot.since)
        return (self._gang_seconds + running) / 3600

    @property
    def gangless(self) -> str:
        """What work waits for that no gang is there for."""
        unready = next((text for slot in self.slots.values() for text in slot.unready.values()), "")
        said = self._machineless or self.lacking
        return said or (f"for a gang that waits on {unready}" if unready else "for a gang to start")

    @property
    def _machineless(self) -> str:
        """What is waited for where no machine that is there can take part; empty where one can."""
        if math.isinf(self._deserted_since):
            return ""
        left = max(0.0, DESERTED_SECONDS + self._deserted_since - time.monotonic())
        return f"for a machine that can take part: none is there, and without one the sweep stops in {left:.0f} s"

    def waits(self, gang: str) -> str:
        """Why a gang is not there; empty where it is."""
        if gang in self.dead:
            return f"is not started again: {self.dead[gang]}"
        if self.slots[gang].incarnation:
            return ""
        if not self._is_serving(gang):
            return "is not needed: no work waits for it"
        if unready := self.slots[gang].unready:
            return f"waits on {'; '.join(unready.values())}"
        if lacking := self._machineless or self.lacking:
            return f"waits {lacking}"
        if self._running() >= self._room:
            return f"waits for machines: those that are there have room for {self._room:g} such gangs, which run"
        return "starts"


def last_words(error: Exception) -> str:
    """The last exception that the text of an error tells of, all its lines in one."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    first = max((number for number, line in enumerate(lines) if _NAMED.match(line)), default=len(lines) - 1)
    return " ".join(line.strip() for line in lines[first:])
