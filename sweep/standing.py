"""Where the trials of a sweep stand: who leads a cell, which confirmations count; reads no prediction."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from search_spaces.extent import Extent
from search_spaces.transfer_grid import CellRole
from sweep.records import Phase, State, TrialKey, TrialRecord
from trainables.canonical import decode
from trainables.faults import NotThere, nearest

if TYPE_CHECKING:
    from sweep.definition import Sweep


@dataclass(frozen=True, kw_only=True)
class CellInfo:
    """What the tables say of a cell: `intermediates` are names of tasks."""

    name: str
    role: CellRole
    intermediates: tuple[str, ...] = ()
    learned_from: str = ""
    """The task whose English development split scores its trials; empty for the target's own."""
    dev_metric: str = "accuracy"
    """The name of those scores."""
    learned_in: tuple[str, ...] = ()
    """The languages of what its target training reads; empty where that is not known."""
    trials: int = 1
    """Search trials that the cell is to have."""
    extent: Extent = field(default_factory=Extent)
    """What its search covers: a trial outside it, of a space that was edited since, counts no more."""
    absent: str = ""
    """Why the cell cannot run: data that it needs are not there, and how to get them; empty where it can."""
    remark: str = ""
    """What every table says beside the cell: of the data that it reads."""


@dataclass(frozen=True, kw_only=True)
class Standing:
    """A sweep's plan beside what has happened so far, enough to make every table.

    `languages` are those of the target's test split; `seeds` those of the confirmation runs; `parameters` every
    searched parameter of every cell; `remark` is what every table says beside the target's scores.
    """

    sweep: str
    target: str
    cells: tuple[CellInfo, ...]
    languages: tuple[str, ...]
    seeds: tuple[int, ...]
    parameters: tuple[str, ...]
    records: Mapping[TrialKey, TrialRecord]
    remark: str = ""
    metric: str = "accuracy"
    """The name of the target's scores."""
    withheld: Mapping[str, str] = field(default_factory=dict)
    """By cell, why the budget begins no further trial of it."""
    budget: str = ""
    """The limits of the budget in words; empty where it has none."""

    @staticmethod
    def of(
        sweep: Sweep, records: Mapping[TrialKey, TrialRecord], withheld: Mapping[str, str] | None = None
    ) -> Standing:
        """The standing of a sweep as it is defined now."""
        from sweep.record_definition import described

        return Standing.from_json(json.dumps(described(sweep)), records, withheld or {})

    @staticmethod
    def from_json(
        text: str, records: Mapping[TrialKey, TrialRecord], withheld: Mapping[str, str] | None = None
    ) -> Standing:
        """The standing that a sweep's `definition.json` and its trial records make."""
        stated = json.loads(text)
        return Standing(
            sweep=stated["name"],
            target=stated["target"],
            remark=stated.get("remark", ""),
            metric=stated.get("metric", "accuracy"),
            cells=tuple(
                CellInfo(
                    name=cell["name"],
                    role=CellRole(cell["role"]),
                    intermediates=tuple(cell["intermediates"]),
                    learned_from=cell.get("learned_from", ""),
                    dev_metric=cell.get("dev_metric", "accuracy"),
                    learned_in=tuple(cell.get("learned_in", ())),
                    trials=cell["trials"],
                    extent=decode(Extent, cell["extent"]) if "extent" in cell else Extent(),
                    absent=cell.get("absent", ""),
                    remark=cell.get("remark", ""),
                )
                for cell in stated["cells"]
            ),
            languages=tuple(stated["languages"]),
            seeds=tuple(stated["seeds"]),
            parameters=tuple(stated["parameters"]),
            records=records,
            withheld=dict(withheld or {}),
            budget=stated.get("budget", {}).get("limits", ""),
        )

    @property
    def baseline(self) -> CellInfo | None:
        """The cell that every gain is against."""
        return next((cell for cell in self.cells if cell.role is CellRole.BASELINE), None)

    @property
    def target_in_words(self) -> str:
        """The name of the target, and in brackets what every table says beside its scores."""
        return f"{self.target} ({self.remark})" if self.remark else self.target

    def cell(self, name: str) -> CellInfo:
        """The cell of that name.

        Raises:
            NotThere: naming the nearest.
        """
        for cell in self.cells:
            if cell.name == name:
                return cell
        known = [cell.name for cell in self.cells]
        raise NotThere(f"the sweep {self.sweep!r} has no cell {name!r}; {nearest(name, known)}")

    def searched(self, cell: str) -> list[TrialRecord]:
        """The search trials of a cell that count: those in the space as it is now, in order."""
        return [record for record in self._of(Phase.SEARCH, cell) if record.key not in self._outside]

    def outside(self) -> frozenset[TrialKey]:
        """The search trials whose values a space that was edited since no longer holds; kept, and not counted."""
        return self._outside

    def leaders(self) -> dict[str, TrialRecord]:
        """By cell, the finished search trial with the best English dev score; of equals the first."""
        return dict(self._leaders)

    def superseded(self) -> frozenset[TrialKey]:
        """The confirmations of search trials that no longer lead their cell; they are kept but not reported."""
        return self._superseded

    def confirmations(self, cell: str) -> tuple[TrialRecord, ...]:
        """The finished runs of a cell that are reported, one per seed of the definition, in order of seeds."""
        by_seed: dict[int, TrialRecord] = {}
        for record in self._current(cell):
            if record.state is State.FINISHED:
                by_seed.setdefault(record.seed, record)
        return tuple(by_seed[seed] for seed in sorted(by_seed))

    def unnamed(self) -> frozenset[TrialKey]:
        """The confirmations of leading trials on seeds that the definition names no more; kept, and not reported."""
        return self._unnamed

    def kept(self, cell: str) -> str:
        """How many finished runs of a cell are not reported since the definition no longer names their seeds, in words;
        empty for none: whoever takes a seed out has seen what it gave.
        """
        seeds = sorted(
            {
                self.records[key].seed
                for key in self._unnamed
                if key.cell == cell and self.records[key].state is State.FINISHED
            }
        )
        if not seeds:
            return ""
        runs = "a run" if len(seeds) == 1 else f"{len(seeds)} runs"
        return f"{runs} on seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}, taken out since, not reported"

    def missing(self, cell: str) -> str:
        """Why a cell has no reported run, or fewer than it has seeds; empty where it has them all."""
        done = {record.seed for record in self.confirmations(cell)}
        if set(self.seeds) <= done:
            return ""
        if absent := next((info.absent for info in self.cells if info.name == cell), ""):
            return absent
        search = self.searched(cell)
        if cell not in self._leaders and self.cell(cell).trials:
            failed = next((record.reason for record in search if record.state is State.FAILED), "")
            return "no search trial has finished" + (f"; one failed: {failed}" if failed else "")
        failures = [f"seed {r.seed} failed: {r.reason}" for r in self._current(cell) if r.state is State.FAILED]
        waiting = len(set(self.seeds) - done) - len(failures)
        counted = [f"{len(done)} of {len(self.seeds)} seeds confirmed"] if waiting > 0 or not failures else []
        return "; ".join(counted + failures)

    def complete(self, cell: str) -> bool:
        """Whether a cell has all its search trials, none open or failed, and a finished confirmation of each seed.

        A trial that a budget lowered since has left open is not asked for any more.
        """
        asked = self.cell(cell).trials
        search = [r for place, r in enumerate(self.searched(cell)) if r.state is not State.OPEN or place < asked]
        ended = sum(record.state in (State.FINISHED, State.PRUNED) for record in search)
        return ended == len(search) >= asked and not self.missing(cell)

    @property
    def ran_out(self) -> bool:
        """Whether all that is missing is what the budget does not pay for."""
        short = [cell.name for cell in self.cells if not self.complete(cell.name)]
        aside = self._outside | self._unnamed
        failed = any(
            record.state is State.FAILED and record.key not in aside
            for record in self.records.values()
            if record.key.cell in short
        )
        return bool(short) and not failed and all(cell in self.withheld for cell in short)

    @property
    def whole(self) -> bool:
        """Whether every cell is complete."""
        return all(self.complete(cell.name) for cell in self.cells)

    @cached_property
    def _outside(self) -> frozenset[TrialKey]:
        extents = {cell.name: cell.extent for cell in self.cells}
        return frozenset(
            key
            for key, record in self.records.items()
            if key.phase is Phase.SEARCH and key.cell in extents and not extents[key.cell].holds(record.values)
        )

    @cached_property
    def _leaders(self) -> dict[str, TrialRecord]:
        best: dict[str, TrialRecord] = {}
        for record in (self.records[key] for key in sorted(self.records) if key.phase is Phase.SEARCH):
            if record.state is not State.FINISHED or record.score is None or record.key in self._outside:
                continue
            led = best.get(record.key.cell)
            if led is None or led.score is None or record.score > led.score:
                best[record.key.cell] = record
        return best

    @cached_property
    def _superseded(self) -> frozenset[TrialKey]:
        # where nothing is searched, the default configuration is confirmed, which is number 0
        unsearched = {cell.name: 0 for cell in self.cells if not cell.trials}
        leaders = unsearched | {cell: record.key.number for cell, record in self._leaders.items()}
        return frozenset(
            key
            for key, record in self.records.items()
            if key.phase is Phase.CONFIRMATION
            and record.winner is not None  # published numbers repeat no search trial
            and (key.cell not in leaders or record.winner != leaders[key.cell])
        )

    @cached_property
    def _unnamed(self) -> frozenset[TrialKey]:
        return frozenset(
            key
            for key, record in self.records.items()
            if key.phase is Phase.CONFIRMATION and key not in self._superseded and record.seed not in self.seeds
        )

    def _current(self, cell: str) -> list[TrialRecord]:
        """The confirmations of the leader of a cell on the seeds of the definition, whatever became of them."""
        aside = self._superseded | self._unnamed
        return [record for record in self._of(Phase.CONFIRMATION, cell) if record.key not in aside]

    @cached_property
    def _by_cell(self) -> dict[tuple[Phase, str], list[TrialRecord]]:
        found: dict[tuple[Phase, str], list[TrialRecord]] = {}
        for key in sorted(self.records):
            found.setdefault((key.phase, key.cell), []).append(self.records[key])
        return found

    def _of(self, phase: Phase, cell: str) -> list[TrialRecord]:
        return self._by_cell.get((phase, cell), [])
