"""How a benchmark says by its exit status what became of its goals, and what several say together; measures nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

#: The exit status of a benchmark that could not measure a goal and missed none; automake's, for a test that is skipped.
SKIPPED = 77


def status(goals: Iterable[bool | None]) -> int:
    """0 where every goal was met, 1 where one was missed, `SKIPPED` where one, None, was not measured."""
    known = list(goals)
    if False in known:
        return 1
    return SKIPPED if None in known else 0


def verdict(statuses: Mapping[str, int]) -> tuple[str, int]:
    """What is to be said of benchmarks by name, and 1 where any missed a goal or failed, else 0."""
    missed = [name for name, one in statuses.items() if one not in (0, SKIPPED)]
    skipped = [name for name, one in statuses.items() if one == SKIPPED]
    text = f"goals missed in: {', '.join(missed)}" if missed else "every goal that was measured was met"
    if skipped:
        text += f"; not measured, at least in part: {', '.join(skipped)}"
    elif not missed:
        text = "every goal met"
    return text, int(bool(missed))
