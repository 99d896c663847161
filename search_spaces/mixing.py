"""From independent draws to the shares of a mixture and back; knows no task and no sampler."""

from __future__ import annotations

import math
from collections.abc import Mapping

from search_spaces.domains import Simplex

#: Draws lie in an open interval: at 0 a share would be infinite, and at 1 all could be 0 (reference: Optuna's FAQ
#: recipe includes both ends and can give not-a-number).
LOWEST_DRAW, HIGHEST_DRAW = 1e-6, 1 - 1e-6

#: The draw whose share is the same for every task: the default configuration.
EVEN_DRAW = 0.5

#: Shares are compared with their bounds to this: sums of a few doubles are that exact.
_EPSILON = 1e-12
#: Shares that were turned into draws and back are that exact.
_ROUNDING = 1e-9


def shares_of(draws: Mapping[str, float], simplex: Simplex) -> dict[str, float]:
    """Shares that sum to 1, each within the bounds of the simplex, or 0 where it is sparse.

    Uniform draws u give -log(u), exponential variables; normalised they are uniform on the simplex (flat Dirichlet).
    A share above the maximum is cut to it, and what is cut goes to the others in proportion.

    Raises:
        ValueError: where a draw is outside the open unit interval or the bounds leave no shares.
    """
    for fault in simplex.faults_for(len(draws)):
        raise ValueError(fault)
    for name, draw in draws.items():
        if not 0 < draw < 1:
            raise ValueError(f"a draw must lie between 0 and 1, both excluded, got {draw!r} for {name!r}")
    weights = {name: -math.log(draw) for name, draw in draws.items()}
    if simplex.sparse:
        on = _switched_on(weights, simplex)
        shares = _bounded(on, 0.0, simplex.maximum)
        if min(shares.values()) < simplex.minimum - _ROUNDING:  # of those that the maximum needs, one is too small
            shares = _bounded(on, simplex.minimum, simplex.maximum)
        return dict.fromkeys(draws, 0.0) | shares
    return _bounded(weights, simplex.minimum, simplex.maximum)


def _switched_on(weights: Mapping[str, float], simplex: Simplex) -> dict[str, float]:
    """The weights without the smallest ones, until no share is below the minimum.

    As many stay as the maximum needs to reach 1; of equal weights the first stays.
    """
    least = math.ceil(1 / simplex.maximum - _EPSILON)
    kept = sorted(weights, key=lambda name: -weights[name])
    minimum = simplex.minimum - _ROUNDING
    while len(kept) > least and weights[kept[-1]] < minimum * math.fsum(weights[name] for name in kept):
        kept.pop()
    return {name: weight for name, weight in weights.items() if name in kept}


def _bounded(weights: Mapping[str, float], minimum: float, maximum: float) -> dict[str, float]:
    """`minimum` for each and the rest in proportion to the weights, none above `maximum`."""
    capped: dict[str, float] = {}
    while True:
        free = {name: weight for name, weight in weights.items() if name not in capped}
        room = max(0.0, 1 - math.fsum(capped.values()) - minimum * len(free))
        total = math.fsum(free.values())
        shares = {name: minimum + room * weight / total for name, weight in free.items()}
        over = {name: maximum for name, share in shares.items() if share > maximum + _EPSILON}
        if not over:
            return {name: shares.get(name, maximum) for name in weights}
        capped |= over


def draws_of(shares: Mapping[str, float], simplex: Simplex) -> dict[str, float]:
    """Draws that `shares_of` turns into these shares, as nearly as the open interval lets it.

    Of the many draws with the same shares those are given whose -log(u) sum to as much as even draws' do.
    """
    room = 1 - (0.0 if simplex.sparse else simplex.minimum * len(shares))
    scale = -math.log(EVEN_DRAW) * len(shares) / (room or 1.0)
    least = 0.0 if simplex.sparse else simplex.minimum
    exact = {name: math.exp(-scale * max(0.0, share - least)) for name, share in shares.items()}
    return {name: min(HIGHEST_DRAW, max(LOWEST_DRAW, draw)) for name, draw in exact.items()}
