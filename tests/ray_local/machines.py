"""Gangs that are coroutines, on machines that come and go: for tests of the dispatcher that start no process."""

from __future__ import annotations

import asyncio
import math
import uuid
from types import SimpleNamespace

from trainables import dispatcher as module
from trainables.dispatcher import Dispatcher
from trainables.gangs import RUNNERS, GangKind, Gangs
from trainables.scores import Cancelled, Done, Failed, Progress, event_to_json
from trainables.stages import Stage

LONG = 1000


class Machines:
    """What Ray would say of the machines, and gangs that live on them."""

    def __init__(self) -> None:
        self.alive = {"a", "b"}
        self.draining: set[str] = set()
        self.lacking: set[str] = set()
        """Those on which no gang can run."""
        self.unanswered: set[str] = set()
        """Those which the storage does not answer."""
        self.faulty: set[str] = set()
        """Those of which a disk fails every stage, each after its first step."""
        self.hosts_die_after: int | None = None
        """Stages after which a host dies."""
        self.in_vain = 0
        """How many hosts Ray Train will tell that no machine came for them."""
        self.hosts: list[Host] = []
        self.dispatcher: Dispatcher | None = None

    def look(self) -> tuple[set[str], set[str]]:
        return set(self.alive), set(self.draining)

    def start(self, post) -> Host:
        self.hosts.append(Host(self, post.gang, set(post.avoid)))
        return self.hosts[-1]

    def room(self, avoid: set[str]) -> str:
        """A machine that is there, stays, has no gang and is not to be avoided; empty where there is none."""
        taken = {host.node for host in self.hosts if host.serving}
        return min(self.alive - self.draining - taken - avoid, default="")


class Host:
    """A gang on one machine. Stages of fewer than `LONG` steps it runs at once; it works on others until stopped, and
    takes its time to stop where it is `slow`.
    """

    def __init__(self, machines: Machines, gang: str, avoid: set[str]) -> None:
        self.machines, self.gang, self.avoid = machines, gang, avoid
        self.node, self.serving, self.stops, self.slow = "", False, True, False
        self.done: list[tuple[str, str]] = []
        self.fault: Exception | None = None
        """With this it ends where it waits next."""
        self.serve = SimpleNamespace(remote=self.run)

    async def run(self) -> bool:
        if self.machines.in_vain:
            await self.wait(0.01)
            self.machines.in_vain -= 1
            return True
        await self.be_placed()
        self.serving = True
        try:
            if self.machines.hosts_die_after is not None:
                await self.short_life(self.machines.hosts_die_after)
            while not await self.incarnate():  # Ray Train starts the workers again, elsewhere where that is gone
                if self.node not in self.machines.alive:
                    await self.be_placed()
            return False
        finally:
            self.serving = False

    async def be_placed(self) -> None:
        while not (node := self.machines.room(self.avoid)):
            await self.wait(0.005)
        self.node = node

    async def incarnate(self) -> bool:
        """Whether the dispatcher had no more for this start of the workers, rather than its machine being lost."""
        desk, incarnation, after = self.machines.dispatcher, uuid.uuid4().hex, -1
        if self.node in self.machines.lacking:
            await desk.refuse(self.gang, incarnation, self.node, f"{self.node}: it must see the storage", False)
            return True
        if self.node in self.machines.unanswered:
            await desk.refuse(self.gang, incarnation, self.node, f"{self.node}: no answer", True)
            await asyncio.sleep(0.01)
            return False
        while True:
            asked = asyncio.ensure_future(desk.take(self.gang, incarnation, after, 0, 1, self.node))
            if await self.lost(asked):
                return False
            request = asked.result()
            if request is None:
                return True
            after = request.sequence
            stage = Stage.from_json(request.stage)
            self.done.append((self.node, request.attempt))
            if self.node in self.machines.faulty:
                begun = Progress(digest=stage.digest, step=1)
                await desk.report(self.gang, request.attempt, event_to_json(begun))
                event = Failed(digest=stage.digest, reason="OSError: planted", of_machine=True)
            elif stage.steps < LONG:
                event = Done(digest=stage.digest, steps_executed=stage.steps, reused=False, seconds=0.0)
            else:
                if await self.lost(asyncio.ensure_future(self.stopped(request.attempt))):
                    return False
                event = Cancelled(digest=stage.digest, steps_executed=1)
                if not self.stops:  # the first time its last step was done before it heard that it was to stop
                    self.stops = True
                    event = Done(digest=stage.digest, steps_executed=stage.steps, reused=False, seconds=0.0)
            await desk.report(self.gang, request.attempt, event_to_json(event))

    async def short_life(self, stages: int) -> None:
        desk, incarnation, after = self.machines.dispatcher, uuid.uuid4().hex, -1
        for _ in range(stages):
            request = await desk.take(self.gang, incarnation, after, 0, 1, self.node)
            event = Done(digest=Stage.from_json(request.stage).digest, steps_executed=1, reused=False, seconds=0.0)
            await desk.report(self.gang, request.attempt, event_to_json(event))
        raise RuntimeError("no machine could be had")

    async def stopped(self, attempt: str) -> None:
        await self.machines.dispatcher.cancelled(self.gang, attempt)
        while self.slow:
            await asyncio.sleep(0.002)

    async def lost(self, waiting: asyncio.Future) -> bool:
        """Wait for an answer, or for the machine to be lost."""
        while not waiting.done():
            if self.node not in self.machines.alive:
                waiting.cancel()
                return True
            await self.wait(0.002)
        return False

    async def wait(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        if self.fault is not None:
            raise self.fault


def placed(monkeypatch) -> Machines:
    """The machines of one test."""
    made = Machines()
    monkeypatch.setattr(module, "start_host", made.start)
    monkeypatch.setattr(module, "_machines", made.look)
    monkeypatch.setattr(module, "_resources", lambda: {node: {"CPU": 1.0} for node in made.alive})
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.01)
    here = SimpleNamespace(current_actor="me", get_node_id=lambda: "head")
    me = SimpleNamespace(get_runtime_context=lambda: here, kill=lambda *_, **__: None)
    monkeypatch.setattr(module, "ray", me)
    return made


async def begun(
    machines: Machines,
    folder,
    *,
    storage_limit_bytes: float = math.inf,
    sweep: str = "",
    may_grow: bool = False,
    alone: bool = False,
    **given,
) -> Dispatcher:
    gangs = Gangs(**{"kind": GangKind.REHEARSAL} | given)
    machines.dispatcher = Dispatcher(
        gangs,
        str(folder / "store"),
        str(folder / "cache"),
        RUNNERS[gangs.kind],
        storage_limit_bytes,
        folder=f"sweeps/{sweep}" if sweep else "",
        may_grow=may_grow,
        alone=alone,
    )
    await machines.dispatcher.start()
    return machines.dispatcher


async def until(holds, *, seconds: float = 10.0):
    stop = asyncio.get_running_loop().time() + seconds
    while not (found := holds()):
        assert asyncio.get_running_loop().time() < stop
        await asyncio.sleep(0.005)
    return found


def running(desk: Dispatcher) -> dict[str, str]:
    return desk._board.running()
