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
class Integers:
    """Whole numbers from `low` to `high`, both included.

    Raises:
        Invalid: unless both are whole and low < high.
    """

    low: int
    high: int

    def __post_init__(self) -> None:
        refuse("Integers", self._faults())

    def _faults(self) -> Iterator[str]:
        if any(isinstance(value, bool) or not isinstance(value, int) for value in (self.low, self.high)):
            yield f"low and high must be whole numbers, got {self.low!r} and {self.high!r}"
        else:
            yield from _bounds(self.low, self.high)

    def __contains__(self, value: object) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and self.low <= value <= self.high


@dataclass(frozen=True)
class Choice:
    """One of several numbers.

    Raises:
        Invalid: unless there are at least two, all different and finite.
    """

    options: tuple[float, ...]

    def __post_init__(self) -> None:
        refuse("Choice", self._faults())

    def _faults(self) -> Iterator[str]:
        if not isinstance(self.options, tuple) or any(not _is_number(value) for value in self.options):
            yield f"options must be a tuple of finite numbers, got {self.options!r}"
        elif len(set(self.options)) != len(self.options) or len(self.options) < 2:
            yield f"options must be at least two different numbers, got {self.options!r}"

    def __contains__(self, value: object) -> bool:
        return _is_number(value) and value in self.options


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


@dataclass(frozen=True)
class Simplex:
    """Shares of the tasks of a mixture: together 1, each from `minimum` to `maximum`.

    With `sparse`, a task may be off: a share that would be below `minimum` is 0 instead, and the others grow in
    proportion. As many tasks stay on as the maximum needs to reach 1; of these none is below `minimum` either.

    Raises:
        Invalid: unless 0 <= minimum < maximum <= 1, and, where shares are sparse, minimum is above 0 and low enough for
            as many tasks as the maximum keeps on.
    """

    minimum: float = 0.05
    """Below one step in twenty a task teaches little in the few hundred steps of a small stage."""
    maximum: float = 1.0
    sparse: bool = False

    def __post_init__(self) -> None:
        refuse("Simplex", self._faults())

    def _faults(self) -> Iterator[str]:
        if not _is_number(self.minimum) or not 0 <= self.minimum < 1:
            yield f"minimum must be from 0 up to but without 1, got {self.minimum!r}"
        elif not _is_number(self.maximum) or not self.minimum < self.maximum <= 1:
            yield f"maximum must be above the minimum ({self.minimum!r}) and at most 1, got {self.maximum!r}"
        elif self.sparse is True and self.minimum == 0:
            yield "minimum must be above 0 where shares are sparse, since a smaller share switches its task off, got 0"
        elif self.sparse is True and self.minimum * (on := math.ceil(1 / self.maximum - 1e-12)) > 1:
            yield (
                f"minimum must leave room for the {on} tasks that a maximum of {self.maximum!r} keeps on, "
                f"got {self.minimum!r}; lower it to at most {math.floor(1000 / on) / 1000:g}, or raise the maximum"
            )
        if not isinstance(self.sparse, bool):
            yield f"sparse must be True or False, got {self.sparse!r}"

    def faults_for(self, tasks: int) -> Iterator[str]:
        """Why shares of so many tasks cannot be bounded so."""
        if self.minimum * tasks > 1 and not self.sparse:
            yield (
                f"the minimum share must leave room for the {tasks} tasks, got {self.minimum}; lower it to at most "
                f"{math.floor(1000 / tasks) / 1000:g}, or make the shares sparse"
            )
        if self.maximum * tasks < 1:
            yield (
                f"the maximum share must let {tasks} tasks reach 1 together, got {self.maximum}; raise it to at least "
                f"{math.ceil(1000 / tasks) / 1000:g}"
            )


Domain = LogRange | Range | Integers | Choice
