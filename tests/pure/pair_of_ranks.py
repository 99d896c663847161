"""Two ranks of a gang as threads of one process; one that is left alone in a collective breaks it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any


class Failed(RuntimeError):
    """What both ranks raise when one has failed; the second knows no more of it than the text."""

    alone = True


class Rank:
    """One of two ranks; `collectives` counts what it took part in."""

    size = 2

    def __init__(self, rank: int, barrier: threading.Barrier, said: list[Any]) -> None:
        self.rank, self.collectives = rank, 0
        self._barrier, self._said = barrier, said

    def all(self, value: Any) -> list[Any]:
        self.collectives += 1
        self._said[self.rank] = value
        self._barrier.wait(30)
        found = list(self._said)
        self._barrier.wait(30)
        return found

    def any(self, flag: bool) -> bool:
        return any(self.all(flag))

    def together(self, work: Callable[[], Any]) -> Any:
        result = error = None
        try:
            result = work()
        except Exception as raised:
            error = raised
        failed = [str(told) for told in self.all(error) if told is not None]
        if failed:
            raise Failed(f"a rank failed: {failed[0]}") from error
        return result


def pair() -> tuple[Rank, Rank]:
    """Two ranks that know one another."""
    barrier, said = threading.Barrier(2), [None, None]
    return Rank(0, barrier, said), Rank(1, barrier, said)
