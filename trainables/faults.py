"""Collecting every fault of a value before refusing it once; knows no particular value."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class Invalid(ValueError):
    """A value that cannot work, with all of its faults.

    Each fault says what must hold, what arrived and what to do.
    """

    def __init__(self, what: str, faults: Iterable[str]) -> None:
        self.what = what
        self.faults = tuple(faults)
        lines = "\n".join(f"  - {fault}" for fault in self.faults)
        super().__init__(f"{what} cannot be used:\n{lines}")

    def __reduce__(self) -> tuple[type[Invalid], tuple[str, tuple[str, ...]]]:
        return (Invalid, (self.what, self.faults))


class NotThere(LookupError):
    """What a user named is not there, or cannot be meant here; the message says what is, or what to do."""


def refuse(what: str, faults: Iterable[str]) -> None:
    """Raise `Invalid` if there is any fault.

    Raises:
        Invalid: with all the faults at once.
    """
    found = tuple(faults)
    if found:
        raise Invalid(what, found)


def nearest(name: str, known: Iterable[str]) -> str:
    """A half-sentence that names the closest known names, for the end of an error message."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    if close:
        return f"did you mean {close[0]!r}? Known: {', '.join(names)}"
    return f"known: {', '.join(names)}"
