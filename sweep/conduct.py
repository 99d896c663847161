"""What a running sweep does next and what it makes of each event; knows the ledger, and neither Ray nor a model."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Protocol

from search_spaces.transfer_grid import Cell
from sweep import budget, study
from sweep.definition import Sweep
from sweep.ledger import Ledger
from sweep.paths import Path, beginning_of, examples_of, made_with, path_of, target_place, target_settings, teacher
from sweep.points import default_values, extent, search_trials
from sweep.purse import Purse, withheld
from sweep.records import Happening, Phase, State, TrialKey, TrialRecord, What, proposed, trial_records
from sweep.search import Budget
from sweep.selected import selected_score
from sweep.selection_score import SelectionScore
from sweep.standing import Standing
from trainables.catalogue.task import Role
from trainables.faults import refuse
from trainables.scores import Done, Event, Failed, Progress, Score
from trainables.stages import Training


class Verdict(StrEnum):
    """Whether a trial goes on."""

    CONTINUE = "continue"
    STOP = "stop"


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """A trial to be run now."""

    key: TrialKey
    path: Path
    values: dict[str, float]
    seed: int


class Watcher(Protocol):
    """Whoever shows a running sweep: a terminal, TensorBoard. None can change what the sweep does."""

    def started(self, record: TrialRecord, path: Path) -> None: ...
    def progressed(self, record: TrialRecord, place: int, path: Path, progress: Progress) -> None: ...
    def stage_done(self, record: TrialRecord, place: int, path: Path, done: Done) -> None: ...
    def ended(self, record: TrialRecord, path: Path, scores: Sequence[Score]) -> None: ...
    def close(self) -> None: ...


@dataclass
class _Running:
    path: Path
    seen: set[tuple[int, int]] = field(default_factory=set)
    done: set[int] = field(default_factory=set)
    """Stages that it was told of: one whose process was started again hears of all anew."""
    scores: tuple[Score, ...] = ()


class Conductor:
    """Hands out trials and records what becomes of them.

    A cell has one open search trial at a time. Its winner is confirmed as soon as its own search has ended. All that
    was open when an earlier process died is handed out first, under its old number.
    """

    def __init__(
        self,
        sweep: Sweep,
        ledger: Ledger,
        watchers: Sequence[Watcher] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.sweep = sweep
        self.ledger = ledger
        self.watchers: Sequence[Watcher] = tuple(watchers)
        self.cells = {cell.name: cell for cell in sweep.cells}
        self._extents = {cell.name: extent(sweep, cell) for cell in sweep.cells}
        self._outside: dict[str, set[int]] = {cell.name: set() for cell in sweep.cells}
        """By cell, the search trials of a space that was edited since: kept, told to the sampler, and not counted."""
        self._planned_trials = {cell.name: search_trials(sweep, cell) for cell in sweep.cells}
        self._happenings: dict[TrialKey, dict[str, Happening]] = {}
        for entry in ledger.happenings():
            self._happenings.setdefault(entry.trial, {})[entry.name] = entry
        self._trials: dict[tuple[str, Phase], dict[int, TrialRecord]] = {}
        self._open: set[TrialKey] = set()
        self._still_to_confirm: dict[frozenset[TrialKey], tuple[int, int]] = {}
        """What `_to_confirm` says, by what is to be begun later, until anything is written."""
        self._winners: dict[str, TrialRecord | None] = {}
        for key, record in trial_records(e for mine in self._happenings.values() for e in mine.values()).items():
            self._keep(key, record)
        everything = [entry for mine in self._happenings.values() for entry in mine.values()]
        self.gang_seconds: Callable[[], float] = float
        """Seconds that the gangs of this run have spent on stages so far; whoever runs them says so."""
        self._purse = Purse(
            sweep, everything, clock, lambda: self.gang_seconds(), lambda: self.records.values(), ledger.seconds_run()
        )
        begun = [
            key for key, mine in self._happenings.items() if any(e.what is not What.WITHHELD for e in mine.values())
        ]
        counts = self._counts()
        lost = {key.cell for key in begun if key.phase is Phase.SEARCH and key.number >= counts.get(key.cell, 0)}
        # A cell that lost a trial's proposal is asked about anew: what the trial had cost is not counted any more.
        kept_from = withheld(everything, counts, budget.identity(sweep))
        self._withheld = {cell: why for cell, why in kept_from.items() if cell not in lost}
        self._running: dict[TrialKey, _Running] = {}
        #: Confirmations to begin anew if they are of whoever leads once the search has ended.
        self._later: set[TrialKey] = set()
        self._made_with = {cell.name: made_with(sweep, self._default_path(cell)) for cell in sweep.cells}
        self._over_budget = ""
        self.broken = ""
        """Why no more trials are handed out; empty while all is well."""

    @property
    def records(self) -> dict[TrialKey, TrialRecord]:
        """Every trial of the ledger, sorted by key."""
        return {record.key: record for place in sorted(self._trials) for record in self._trials[place].values()}

    def standing(self) -> Standing:
        """The sweep's plan beside what has happened so far."""
        return Standing.of(self.sweep, self.records, self._withheld)

    def record_of(self, key: TrialKey) -> TrialRecord:
        """What the ledger has of one trial."""
        return self._record_of(key)

    # What is next

    def next(self) -> Assignment | None:
        """The next trial to run, or None where every trial that could run is running or has ended."""
        if self.broken or self._over():
            return None
        searched = set()
        for key in sorted(self._open):
            record = self._record_of(key)
            if not self._planned(record) or key.cell in searched or self._follows_lost(key):
                continue
            if key.phase is Phase.SEARCH:
                # Several are open where several were taken up anew; each waits for the one before.
                searched.add(key.cell)
            if key in self._running:
                continue
            path = self._path(key, record.values, record.seed)
            if record.stages != _digests(path):
                return self._begin_anew(record, path)
            assignment = self._start(key, path)
            if not self._prune_if_behind(key):
                return assignment
        cell = self._cell_to_search()
        if cell is not None:
            number, search = self._next_number(cell, Phase.SEARCH), self._of(cell, Phase.SEARCH)
            point = study.propose(self.sweep, cell, number, search, left=self._purse.left(cell, search))
            key = TrialKey(cell=cell.name, phase=Phase.SEARCH, number=number)
            return self._begin(key, point, self.sweep.search.seed, {})
        if (record := self._due()) is not None:
            return self._begin_anew(record, self._path(record.key, record.values, record.seed))
        for cell in self.sweep.cells:
            missing = self._seeds_to_confirm(cell)
            if missing:
                best, seed = missing[0]
                number = self._next_number(cell, Phase.CONFIRMATION)
                key = TrialKey(cell=cell.name, phase=Phase.CONFIRMATION, number=number)
                point = study.Proposal(draws=best.draws, values=best.values)
                return self._begin(key, point, seed, {"winner": best.key.number})
        return None

    def foreseen(self) -> list[Path]:
        """Stages that confirmations to come are certain to need, whoever wins: a gang without work may begin them.

        None where a ceiling on steps, hours or bytes decides what is begun and what is kept. A search trial that comes
        while a gang is at one of them waits for it: the work is owed in any case. Its steps are in the ledger once a
        trial has asked for it.
        """
        gangs = self.sweep.gangs
        ceilings = (gangs.gang_hours, gangs.node_hours, self.sweep.storage_limit_bytes)
        if self.sweep.budget != Budget() or not all(math.isinf(ceiling) for ceiling in ceilings):
            return []
        ended = Counter(
            record.seed
            for record in self.records.values()
            if record.key.phase is Phase.CONFIRMATION and record.state is not State.OPEN and self._planned(record)
        )
        seeds = [seed for seed in self.sweep.confirmation_seeds if ended[seed] < len(self.sweep.cells)]
        return [path for seed in seeds if (path := beginning_of(self.sweep, seed=seed))]

    def remaining(self) -> int:
        """Trials that are yet to end; a cell still being searched counts its confirmations as one per seed."""
        if self._purse.over():
            return len(self._running)
        count = 0
        for cell in self.sweep.cells:
            search = self._asked(cell)
            left = sum(record.state is State.OPEN for record in search) + self._asked_for(cell.name) - len(search)
            if left > 0:
                count += left + len(self.sweep.confirmation_seeds)
                continue
            best = self._winner(cell)
            confirmed = {
                record.seed
                for record in self._confirmations(cell, best)
                if record.state is not State.OPEN and record.key not in self._later
            }
            count += len(set(self.sweep.confirmation_seeds) - confirmed) if best else 0
        return count

    def take_up(self, *, failed: bool = False, outdated: bool = False, gone: Collection[str] = ()) -> int:
        """Begin ended trials anew, under their numbers and with their values and seeds; how many.

        Always those confirmations whose training stands but whose evaluation is another now, as when a test language
        joined: only the evaluation is missing. Always finished trials of which the ledger lost an entry, and those
        whose evaluation is `gone` from the store. With `failed` those that failed; with `outdated` those that other
        library versions, another way to read words, another precision or another device made.

        Of confirmations only those that count: one of a trial that no longer leads stays as it is. Those of a cell
        whose leader is not known yet, or may be another once its search is made anew, are begun when it is. That is so
        for a run that goes on after the one that was asked to make the search anew: always those that it left behind.

        Raises:
            Invalid: before any is begun, where the budget does not pay for all that was asked for.
        """
        again = [record for record in self.records.values() if record.state is not State.OPEN]
        chosen: list[TrialRecord] = []
        behind = budget.left_behind(self.records.values())
        for record in again:
            if record.key.cell not in self.cells or self._is_outside(record.key) or self._overtaken(record):
                continue
            if self._incomplete(record) or (record.evaluation in gone and self._is_of_now(record)):
                chosen.append(record)
            elif (failed and record.state is State.FAILED) or (
                (outdated or record.key in behind) and self._outdated(record)
            ):
                chosen.append(record)
            elif record.state is State.FINISHED and record.key.phase is Phase.CONFIRMATION and self._reported(record):
                path = self._path(record.key, record.values, record.seed)
                if _digests(path[:-1]) == record.stages[:-1] and path[-1].digest != record.stages[-1]:
                    chosen.append(record)
        if chosen and (failed or outdated):
            refuse(f"the budget of sweep {self.sweep.name!r}", self._unpaid(chosen))
        searched = {record.key.cell for record in chosen if record.key.phase is Phase.SEARCH}
        for record in chosen:
            if record.key.phase is Phase.CONFIRMATION and (
                record.key.cell in searched or self._winner(self.cells[record.key.cell]) is None
            ):
                self._later.add(record.key)
            else:
                self._propose_anew(record, self._path(record.key, record.values, record.seed))
        return len(chosen)

    def _overtaken(self, record: TrialRecord) -> bool:
        """Whether a record is a confirmation of a trial that is known not to lead its cell, or on a seed taken out."""
        if record.key.phase is not Phase.CONFIRMATION:
            return False
        return self._winner(self.cells[record.key.cell]) is not None and not self._reported(record)

    def _due(self) -> TrialRecord | None:
        """The next confirmation to begin anew whose cell has its leader now; those of another are let be."""
        for key in sorted(self._later):
            if self._winner(self.cells[key.cell]) is not None:
                self._later.discard(key)
                if self._reported(record := self._record_of(key)):
                    return record
        return None

    def _unpaid(self, chosen: Iterable[TrialRecord]) -> Iterator[str]:
        """Why the budget does not pay for trials to be begun anew.

        All of them or none: a table of which part was made anew would compare cells that other versions made.
        """
        if over := self._purse.over():
            yield f"it must have something left for trials that are made anew, got that {over}; raise it, or leave them"
            return
        records = self.records
        for record in chosen:
            path = self._path(record.key, record.values, record.seed)
            fresh = {"state": State.OPEN, "scored": (), "stage_runs": (), "steps_saved": 0}
            before = (*record.before, replace(record, before=()))
            made = {"stages": _digests(path), "made_with": self._made_with[record.key.cell], "before": before}
            records[record.key] = replace(record, **fresh, **made)
        if fault := self._purse.unpaid(records.values()):
            yield fault

    def outdated(self) -> dict[str, int]:
        """What made ended trials of this sweep and makes no new ones, with how many: as `torch 2.12.0, now 2.13.0`.

        Such trials stay as they are; `take_up(outdated=True)` makes those anew that still count.
        """
        found: Counter[str] = Counter()
        for record in self.records.values():
            if self._outdated(record) and not self._overtaken(record):
                was, now = record.made_with, self._made_with[record.key.cell]
                found.update(
                    f"{name} {was.get(name, 'absent')}, now {now.get(name, 'absent')}"
                    for name in was | now
                    if was.get(name) != now.get(name)
                )
        return dict(found)

    def _incomplete(self, record: TrialRecord) -> bool:
        """Whether the ledger lost a stage or a score of a finished trial, which the store still knows."""
        if record.state is not State.FINISHED:
            return False
        stages = {run["digest"] for run in record.stage_runs}
        steps = tuple(step for step, _ in record.scored)
        cell = self.cells[record.key.cell]
        due = tuple(target_settings(self.sweep, cell, {}).evaluated_steps()) if teacher(self.sweep, cell) else ()
        if stages >= set(record.stages) and steps == due:
            return False
        return self._is_of_now(record)

    def _is_of_now(self, record: TrialRecord) -> bool:
        """Whether a trial begun anew would be of the stages that it was of."""
        return _digests(self._path(record.key, record.values, record.seed)) == record.stages

    def evaluations(self) -> list[str]:
        """The evaluations of the runs that are reported."""
        return [
            record.evaluation
            for record in self.records.values()
            if record.key.phase is Phase.CONFIRMATION
            and record.key.cell in self.cells
            and record.state is State.FINISHED
            and record.evaluation
            and self._reported(record)
        ]

    def _outdated(self, record: TrialRecord) -> bool:
        asked = record.key.cell in self.cells and record.state is not State.OPEN and not self._is_outside(record.key)
        return asked and bool(record.made_with) and record.made_with != self._made_with[record.key.cell]

    def _reported(self, record: TrialRecord) -> bool:
        """Whether a confirmation is of the present winner of its cell, on a seed that the definition names."""
        best = self._winner(self.cells[record.key.cell])
        named = record.seed in self.sweep.confirmation_seeds
        return named and best is not None and record.winner == best.key.number

    def leaves(self, cell: str) -> tuple[set[str], set[str]]:
        """The target outputs of a cell worth keeping, those that stay and those that may go for want of room.

        To stay: what an export writes, its best confirmation by English dev, or before there is any its leader so far.
        May go when room is needed, in turn with all that nothing needs, by what they cost to make again (`evictions`):
        the other confirmations of the leader, which serve a test language or a selector that joins, and the leader
        itself. What open trials need is for the dispatcher to know.
        """
        asked = self._asked(self.cells[cell])
        best = study.winner(self.cells[cell], asked) if self.sweep.search.trials else self._winner(self.cells[cell])
        if best is None:
            return set(), set()
        confirmed = self._confirmations(self.cells[cell], best)
        done = [
            (record.score, -record.seed, record)  # of equals the first seed, as an export takes it
            for record in confirmed
            if record.state is State.FINISHED
            and record.score is not None
            and record.seed in self.sweep.confirmation_seeds
        ]
        stays = max(done, key=lambda found: found[:2])[2] if done else best
        every = {record.target for record in (best, *confirmed) if record.target}
        return every & {stays.target}, every - {stays.target}

    def stages(self) -> tuple[list[str], list[str]]:
        """The stages of all trials so far, and those of trials that have not ended, which these may go on with."""
        every = {digest for trials in self._trials.values() for record in trials.values() for digest in record.stages}
        return sorted(every), sorted({digest for key in self._open for digest in self._record_of(key).stages})

    def waits(self) -> dict[str, str]:
        """By cell, why it has no trial in flight although it is not done. Its cost does not grow with ended trials."""
        busy = {key.cell for key in tuple(self._running)}
        wanted: Counter[str] = Counter()
        unwanted: Counter[str] = Counter()  # left open by a budget that was lowered since
        for key in tuple(self._open):  # another thread asks
            if key.phase is Phase.SEARCH and key.cell in self.cells and not self._is_outside(key):
                (wanted if self._wanted(key) else unwanted)[key.cell] += 1
        why = {}
        for cell in self.sweep.cells:
            if cell.name in busy:
                continue
            asked = self._counted(cell.name) - unwanted[cell.name]
            if asked < self._planned_trials[cell.name] or wanted[cell.name]:
                why[cell.name] = "its next search trial waits for a gang; cells with fewer trials go first"
            elif self._seeds_to_confirm(cell) or any(
                (r.state is State.OPEN or r.key in self._later) and self._planned(r)
                for r in self._of(cell, Phase.CONFIRMATION)
            ):
                why[cell.name] = "its next confirmation waits for a gang; searches go first"
        return why

    def ended(self) -> int:
        """How many trials have ended, in all runs of the sweep."""
        return sum(len(records) for records in self._trials.values()) - len(self._open)

    def running(self) -> bool:
        """Whether a trial that was handed out has yet to end."""
        return bool(self._running)

    def complete(self) -> bool:
        """Whether every cell has all its search trials ended and every confirmation finished."""
        return self.standing().whole

    def _cell_to_search(self) -> Cell | None:
        """The cell with the fewest trials among those that may open another; of equals the first of the grid."""
        busy = {
            key.cell
            for key in self._open
            if key.phase is Phase.SEARCH and self._wanted(key) and not self._follows_lost(key)
        }
        free = []
        for place, cell in enumerate(self.sweep.cells):
            count = self._counted(cell.name)
            if count < self._asked_for(cell.name) and cell.name not in busy and not self._withhold(cell):
                free.append((count, place))
        return self.sweep.cells[min(free)[1]] if free else None

    def _wanted(self, key: TrialKey) -> bool:
        """Whether the budget asks for a search trial; one that a lowered budget left open waits for a larger one."""
        if key.cell not in self.cells or self._is_outside(key):
            return False
        before = sum(number < key.number for number in self._outside[key.cell])
        return key.number - before < self._planned_trials[key.cell]

    def _is_outside(self, key: TrialKey) -> bool:
        return key.phase is Phase.SEARCH and key.number in self._outside.get(key.cell, ())

    def _counted(self, cell: str) -> int:
        """How many search trials a cell has in its space as it is now."""
        return len(self._trials.get((cell, Phase.SEARCH), ())) - len(self._outside[cell])

    def _asked_for(self, cell: str) -> int:
        """How many search trials a cell is to have: those that it has, where the budget withholds the next."""
        return self._counted(cell) if cell in self._withheld else self._planned_trials[cell]

    def _counts(self) -> dict[str, int]:
        return {cell: len(self._trials.get((cell, Phase.SEARCH), ())) for cell in self.cells}

    def _withhold(self, cell: Cell) -> bool:
        """Whether the budget begins no further search trial of a cell; the reason goes to the ledger, and stays."""
        search = self._trials.get((cell.name, Phase.SEARCH), {}).values()
        reason = self._purse.withholds(cell, search, self._to_confirm, counted=self._counted(cell.name))
        if reason:
            self._record_withheld(cell, Phase.SEARCH, reason, over=False)
        return bool(reason)

    def _over(self) -> str:
        """Why the budget begins nothing more; what it kept from each cell goes to the ledger."""
        reason = self._purse.over()
        if reason and self._over_budget != reason:
            self._over_budget = reason
            for cell in self.sweep.cells:
                if not self.standing().complete(cell.name):
                    self._record_withheld(cell, Phase.CONFIRMATION, reason, over=True)
        return reason

    def _record_withheld(self, cell: Cell, phase: Phase, reason: str, *, over: bool) -> None:
        self._withheld[cell.name] = reason
        self._winners.pop(cell.name, None)
        self._still_to_confirm = {}
        key = TrialKey(cell=cell.name, phase=phase, number=self._next_number(cell, phase))
        payload = {"reason": reason, "over": over, "elapsed": math.ceil(self._purse.elapsed())}
        self.ledger.record(
            Happening(trial=key, what=What.WITHHELD, sequence=budget.identity(self.sweep), payload=payload)
        )

    def _to_confirm(self) -> tuple[int, int]:
        """Optimiser steps and evaluations that the confirmation of all cells still needs.

        Counted once for all cells that are asked about: only what is written changes it.
        """
        later = frozenset(self._later)
        if later not in self._still_to_confirm:
            self._still_to_confirm = {later: self._count_to_confirm()}
        return self._still_to_confirm[later]

    def _count_to_confirm(self) -> tuple[int, int]:
        confirmations = [trials for (_, phase), trials in self._trials.items() if phase is Phase.CONFIRMATION]
        begun = {r.seed for trials in confirmations for r in trials.values() if r.key not in self._later}
        steps, runs = len(set(self.sweep.confirmation_seeds) - begun) * budget.preparation_steps(self.sweep), 0
        for cell in self.sweep.cells:
            of_winner = self._confirmations(cell, self._winner(cell))
            done = {r.seed for r in of_winner if r.state is not State.OPEN and r.key not in self._later}
            missing = len(set(self.sweep.confirmation_seeds) - done)
            steps += missing * sum(self._purse.costs(cell))
            runs += missing
        return steps, runs

    def _asked(self, cell: Cell) -> list[TrialRecord]:
        """The search trials of a cell in its space but for those left open by a budget that was lowered since."""
        here = (record for record in self._of(cell, Phase.SEARCH) if not self._is_outside(record.key))
        return [record for record in here if record.state is not State.OPEN or self._wanted(record.key)]

    def _seeds_to_confirm(self, cell: Cell) -> list[tuple[TrialRecord, int]]:
        best = self._winner(cell)
        if best is None:
            return []
        taken = {record.seed for record in self._confirmations(cell, best)}
        return [(best, seed) for seed in self.sweep.confirmation_seeds if seed not in taken]

    def _winner(self, cell: Cell) -> TrialRecord | None:
        """The winner of a cell whose search has ended; None before that, or where no trial finished."""
        if self._counted(cell.name) < self._asked_for(cell.name):
            return None
        if cell.name not in self._winners:
            search = self._asked(cell)
            ended = len(search) >= self._asked_for(cell.name) and all(r.state is not State.OPEN for r in search)
            best = study.winner(cell, search) if self.sweep.search.trials else study.unsearched(self.sweep, cell)
            self._winners[cell.name] = best if ended else None
        return self._winners[cell.name]

    def _confirmations(self, cell: Cell, best: TrialRecord | None) -> list[TrialRecord]:
        number = best.key.number if best else None
        return [record for record in self._of(cell, Phase.CONFIRMATION) if record.winner == number]

    def _of(self, cell: Cell, phase: Phase) -> list[TrialRecord]:
        return list(self._trials.get((cell.name, phase), {}).values())

    def _next_number(self, cell: Cell, phase: Phase) -> int:
        """The first number that no trial has: one whose proposal was lost, or the next."""
        taken = self._trials.get((cell.name, phase), {})
        if max(taken, default=-1) == len(taken) - 1:
            return len(taken)
        return next(number for number in range(len(taken)) if number not in taken)

    def _follows_lost(self, key: TrialKey) -> bool:
        """Whether an open search trial waits for an earlier one whose proposal was lost, which is made again first."""
        if key.phase is not Phase.SEARCH or key.cell in self._withheld or key.cell not in self.cells:
            return False
        return self._next_number(self.cells[key.cell], Phase.SEARCH) < key.number

    def _record_of(self, key: TrialKey) -> TrialRecord:
        return self._trials[key.cell, key.phase][key.number]

    def _planned(self, record: TrialRecord) -> bool:
        """Whether an open trial still belongs to the sweep: its cell does, the budget reaches it, its winner leads.

        A confirmation waits while a larger budget is being searched, since that may overtake its winner.
        """
        if record.key.cell not in self.cells:
            return False
        return self._wanted(record.key) if record.key.phase is Phase.SEARCH else self._reported(record)

    def _begin(self, key: TrialKey, point: study.Proposal, seed: int, more: dict[str, int]) -> Assignment:
        path = self._path(key, point.values, seed)
        chosen = {**proposed(point.values, point.draws, seed), **more}
        self._propose(key, self._next_generation(key), path, chosen)
        return self._start(key, path)

    def _begin_anew(self, record: TrialRecord, path: Path) -> Assignment:
        self._propose_anew(record, path)
        return self._start(record.key, path)

    def _propose_anew(self, record: TrialRecord, path: Path) -> None:
        """Another generation of a trial: what it was made of before stays in the ledger and counts no more."""
        kept = proposed(record.values, record.draws, record.seed)
        more = {} if record.winner is None else {"winner": record.winner}
        self._propose(record.key, self._next_generation(record.key), path, kept | more)

    def _next_generation(self, key: TrialKey) -> int:
        """One that no entry of the trial is of: entries whose proposal was lost may be of any path."""
        mine = self._happenings.get(key, {}).values()
        return max((entry.generation + 1 for entry in mine if entry.what is not What.WITHHELD), default=0)

    def _propose(self, key: TrialKey, generation: int, path: Path, chosen: Mapping[str, object]) -> None:
        payload = {**chosen, "stages": list(_digests(path)), "made_with": self._made_with[key.cell]}
        payload["examples"] = examples_of(path, chosen["values"])  # type: ignore[arg-type]
        self._write(Happening(trial=key, what=What.PROPOSED, generation=generation, payload=payload))

    def _start(self, key: TrialKey, path: Path) -> Assignment:
        self._running[key] = _Running(path)
        record = self._record_of(key)
        assert record.state is State.OPEN, f"{key} has ended and was handed out"
        for watcher in self.watchers:
            watcher.started(record, path)
        return Assignment(key=key, path=path, values=record.values, seed=record.seed)

    def _default_path(self, cell: Cell) -> Path:
        return path_of(
            self.sweep, cell, default_values(self.sweep, cell), phase=Phase.SEARCH, seed=self.sweep.search.seed
        )

    def _path(self, key: TrialKey, values: dict[str, float], seed: int) -> Path:
        return path_of(self.sweep, self.cells[key.cell], values, phase=key.phase, seed=seed)

    # What happens

    def handle(self, key: TrialKey, events: Iterable[Event]) -> Verdict:
        """Record events of a running trial, in order; events after its end are passed over."""
        for event in events:
            if key not in self._running:
                return Verdict.STOP
            if isinstance(event, Progress):
                self._progressed(key, event)
            elif isinstance(event, Done):
                self._stage_done(key, event)
            elif isinstance(event, Failed) and event.of_machine:
                self.lost(key, event.reason)
            elif isinstance(event, Failed):
                self._end(key, What.FAILED, {"reason": event.reason})
        return Verdict.CONTINUE if key in self._running else Verdict.STOP

    def lost(self, key: TrialKey, reason: str) -> None:
        """Leave a running trial open, for its process or its machine is gone, and hand out no more: the next would fare
        alike. The same sweep run again takes it up.
        """
        if self._running.pop(key, None) is not None:
            self.broken = self.broken or f"{key}: {reason}"

    def _progressed(self, key: TrialKey, progress: Progress) -> None:
        running = self._running[key]
        place = next((n for n, stage in enumerate(running.path) if stage.digest == progress.digest), None)
        if place is None or (place, progress.step) in running.seen:
            return
        running.seen.add((place, progress.step))
        for watcher in self.watchers:
            watcher.progressed(self._record_of(key), place, running.path, progress)
        if place != target_place(running.path):
            return
        learned = teacher(self.sweep, self.cells[key.cell])
        score = SelectionScore.of(learned, progress.scores) if learned else None
        if score is None:
            return
        if not math.isfinite(score):
            self._end(key, What.FAILED, {"reason": f"its development score at step {progress.step} was {score}"})
            return
        payload = {"step": progress.step, "score": score, "role": Role.SELECT}
        self._record(key, What.SCORED, payload, progress.step)
        self._prune_if_behind(key)

    def _prune_if_behind(self, key: TrialKey) -> bool:
        """Prune an open search trial if its last score asks for it. Also asked of a trial that is taken up again."""
        record = self._record_of(key)
        if key.phase is not Phase.SEARCH:
            return False
        cell = self.cells[key.cell]
        if not study.should_prune(self.sweep, cell, key.number, record.scored, self._of(cell, Phase.SEARCH)):
            return False
        step, score = record.scored[-1]
        path = self._path(key, record.values, record.seed)
        saved = path[target_place(path)].steps - step
        self._end(key, What.PRUNED, {"step": step, "score": score, "steps_saved": saved})
        return True

    def _stage_done(self, key: TrialKey, done: Done) -> None:
        running = self._running[key]
        place = next((n for n, stage in enumerate(running.path) if stage.digest == done.digest), None)
        if place is None or place in running.done:
            return
        running.done.add(place)
        for progress in done.history:
            if key in self._running:
                self._progressed(key, progress)
        if key not in self._running:
            return
        stage = running.path[place]
        payload = {
            "digest": done.digest,
            "kind": str(stage.kind),
            "steps": stage.steps,
            "steps_executed": done.steps_executed,
            "reused": done.reused,
            "seconds": round(done.seconds, 3),
        }
        self._record(key, What.STAGE, payload, place)
        for watcher in self.watchers:
            watcher.stage_done(self._record_of(key), place, running.path, done)
        if place == len(running.path) - 1:
            running.scores = done.scores
            self._finish(key, running)

    def _finish(self, key: TrialKey, running: _Running) -> None:
        record = self._record_of(key)
        evaluation = running.path[-1].digest if key.phase is Phase.CONFIRMATION else ""
        if teacher(self.sweep, self.cells[key.cell]) is None:
            # nothing was trained that a development split could score
            payload = {"score": None, "target": running.path[-1].parent, "evaluation": evaluation}
            self._end(key, What.FINISHED, payload | _told(running.scores))
            return
        target = running.path[target_place(running.path)]
        if not record.scored or record.scored[-1][0] != target.steps:
            reason = f"the target was not scored on its development split after its last step, {target.steps}"
            self._end(key, What.FAILED, {"reason": reason})
            return
        assert isinstance(target.work, Training)  # `target_place` finds no other
        score = selected_score(self.sweep, target.work.settings, record.scored)
        payload = {"score": score, "target": target.digest, "evaluation": evaluation}
        self._end(key, What.FINISHED, payload | (_told(running.scores) if evaluation else {}))

    def _end(self, key: TrialKey, what: What, payload: dict[str, object]) -> None:
        running = self._running.pop(key, None)
        self._record(key, what, payload)
        if running is not None:
            for watcher in self.watchers:
                watcher.ended(self._record_of(key), running.path, running.scores)

    def _record(self, key: TrialKey, what: What, payload: dict[str, object], sequence: int = 0) -> None:
        """Something happened to a trial in its present generation."""
        if what is not What.SCORED:
            payload = {**payload, "elapsed": round(self._purse.elapsed(), 1)}
        if self.sweep.gangs.gpus_per_worker:
            payload = {**payload, "spent": round(self._purse.spent(), 1)}
        generation = self._record_of(key).generation
        self._write(Happening(trial=key, what=what, sequence=sequence, generation=generation, payload=payload))

    def _write(self, happening: Happening) -> None:
        mine = self._happenings.setdefault(happening.trial, {})
        if happening.name in mine:
            return
        self.ledger.record(happening)
        mine[happening.name] = happening
        self._purse.took(happening, before=False)
        self._keep(happening.trial, trial_records(mine.values())[happening.trial])

    def _keep(self, key: TrialKey, record: TrialRecord) -> None:
        self._trials.setdefault((key.cell, key.phase), {})[key.number] = record
        if key.phase is Phase.SEARCH and key.cell in self.cells:
            here = self._extents[key.cell].holds(record.values)
            (self._outside[key.cell].discard if here else self._outside[key.cell].add)(key.number)
        self._winners.pop(key.cell, None)
        self._still_to_confirm = {}
        (self._open.add if record.state is State.OPEN else self._open.discard)(key)


def _told(scores: Iterable[Score]) -> dict[str, object]:
    """What a look at very many trials needs of a confirmation: per language the score that decides, the first."""
    found: dict[str, float | None] = {}
    for score in scores:
        if score.role is Role.REPORT:
            found.setdefault(score.language, score.value)
    return {"accuracy": found}


def _digests(path: Path) -> tuple[str, ...]:
    return tuple(stage.digest for stage in path)
