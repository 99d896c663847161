"""What a simulation gave, as lines for a terminal; simulates nothing."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sweep.plan import Plan
from sweep.simulate import ASSUMPTIONS, Described, Placed, Simulated


@dataclass(frozen=True, kw_only=True)
class Replayed:
    """A plan, the cluster that it was replayed on, and what came of it."""

    plan: Plan
    described: Described
    simulated: Simulated


def simulated_text(replayed: Replayed) -> str:
    """The answer of one sweep, with its assumptions."""
    described, simulated = replayed.described, replayed.simulated
    start = described.node_start_seconds + described.gang_start_seconds
    lines = [
        f"cluster      {_machines(replayed)}",
        *(f"unused       {said}" for said in _unused(replayed)),
        f"makespan     {_duration(simulated.makespan_seconds)}, of which {_duration(start)} to start",
        f"utilisation  {simulated.utilisation:.0%} of the gangs' time trains",
        f"reuse        {simulated.stages:,} stages run, {simulated.reuse_factor:.2f} times as many if none were shared",
        f"node-hours   {_node_hours([replayed])}",
        *_ceilings(replayed),
        f"losses       {simulated.losses:,} machines, {_duration(simulated.repeated_seconds)} trained again",
        _assumed(),
    ]
    return "\n".join(lines)


def suite_simulated_text(replays: Sequence[Replayed]) -> str:
    """The answers of a suite's sweeps, which run one after the other, their sum, and the assumptions."""
    width = max(len(one.plan.sweep.name) for one in replays)
    heading = f"{'makespan':>9} {'gangs':>5} {'machines':>8} {'use':>5} {'stages':>7} {'losses':>7} {'node-hours':>10}"
    lines = [
        "simulated    one after the other, as one job runs them; what an earlier one has made is not made again",
        "",
        f"{'sweep':<{width}} {heading}",
    ]
    for one in replays:
        made = one.simulated
        lines.append(
            f"{one.plan.sweep.name:<{width}} {_duration(made.makespan_seconds):>9} {made.gangs:>5} {made.nodes:>8} "
            f"{made.utilisation:>5.0%} {made.stages:>7,} {made.losses:>7,} {made.node_hours:>10,.1f}"
        )
    unused = {said: None for one in replays for said in _unused(one)}
    lines += [
        "",
        *(f"cluster      {said}" for said in {_machines(one): None for one in replays}),
        *(f"unused       {said}" for said in unused),
        f"makespan     {_duration(sum(one.simulated.makespan_seconds for one in replays))}",
        f"stages       {sum(one.simulated.stages for one in replays):,} run",
        f"node-hours   {_node_hours(replays)}",
        *(f"{line} (of {one.plan.sweep.name})" for one in replays for line in _ceilings(one)),
        f"losses       {sum(one.simulated.losses for one in replays):,} machines, "
        f"{_duration(sum(one.simulated.repeated_seconds for one in replays))} trained again",
        _assumed(),
    ]
    return "\n".join(lines)


def _machines(replayed: Replayed) -> str:
    gangs, described, simulated = replayed.plan.sweep.gangs, replayed.described, replayed.simulated
    placed = Placed.of(gangs, described)
    asks = f" (each {gangs.worker_in_words})" if gangs.asks else ""
    rate = described.losses_per_node_hour
    return (
        f"a head, and {described.nodes:,} machine(s) of {described.workers_per_node} worker(s){asks}"
        + (f", each lost {rate:g} times an hour" if rate else "")
        + f"; {simulated.gangs:,} of {gangs.count:,} gang(s) of {gangs.workers} worker(s) have room, "
        + (
            f"each on {placed.nodes_per_gang} machines"
            if placed.nodes_per_gang > 1
            else f"up to {placed.gangs_per_node} on a machine"
        )
    )


def _unused(replayed: Replayed) -> list[str]:
    gangs, described = replayed.plan.sweep.gangs, replayed.described
    idle = described.nodes - replayed.simulated.nodes
    if not idle:
        return []
    # Machines that hold no whole gang stay unused with any number of gangs.
    placed = Placed.of(gangs, described)
    most = described.nodes // placed.nodes_per_gang * placed.gangs_per_node
    why = "no further gang has room on them"
    if most > gangs.count:
        why = f"the sweep has {gangs.count:,} gang(s), and --gangs {most} would use them"
    return [f"{idle:,} machine(s), which are not counted below: {why}"]


def _node_hours(replays: Sequence[Replayed]) -> str:
    head = sum(one.simulated.makespan_seconds for one in replays) / 3600
    hours = sum(one.simulated.node_hours for one in replays)
    price = sum(one.simulated.price for one in replays)
    rates = sorted({one.described.price_per_node_hour for one in replays})
    each = " or ".join(f"{rate:g}" for rate in rates)
    return f"{hours:,.1f}, of which {head:,.1f} of the head" + (f"; {price:,.2f} at {each} each" if any(rates) else "")


def _ceilings(replayed: Replayed) -> Iterable[str]:
    """Whether what the definition allows is enough for this."""
    gangs, price, simulated = replayed.plan.sweep.gangs, replayed.described.price_per_node_hour, replayed.simulated
    cost = simulated.node_hours * gangs.price_per_node_hour
    for what, ceiling, needed in (
        ("gang-hours", gangs.gang_hours, simulated.gangs * simulated.makespan_seconds / 3600),
        ("node-hours with the head's", gangs.node_hours, simulated.node_hours),
        (f"of money, the head's too, of which {cost:,.2f} are needed", gangs.price, cost),
    ):
        if math.isfinite(ceiling):
            costs = f" ({ceiling * price:,.2f} at {price:g} each)" if price and what.startswith("node") else ""
            says = "enough" if needed <= ceiling else "not enough: the sweep would stop with trials left open"
            yield f"ceiling      {ceiling:g} {what}{costs}, {says}"


def _assumed() -> str:
    return "assumed      " + "\n             ".join(ASSUMPTIONS)


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
