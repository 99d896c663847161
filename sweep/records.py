"""What happens to a trial, as values, and the state that a list of happenings adds up to; touches no disk."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from sweep.selection_score import SelectionScore


class Phase(StrEnum):
    """Search trials decide; confirmation trials are reported."""

    SEARCH = "search"
    CONFIRMATION = "confirmation"


class What(StrEnum):
    """The kinds of happening in the life of a trial."""

    PROPOSED = "proposed"
    STAGE = "stage"
    SCORED = "scored"
    PRUNED = "pruned"
    FAILED = "failed"
    FINISHED = "finished"
    WITHHELD = "withheld"


class State(StrEnum):
    """Where a trial stands."""

    OPEN = "open"
    FINISHED = "finished"
    PRUNED = "pruned"
    FAILED = "failed"


@dataclass(frozen=True, kw_only=True, order=True)
class TrialKey:
    """The name of a trial in its sweep; a number is given once and never changes."""

    cell: str
    phase: Phase
    number: int

    def __str__(self) -> str:
        return f"{self.cell}/{self.phase}/{self.number}"


@dataclass(frozen=True, kw_only=True)
class Happening:
    """One entry of the ledger. `sequence` tells apart several of one kind: the stage's place, the scored step.

    A trial that is taken up anew, because it failed or because its stages are made differently now, keeps its number,
    values and seed and begins a new `generation`: another `proposed` entry, and entries of its own after it.

    What `payload` holds, by kind:
      proposed: values (name → number, as used), draws of shares (name → number, as sampled; others are used as they
        come, and before version 3 of the ledger `draws` had them all), stages (digests of the path), seed, made_with
        (what beside the definition decides the stages, name → text), winner (search number; confirmation only),
        examples (of the intermediate mixture: task → expected by its share and actual by its whole steps)
      stage: digest, kind, steps, steps_executed, reused, seconds
      scored: step (of target training), score (mean English dev accuracy, 0..1), role (select)
      pruned: step, score, steps_saved (optimiser steps of the target stage that were never asked for)
      failed: reason
      finished: score, target (digest of the target-training stage), evaluation (digest, or empty in the search),
        accuracy (language → its score by the metric that decides; confirmation only)
      withheld: reason, over (whether confirmations are withheld too). Of a trial that the budget did not begin; its
        sequence is the budget's identity, so that another budget asks again
    Stages and endings say beside it how long the sweep had run, over all its runs: elapsed, in seconds. Where gangs
    have GPUs, these and scores say how long gangs had spent on stages, whatever came of them: spent, in seconds.
    """

    trial: TrialKey
    what: What
    sequence: int = 0
    generation: int = 0
    payload: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The fragment's name: the same happening always gets the same one."""
        trial = self.trial
        again = f".again-{self.generation}" if self.generation else ""
        return f"{trial.cell}.{trial.phase}.{trial.number:05d}.{self.what}.{self.sequence:06d}{again}"

    def payload_json(self) -> str:
        """The payload as canonical JSON."""
        return json.dumps(self.payload, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


@dataclass(frozen=True, kw_only=True)
class TrialRecord:
    """What the ledger knows of one trial, in its latest generation."""

    key: TrialKey
    values: dict[str, float]
    draws: dict[str, float]
    seed: int
    stages: tuple[str, ...]
    """Digests of the path, root first."""
    winner: int | None = None
    """Of a confirmation: the search trial whose values it repeats."""
    made_with: dict[str, str] = field(default_factory=dict)
    examples: dict[str, dict[str, float]] = field(default_factory=dict)
    """Of the intermediate mixture, by task: `expected` by its share and `actual` by its whole steps."""
    generation: int = 0
    state: State = State.OPEN
    scored: tuple[tuple[int, SelectionScore], ...] = ()
    """(step, English dev score) in order of steps."""
    score: SelectionScore | None = None
    reason: str = ""
    stage_runs: tuple[dict[str, Any], ...] = ()
    """Payloads of the `stage` happenings, in order."""
    target: str = ""
    evaluation: str = ""
    steps_saved: int = 0
    before: tuple[TrialRecord, ...] = ()
    """The trial in its earlier generations, in their order; these have none themselves."""


def last_numbers(record: TrialRecord) -> dict[str, float]:
    """The numbers that a trial is shown to have ended with, in every other tool, by name.

    The score of a pruned trial has a name of its own, so that it never stands among those that ran to their end.
    """
    if record.state is not State.PRUNED:
        return {} if record.score is None else {"score": float(record.score)}
    shown = {"pruned_at_step": float(record.scored[-1][0] if record.scored else 0)}
    return shown if record.score is None else {**shown, "score_when_pruned": float(record.score)}


def trial_records(happenings: Iterable[Happening]) -> dict[TrialKey, TrialRecord]:
    """The trials that the happenings add up to, sorted by key. The order of the happenings does not matter.

    A trial without a `proposed` entry is left out: nothing of it can be repeated.
    """
    by_trial: dict[TrialKey, list[Happening]] = {}
    for happening in happenings:
        by_trial.setdefault(happening.trial, []).append(happening)
    records = {}
    for key in sorted(by_trial):
        record = _record(key, by_trial[key])
        if record is not None:
            records[key] = record
    return records


def proposed(values: dict[str, float], draws: dict[str, float], seed: int) -> dict[str, Any]:
    """What a `proposed` entry says of a trial's point."""
    return {
        "values": values,
        "draws of shares": {n: v for n, v in draws.items() if n.startswith("share.")},
        "seed": seed,
    }


def _draws(proposed: dict[str, Any]) -> dict[str, float]:
    if "draws" in proposed:
        return proposed["draws"]
    used = {name: value for name, value in proposed["values"].items() if not name.startswith("share.")}
    return used | proposed["draws of shares"]


_ENDINGS = {What.FINISHED: State.FINISHED, What.PRUNED: State.PRUNED, What.FAILED: State.FAILED}


def _record(key: TrialKey, happenings: list[Happening]) -> TrialRecord | None:
    proposals = {entry.generation: entry.payload for entry in happenings if entry.what is What.PROPOSED}
    if not proposals:
        return None
    *before, latest = (
        _of_generation(key, generation, proposals[generation], [e for e in happenings if e.generation == generation])
        for generation in sorted(proposals)
    )
    return replace(latest, before=tuple(before)) if before else latest


def _of_generation(key: TrialKey, generation: int, proposed: dict[str, Any], mine: Iterable[Happening]) -> TrialRecord:
    ordered = sorted(mine, key=lambda happening: (happening.what, happening.sequence))
    ending = next((entry for entry in ordered if entry.what in _ENDINGS), None)
    end = ending.payload if ending else {}
    scored = {e.payload["step"]: SelectionScore.recorded(e.payload) for e in ordered if e.what is What.SCORED}
    if ending and ending.what is What.PRUNED:  # it repeats the last score, whose own entry may be lost
        scored.setdefault(end["step"], SelectionScore.recorded(end))
    return TrialRecord(
        key=key,
        values=proposed["values"],
        draws=_draws(proposed),
        seed=proposed["seed"],
        stages=tuple(proposed["stages"]),
        winner=proposed.get("winner"),
        made_with=proposed.get("made_with", {}),
        examples=proposed.get("examples", {}),
        generation=generation,
        state=_ENDINGS[ending.what] if ending else State.OPEN,
        scored=tuple(sorted(scored.items())),
        score=None if end.get("score") is None else SelectionScore.recorded(end),
        reason=end.get("reason", ""),
        stage_runs=tuple(entry.payload for entry in ordered if entry.what is What.STAGE),
        target=end.get("target", ""),
        evaluation=end.get("evaluation", ""),
        steps_saved=end.get("steps_saved", 0),
    )
