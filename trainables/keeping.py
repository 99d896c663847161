"""Which stage outputs go when the disk budget is spent: the cheapest to train again per byte first; deletes none."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, kw_only=True)
class Kept:
    """A stage output whose weights are in the store."""

    digest: str
    size_bytes: int
    seconds: float
    """What it took to make, and so about what it would take to make again."""
    parent: str = ""
    """The stage that it goes on from; empty for none."""


#: A gang may hold an output and three checkpoints, each of a model with an optimiser's two moments.
_OUTPUTS_UNDER_WAY = 1 + 3 * 3


def under_way_bytes(largest_output: int, largest_checkpoints: int) -> int:
    """What one gang may come to hold beside what is kept, from the largest output and checkpoints seen so far."""
    return max(_OUTPUTS_UNDER_WAY * largest_output, largest_output + largest_checkpoints)


def evictions(
    kept: Iterable[Kept],
    *,
    needed: Collection[str],
    excess_bytes: float,
    gone: Mapping[str, Kept] = MappingProxyType({}),
) -> tuple[str, ...]:
    """The outputs to delete so that `excess_bytes` are freed, or all that may go where that is not enough.

    None that is `needed` is among them. What goes on from a stage whose weights are `gone` cannot be made again without
    that one.
    """
    if excess_bytes <= 0:
        return ()

    def worth(one: Kept) -> float:
        """Seconds per byte."""
        seconds, above = one.seconds, one.parent
        while above in gone:
            seconds, above = seconds + gone[above].seconds, gone[above].parent
        return seconds / one.size_bytes

    free = [one for one in kept if one.digest not in needed and one.size_bytes > 0]
    chosen, freed = [], 0
    for one in sorted(free, key=lambda one: (worth(one), one.digest)):
        if freed >= excess_bytes:
            break
        chosen.append(one.digest)
        freed += one.size_bytes
    return tuple(chosen)
