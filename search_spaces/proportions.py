"""Shares of a mixture from the sizes of its tasks; knows no search and no steps."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from trainables.catalogue.task import Task
from trainables.faults import refuse


@dataclass(frozen=True, kw_only=True)
class Proportions:
    """Each task's share is proportional to min(examples, `cap`) ** (1 / `temperature`).

    The rule of jiant and T5 (Raffel et al. 2020, section 3.5.2): temperature 1 is proportional, with a cap
    K proportional up to K examples; a higher temperature evens the shares out, an infinite one makes them equal.

    Raises:
        Invalid: unless the cap is above 0 and the temperature at least 1.
    """

    temperature: float = 1.0
    cap: float = math.inf

    def __post_init__(self) -> None:
        faults = []
        for name, least, holds in (
            ("temperature", "a number of at least 1", lambda value: value >= 1),
            ("cap", "a number above 0", lambda value: value > 0),
        ):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not holds(value):
                faults.append(f"{name} must be {least}; math.inf is one, got {value!r}")
        refuse("Proportions", faults)

    def shares(self, tasks: Iterable[Task]) -> tuple[tuple[str, float], ...]:
        """(task name, share) of every task, summing to 1: what `Cell.shares` takes.

        Sizes are the catalogue's, and of files of a user's own those stated; equal shares need none.

        Raises:
            Invalid: naming every task without a training split of a stated size.
        """
        sizes = {task.name: examples(task) for task in tasks}
        if math.isinf(self.temperature):
            return tuple((name, 1 / len(sizes)) for name in sizes)
        refuse(
            "a mixture by size",
            (
                f"task {name!r} must state the rows of its training split, got none; state them (rows=… of a task of "
                "files of your own), or give shares"
                for name, size in sizes.items()
                if not size
            ),
        )
        largest = max((min(size, self.cap) for size in sizes.values()), default=1)
        weights = {name: (min(size, self.cap) / largest) ** (1 / self.temperature) for name, size in sizes.items()}
        total = math.fsum(weights.values())
        return tuple((name, weight / total) for name, weight in weights.items())


UNIFORM = Proportions(temperature=math.inf)
PROPORTIONAL = Proportions()


def examples(task: Task) -> int:
    """Rows of a task's training split, over all of its languages; 0 where the catalogue does not say."""
    train = task.split("train")
    return 0 if train is None else train.rows * len(train.languages)
