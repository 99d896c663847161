"""An instant, seeded stand-in for the stage runner, with a known best answer; knows neither a model nor Ray.

What it makes up, so that a search over it can be judged:

- *Skill* is in 0..1 and grows with the steps of a training stage towards a ceiling of 0.9:
  `skill = 0.9 × fit(learning_rate) × (1 − exp(−3 × steps / GROWTH_STEPS)) + 0.1 × gift`, and accuracy in English is
  `chance + (1 − chance) × skill`.
- `fit` is a bell over the logarithm of the learning rate: 1 at `BEST_LEARNING_RATE`, 0.37 at five times more or less.
- `gift` is what the parent hands on: Σ usefulness(task) × √share × fit over the tasks of its mixture, and at most 1.
  So the best shares are proportional to usefulness². Text inference is the most useful task, other tasks have a small
  usefulness drawn from their name, and a task with "shuffled" in its name has none. `align_images` adds a constant.
- A language other than English keeps `1 / (1 + distance)` of the skill, by its planted distance; an unaligned language
  keeps nothing and stays at chance, as do image-only and hypothesis-only views.
- A score is that share of right answers, by the name of the metric that decides for the task.
- Every answer is drawn by a hash of (seed, task, split, language, item), so scores are counts of real predictions.

On demand: a task with "fails" in its name makes its stage fail halfway; "exhausts" raises `MemoryError` there, and
"hangs" does nothing any more from there on.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from trainables import pulse
from trainables.canonical import decode, encode
from trainables.catalogue.encoder import SmallEncoder
from trainables.catalogue.task import NLI_LABELS, Kind, Role, Task
from trainables.inflight import LocalCheckpoints
from trainables.scores import CheckpointScores, Progress, Score, TaskLoss
from trainables.selectors import chosen, seen_of
from trainables.settings import Visible
from trainables.stages import Evaluation, Stage, StageKind, Training
from trainables.store import PREDICTIONS

BEST_LEARNING_RATE = 3e-4
GROWTH_STEPS = 400
TEXT_INFERENCE_USEFULNESS = 0.8
#: Items of a split whose size the catalogue does not state, and the most that are made up.
ITEMS = 200

_WIDTH = math.log(5.0)
_SKILL_FILE = "rehearsal.json"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a run of a stage comes to; the fields are those of the real runner."""

    steps_executed: int
    resumed_from: int
    was_cancelled: bool
    history: tuple[Progress, ...] = ()
    scores: tuple[Score, ...] = ()
    checkpoints: tuple[CheckpointScores, ...] = ()


class JsonCheckpoints:
    """In-flight checkpoints of a rehearsed stage: how far it was and what it had reported."""

    def __init__(self, directory: Path, *, interval_steps: int) -> None:
        self.interval_steps = interval_steps
        self._kept = LocalCheckpoints(directory, interval_steps)

    def save(self, step: int, history: tuple[Progress, ...]) -> None:
        """Keep the position beside the one before."""
        text = json.dumps({"step": step, "history": encode(history)})
        self._kept.save(step, lambda folder: (folder / "rehearsal.json").write_text(text))

    def load(self) -> tuple[int, tuple[Progress, ...]]:
        """The last step saved and the reports up to it; 0 and none where nothing was."""
        for folder in self._kept.kept():
            try:
                data = json.loads((folder / "rehearsal.json").read_text())
            except FileNotFoundError:
                continue  # another sweep that is at the same stage has newer ones
            return data["step"], tuple(decode(Progress, item) for item in data["history"])
        return 0, ()


def run_stage(
    stage: Stage,
    *,
    parent: Path | None,
    output: Path,
    cache: Path | None,
    checkpoints: JsonCheckpoints,
    report: Callable[[Progress], None],
    cancelled: Callable[[], bool],
    ranks: Any,
    step_seconds: float = 0.0,
) -> Outcome:
    """Pretend to run a stage; the same signature and promises as `trainables.training.loop.run_stage`.

    Raises:
        RuntimeError, MemoryError: where the name of a task asks for it.
    """
    _check(parent, stage)
    before = _inherited(parent)
    if isinstance(stage.work, Evaluation):
        _break(stage, at_end=True)
        return _evaluate(stage, stage.work, before, output)
    return _train(stage, stage.work, before, output, checkpoints, report, cancelled, step_seconds)


def fit(learning_rate: float) -> float:
    """How well a learning rate suits: 1 at the best one, falling to 0 on both sides."""
    return math.exp(-((math.log(learning_rate / BEST_LEARNING_RATE) / _WIDTH) ** 2))


