"""Whether a loss has exploded though it still is a finite number; knows no model and looks at losses alone.

The rule, for each task of a stage, at every `INTERVAL_STEPS`-th step of the stage and at its last one: more than half
of the task's last `WINDOW_STEPS` steps cost more per label than `bound` says, the larger of so many times what its
first step cost and `LEAST_NATS`.

- The first step is taken before the task has moved a weight, so a warm-up cannot raise it, nor an explosion at step 2.
- All losses here are cross entropies in nats per label. A uniform guess costs at most 12.4 (among the 250,002 words of
  XLM-R), so an untrained head is below 20, and a task that begins near 0 may rise to a guess without being stopped.
- A majority of steps, not their mean, so that one batch which is far out stops nothing.
- Fixed steps, so that it depends on neither checkpoints nor interruptions whether a stage fails.

A model that has collapsed to guessing is below the bound: that is a bad score, and no explosion.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

#: How many times its first loss a task may cost; `math.inf` for any.
MULTIPLE = 10.0

#: A loss per label up to this is none that has exploded, whatever the first was.
LEAST_NATS = 20.0

#: Steps of the whole stage from one look to the next.
INTERVAL_STEPS = 50

#: The last steps of a task that are looked at; of a short one the later half, and at least `FEWEST_STEPS`.
WINDOW_STEPS, FEWEST_STEPS = 20, 5


@dataclass(frozen=True, kw_only=True)
class Explosion:
    """What was found of a task."""

    first: float
    last: float
    bound: float
    above: int
    """Steps of the window that cost more than the bound."""
    window: int


def is_looked_at(done: int, maximum_steps: int) -> bool:
    """Whether losses are judged after so many steps of a stage."""
    return done % INTERVAL_STEPS == 0 or done == maximum_steps


def bound(first: float, multiple: float) -> float:
    """What a task may cost per label whose first step cost `first`."""
    return max(multiple * first, LEAST_NATS)


def places(steps: int) -> range:
    """Which of a task's steps so far are looked at, by their place among them; none where they are too few."""
    window = min(WINDOW_STEPS, max(FEWEST_STEPS, (steps - 1) // 2))
    return range(steps - window, steps) if steps > window else range(0)


def found(first: float, window: Sequence[float], multiple: float) -> Explosion | None:
    """The explosion that a task's first loss and those of its window show, if they do."""
    if math.isinf(multiple) or not window:
        return None
    limit = bound(first, multiple)
    above = sum(loss > limit for loss in window)
    if 2 * above <= len(window):
        return None
    return Explosion(first=first, last=window[-1], bound=limit, above=above, window=len(window))
