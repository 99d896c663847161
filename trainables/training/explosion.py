"""Whether a loss has exploded though it still is a finite number; knows no model and looks at losses alone.

The rule, for each task of a stage: of so many of its steps in a row (`window_of`) more than half cost more per label
than `bound` says, the larger of so many times what its first step cost and `LEAST_NATS`. It is looked at after every
`INTERVAL_STEPS`-th step of the stage and after its last one, for all steps since the look before.

- The first step is taken before the task has moved a weight, so a warm-up cannot raise it, nor an explosion at step 2.
- All losses here are cross entropies in nats per label. A uniform guess costs at most 12.4 (among the 250,002 words of
  XLM-R), so an untrained head is below 20, and a task that begins near 0 may rise to a guess without being stopped.
- A majority of steps, not their mean, so that one batch which is far out stops nothing.
- All steps, not the last ones: when the learning rate has decayed, a model that has exploded comes back to guessing,
  and what it knew is gone.
- Looks at fixed steps, so that it depends on neither checkpoints nor interruptions whether a stage fails.

A model that only collapses to guessing is below the bound: that is a bad score, and no explosion.
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

#: The most and the fewest steps in a row that are held against the bound; half of a task's where that is between.
WINDOW_STEPS, FEWEST_STEPS = 20, 5


@dataclass(frozen=True, kw_only=True)
class Explosion:
    """What was found of a task."""

    place: int
    """That of the last step of the first window that shows it, among the losses given."""
    loss: float
    """The largest of that window."""
    bound: float
    above: int
    """Steps of the window that cost more than the bound."""


def is_looked_at(done: int, maximum_steps: int) -> bool:
    """Whether losses are judged after so many steps of a stage."""
    return done % INTERVAL_STEPS == 0 or done == maximum_steps


def looked_at_before(done: int) -> int:
    """The steps of the stage after which losses were judged the time before; 0 for the first."""
    return (done - 1) // INTERVAL_STEPS * INTERVAL_STEPS


def window_of(steps: int) -> int:
    """How many steps in a row count, of a task that has so many in its stage."""
    return min(WINDOW_STEPS, max(FEWEST_STEPS, (steps - 1) // 2))


def bound(first: float, multiple: float) -> float:
    """What a task may cost per label whose first step cost `first`."""
    return max(multiple * first, LEAST_NATS)


def found(first: float, losses: Sequence[float], window: int, multiple: float) -> Explosion | None:
    """The first explosion that some consecutive losses of a task show, its very first not among them, if they do."""
    limit = bound(first, multiple)
    if math.isinf(limit):
        return None
    above = [loss > limit for loss in losses]
    for end in range(window, len(losses) + 1):
        count = sum(above[end - window : end])
        if 2 * count > window:
            return Explosion(place=end - 1, loss=max(losses[end - window : end]), bound=limit, above=count)
    return None
