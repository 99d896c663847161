"""What the stages of a sweep took, how soon they began and how many trials were pruned, by its ledger."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import fmean, median
from typing import Any

from sweep.paths import target_place
from sweep.plan import Plan
from sweep.records import Phase, State, TrialKey, TrialRecord
from trainables.stages import Evaluation, Stage

#: One finished stage of a ledger: a payload of `What.STAGE`.
Run = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Pruned:
    """How much of the search is stopped early."""

    share: float = 0.0
    """Of the search trials that a pruner may stop, those that it stops."""
    saved: float = 0.0
    """Of the target training of such a trial, what is left out."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What a ledger says of time. Where it knows no stage, everything is empty."""

    of_work: Mapping[Hashable, float] = field(default_factory=dict)
    """Seconds of a stage by what it does: see `work_of`."""
    of_steps: Mapping[tuple[str, int], float] = field(default_factory=dict)
    """Seconds of a stage by its kind and steps."""
    per_step: Mapping[str, float] = field(default_factory=dict)
    """Seconds of an optimiser step by the kind of its stage."""
    start_seconds: float | None = None
    """From the start of the sweep to the start of its first stage."""
    between_seconds: float | None = None
    """From the end of a stage to the start of the next of the same trial."""
    pruned: Pruned = Pruned()

    def seconds_of(self, otherwise: Callable[[Stage], float]) -> Callable[[Stage], float]:
        """Seconds of a stage: of the same work, else of its kind and steps, else by its steps, else `otherwise`."""

        def seconds(stage: Stage) -> float:
            kind = str(stage.kind)
            if (known := self.of_work.get(work_of(stage))) is not None:
                return known
            if (known := self.of_steps.get((kind, stage.steps))) is not None:
                return known
            if stage.steps and kind in self.per_step:
                return self.per_step[kind] * stage.steps
            return otherwise(stage)

        return seconds


def measured(records: Iterable[TrialRecord], planned: Plan) -> Measured:
    """What the records of a sweep say, whose plan says what each of their stages does.

    Times are means over the stages that were run whole, since a makespan is made of their sum; a reused or resumed one
    says nothing of how long it takes. What lies between two stages is a median: some wait for a gang there.
    """
    records = list(records)
    paths = {(trial.key.cell, trial.key.phase): [stage for _, stage in trial.stages] for trial in planned.trials}
    work: dict[Hashable, list[float]] = defaultdict(list)
    steps: dict[tuple[str, int], list[float]] = defaultdict(list)
    each: dict[str, list[float]] = defaultdict(list)
    for record in records:
        path = paths.get((record.key.cell, record.key.phase), [])
        for run in _whole(record):
            steps[run["kind"], run["steps"]].append(run["seconds"])
            if run["steps"]:
                each[run["kind"]].append(run["seconds"] / run["steps"])
            place = record.stages.index(run["digest"])
            if len(path) == len(record.stages) and (path[place].kind, path[place].steps) == (run["kind"], run["steps"]):
                work[work_of(path[place])].append(run["seconds"])
    begins = [run["elapsed"] - run["seconds"] for record in records for run in _whole(record) if "elapsed" in run]
    gaps = [gap for record in records for gap in _gaps(record)]
    return Measured(
        of_work={name: fmean(times) for name, times in work.items()},
        of_steps={name: fmean(times) for name, times in steps.items()},
        per_step={name: fmean(times) for name, times in each.items()},
        start_seconds=max(0.0, min(begins)) if begins else None,
        between_seconds=median(gaps) if gaps else None,
        pruned=_pruned(records, planned),
    )


def work_of(stage: Stage) -> Hashable:
    """What stages have in common that take equally long: all but their numbers, their seed and what is before them."""
    if isinstance(stage.work, Evaluation):
        work = stage.work
        return str(stage.kind), work.task.name, len(work.languages), work.visible, len(work.checkpoints)
    settings = stage.work.settings
    tasks = tuple(sorted(portion.task.name for portion in stage.work.portions))
    return str(stage.kind), stage.steps, tasks, settings.batch_size, settings.visible


def may_be_pruned(planned: Plan, key: TrialKey) -> bool:
    """Whether a pruner may stop this trial: the first of a cell has nothing to be compared with."""
    if key.phase is not Phase.SEARCH or planned.sweep.search.pruner.name == "none":
        return False
    return key.number >= getattr(planned.sweep.search.pruner, "trials_before", 1)


def _whole(record: TrialRecord) -> Iterator[Run]:
    for run in record.stage_runs:
        if not run["reused"] and run["steps_executed"] == run["steps"] and run["digest"] in record.stages:
            yield run


def _gaps(record: TrialRecord) -> Iterator[float]:
    """Between two stages of a trial that were run one after the other."""
    runs = {record.stages.index(run["digest"]): run for run in _whole(record) if "elapsed" in run}
    for place, following in pairwise(sorted(runs)):
        if following == place + 1:
            begun = runs[following]["elapsed"] - runs[following]["seconds"]
            yield max(0.0, begun - runs[place]["elapsed"])


def _pruned(records: Iterable[TrialRecord], planned: Plan) -> Pruned:
    targets = {}
    for trial in planned.trials:
        path = [stage for _, stage in trial.stages]
        if trial.key.phase is Phase.SEARCH and target_place(path) >= 0:
            targets.setdefault(trial.key.cell, path[target_place(path)].steps)
    may = [r for r in records if may_be_pruned(planned, r.key) and r.state is not State.OPEN and r.key.cell in targets]
    stopped = [record for record in may if record.state is State.PRUNED]
    if not stopped:
        return Pruned()
    return Pruned(
        share=len(stopped) / len(may),
        saved=min(1.0, fmean(record.steps_saved / targets[record.key.cell] for record in stopped)),
    )
