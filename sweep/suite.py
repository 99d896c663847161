"""Several sweeps over one grid, one for each target, which share the stages they have in common; runs none of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from sweep.definition import Sweep
from sweep.plan import Plan, estimated_seconds
from sweep.plan_text import duration, uncounted_lines, untrained_lines
from trainables.faults import refuse
from trainables.stages import Stage, Training


@dataclass(frozen=True, kw_only=True)
class Suite:
    """Sweeps that are planned together and run one after the other in one storage.

    Each has its own target, baseline, search and tables. What two of them train alike is one stage, since stages are
    named by all that determines their output.

    Raises:
        Invalid: naming every fault.
    """

    name: str
    sweeps: tuple[Sweep, ...]

    def __post_init__(self) -> None:
        refuse(f"suite {self.name!r}", self._faults())

    def _faults(self) -> Iterator[str]:
        if not self.sweeps:
            yield "sweeps must hold at least one sweep"
        for name, times in Counter(sweep.name for sweep in self.sweeps).items():
            if times > 1:
                yield f"sweeps must have different names, got {name!r} {times} times"
            if not name.startswith(f"{self.name}-"):
                yield f"the name of each sweep must begin with {self.name + '-'!r}, got {name!r}"


@dataclass(frozen=True, kw_only=True)
class SuitePlan:
    """A suite counted: stages by kind of work, with and without what its sweeps share."""

    trainings: int
    trainings_without_sharing: int
    evaluations: int
    steps: int
    steps_without_sharing: int
    examples: int
    examples_without_sharing: int
    seconds: float
    """On one gang, one stage after the other."""


def counted(plans: tuple[Plan, ...]) -> SuitePlan:
    """The plans of a suite's sweeps taken together: a stage that several name alike is counted once."""
    every = [(plan.sweep.name, name, stage) for plan in plans for trial in plan.trials for name, stage in trial.stages]
    once = {name if name == stage.digest else f"{sweep} {name}": stage for sweep, name, stage in every}
    trained, trained_alone = _trainings(once.values()), _trainings(stage for _, _, stage in every)
    return SuitePlan(
        trainings=len(trained),
        trainings_without_sharing=len(trained_alone),
        evaluations=len(once) - len(trained),
        steps=sum(stage.steps for stage in trained),
        steps_without_sharing=sum(stage.steps for stage in trained_alone),
        examples=sum(map(_examples, trained)),
        examples_without_sharing=sum(map(_examples, trained_alone)),
        seconds=sum(map(estimated_seconds, once.values())),
    )


def _trainings(stages: Iterable[Stage]) -> list[Stage]:
    return [stage for stage in stages if isinstance(stage.work, Training)]


def _examples(stage: Stage) -> int:
    assert isinstance(stage.work, Training)
    return stage.steps * stage.work.settings.batch_size


def suite_text(suite: Suite, plans: tuple[Plan, ...], absent: Mapping[str, str]) -> str:
    """The plan of a suite as lines for a terminal."""
    width = max(len(plan.sweep.name) for plan in plans)
    total = counted(plans)
    lines = [
        f"suite {suite.name}: {len(plans)} sweeps, encoder {plans[0].sweep.encoder.name}",
        "",
        f"{'sweep':<{width}} {'target':<10} {'learned from':<12} {'cells':>5} "
        f"{'search':>6} {'confirm':>7} {'steps':>12}",
    ]
    for plan in plans:
        target = plan.sweep.target
        learned = "nothing" if not target.teacher.split("train") else target.teacher.name
        lines.append(
            f"{plan.sweep.name:<{width}} {target.name:<10} {learned:<12} {len(plan.cells):>5} "
            f"{sum(cell.search_trials for cell in plan.cells):>6} "
            f"{sum(cell.confirmation_trials for cell in plan.cells):>7} {plan.steps:>12,}"
        )
    lines += [
        "",
        f"stages   {total.trainings} trainings to run, {total.trainings_without_sharing} if none were shared; "
        f"{total.evaluations} evaluations",
        f"steps    {total.steps:,} optimiser steps, {total.steps_without_sharing:,} if no stage were shared "
        f"({total.steps_without_sharing / max(1, total.steps):.2f} times as many)",
        f"examples {total.examples:,} read in training, {total.examples_without_sharing:,} if no stage were shared",
        f"cost     about {duration(total.seconds)} on one gang, a rough estimate from parameters and tokens",
        *untrained_lines(plans),
        *uncounted_lines(plans),
    ]
    if absent:
        lines += [
            "absent   (counted above; a run leaves it out)",
            *(f"  {name}: {why}" for name, why in absent.items()),
        ]
    return "\n".join(lines)
