"""From a trial's values to its path of stages; knows neither the search nor Ray."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from search_spaces.space import with_values
from search_spaces.transfer_grid import Cell, CellRole
from sweep.definition import Preparation, Sweep
from sweep.records import Phase
from trainables.catalogue.task import Kind, Task
from trainables.data import mixture
from trainables.machine import numeric_versions, resolved_precision
from trainables.selectors import source_dev
from trainables.settings import Settings, Visible
from trainables.stages import SCORING_VERSIONS, VERSIONS, Evaluation, Portion, Shape, Stage, StageKind, Training

_VISIBLE = {CellRole.IMAGE_ONLY: Visible.IMAGE_ONLY, CellRole.HYPOTHESIS_ONLY: Visible.HYPOTHESIS_ONLY}

#: The place of each stage in a path, for the ledger; the target is always the last training stage.
Path = tuple[Stage, ...]


def path_of(sweep: Sweep, cell: Cell, values: Mapping[str, float], *, phase: Phase, seed: int) -> Path:
    """The stages of one trial, root first.

    `seed` seeds every stage but `pretrain`, which the whole sweep shares. A confirmation path ends with an `evaluate`
    stage over the test split; a search path never touches it.
    """
    path = _Path(sweep)
    path.begin(seed)
    if cell.align_words and sweep.align_words_settings:
        path.prepare(
            StageKind.ALIGN_WORDS, Preparation(task=cell.align_words, settings=sweep.align_words_settings), seed
        )
    before = sweep.settings_before(cell)
    if cell.intermediates and before:
        settings = with_values(before, values, "intermediate")
        shares = {task.name: values[f"share.{task.name}"] for task in cell.intermediates}
        path.train(settings, cell.intermediates, shares, seed)
    if sweep.align_after_intermediate:
        path.align_images(seed)
    learned = teacher(sweep, cell)
    if learned is not None:
        settings = target_settings(sweep, cell, values)
        kept = kept_steps(sweep, settings)[:-1] if phase is Phase.CONFIRMATION else ()
        path.train(settings, (learned,), {learned.name: 1.0}, seed, kept)
    if phase is Phase.CONFIRMATION:
        path.evaluate(_VISIBLE.get(cell.role, Visible.BOTH), seed, learned)
    return tuple(path.stages)


def beginning_of(sweep: Sweep, *, seed: int) -> Path:
    """The stages that the path of every trial with this seed begins with, whatever its cell and values."""
    path = _Path(sweep)
    path.begin(seed)
    return tuple(path.stages)


def examples_of(path: Path, values: Mapping[str, float]) -> dict[str, dict[str, float]]:
    """Task → examples that its share of the intermediate mixture promises, and those that its whole steps make.

    `expected` is the share of the stage's examples, `actual` what its optimiser steps draw; a task may get no step.
    """
    shares = {name.removeprefix("share."): share for name, share in values.items() if name.startswith("share.")}
    for stage in path:
        if stage.kind is not StageKind.TRAIN or not isinstance(stage.work, Training):
            continue
        steps = {portion.task.name: portion.steps for portion in stage.work.portions}
        if not set(steps) <= set(shares):
            continue
        batch, total = stage.work.settings.batch_size, sum(shares.values())
        return {
            name: {"expected": share / total * stage.steps * batch, "actual": steps.get(name, 0) * batch}
            for name, share in sorted(shares.items())
        }
    return {}


def made_with(sweep: Sweep, path: Path) -> dict[str, str]:
    """What decides the stages of a cell's trials beside the definition and their values: this machine and this code.

    `path` is that of any trial of the cell that trains on all its tasks.
    """
    device = "cuda" if sweep.gangs.gpus_per_worker else "cpu"
    precision = resolved_precision(sweep.target_settings.precision, device)
    scoring = {StageKind.EVALUATE: SCORING_VERSIONS.get(sweep.target.kind, VERSIONS[StageKind.EVALUATE])}
    kinds = {f"version of {kind}": str(version) for kind, version in (VERSIONS | scoring).items()}
    reading = {f"version of reading {kind}": str(version) for stage in path for kind, version in stage.reading.items()}
    return {"device": device, "precision": precision, **kinds, **reading, **dict(numeric_versions())}


def teacher(sweep: Sweep, cell: Cell) -> Task | None:
    """The task that the target is trained on in a cell; None for retrieval, which is not trained."""
    if sweep.target.kind is Kind.RETRIEVAL:
        return None
    return cell.learned_from or sweep.target.teacher


def target_settings(sweep: Sweep, cell: Cell, values: Mapping[str, float]) -> Settings:
    """The settings of the cell's target training: blind for the blind baselines, longer for the compute-matched one."""
    settings = with_values(sweep.target_settings, values, "target")
    if cell.role in _VISIBLE:
        return dataclasses.replace(settings, visible=_VISIBLE[cell.role])
    if cell.role is CellRole.COMPUTE_MATCHED:
        return dataclasses.replace(settings, maximum_steps=settings.maximum_steps + sweep.matched_steps)
    return settings


