"""How many bytes a sweep may come to hold and the fewest that it can work with, from its plan; looks at no disk."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from sweep.plan import Plan, all_parameters
from trainables.inflight import KEPT
from trainables.stages import Training

#: AdamW keeps two moments beside each weight; an optimiser's state is on the disk only while its stage is under way.
_STATE_PER_WEIGHT = 3

#: Heads, image side, tokenizer and configuration beside the trunk.
_BESIDE_BYTES = 4_000_000


@dataclass(frozen=True, kw_only=True)
class DiskNeed:
    """Bytes of weights and of checkpoints under way; tables, scores and predictions are small beside them."""

    output_bytes: int
    """One stage's output."""
    least_bytes: int
    """What the work in hand needs: every gang's parent, output and checkpoints, and each cell's best confirmation."""
    most_bytes: int
    """What everything comes to if nothing is ever deleted but leaves of search trials that do not lead their cell."""


def disk_need(plan: Plan) -> DiskNeed:
    """What a sweep needs; an estimate from the sizes of its encoder, in float32."""
    sweep = plan.sweep
    output = 4 * all_parameters(sweep.encoder) + _BESIDE_BYTES
    # Earlier checkpoints of a confirmation's target lie beside its output and in each checkpoint under way, as the same
    # files where the disk can do that, which is not counted on.
    stages = (stage for trial in plan.trials for _, stage in trial.stages)
    earlier = max((len(one.work.kept_steps) for one in stages if isinstance(one.work, Training)), default=0)
    under_way = sweep.gangs.count * output * (_STATE_PER_WEIGHT + earlier) * (KEPT + 1)
    confirmed = len(sweep.cells) * (1 + earlier)
    searched = len(sweep.cells) if sweep.search.trials else 0
    leaves = searched + confirmed * len(sweep.confirmation_seeds)
    named = {name: stage for trial in plan.trials for name, stage in trial.stages if isinstance(stage.work, Training)}
    trained = [[name for name, _ in trial.stages if name in named] for trial in plan.trials]
    shared = len(named.keys() - {names[-1] for names in trained if names})
    always = under_way + output * (1 + earlier) * sweep.gangs.count
    return DiskNeed(
        output_bytes=output,
        least_bytes=always + output * (confirmed + min(sweep.gangs.count, shared)),
        most_bytes=always + output * (leaves + shared),
    )


def disk_faults(plan: Plan, *, free_bytes: float, held_bytes: int = 0) -> Iterator[str]:
    """Why a disk with so much room cannot hold the sweep; `held_bytes` of it are there already."""
    need, limit = disk_need(plan), plan.sweep.storage_limit_bytes
    if limit < need.least_bytes:
        yield (
            f"storage_limit_bytes must be at least {spoken(need.least_bytes)} (checkpoints of {plan.sweep.gangs.count} "
            f"gangs, what they read and write, and the best confirmation of each cell; {spoken(need.output_bytes)} an "
            f"output), got {spoken(limit)}; raise it to {need.least_bytes}, or use fewer gangs"
        )
    wanted = min(need.most_bytes, limit) - held_bytes
    if wanted > free_bytes:
        room = free_bytes + held_bytes
        way = (
            f"set storage_limit_bytes={math.floor(room)}: what can be made again is then deleted in time"
            if room >= need.least_bytes
            else f"the least that it can work with is {spoken(need.least_bytes)}"
        )
        yield f"the disk must have room for {spoken(wanted)} more, got {spoken(free_bytes)}; {way}, or choose another"


def spoken(size_bytes: float) -> str:
    """A size in words, as `1.2 GB`."""
    if math.isinf(size_bytes):
        return "no limit"
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if size_bytes >= size:
            return f"{size_bytes / size:.1f} {unit}"
    return f"{size_bytes / 1e3:.0f} kB"
