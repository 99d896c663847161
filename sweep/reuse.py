"""How many optimiser steps shared stages have saved a sweep so far, beside what its plan said; plans nothing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sweep.records import State, TrialRecord

if TYPE_CHECKING:
    from sweep.plan import Plan
    from sweep.results import Results


@dataclass(frozen=True, kw_only=True)
class Reuse:
    """Steps of the trials so far: as if none shared a stage, and of each stage once."""

    asked: int
    different: int

    @property
    def factor(self) -> float:
        """How many times more steps the same trials would have taken if none had shared a stage."""
        return self.asked / max(1, self.different)


def achieved(records: Iterable[TrialRecord]) -> Reuse:
    """The reuse of finished stages, and of what pruned and failed trials trained of their target.

    Who trained a stage does not matter, nor when: one that another sweep had left in the storage counts once.
    """
    records = tuple(records)
    asked, different = 0, dict[str, int]()
    for record in records:
        for run in record.stage_runs:
            asked += run["steps"]
            different[run["digest"]] = run["steps"]
    partly = sum(stopped_steps(records))
    return Reuse(asked=asked + partly, different=sum(different.values()) + partly)


def stopped_steps(records: Iterable[TrialRecord]) -> list[int]:
    """Of each pruned or failed trial whose target training has not ended, its steps up to its last score."""
    found = []
    for record in records:
        if record.state in (State.PRUNED, State.FAILED) and record.scored:
            ended = {run["digest"] for run in record.stage_runs}
            leaf = record.stages[-1] if record.winner is None else record.stages[-2]
            if leaf not in ended:
                found.append(record.scored[-1][0])
    return found


def reuse_text(results: Results) -> str:
    """The same in a line, with the plan's factor and its bound; empty before a stage has ended."""
    from sweep.plan import plan

    found = achieved(results.standing().records.values())
    if not found.different:
        return ""
    sweep = results.definition()
    planned = plan(sweep) if sweep is not None else None
    words = f"; the plan says {planned_words(planned)}, if nothing is pruned" if planned else ""
    if results.unread():
        words = "; what the plan says is not known, since the definition cannot be read"
    return (
        f"reuse: {found.different:,} optimiser steps in place of {found.asked:,}, {found.factor:.2f} times as many if "
        f"no stage were shared{words}"
    )


def planned_words(plan: Plan) -> str:
    """The factor of a plan, and its bound where that is another."""
    bound = f", at most {plan.reuse_bound:.2f}" if f"{plan.reuse_bound:.2f}" != f"{plan.reuse_factor:.2f}" else ""
    return f"{plan.reuse_factor:.2f}{bound}"