def target_place(path: Sequence[Stage]) -> int:
    """Where the target training stands in a path: the last stage that trains; -1 where none does."""
    return max((place for place, stage in enumerate(path) if isinstance(stage.work, Training)), default=-1)


def kept_steps(sweep: Sweep, settings: Settings) -> tuple[int, ...]:
    """The steps of a confirmation's target training whose weights its selectors choose among; the last is its end."""
    return settings.evaluated_steps()[-sweep.checkpoints :]


class _Path:
    """A path under construction: each stage starts from the one before."""

    def __init__(self, sweep: Sweep) -> None:
        self.sweep = sweep
        self.stages: list[Stage] = []

    def begin(self, seed: int) -> None:
        if self.sweep.pretrain:
            self.prepare(StageKind.PRETRAIN, self.sweep.pretrain, self.sweep.search.seed)
        if not self.sweep.align_after_intermediate:
            self.align_images(seed)

    def prepare(self, kind: StageKind, preparation: Preparation, seed: int) -> None:
        even = {task.name: 1 / len(preparation.tasks) for task in preparation.tasks}
        self._mix(kind, preparation.settings, preparation.tasks, even, seed)

    def align_images(self, seed: int) -> None:
        for alignment in self.sweep.image_alignments:
            self.prepare(StageKind.ALIGN_IMAGES, alignment, seed)

    def train(
        self,
        settings: Settings,
        tasks: tuple[Task, ...],
        shares: Mapping[str, float],
        seed: int,
        kept: tuple[int, ...] = (),
    ) -> None:
        self._mix(StageKind.TRAIN, settings, tasks, shares, seed, kept)

    def evaluate(self, visible: Visible, seed: int, learned: Task | None) -> None:
        target = self.sweep.target
        split = target.split("test")
        assert split is not None  # the definition was refused otherwise
        layer = self.sweep.retrieval_layer if target.kind is Kind.RETRIEVAL else 0
        work = Evaluation(task=target, split="test", languages=split.languages, visible=visible, layer=layer)
        trained = self.stages[-1].work if self.stages else None
        if learned is not None and isinstance(trained, Training) and trained.kept_steps:
            work = dataclasses.replace(
                work,
                checkpoints=trained.kept_steps,
                selector=self.sweep.selector,
                learned=learned,
                source=source_dev(learned),
            )
        self._append(StageKind.EVALUATE, work, seed, self.sweep.target_settings)

    def _mix(
        self,
        kind: StageKind,
        settings: Settings,
        tasks: tuple[Task, ...],
        shares: Mapping[str, float],
        seed: int,
        kept: tuple[int, ...] = (),
    ) -> None:
        steps = mixture.portions(shares, settings.maximum_steps)
        ordered = sorted(tasks, key=lambda task: task.name)
        portions = tuple(Portion(task=task, steps=steps[task.name]) for task in ordered if steps[task.name])
        self._append(kind, Training(settings=settings, portions=portions, kept_steps=kept), seed, settings)

    def _append(self, kind: StageKind, work: Training | Evaluation, seed: int, settings: Settings) -> None:
        gangs = self.sweep.gangs
        device = "cuda" if gangs.gpus_per_worker else "cpu"
        shape = Shape(
            workers=gangs.workers,
            threads=gangs.threads,
            precision=resolved_precision(settings.precision, device),
            device=device,
        )
        if isinstance(work, Training):
            # The digest must not tell `auto` from the format that it became.
            resolved = dataclasses.replace(work.settings, precision=type(settings.precision)(shape.precision))
            work = dataclasses.replace(work, settings=resolved)
        parent = self.stages[-1].digest if self.stages else ""
        stage = Stage(
            kind=kind,
            work=work,
            encoder=self.sweep.encoder,
            parent=parent,
            seed=seed,
            shape=shape,
            versions=numeric_versions(*(("peft",) if settings.lora and isinstance(work, Training) else ())),
        )
        self.stages.append(stage)
