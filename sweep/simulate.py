"""How long a plan would take on a described cluster, event by event; runs nothing and knows no Ray."""

from __future__ import annotations

import heapq
import itertools
import math
import random
from collections import deque
from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass, field

from sweep.paths import beginning_of, target_place
from sweep.plan import Plan, PlannedTrial
from sweep.records import Phase, TrialKey
from sweep.search import Budget
from sweep.stage_times import Pruned, may_be_pruned
from trainables.faults import Invalid, refuse
from trainables.gangs import Gangs
from trainables.stages import Stage

#: What the model leaves out or takes for granted; printed with every answer.
ASSUMPTIONS = (
    "a stage takes the mean of what such stages took in the ledger (same tasks, steps and batch; else same kind and "
    "steps; else by the step), or what the stated throughput says, or the plan's; whatever slows one slows all alike",
    "as many search trials are pruned as in the ledger, at the same point of their training; without one, none is",
    "one open search trial per cell, confirmations when a cell's search has ended, two trials in flight per gang; a "
    "gang without work begins what confirmations are certain to need, unless the definition has a budget or a ceiling",
    "a trial follows another at once; its own processes cost the gangs nothing",
    "gangs are alike, start together with their machine, and are never slowed by one another or by the storage",
    "machines are lost at a constant rate, independently; with one go all gangs on it, a lost stage goes on from its "
    "last checkpoint on the next free gang, and another machine takes the lost one's place after the start time",
    "a gang that fits on one machine lies on one, a larger one has as many as it needs to itself",
    "beside the machines stands a head, which trains nothing, costs as much as one and is never lost",
    "every machine with a gang is paid for from the start to the end: gangs that end without work (elastic ones), "
    "machines that are taken away for being idle, and their minutes of idling after the end are left out",
)

#: A simulation gives up after so many losses. A thousand machines, each lost once an hour, come to them in six weeks.
MOST_LOSSES = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Described:
    """A cluster that need not exist.

    Raises:
        Invalid: naming every fault.
    """

    nodes: int
    """The head is none of them."""
    workers_per_node: int = 1
    """Workers of gangs that one machine has room for."""
    node_start_seconds: float = 300.0
    """From asking for a machine to Ray's being ready on it."""
    gang_start_seconds: float = 20.0
    stage_overhead_seconds: float = 0.2
    """What a stage costs beside the seconds that the ledger says it took: its output put away, the trial told, the next
    handed out. Medians in ledgers: 0.05 to 0.13 s on one machine, 0.6 s on crowded hosts with an object store.
    """
    checkpoint_seconds: float = 120.0
    """Between two checkpoints; what a lost machine repeats at most."""
    losses_per_node_hour: float = 0.0
    price_per_node_hour: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        refuse("the cluster to simulate", self._faults())

    def _faults(self) -> Iterator[str]:
        for name in ("nodes", "workers_per_node"):
            if getattr(self, name) < 1:
                yield f"{name} must be at least 1, got {getattr(self, name)!r}"
        for name in (
            *("node_start_seconds", "gang_start_seconds", "stage_overhead_seconds"),
            *("losses_per_node_hour", "price_per_node_hour"),
        ):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                yield f"{name} must be a finite number of at least 0, got {value!r}"
        if not (math.isfinite(self.checkpoint_seconds) and self.checkpoint_seconds > 0):
            yield f"checkpoint_seconds must be a finite number above 0, got {self.checkpoint_seconds!r}"


