"""The words of `sweep plan --simulate`: parses them, describes the cluster, calls the simulation; decides nothing."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from sweep.definition import Sweep
from sweep.plan import Plan, estimated_seconds
from trainables.faults import refuse
from trainables.gangs import Gangs

if TYPE_CHECKING:
    from sweep.held import Held
    from sweep.simulate import Described
    from sweep.simulated_text import Replayed
    from sweep.stage_times import Measured

_WHAT = "the cluster to simulate"


def add_simulation(command: argparse.ArgumentParser) -> None:
    """The options of `plan` that describe a cluster."""
    group = command.add_argument_group("simulation")
    group.add_argument("--simulate", action="store_true", help="replay the plan on a described cluster")
    group.add_argument("--gangs", type=int, help="how many gangs to plan for, instead of what the definition says")
    group.add_argument("--nodes", type=int, help="machines beside the head (default: what the gangs need)")
    for name, kind, text in (
        ("gpus-per-node", float, "GPUs of each machine (default: machines that hold one gang)"),
        ("processors-per-node", float, "processors of each machine; if GPUs alone are given, they suffice"),
        ("gangs-per-node", int, "instead of these, how many gangs each machine holds"),
    ):
        group.add_argument(f"--{name}", type=kind, help=text)
    for name, kind, default, text in (
        ("node-start", float, 300.0, "seconds from asking for a machine to its being ready"),
        ("gang-start", float, None, "seconds to start a gang (default: 20, or until --measured's first stage began)"),
        ("stage-overhead", float, None, "seconds between two stages (default: 0.2, or --measured's median)"),
        ("checkpoint", float, 120.0, "seconds between two checkpoints"),
        ("losses-per-node-hour", float, 0.0, "how often a machine is lost"),
        ("price-per-node-hour", float, None, "in any currency, the head's too (default: the definition's)"),
    ):
        stated = "" if default is None else " (default: %(default)s)"
        group.add_argument(f"--{name}", type=kind, default=default, help=text + stated)
    text = "GFLOP/s that a GPU reaches, or a thread of gangs without one (default: the plan's own guess)"
    group.add_argument("--gigaflops", type=float, help=text)
    group.add_argument(
        "--measured", metavar="STORAGE", help="take times, and what is pruned, from the ledger of this sweep there"
    )


def with_gangs(sweep: Sweep, count: int | None) -> Sweep:
    """The sweep with so many gangs, where a number is given.

    Raises:
        Invalid: where it is none.
    """
    return sweep if count is None else replace(sweep, gangs=replace(sweep.gangs, count=count))


def simulation(plan: Plan, options: argparse.Namespace, held: Held | None = None) -> str:
    """The plan, or what a storage leaves of it, replayed on the cluster that the options describe."""
    from sweep.simulated_text import simulated_text

    return simulated_text(_replayed(plan, options, held))


def suite_simulation(plans: Sequence[Plan], options: argparse.Namespace, held: Sequence[Held | None]) -> str:
    """The plans of a suite replayed one after the other: machines stay, gangs start anew, what is shared is there."""
    from sweep.simulated_text import suite_simulated_text

    replays: list[Replayed] = []
    made: set[str] = set()
    for plan, there in zip(plans, held, strict=True):
        replays.append(_replayed(plan, options, there, made=frozenset(made), standing=bool(replays)))
        # Other names are those of stages whose values are yet to be drawn: no other sweep has them.
        made |= {name for trial in plan.trials for name, stage in trial.stages if name == stage.digest}
    return suite_simulated_text(replays)


def _replayed(
    plan: Plan,
    options: argparse.Namespace,
    held: Held | None,
    *,
    made: frozenset[str] = frozenset(),
    standing: bool = False,
) -> Replayed:
    from sweep.held import Held
    from sweep.simulate import simulate
    from sweep.simulated_text import Replayed
    from sweep.stage_times import Measured

    given = options.gigaflops
    fault = f"--gigaflops must be a finite number above 0, got {given}"
    refuse(_WHAT, () if given is None or 0 < given < math.inf else (fault,))
    times = _measured(plan, options.measured) if options.measured else Measured()
    described = _described(plan.sweep.gangs, options, times)
    there = held or Held()
    simulated = simulate(
        plan,
        described,
        times.seconds_of(lambda stage: estimated_seconds(stage, given or 0.0)),
        pruned=times.pruned,
        done=there.done | made,
        ended=there.ended,
        standing=standing,
    )
    return Replayed(plan=plan, described=described, simulated=simulated)


def _described(gangs: Gangs, options: argparse.Namespace, times: Measured) -> Described:
    from sweep.simulate import Described, Placed

    workers = _workers_per_node(gangs, options)
    usual = Described(nodes=1, workers_per_node=workers)
    described = replace(
        usual,
        nodes=options.nodes if options.nodes is not None else gangs.count * gangs.workers,
        node_start_seconds=options.node_start,
        gang_start_seconds=_first(options.gang_start, times.start_seconds, usual.gang_start_seconds),
        stage_overhead_seconds=_first(options.stage_overhead, times.between_seconds, usual.stage_overhead_seconds),
        checkpoint_seconds=options.checkpoint,
        losses_per_node_hour=options.losses_per_node_hour,
        price_per_node_hour=_first(options.price_per_node_hour, gangs.price_per_node_hour),
    )
    # So many machines hold them in any case; those that hold one are what is needed.
    return described if options.nodes is not None else replace(described, nodes=Placed.of(gangs, described).nodes)


def _workers_per_node(gangs: Gangs, options: argparse.Namespace) -> int:
    """How many workers each described machine holds.

    Raises:
        Invalid: where it holds none, or is described twice.
    """
    refuse(_WHAT, _machine_faults(gangs, options))
    given = _machine(options)
    if not given:
        return gangs.workers * (1 if options.gangs_per_node is None else options.gangs_per_node)
    return min(_room(gangs, given))


def _machine_faults(gangs: Gangs, options: argparse.Namespace) -> Iterator[str]:
    given = _machine(options)
    per_node = options.gangs_per_node
    if per_node is not None and per_node < 1:
        yield f"--gangs-per-node must be at least 1, got {per_node}"
    if given and per_node is not None:
        yield "--gangs-per-node must be given alone, got it beside what each machine has; leave one of them out"
    for name, amount in given.items():
        if not (math.isfinite(amount) and amount >= 0):
            yield f"what a machine has must be a finite number of at least 0, got {amount!r} {name}"
            return
    if not given:
        return
    room = _room(gangs, given)
    asked = f"a worker asks for {gangs.worker_in_words or 'nothing'}"
    if not room:
        yield f"what a machine has must say how many workers it holds, got {_in_words(given)}, where {asked}"
    elif min(room) < 1:
        yield f"a machine must hold a worker, got {_in_words(given)}, where {asked}; describe a larger one"


def _machine(options: argparse.Namespace) -> dict[str, float]:
    """What each machine has, by Ray's names, as far as it is given."""
    given = {"CPU": options.processors_per_node, "GPU": options.gpus_per_node}
    return {name: amount for name, amount in given.items() if amount is not None}


def _room(gangs: Gangs, given: dict[str, float]) -> list[int]:
    """How many workers each kind of resource suffices for, of those that a worker asks for."""
    return [int(given[name] / each + 1e-9) for name, each in gangs.asks.items() if name in given]


def _in_words(given: dict[str, float]) -> str:
    return " and ".join(f"{amount:g} {name}" for name, amount in given.items())


def _measured(planned: Plan, storage: str) -> Measured:
    """What the ledger there says of this sweep, by the definition that it was made with."""
    from sweep.plan import plan
    from sweep.results import Results
    from sweep.stage_times import measured

    results = Results.open(storage, planned.sweep.name)
    made_by = results.definition()
    if why := results.unread():
        print(f"sweep: {why}; stages are known by this plan instead", file=sys.stderr)
    return measured(results.standing().records.values(), plan(made_by) if made_by is not None else planned)


def _first(*values: float | None) -> float:
    return next(value for value in values if value is not None)