def usefulness(task: Task) -> float:
    """What training on a task first is worth to a target; 0..1."""
    if "shuffled" in task.name:
        return 0.0
    if task.kind is Kind.PAIR and set(task.labels) == set(NLI_LABELS):
        return TEXT_INFERENCE_USEFULNESS
    return 0.3 * _uniform("usefulness", task.name)


def best_shares(tasks: tuple[Task, ...]) -> dict[str, float]:
    """The shares that make the gift of a mixture largest: proportional to usefulness², by Cauchy and Schwarz."""
    worth = {task.name: usefulness(task) ** 2 for task in tasks}
    total = sum(worth.values()) or 1.0
    return {name: value / total for name, value in worth.items()}


def _train(
    stage: Stage,
    work: Training,
    before: dict[str, Any],
    output: Path,
    checkpoints: JsonCheckpoints,
    report: Callable[[Progress], None],
    cancelled: Callable[[], bool],
    step_seconds: float,
) -> Outcome:
    settings = work.settings
    resumed_from, history = checkpoints.load()
    for event in history:
        report(event)
    reported = list(history)
    evaluated = set(settings.evaluated_steps())
    for step in range(resumed_from + 1, settings.maximum_steps + 1):
        if cancelled():
            checkpoints.save(step - 1, tuple(reported))
            return Outcome(
                steps_executed=step - 1 - resumed_from,
                resumed_from=resumed_from,
                was_cancelled=True,
                history=tuple(reported),
            )
        pulse.beat()
        if step_seconds:
            time.sleep(step_seconds)
        if 2 * step > settings.maximum_steps:
            _break(stage)
        if step in evaluated:
            reported.append(_progress(stage, work, before, step))
            report(reported[-1])
        if step % checkpoints.interval_steps == 0:
            checkpoints.save(step, tuple(reported))
    gift = sum(
        usefulness(portion.task) * math.sqrt(portion.steps / settings.maximum_steps) for portion in work.portions
    ) * fit(settings.learning_rate)
    handed_on = {
        "gift": min(1.0, before["gift"] + (0.2 if stage.kind is StageKind.ALIGN_IMAGES else gift)),
        "skill": _skill(work, before, settings.maximum_steps),
        "steps": settings.maximum_steps,
        "kept": {str(step): _skill(work, before, step) for step in work.kept_steps},
        "history": encode(tuple(reported)),
    }
    (output / _SKILL_FILE).write_text(json.dumps(handed_on, sort_keys=True))
    return Outcome(
        steps_executed=settings.maximum_steps - resumed_from,
        resumed_from=resumed_from,
        was_cancelled=False,
        history=tuple(reported),
    )


def _skill(work: Training, before: dict[str, Any], step: int) -> float:
    if work.settings.visible is not Visible.BOTH:
        return 0.0
    grown = 1 - math.exp(-3 * step / GROWTH_STEPS)
    return 0.9 * fit(work.settings.learning_rate) * grown + 0.1 * before["gift"]


def _progress(stage: Stage, work: Training, before: dict[str, Any], step: int) -> Progress:
    skill = _skill(work, before, step)
    losses = tuple(
        TaskLoss(task=portion.task.name, loss=round(math.log(3) * (1.05 - skill), 6), steps=portion.steps)
        for portion in work.portions
    )
    scores = []
    for portion in work.portions:
        split = portion.task.split("dev")
        for language in split.languages if split else ():
            table = _answers(stage, portion.task, "dev", language, skill, step)
            scores.append(_score(portion.task, "dev", language, Role.SELECT, step, table))
    return Progress(
        digest=stage.digest,
        step=step,
        losses=losses,
        learning_rate=work.settings.learning_rate,
        examples_per_second=1000.0,
        scores=tuple(scores),
    )


def _evaluate(stage: Stage, work: Evaluation, before: dict[str, Any], output: Path) -> Outcome:
    end = int(before["steps"])
    skills = {int(step): skill for step, skill in before["kept"].items() if int(step) in work.checkpoints}
    skills = dict(sorted(skills.items())) | {end: before["skill"]}
    found = {(step,): _scored(stage, work, skill, step) for step, skill in skills.items()}
    if work.checkpoints:
        found[tuple(skills)] = _scored(stage, work, sum(skills.values()) / len(skills), end)
    checkpoints, choice = (), (end,)
    if work.checkpoints and work.learned is not None:
        checkpoints = tuple(CheckpointScores(steps=steps, scores=tuple(found[steps][0])) for steps in sorted(found))
        history = tuple(decode(Progress, item) for item in before["history"])
        choice = chosen(work.selector, seen_of(work.task, work.learned, work.source, history, checkpoints))
    scores, tables = found[choice]
    if tables:
        pq.write_table(pa.concat_tables(tables), output / PREDICTIONS)
    return Outcome(
        steps_executed=0,
        resumed_from=0,
        was_cancelled=False,
        scores=tuple(score for score in scores if score.split != "dev"),
        checkpoints=checkpoints,
    )


