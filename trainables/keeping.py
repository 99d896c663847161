"""Which stage outputs go when the disk budget is spent: the cheapest to train again per byte first; deletes none."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Kept:
    """A stage output whose weights are in the store."""

    digest: str
    size_bytes: int
    seconds: float
    """What it took to make, and so about what it would take to make again."""


#: A gang may hold an output and three checkpoints, each of a model with an optimiser's two moments.
_OUTPUTS_UNDER_WAY = 1 + 3 * 3


def under_way_bytes(largest_output: int, largest_checkpoints: int) -> int:
    """What one gang may come to hold beside what is kept, from the largest output and checkpoints seen so far."""
    return max(_OUTPUTS_UNDER_WAY * largest_output, largest_output + largest_checkpoints)


def evictions(kept: Iterable[Kept], *, needed: Collection[str], excess_bytes: float) -> tuple[str, ...]:
    """The outputs to delete so that `excess_bytes` are freed, or all that may go where that is not enough.

    None that is `needed` is among them.
    """
    if excess_bytes <= 0:
        return ()
    free = [one for one in kept if one.digest not in needed and one.size_bytes > 0]
    chosen, freed = [], 0
    for one in sorted(free, key=lambda one: (one.seconds / one.size_bytes, one.digest)):
        if freed >= excess_bytes:
            break
        chosen.append(one.digest)
        freed += one.size_bytes
    return tuple(chosen)
