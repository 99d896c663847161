"""How many gangs a sweep keeps and how large each is, as a value; starts none."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from trainables.faults import refuse
from trainables.training.explosion import MULTIPLE


class GangKind(StrEnum):
    """What stands behind a gang's mailbox."""

    TRAIN = "train"
    """A Ray Train worker group that trains models."""
    REHEARSAL = "rehearsal"
    """One plain process that makes up plausible results at once."""


@dataclass(frozen=True, kw_only=True)
class Runner:
    """What runs a stage and what keeps its in-flight checkpoints, each as `module:name`, imported in the gang alone."""

    run: str
    checkpoints: str


#: The runner of each kind.
RUNNERS = {
    GangKind.TRAIN: Runner(
        run="trainables.training.loop:run_stage", checkpoints="trainables.inflight:LocalCheckpoints"
    ),
    GangKind.REHEARSAL: Runner(
        run="trainables.rehearsal:run_stage", checkpoints="trainables.rehearsal:JsonCheckpoints"
    ),
}


#: What a worker takes of the one that each machine has of its accelerator's type, so that any number of them fit there.
CRUMB = 0.001


@dataclass(frozen=True, kw_only=True)
class Gangs:
    """The gangs of a sweep, all alike.

    Raises:
        Invalid: naming every fault.
    """

    count: int = 1
    workers: int = 1
    """Data-parallel worker processes of each gang."""
    threads: int = 1
    """Threads of matrix products in each worker; part of every digest, since it can change the last bits."""
    gpus_per_worker: float = 0.0
    """Above 1 only as a whole number; a fraction lets gangs share a GPU, with one worker each."""
    cpus_per_worker: float = 1.0
    accelerator: str = ""
    """The GPU that every worker must have, by Ray's name for it, such as "A100" or "L4"; empty where any will do."""
    elastic: bool = False
    """Whether gangs start only when work waits and end when it runs out, so that an autoscaler rents what is used.

    `count` is then the most that run at once, and whether all fit is not asked before the start: nodes may come.
    Otherwise all are asked for at once and kept, and wait for machines where an autoscaler may rent enough for them.
    """
    idle_seconds: float = 120.0
    """How long an elastic gang stays without work; starting it again costs about twenty seconds."""
    gang_hours: float = math.inf
    """What all gangs may spend together over all runs of the sweep, counted while they exist; then it stops, with
    checkpoints, and open trials stay open."""
    node_hours: float = math.inf
    """The same for machines, the head's and idle ones too, counted while the sweep runs on them: a machine that starts,
    or stands after the sweep has ended, costs as much and is not counted."""
    price: float = math.inf
    """What those node-hours may cost at `price_per_node_hour`: the same ceiling, in money."""
    price_per_node_hour: float = 0.0
    """Of the machines that the sweep runs on, in any currency; the head is counted as one of them."""
    checkpoint_interval_steps: int = 200
    """A stage that is interrupted repeats at most this many steps.

    On an object store, where the newest checkpoint may be on its way, one is written twice as often for that.
    """
    patience_seconds: float = 1800.0
    """A worker that gets on with nothing for longer, no step, no batch and no file, hangs and is started anew."""
    explosion_multiple: float = MULTIPLE
    """A training stage fails where most of 20 steps of a task in a row cost more than so many times its first, and
    more than 20 nats per label (`trainables.training.explosion`). Above 1; `inf` asks nothing. No stage's name has it.
    """
    kind: GangKind = GangKind.TRAIN
    rehearsal_step_seconds: float = 0.0
    """How long a rehearsed optimiser step pretends to take; read by rehearsal gangs alone."""

    def __post_init__(self) -> None:
        refuse("the gangs of a sweep", self._faults())

    def _faults(self) -> Iterator[str]:
        for name in ("count", "workers", "threads", "checkpoint_interval_steps"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                yield f"{name} must be a whole number of at least 1, got {value!r}"
        for name in ("gpus_per_worker", "cpus_per_worker", "rehearsal_step_seconds", "price_per_node_hour"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
                yield f"{name} must be a finite number of at least 0, got {value!r}"
                return
        for name in ("idle_seconds", "gang_hours", "node_hours", "price", "patience_seconds"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
                yield f"{name} must be a number above 0, got {value!r}"
        if isinstance(self.price, int | float) and math.isfinite(self.price) and not self.price_per_node_hour:
            yield f"price_per_node_hour must be above 0 where a price is the ceiling ({self.price:g}), got 0"
        multiple = self.explosion_multiple
        if isinstance(multiple, bool) or not isinstance(multiple, int | float) or not multiple > 1:
            yield f"explosion_multiple must be a number above 1, got {multiple!r}; use float('inf') to ask nothing"
        if not isinstance(self.elastic, bool):
            yield f"elastic must be True or False, got {self.elastic!r}"
        if not isinstance(self.accelerator, str):
            yield f"accelerator must be Ray's name of a GPU, such as 'A100', got {self.accelerator!r}"
        elif self.accelerator and not self.gpus_per_worker:
            yield f"gpus_per_worker must be above 0 where an accelerator is named, got {self.gpus_per_worker!r}"
        gpus = self.gpus_per_worker
        if gpus > 1 and gpus != int(gpus):
            yield f"gpus_per_worker must be whole above 1, got {gpus!r}; use {math.floor(gpus)} or {math.ceil(gpus)}"
        if 0 < gpus < 1 and self.workers != 1:
            yield (
                f"workers must be 1 where gpus_per_worker is a fraction, got {self.workers} workers of {gpus!r}; "
                "two ranks of a gang cannot share a GPU"
            )
        if not isinstance(self.kind, GangKind):
            yield f"kind must be GangKind.TRAIN or GangKind.REHEARSAL, got {self.kind!r}"
        elif self.kind is GangKind.REHEARSAL and self.workers != 1:
            yield f"workers must be 1 in a rehearsal, got {self.workers!r}; it trains no model to divide"

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the gangs, in the order in which they are given work."""
        return tuple(f"gang-{number}" for number in range(self.count))

    @property
    def asks(self) -> dict[str, float]:
        """What one worker asks of one machine, by Ray's names."""
        asked = {"CPU": self.cpus_per_worker, "GPU": self.gpus_per_worker}
        if self.accelerator:
            asked[f"accelerator_type:{self.accelerator}"] = CRUMB
        return {name: amount for name, amount in asked.items() if amount}

    def room(self, machines: Iterable[Mapping[str, float]]) -> int:
        """How many workers have room on machines that hold nothing else: each lies on one machine, whatever the sum."""
        asked = self.asks
        return sum(
            min((int(one.get(name, 0) / each + 1e-9) for name, each in asked.items()), default=0) for one in machines
        )

    def room_for_gangs(self, machines: Iterable[Mapping[str, float]]) -> float:
        """How many gangs have room on machines that hold nothing else; infinity for those that ask for nothing."""
        if self.kind is GangKind.REHEARSAL or not self.asks:
            return math.inf
        return self.room(machines) // self.workers

    def waits_for(self, machines: Sequence[Mapping[str, float]]) -> str:
        """In words, what one gang asks for that these machines have not; empty where it has room."""
        if self.kind is GangKind.REHEARSAL or not self.asks or (room := self.room(machines)) >= self.workers:
            return ""
        return (
            f"for machines: a gang asks for {self.workers} workers of {self.worker_in_words}, got room for {room} "
            f"({machines_in_words(machines)})"
        )

    @property
    def worker_in_words(self) -> str:
        """What one worker asks of its machine."""
        asked = self.asks
        words = ", ".join(f"{asked[name]:g} {name}" for name in ("CPU", "GPU") if name in asked)
        return f"{words} of type {self.accelerator}" if self.accelerator else words

    def fits(self, *, cpus: float, gpus: float) -> tuple[str, ...]:
        """Why these gangs cannot all run at once beside nothing else; empty if they can.

        A rehearsal asks for no processor and fits anywhere. The sum is necessary, and sufficient on one machine.
        """
        if self.kind is GangKind.REHEARSAL:
            return ()
        faults = []
        total = self.count * self.workers
        sums = (("processors", self.cpus_per_worker, cpus), ("GPUs", self.gpus_per_worker, gpus))
        for what, each, available in sums:
            needed = total * each
            if needed > available + 1e-9:
                per_gang = self.workers * each
                room = math.floor((available + 1e-9) / per_gang)
                advice = (
                    f"use count={room}"
                    if room
                    else f"one gang alone needs {per_gang:g}: use fewer workers or a larger machine"
                )
                faults.append(
                    f"there must be {what} for every worker: {self.count} gangs × {self.workers} workers × {each:g} = "
                    f"{needed:g}, got {available:g}; {advice}"
                )
        if self.threads > max(1, cpus):
            faults.append(
                f"threads must be at most the {cpus:g} processors that are there, got {self.threads}: more only "
                "wait for one another; use fewer"
            )
        return tuple(faults)


def machines_in_words(machines: Sequence[Mapping[str, float]]) -> str:
    """The processors and GPUs of machines, those alike counted."""
    counted = Counter(f"{one.get('CPU', 0):g} CPU, {one.get('GPU', 0):g} GPU" for one in machines)
    told = (f"{number} × {one}" if number > 1 else one for one, number in sorted(counted.items()))
    return f"machines: {'; '.join(told)}" if machines else "no machine is there"
