"""What a stage says of itself while it runs and when it ends, as values; computes none of it."""

from __future__ import annotations

import json
from dataclasses import dataclass

from trainables.canonical import canonical, decode
from trainables.catalogue.task import Role


@dataclass(frozen=True, kw_only=True)
class Score:
    """One number of one task in one language.

    `value` is in 0..1 for accuracy and F1. `correct` of `count` items were right; for a metric that is no mean of
    right and wrong, `correct` is None. `step` counts optimiser steps of the training that was scored.
    A score that could not be taken has `value` None and says why in `absent_reason`.
    """

    task: str
    language: str
    split: str
    role: Role
    metric: str
    value: float | None
    correct: int | None
    count: int
    step: int
    absent_reason: str = ""


@dataclass(frozen=True, kw_only=True)
class TaskLoss:
    """Mean training loss of one task since the last report, in nats per label."""

    task: str
    loss: float
    steps: int


@dataclass(frozen=True, kw_only=True)
class Progress:
    """What a running stage reports after some of its steps.

    `scores` are those of development splits taken at exactly this step; empty between evaluations.
    """

    digest: str
    step: int
    losses: tuple[TaskLoss, ...] = ()
    learning_rate: float = 0.0
    examples_per_second: float = 0.0
    scores: tuple[Score, ...] = ()


@dataclass(frozen=True, kw_only=True)
class CheckpointScores:
    """What one of a run's checkpoints scores in an evaluation; several steps are the mean of their weights."""

    steps: tuple[int, ...]
    scores: tuple[Score, ...]


@dataclass(frozen=True, kw_only=True)
class Done:
    """The stage's output is in the store.

    `steps_executed` counts the optimiser steps run for it by this attempt; 0 when it was found in the store.
    `history` holds every report with scores, in order of steps, so that a reused stage is judged like a fresh one.
    """

    digest: str
    steps_executed: int
    reused: bool
    seconds: float = 0.0
    history: tuple[Progress, ...] = ()
    scores: tuple[Score, ...] = ()
    """Of an `evaluate` stage: one per language."""
    duplicate: bool = False
    """Whether another run on the same storage had finished it first; its output was kept, and is the same."""


@dataclass(frozen=True, kw_only=True)
class Failed:
    """The stage failed in itself; whoever waits for it fails with the reason."""

    digest: str
    reason: str
    steps_executed: int = 0
    of_machine: bool = False
    """Whether it was the machine that failed and not the stage: the trials stay open, to be taken up again."""


@dataclass(frozen=True, kw_only=True)
class Cancelled:
    """The stage was stopped because nobody waited for it any more."""

    digest: str
    steps_executed: int


Event = Progress | Done | Failed | Cancelled


def event_to_json(event: Event) -> str:
    """The canonical JSON text of an event."""
    return canonical(event)


def event_from_json(text: str) -> Event:
    """The event that `event_to_json` wrote.

    Raises:
        ValueError: where the text is no event.
    """
    return decode(Event, json.loads(text))  # type: ignore[arg-type]