@dataclass(frozen=True, kw_only=True)
class Placed:
    """Where the gangs of a sweep lie on a described cluster."""

    gangs: int
    """As many of the definition's as have room."""
    gangs_per_node: int
    nodes_per_gang: int
    """1 unless a gang is larger than a machine."""

    @classmethod
    def of(cls, gangs: Gangs, described: Described) -> Placed:
        """The gangs on those machines.

        Raises:
            Invalid: where they do not hold a single gang.
        """
        there = described.workers_per_node
        per_node, per_gang = max(1, there // gangs.workers), math.ceil(gangs.workers / there)
        room = described.nodes // per_gang * per_node
        fault = (
            f"nodes must hold a gang: one of {gangs.workers} workers lies on {per_gang} machines of {there}, got "
            f"{described.nodes}; describe more or larger ones, or use fewer workers"
        )
        refuse("the cluster to simulate", () if room else (fault,))
        return cls(gangs=min(gangs.count, room), gangs_per_node=per_node, nodes_per_gang=per_gang)

    @property
    def nodes(self) -> int:
        """Machines with a gang on them."""
        return math.ceil(self.gangs / self.gangs_per_node) * self.nodes_per_gang

    def on(self, node: int) -> range:
        """The gangs that lie on a machine, wholly or in part."""
        first = node // self.nodes_per_gang * self.gangs_per_node
        return range(first, min(first + self.gangs_per_node, self.gangs))


@dataclass(frozen=True, kw_only=True)
class Simulated:
    """What came of it. Times in seconds from the first machine's being asked for."""

    makespan_seconds: float
    gangs: int
    nodes: int
    """Machines with a gang on them."""
    utilisation: float
    """Share of the gangs' time, from their start to the end, in which they trained what counts."""
    stages: int
    reuse_factor: float
    losses: int
    repeated_seconds: float
    """Training that was lost with a machine and done again, over all gangs."""
    node_hours: float
    """Of these machines and of the head."""
    price: float


@dataclass(slots=True)
class _Track:
    """A trial on its way: `place` is the stage it waits for."""

    number: int
    cell: int
    phase: Phase
    stages: list[int]
    place: int = 0
    ahead: bool = False
    """Whether it is no trial, and stands for confirmations to come."""


@dataclass(slots=True)
class _Work:
    left: float
    trials: list[_Track] = field(default_factory=list)
    gang: int = -1
    rank: tuple[bool, int] = (True, 0)
    """Where it stands in the queue: what a trial needs goes first, then what was asked for first."""


def simulate(
    plan: Plan,
    described: Described,
    seconds_of: Callable[[Stage], float],
    *,
    pruned: Pruned | None = None,
    done: Container[str] = (),
    ended: Container[TrialKey] = (),
    standing: bool = False,
) -> Simulated:
    """Replay the plan. The same arguments give the same answer.

    `done` are the names that the plan gives to stages that are not run again, `ended` the trials that are not. Where
    the machines are `standing`, only gangs have to start.

    Raises:
        Invalid: where the machines hold no gang, or are lost so often that there is no end.
    """
    return _Replay(plan, described, seconds_of, pruned or Pruned(), done, ended).run(standing=standing)


class _Replay:
    def __init__(
        self,
        plan: Plan,
        described: Described,
        seconds_of: Callable[[Stage], float],
        pruned: Pruned,
        done: Container[str],
        ended: Container[TrialKey],
    ) -> None:
        self.plan, self.described, self.pruned = plan, described, pruned
        self.held, self.seconds_of = done, seconds_of
        self.random = random.Random(described.seed)
        self.placed = Placed.of(plan.sweep.gangs, described)
        self.gangs, self.nodes = self.placed.gangs, self.placed.nodes
        self.now = 0.0
        self.events: list[tuple[float, int, str, int, int]] = []
        self.counter = itertools.count()
        self.epoch = [0] * self.gangs
        """Raised whenever a gang is lost, so that what it would have finished is passed over."""
        self.running: list[tuple[int, float] | None] = [None] * self.gangs
        """(stage, when it began) of each gang."""
        self.free: list[int] = []
        self.queue: list[tuple[tuple[bool, int], int]] = []
        """(rank, stage); of a stage that is there twice the later is passed over."""
        self.useful = self.repeated = 0.0
        self.losses = 0
        self.found: set[int] = set()
        """Stages that were there from the beginning."""
        self.done: set[int] = set()
        self.work: dict[int, _Work] = {}
        self.in_flight = self.submitted = 0
        self.names: dict[str, int] = {}
        self.seconds: list[float] = []
        self.asked = 0
        """Stages of all trials, if none were shared."""
        self.known: dict[int, float] = {}
        self.search, self.confirm = self._trials(ended)
        self.searching = [(0, cell) for cell in range(len(self.search)) if self.search[cell]]
        heapq.heapify(self.searching)
        self.confirming: list[tuple[int, int]] = []
        for cell, waiting in enumerate(self.search):
            if not waiting:
                self._open_confirmations(cell)
        self.tried = [0] * len(self.search)

    def _trials(self, ended: Container[TrialKey]) -> tuple[list[deque[_Track]], list[deque[_Track]]]:
        """The trials of each cell, with stages as numbers."""
        cells = {cell.cell.name: place for place, cell in enumerate(self.plan.cells)}
        search: list[deque[_Track]] = [deque() for _ in cells]
        confirm: list[deque[_Track]] = [deque() for _ in cells]
        for trial in self.plan.trials:
            if trial.key not in ended:
                into = search if trial.key.phase is Phase.SEARCH else confirm
                cell = cells[trial.key.cell]
                into[cell].append(self._track(trial, cell))
        return search, confirm

    def _track(self, trial: PlannedTrial, cell: int) -> _Track:
        numbers = [self._number(name, stage) for name, stage in trial.stages]
        self.asked += len(numbers)
        if self.pruned.share and may_be_pruned(self.plan, trial.key) and self.random.random() < self.pruned.share:
            target = target_place([stage for _, stage in trial.stages])
            if target >= 0:
                stage = numbers[target]
                whole = self.seconds[stage] - self.described.stage_overhead_seconds
                self.seconds[stage] -= whole * self.pruned.saved
        return _Track(number=0, cell=cell, phase=trial.key.phase, stages=numbers)

    def _number(self, name: str, stage: Stage) -> int:
        """The number of a stage of this name."""
        if name not in self.names:
            if id(stage) not in self.known:
                self.known[id(stage)] = self.seconds_of(stage) + self.described.stage_overhead_seconds
            self.names[name] = len(self.seconds)
            self.seconds.append(self.known[id(stage)])
            if name in self.held:
                self.found.add(self.names[name])
        return self.names[name]

    def _foreseen(self) -> list[_Track]:
        """What `Conductor.foreseen` hands to gangs without work."""
        sweep = self.plan.sweep
        ceilings = (sweep.gangs.gang_hours, sweep.gangs.node_hours, sweep.storage_limit_bytes)
        if sweep.budget != Budget() or not all(map(math.isinf, ceilings)):
            return []
        tracks = []
        for number, seed in enumerate(sweep.confirmation_seeds):
            path = [self.names[stage.digest] for stage in beginning_of(sweep, seed=seed) if stage.digest in self.names]
            track = _Track(number=number, cell=-1, phase=Phase.CONFIRMATION, stages=path, ahead=True)
            tracks.append(track)
        return tracks

    # The run

    def run(self, *, standing: bool) -> Simulated:
        start = self.described.gang_start_seconds + (0.0 if standing else self.described.node_start_seconds)
        for gang in range(self.gangs):
            self._later(start, "ready", gang)
        if self.described.losses_per_node_hour:
            for node in range(self.nodes):
                self._lose_later(node)
        for track in self._foreseen():
            self._advance(track)
        self._submit()
        while self._left():
            self.now, _, what, which, epoch = heapq.heappop(self.events)
            if what == "lost":
                self._lose(which)
            elif self.epoch[which] == epoch:
                if what == "finished":
                    self._finish(which)
                heapq.heappush(self.free, which)
                self._submit()
            self._assign()
        return self._outcome(start)

    def _left(self) -> bool:
        return bool(self.in_flight or self.searching or self.confirming)

    def _outcome(self, start: float) -> Simulated:
        held = max(self.now - start, 1e-9) * self.gangs
        hours = self.now * (self.nodes + 1) / 3600
        return Simulated(
            makespan_seconds=self.now,
            gangs=self.gangs,
            nodes=self.nodes,
            utilisation=min(1.0, self.useful / held),
            stages=len(self.done),
            reuse_factor=self.asked / max(1, len(self.done)),
            losses=self.losses,
            repeated_seconds=self.repeated,
            node_hours=hours,
            price=hours * self.described.price_per_node_hour,
        )

    def _later(self, seconds: float, what: str, which: int) -> None:
        epoch = self.epoch[which] if what != "lost" else 0
        heapq.heappush(self.events, (self.now + seconds, next(self.counter), what, which, epoch))

    # Trials

    def _submit(self) -> None:
        """Hand out trials as the conductor does: cells with the fewest trials first, then confirmations."""
        while self.in_flight < 2 * self.plan.sweep.gangs.count:
            if self.searching:
                _, cell = heapq.heappop(self.searching)
                track = self.search[cell].popleft()
                self.tried[cell] += 1
            elif self.confirming:
                _, cell = heapq.heappop(self.confirming)
                track = self.confirm[cell].popleft()
            else:
                return
            self.submitted += 1
            self.in_flight += 1
            track.number = self.submitted
            self._advance(track)

    def _open_confirmations(self, cell: int) -> None:
        for number in range(len(self.confirm[cell])):
            heapq.heappush(self.confirming, (cell * 100_000 + number, cell))

    def _advance(self, track: _Track) -> None:
        while track.place < len(track.stages):
            stage = track.stages[track.place]
            if stage not in self.done and stage not in self.found:
                work = self.work.setdefault(stage, _Work(left=self.seconds[stage]))
                mine = (track.ahead, track.number)
                if not work.trials or mine < work.rank:
                    work.rank = mine
                    if work.gang < 0:
                        heapq.heappush(self.queue, (mine, stage))
                work.trials.append(track)
                return
            track.place += 1
        self._ended(track)

    def _ended(self, track: _Track) -> None:
        if track.ahead:
            return
        self.in_flight -= 1
        if track.phase is not Phase.SEARCH:
            return
        if self.search[track.cell]:
            heapq.heappush(self.searching, (self.tried[track.cell], track.cell))
        else:
            self._open_confirmations(track.cell)

    # Gangs

    def _assign(self) -> None:
        while self.free and self.queue:
            _, stage = heapq.heappop(self.queue)
            work = self.work.get(stage)
            if work is None or work.gang >= 0:
                continue
            work.gang = heapq.heappop(self.free)
            self.running[work.gang] = (stage, self.now)
            self._later(work.left, "finished", work.gang)

    def _finish(self, gang: int) -> None:
        running = self.running[gang]
        assert running is not None
        stage, _ = running
        self.running[gang] = None
        work = self.work.pop(stage)
        self.useful += self.seconds[stage]
        self.done.add(stage)
        for track in work.trials:
            track.place += 1
            self._advance(track)

    def _lose_later(self, node: int) -> None:
        self._later(self.random.expovariate(self.described.losses_per_node_hour) * 3600, "lost", node)

    def _lose(self, node: int) -> None:
        self.losses += 1
        if self.losses > MOST_LOSSES:
            raise Invalid("the cluster to simulate", [self._endless()])
        for gang in self.placed.on(node):
            self.epoch[gang] += 1
            if gang in self.free:
                self.free.remove(gang)
                heapq.heapify(self.free)
            running, self.running[gang] = self.running[gang], None
            if running is not None:
                stage, began = running
                work = self.work[stage]
                kept = (self.now - began) // self.described.checkpoint_seconds * self.described.checkpoint_seconds
                self.repeated += self.now - began - kept
                work.left -= kept
                work.gang = -1
                heapq.heappush(self.queue, (work.rank, stage))
            self._later(self.described.node_start_seconds + self.described.gang_start_seconds, "ready", gang)
        self._lose_later(node)

    def _endless(self) -> str:
        described, rate = self.described, self.described.losses_per_node_hour
        start = described.node_start_seconds + described.gang_start_seconds
        return (
            f"machines must be lost seldom enough for the sweep to end, got {rate:g} times an hour: after "
            f"{MOST_LOSSES:,} losses only {len(self.done):,} of {len(self.seconds):,} stages had ended; a machine "
            f"stays for {3600 / rate:,.0f} s on average, where one with its gangs takes {start:,.0f} s to start and "
            f"{described.checkpoint_seconds:,.0f} s to the first checkpoint; lower losses_per_node_hour, or shorten "
            "those"
        )
