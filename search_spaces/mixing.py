"""From independent draws to the shares of a mixture; knows no task and no sampler."""

from __future__ import annotations

import math
from collections.abc import Mapping

#: Draws lie in an open interval: at 0 a share would be infinite, and at 1 all could be 0 (reference: Optuna's FAQ
#: recipe includes both ends and can give not-a-number).
LOWEST_DRAW, HIGHEST_DRAW = 1e-6, 1 - 1e-6

#: The draw whose share is the same for every task: the default configuration.
EVEN_DRAW = 0.5


def shares_of(draws: Mapping[str, float], minimum: float) -> dict[str, float]:
    """Shares that sum to 1, each at least `minimum`.

    Uniform draws u give -log(u), exponential variables; normalised they are uniform on the simplex (flat Dirichlet).

    Raises:
        ValueError: where a draw is outside the open unit interval or the minimum leaves no room.
    """
    if minimum * len(draws) > 1:
        raise ValueError(f"minimum × tasks must be at most 1, got {minimum} × {len(draws)}; lower the minimum")
    for name, draw in draws.items():
        if not 0 < draw < 1:
            raise ValueError(f"a draw must lie between 0 and 1, both excluded, got {draw!r} for {name!r}")
    weights = {name: -math.log(draw) for name, draw in draws.items()}
    total = math.fsum(weights.values())
    room = 1 - minimum * len(draws)
    return {name: minimum + room * weight / total for name, weight in weights.items()}
