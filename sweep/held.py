"""What of a plan a storage holds already, by the ledger there and by the names of its stages; reads no weights."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from sweep.paths import Path, path_of
from sweep.plan import CellPlan, Plan, PlannedTrial
from sweep.records import Phase, State, TrialKey, TrialRecord
from sweep.standing import Standing


@dataclass(frozen=True, kw_only=True)
class Stored:
    """Which stages of a storage are known, by digest."""

    outputs: Container[str] = frozenset()
    """Those whose weights are there."""
    results: Container[str] = frozenset()
    """Those whose results are there: of these, weights that are gone are made again where a stage reads them."""

    def knows(self, digest: str) -> bool:
        """Whether the stage has been run."""
        return digest in self.outputs or digest in self.results


@dataclass(frozen=True, kw_only=True)
class Held:
    """What is there of a plan, and what is left of it."""

    ended: frozenset[TrialKey] = frozenset()
    """The plan's trials that have ended: finished, pruned or failed."""
    found: frozenset[str] = frozenset()
    """The plan's names of stages that are there."""
    left: frozenset[str] = frozenset()
    """The plan's names of stages that are yet to be run."""
    steps_left: int = 0
    """Optimiser steps of those."""

    @property
    def done(self) -> frozenset[str]:
        """Stages that are there and need not be made again for what is left."""
        return self.found - self.left


def look(plan: Plan, storage: str, absent: Mapping[str, str] = MappingProxyType({})) -> Held:
    """What a storage holds of a plan. `absent` are the cells whose data are not here.

    Raises:
        Invalid: where its ledger is of another definition, whose trials the plan would not go on with.
    """
    from sweep.ledger import Ledger
    from sweep.record_definition import refuse_other
    from sweep.records import trial_records
    from trainables.places import place_of

    filesystem, root = place_of(storage)
    refuse_other(plan.sweep, filesystem, root, absent)
    records = trial_records(Ledger(filesystem, root, plan.sweep.name).happenings())

    def stored(digests: Iterable[str]) -> Stored:
        places = {
            f"{root}/{folder}/{digest}/{file}": (folder, digest)
            for digest in digests
            for folder, file in (("stages", "manifest.json"), ("results", "results.json"))
        }
        infos = filesystem.get_file_info(list(places)) if places else []
        there = {places[info.path] for info in infos if info.is_file}
        return Stored(
            outputs=frozenset(digest for folder, digest in there if folder == "stages"),
            results=frozenset(digest for folder, digest in there if folder == "results"),
        )

    return held(plan, Standing.of(plan.sweep, records), stored)


def held(plan: Plan, standing: Standing, stored: Callable[[Iterable[str]], Stored]) -> Held:
    """What the ledger behind `standing` and the stages that `stored` finds leave of a plan.

    What a search trial to come will draw is not known, so none of its own stages counts as there, but for the first of
    a cell, which is the default configuration.
    """
    begun = _begun(plan, standing)
    cells = {cell.cell.name: cell for cell in plan.cells}
    winners = {name: _winner(cell, standing) for name, cell in cells.items()}
    paths = {}
    for trial in plan.trials:
        values = _values(trial, begun.get(trial.key), winners)
        cell, phase, seed = cells[trial.key.cell].cell, trial.key.phase, trial.seed
        path = None if values is None else path_of(plan.sweep, cell, values, phase=phase, seed=seed)
        paths[trial.key] = _digests(trial, begun.get(trial.key), path)
    shared: dict[str, str] = {}
    for trial in plan.trials:
        for (name, _), digest in zip(trial.stages, paths[trial.key][0], strict=True):
            if digest:
                shared[name] = digest
    there = stored({digest for digests, _ in paths.values() for digest in digests if digest})
    ended, found, left = set(), set(), dict[str, int]()
    for trial in plan.trials:
        digests, is_over = paths[trial.key]
        digests = [digest or shared.get(name, "") for (name, _), digest in zip(trial.stages, digests, strict=True)]
        found.update(name for (name, _), digest in zip(trial.stages, digests, strict=True) if there.knows(digest))
        if is_over:
            ended.add(trial.key)
            continue
        needed = False
        for (name, stage), digest in reversed(tuple(zip(trial.stages, digests, strict=True))):
            needed = not there.knows(digest) or (needed and digest not in there.outputs)
            if needed:
                left[name] = stage.steps
    return Held(ended=frozenset(ended), found=frozenset(found), left=frozenset(left), steps_left=sum(left.values()))


def held_text(plan: Plan, held: Held, where: str) -> str:
    """The same in a line for a terminal."""
    return (
        f"held     in {where}: {len(held.ended)} of {len(plan.trials)} trials have ended, {len(held.found)} of "
        f"{plan.stages} stages are there; {len(held.left)} stages and {held.steps_left:,} optimiser steps are left"
    )


def _begun(plan: Plan, standing: Standing) -> dict[TrialKey, TrialRecord]:
    """What the ledger has of the planned trials. Of the search those count that lie in the space as it is now."""
    searched = {cell.cell.name: standing.searched(cell.cell.name) for cell in plan.cells}
    superseded = standing.superseded()
    confirming: dict[tuple[str, int], TrialRecord] = {}
    for key, record in standing.records.items():
        if key.phase is Phase.CONFIRMATION and key not in superseded:
            confirming.setdefault((key.cell, record.seed), record)
    found: dict[TrialKey, TrialRecord] = {}
    for trial in plan.trials:
        key = trial.key
        if key.phase is Phase.CONFIRMATION and (key.cell, trial.seed) in confirming:
            found[key] = confirming[key.cell, trial.seed]
        elif key.phase is Phase.SEARCH and key.number < len(searched[key.cell]):
            found[key] = searched[key.cell][key.number]
    return found


def _winner(cell: CellPlan, standing: Standing) -> dict[str, float] | None:
    """The values that the confirmations of a cell repeat; None before its search has ended."""
    searched, leader = standing.searched(cell.cell.name), standing.leaders().get(cell.cell.name)
    ended = len(searched) >= cell.search_trials and all(record.state is not State.OPEN for record in searched)
    return leader.values if ended and leader is not None else None


def _values(
    trial: PlannedTrial, record: TrialRecord | None, winners: Mapping[str, dict[str, float] | None]
) -> dict[str, float] | None:
    """The values of a planned trial, where they are known."""
    if record is not None:
        return record.values
    return winners[trial.key.cell] if trial.key.phase is Phase.CONFIRMATION else None


def _digests(trial: PlannedTrial, record: TrialRecord | None, path: Path | None) -> tuple[tuple[str, ...], bool]:
    """The digest of each stage of a planned trial, empty where it cannot be known, and whether the trial is over."""
    if path is None:
        is_default = trial.key.phase is Phase.SEARCH and trial.key.number == 0
        return tuple(s.digest if is_default or name == s.digest else "" for name, s in trial.stages), False
    digests = tuple(stage.digest for stage in path)
    if record is None or record.state is State.OPEN:
        return digests, False
    if record.state is State.FINISHED and digests[:-1] == record.stages[:-1] and digests != record.stages:
        return digests, False  # another test language: its evaluation alone is made anew
    return record.stages if len(record.stages) == len(digests) else digests, True
