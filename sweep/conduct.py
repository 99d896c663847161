"""What a running sweep does next and what it makes of each event; knows the ledger, and neither Ray nor a model."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from search_spaces.transfer_grid import Cell
from sweep import study
from sweep.definition import Sweep
from sweep.ledger import Ledger
from sweep.paths import Path, path_of
from sweep.records import Happening, Phase, State, TrialKey, TrialRecord, What, trial_records
from trainables.catalogue.task import Role
from trainables.scores import Cancelled, Done, Event, Failed, Progress, Score
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
    scores: tuple[Score, ...] = ()


def selection_score(sweep: Sweep, scores: Iterable[Score]) -> float | None:
    """The number that the search maximises: mean accuracy of the target's development split over its languages.

    Scores of other tasks are passed over; None where the target was not scored.

    Raises:
        ValueError: for a score of the target that selection must never see: another role, split or language.
    """
    dev = sweep.target.split("dev")
    mine = [score for score in scores if score.task == sweep.target.name]
    for score in mine:
        if score.role is not Role.SELECT or score.split != "dev" or dev is None or score.language not in dev.languages:
            raise ValueError(
                f"only development scores of role 'select' may reach the search, got role {score.role!s}, "
                f"split {score.split!r}, language {score.language!r} of {score.task!r}"
            )
    values = [score.value for score in mine if score.value is not None]
    return sum(values) / len(values) if values else None


class Conductor:
    """Hands out trials and records what becomes of them.

    A cell has one open search trial at a time. Its winner is confirmed as soon as its own search has ended. All that
    was open when an earlier process died is handed out first, under its old number.
    """

    def __init__(self, sweep: Sweep, ledger: Ledger, watchers: Sequence[Watcher] = ()) -> None:
        self.sweep = sweep
        self.ledger = ledger
        self.watchers: Sequence[Watcher] = tuple(watchers)
        self.cells = {cell.name: cell for cell in sweep.cells}
        self._happenings = {entry.name: entry for entry in ledger.happenings()}
        self.records = trial_records(self._happenings.values())
        self._running: dict[TrialKey, _Running] = {}
        self.broken = ""
        """Why no more trials are handed out; empty while all is well."""

    # What is next

    def next(self) -> Assignment | None:
        """The next trial to run, or None where every trial that could run is running or has ended."""
        if self.broken:
            return None
        for record in list(self.records.values()):
            if record.state is State.OPEN and record.key not in self._running and self._planned(record):
                path = self._path(record.key, record.values, record.seed)
                if not self._prune_if_behind(record.key):
                    return self._start(record.key, path)
        cell = self._cell_to_search()
        if cell is not None:
            number = len(self._of(cell, Phase.SEARCH))
            point = study.propose(self.sweep, cell, number, self._of(cell, Phase.SEARCH))
            key = TrialKey(cell=cell.name, phase=Phase.SEARCH, number=number)
            return self._open(key, point, self.sweep.search.seed, {})
        for cell in self.sweep.cells:
            missing = self._seeds_to_confirm(cell)
            if missing:
                best, seed = missing[0]
                number = len(self._of(cell, Phase.CONFIRMATION))
                key = TrialKey(cell=cell.name, phase=Phase.CONFIRMATION, number=number)
                point = study.Proposal(draws=best.draws, values=best.values)
                return self._open(key, point, seed, {"winner": best.key.number})
        return None

    def remaining(self) -> int:
        """Trials that are yet to end; a cell still being searched counts its confirmations as one per seed."""
        count = 0
        for cell in self.sweep.cells:
            ended = sum(record.state is not State.OPEN for record in self._of(cell, Phase.SEARCH))
            count += max(0, self.sweep.search.trials - ended)
            if ended < self.sweep.search.trials:
                count += len(self.sweep.confirmation_seeds)
            else:
                best = study.winner(cell, self._of(cell, Phase.SEARCH))
                confirmed = {
                    record.seed for record in self._confirmations(cell, best) if record.state is not State.OPEN
                }
                count += len(set(self.sweep.confirmation_seeds) - confirmed) if best else 0
        return count

    def stale(self) -> list[str]:
        """Why trials of the ledger are not those that this sweep would run now: other stages stand behind them."""
        return [
            f"trial {record.key} must be made of the stages that it was begun with; other library versions, another "
            "precision or another device than then, or a cell that changed its meaning, make others. Go back, or give "
            "the sweep another name"
            for record in self.records.values()
            if self._planned(record)
            and record.stages != tuple(stage.digest for stage in self._path(record.key, record.values, record.seed))
        ][:5]

    def running(self) -> bool:
        """Whether a trial that was handed out has yet to end."""
        return bool(self._running)

    def complete(self) -> bool:
        """Whether every cell has all its search trials ended and every confirmation finished."""
        for cell in self.sweep.cells:
            search = self._of(cell, Phase.SEARCH)
            if len(search) < self.sweep.search.trials or any(record.state is State.OPEN for record in search):
                return False
            if any(record.state is State.FAILED for record in search):
                return False
            best = study.winner(cell, search)
            done = {r.seed for r in self._confirmations(cell, best) if r.state is State.FINISHED}
            if best is None or not set(self.sweep.confirmation_seeds) <= done:
                return False
        return True

    def _cell_to_search(self) -> Cell | None:
        """The cell with the fewest trials among those that may open another; of equals the first of the grid."""
        free = []
        for place, cell in enumerate(self.sweep.cells):
            mine = self._of(cell, Phase.SEARCH)
            if len(mine) < self.sweep.search.trials and all(record.state is not State.OPEN for record in mine):
                free.append((len(mine), place))
        return self.sweep.cells[min(free)[1]] if free else None

    def _seeds_to_confirm(self, cell: Cell) -> list[tuple[TrialRecord, int]]:
        best = self._winner(cell)
        if best is None:
            return []
        taken = {record.seed for record in self._confirmations(cell, best)}
        return [(best, seed) for seed in self.sweep.confirmation_seeds if seed not in taken]

    def _winner(self, cell: Cell) -> TrialRecord | None:
        """The winner of a cell whose search has ended; None before that, or where no trial finished."""
        search = self._of(cell, Phase.SEARCH)
        if len(search) < self.sweep.search.trials or any(record.state is State.OPEN for record in search):
            return None
        return study.winner(cell, search)

    def _confirmations(self, cell: Cell, best: TrialRecord | None) -> list[TrialRecord]:
        number = best.key.number if best else None
        return [record for record in self._of(cell, Phase.CONFIRMATION) if record.winner == number]

    def _of(self, cell: Cell, phase: Phase) -> list[TrialRecord]:
        return [r for r in self.records.values() if r.key.cell == cell.name and r.key.phase is phase]

    def _planned(self, record: TrialRecord) -> bool:
        """Whether an open trial still belongs to the sweep: its cell does, and its winner has not been overtaken.

        A confirmation waits while a larger budget is being searched, since that may overtake its winner.
        """
        cell = self.cells.get(record.key.cell)
        if cell is None or record.key.phase is Phase.SEARCH:
            return cell is not None
        best = self._winner(cell)
        return best is not None and record.winner == best.key.number

    def _open(self, key: TrialKey, point: study.Proposal, seed: int, more: dict[str, int]) -> Assignment:
        path = self._path(key, point.values, seed)
        stages = [stage.digest for stage in path]
        payload = {"values": point.values, "draws": point.draws, "stages": stages, "seed": seed, **more}
        self._record(Happening(trial=key, what=What.PROPOSED, payload=payload))
        return self._start(key, path)

    def _start(self, key: TrialKey, path: Path) -> Assignment:
        self._running[key] = _Running(path)
        record = self.records[key]
        for watcher in self.watchers:
            watcher.started(record, path)
        return Assignment(key=key, path=path, values=record.values, seed=record.seed)

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
            elif isinstance(event, Cancelled):
                self._end(key, What.FAILED, {"reason": "its stage was cancelled while it waited for it"})
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
            watcher.progressed(self.records[key], place, running.path, progress)
        if place != _target_place(running.path):
            return
        score = selection_score(self.sweep, progress.scores)
        if score is None:
            return
        if not math.isfinite(score):
            self._end(key, What.FAILED, {"reason": f"its development score at step {progress.step} was {score}"})
            return
        payload = {"step": progress.step, "score": score}
        self._record(Happening(trial=key, what=What.SCORED, sequence=progress.step, payload=payload))
        self._prune_if_behind(key)

    def _prune_if_behind(self, key: TrialKey) -> bool:
        """Prune an open search trial if its last score asks for it. Also asked of a trial that is taken up again."""
        record = self.records[key]
        if key.phase is not Phase.SEARCH:
            return False
        cell = self.cells[key.cell]
        if not study.should_prune(self.sweep, cell, key.number, record.scored, self._of(cell, Phase.SEARCH)):
            return False
        step, score = record.scored[-1]
        path = self._path(key, record.values, record.seed)
        saved = path[_target_place(path)].steps - step
        self._end(key, What.PRUNED, {"step": step, "score": score, "steps_saved": saved})
        return True

    def _stage_done(self, key: TrialKey, done: Done) -> None:
        running = self._running[key]
        place = next((n for n, stage in enumerate(running.path) if stage.digest == done.digest), None)
        if place is None:
            return
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
        self._record(Happening(trial=key, what=What.STAGE, sequence=place, payload=payload))
        for watcher in self.watchers:
            watcher.stage_done(self.records[key], place, running.path, done)
        if place == len(running.path) - 1:
            running.scores = done.scores
            self._finish(key, running)

    def _finish(self, key: TrialKey, running: _Running) -> None:
        record = self.records[key]
        target = running.path[_target_place(running.path)]
        if not record.scored or record.scored[-1][0] != target.steps:
            reason = f"the target was not scored on its development split after its last step, {target.steps}"
            self._end(key, What.FAILED, {"reason": reason})
            return
        evaluation = running.path[-1].digest if key.phase is Phase.CONFIRMATION else ""
        self._end(
            key, What.FINISHED, {"score": record.scored[-1][1], "target": target.digest, "evaluation": evaluation}
        )

    def _end(self, key: TrialKey, what: What, payload: dict[str, object]) -> None:
        running = self._running.pop(key, None)
        self._record(Happening(trial=key, what=what, payload=payload))
        if running is not None:
            for watcher in self.watchers:
                watcher.ended(self.records[key], running.path, running.scores)

    def _record(self, happening: Happening) -> None:
        if happening.name in self._happenings:
            return
        self.ledger.record(happening)
        self._happenings[happening.name] = happening
        mine = (entry for entry in self._happenings.values() if entry.trial == happening.trial)
        self.records |= trial_records(mine)
        self.records = dict(sorted(self.records.items()))


def _target_place(path: Path) -> int:
    """Where the target training stands in a path: the last stage that trains."""
    return max(place for place, stage in enumerate(path) if isinstance(stage.work, Training))
