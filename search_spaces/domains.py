"""Sets of values that a parameter may take, correct by construction; draws none of them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from trainables.faults import refuse


def _bounds(low: float, high: float) -> Iterator[str]:
    for name, value in (("low", low), ("high", high)):
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            yield f"{name} must be a finite number, got {value!r}"
            return
    if not low < high:
        yield f"low must be below high, got {low!r} and {high!r}; to fix a value, put it in the settings instead"


@dataclass(frozen=True)
class LogRange:
    """Numbers from `low` to `high`, both included, alike per factor of ten: the scale of learning rates.

    Raises:
        Invalid: unless 0 < low < high.
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        faults = list(_bounds(self.low, self.high))
        if not faults and self.low <= 0:
            faults.append(f"low must be above 0 on a log scale, got {self.low!r}")
        refuse("LogRange", faults)

    def __contains__(self, value: object) -> bool:
        return isinstance(value, int | float) and self.low <= value <= self.high


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, both included, on a linear scale.

    Raises:
        Invalid: unless low < high.
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        refuse("Range", _bounds(self.low, self.high))

    def __contains__(self, value: object) -> bool:
        return isinstance(value, int | float) and self.low <= value <= self.high


@dataclass(frozen=True)
class Choice:
    """One of several numbers.

    Raises:
        Invalid: unless there are at least two, all different and finite.
    """

    options: tuple[float, ...]

    def __post_init__(self) -> None:
        faults = []
        if len(set(self.options)) != len(self.options) or len(self.options) < 2:
            faults.append(f"options must be at least two different numbers, got {self.options!r}")
        if any(not isinstance(value, int | float) or not math.isfinite(value) for value in self.options):
            faults.append(f"options must be finite numbers, got {self.options!r}")
        refuse("Choice", faults)

    def __contains__(self, value: object) -> bool:
        return value in self.options


@dataclass(frozen=True)
class Simplex:
    """Shares of the tasks of a mixture: each at least `minimum`, together 1.

    Raises:
        Invalid: unless 0 <= minimum < 1.
    """

    minimum: float = 0.05
    """Below one step in twenty a task teaches little in the few hundred steps of a small stage."""

    def __post_init__(self) -> None:
        good = isinstance(self.minimum, int | float) and 0 <= self.minimum < 1
        refuse("Simplex", () if good else (f"minimum must be from 0 up to but without 1, got {self.minimum!r}",))


Domain = LogRange | Range | Choice