def _scored(stage: Stage, work: Evaluation, skill: float, step: int) -> tuple[list[Score], list[pa.Table]]:
    """The scores of one checkpoint, the oracle's and the source language's among them, and the answers to report."""
    stated = work.task.split(work.split)
    offered = stated.languages if stated else ()
    skill = skill if work.visible is Visible.BOTH else 0.0
    scores, tables = [], []
    for language in work.languages:
        if language not in offered:
            scores.append(_absent(work, language))
            continue
        table = _answers(stage, work.task, work.split, language, skill, step)
        tables.append(table)
        scores.append(_score(work.task, work.split, language, work.role, step, table))
        shown = work.task.oracle
        if shown is not None and language in shown.languages:
            other = _answers(stage, work.task, shown.name, language, skill, step)
            scores.append(_score(work.task, shown.name, language, Role.ORACLE, step, other))
    dev = work.source.split("dev") if work.source else None
    for language in dev.languages if work.source and dev else ():
        table = _answers(stage, work.source, "dev", language, skill, step)
        scores.append(_score(work.source, "dev", language, Role.SELECT, step, table))
    return scores, tables


def _answers(stage: Stage, task: Task, split: str, language: str, skill: float, step: int) -> pa.Table:
    """One row per item. Gold labels depend on task, split and item alone, so they are equal across languages."""
    labels = task.labels or ("right", "wrong")
    accuracy = 1 / len(labels) + (1 - 1 / len(labels)) * skill * _kept(stage, language)
    stated = task.split(split)
    items = min(ITEMS, stated.rows) if stated and stated.rows else ITEMS
    gold, predicted = [], []
    for item in range(items):
        label = int(len(labels) * _uniform("gold", task.name, split, item))
        right = _uniform("answer", stage.seed, task.name, split, language, item, step) < accuracy
        gold.append(labels[label])
        predicted.append(labels[label if right else (label + 1) % len(labels)])
    return pa.table(
        {
            "task": [task.name] * items,
            "language": [language] * items,
            "item_id": [str(item) for item in range(items)],
            "gold": gold,
            "predicted": predicted,
        }
    )


def _kept(stage: Stage, language: str) -> float:
    if language == "en":
        return 1.0
    text = stage.encoder.text
    if not isinstance(text, SmallEncoder):
        return 0.5 + 0.4 * _uniform("language", language)
    if language in text.alignment.unaligned:
        return 0.0
    return 1 / (1 + dict(text.alignment.distance).get(language, 1.0))


def _score(task: Task, split: str, language: str, role: Role, step: int, table: pa.Table) -> Score:
    pairs = zip(table["gold"].to_pylist(), table["predicted"].to_pylist(), strict=True)
    correct = sum(gold == predicted for gold, predicted in pairs)
    return Score(
        task=task.name,
        language=language,
        split=split,
        role=role,
        metric=_metric(task),
        value=correct / table.num_rows,
        correct=correct,
        count=table.num_rows,
        step=step,
    )


def _metric(task: Task) -> str:
    """The metric that decides; word pairs, which no search goes by, are told by how often they are found."""
    return task.score_names[0] if task.score_names else "retrieval_accuracy"


def _absent(work: Evaluation, language: str) -> Score:
    return Score(
        task=work.task.name,
        language=language,
        split=work.split,
        role=work.role,
        metric=_metric(work.task),
        value=None,
        correct=None,
        count=0,
        step=0,
        absent_reason=f"task {work.task.name!r} has no {work.split} split in {language!r}",
    )


def _check(parent: Path | None, stage: Stage) -> None:
    if (parent is None) != (stage.parent == ""):
        raise ValueError(f"a parent directory must be given exactly if the stage has a parent, got {parent!r}")


def _inherited(parent: Path | None) -> dict[str, Any]:
    if parent is None:
        return {"gift": 0.0, "skill": 0.0, "steps": 0, "kept": {}, "history": []}
    return json.loads((parent / _SKILL_FILE).read_text())


def _break(stage: Stage, *, at_end: bool = False) -> None:
    for task in stage.tasks:
        if "fails" in task.name:
            raise RuntimeError(f"task {task.name!r} fails, as its name says")
        if "exhausts" in task.name and not at_end:
            raise MemoryError(f"task {task.name!r} exhausts the memory, as its name says")
        if "hangs" in task.name and not at_end:
            time.sleep(3600)


def _uniform(*parts: object) -> float:
    """A number from 0 up to but without 1, the same on every machine."""
    digest = hashlib.sha256("\0".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:7], "big") / 2**56
