"""From sampling shares to whole steps per task and their order; knows no rows."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from fractions import Fraction

from trainables.faults import refuse


def portions(shares: Mapping[str, float], steps: int) -> dict[str, int]:
    """Whole steps per task, summing to `steps` exactly, by the largest-remainder method (Hamilton's).

    Shares need not sum to 1: they are divided by their sum, as exact fractions. Equal remainders are served in
    order of name, so the order in which shares are written never matters. A task may get 0 steps.

    Raises:
        Invalid: for no share, a negative or non-finite one, a sum of 0, or `steps` below 0.
    """
    refuse("a mixture", _faults(shares, steps))
    exact = {name: Fraction(share) for name, share in shares.items()}
    total = sum(exact.values())
    quotas = {name: share * steps / total for name, share in exact.items()}
    whole = {name: math.floor(quota) for name, quota in quotas.items()}
    left = steps - sum(whole.values())
    by_remainder = sorted(quotas, key=lambda name: (whole[name] - quotas[name], name))
    for name in by_remainder[:left]:
        whole[name] += 1
    return whole


def _faults(shares: Mapping[str, float], steps: int) -> list[str]:
    faults = []
    if not shares:
        faults.append("shares must name at least one task, got none")
    bad = {name: share for name, share in shares.items() if not math.isfinite(share) or share < 0}
    faults += [
        f"the share of {name!r} must be a finite number of at least 0, got {share!r}" for name, share in bad.items()
    ]
    if shares and not bad and sum(shares.values()) <= 0:
        faults.append("at least one share must be above 0, got none")
    if steps < 0:
        faults.append(f"steps must be at least 0, got {steps}")
    return faults


def order(steps: Mapping[str, int], seed: int) -> tuple[str, ...]:
    """The task of every optimiser step: each name as often as `steps` says, in an order drawn by `seed`.

    Steps are sorted by the SHA-256 of (seed, task, how-many-th), so no library's shuffle is relied upon.
    """
    drawn = [
        (hashlib.sha256(f"{seed}\0{name}\0{number}".encode()).digest(), name)
        for name, count in steps.items()
        for number in range(count)
    ]
    return tuple(name for _, name in sorted(drawn))
