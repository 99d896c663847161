"""Running one stage from its parent's weights to its output directory; knows no Ray and no sweep."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch

from trainables.canonical import canonical
from trainables.catalogue.task import Kind, Role, Task
from trainables.data.batches import Batch, Sampler, batch, draw_hidden, shard
from trainables.data.mixture import order
from trainables.data.rows import Rows, rows, subset
from trainables.data.seeds import seed_of
from trainables.faults import Invalid, nearest
from trainables.model.reader import Reader
from trainables.scores import Progress, Score, TaskLoss
from trainables.settings import Alignment, Part, Settings
from trainables.stages import Evaluation, Stage, StageKind, Training
from trainables.training.checkpoint import (
    Checkpoints,
    NoCheckpoints,
    Position,
    read_model,
    read_running,
    write_model,
    write_running,
)
from trainables.training.evaluate import SCORED, score
from trainables.training.ranks import RankFailed, Ranks
from trainables.training.schedule import learning_rate
from trainables.training.torch_state import torch_state

#: `cancelled` is read every so many steps: it may ask an actor elsewhere.
CANCEL_INTERVAL_STEPS = 4
#: Steps after which losses are looked at for a number that is none; each look waits for the device.
CHECK_INTERVAL_STEPS = 50
#: Steps of one row of losses.json.
LOSS_WINDOW_STEPS = 50
#: Rows of one forward pass when a development split is scored.
SELECT_BATCH_SIZE = 256
#: Columns of the table of losses that is kept per step.
_LOSS, _LABELS, _NORM = range(3)


class Diverged(ArithmeticError):
    """A loss or a gradient stopped being a number; another learning rate, warm-up or clipping is needed."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a run of a stage ended.

    `steps_executed` counts the steps of this attempt, from `resumed_from` on. `history` holds the reports with
    scores, those of earlier attempts included; `scores` are an evaluation's.
    """

    steps_executed: int
    resumed_from: int
    was_cancelled: bool
    history: tuple[Progress, ...] = ()
    scores: tuple[Score, ...] = ()


def run_stage(
    stage: Stage,
    *,
    parent: Path | None,
    output: Path,
    cache: Path | None = None,
    checkpoints: Checkpoints | None = None,
    report: Callable[[Progress], None] = lambda progress: None,
    cancelled: Callable[[], bool] = lambda: False,
    ranks: Ranks | None = None,
    report_interval_seconds: float = 2.0,
) -> Outcome:
    """Run one stage; the same stage and parent give the same bits on the same hardware, whatever ran before.

    Every rank calls this with the same stage; rank 0 alone reports, saves and writes `output`. A stage that was
    cancelled writes no output, only a checkpoint at the step it stopped at.

    Raises:
        Invalid: where stage, data, parent and gang do not fit one another.
        Diverged: naming the step and task whose loss was no number.
        RankFailed: on every rank, with more than one, when any failed.
    """
    together = ranks or Ranks()
    _refuse_misfit(stage, parent, together)
    with torch_state(stage.shape) as device:
        if isinstance(stage.work, Evaluation):
            return _evaluate(stage, stage.work, parent, output, cache, device, together)
        run = together.together(lambda: _Run(stage, parent, cache, device, together))
        return run.train(output, checkpoints or NoCheckpoints(), report, cancelled, report_interval_seconds)


def _refuse_misfit(stage: Stage, parent: Path | None, ranks: Ranks) -> None:
    faults = []
    if ranks.size != stage.shape.workers:
        faults.append(f"it must run on {stage.shape.workers} workers, as its shape says, got {ranks.size}")
    if stage.shape.precision not in ("float32", "bfloat16"):
        faults.append(f"precision must be resolved to float32 or bfloat16, got {stage.shape.precision!r}")
    if bool(stage.parent) != (parent is not None):
        faults.append(f"it starts from {stage.parent or 'nothing'!r}, got the parent directory {parent}")
    if isinstance(stage.work, Evaluation) != (stage.kind is StageKind.EVALUATE):
        faults.append(f"an {StageKind.EVALUATE} stage, and no other, does an Evaluation, got {stage.kind}")
    if faults:
        raise Invalid(f"stage {stage.digest}", faults)


def _evaluate(
    stage: Stage,
    work: Evaluation,
    parent: Path | None,
    output: Path,
    cache: Path | None,
    device: torch.device,
    ranks: Ranks,
) -> Outcome:
    def prepare() -> tuple[Reader, Rows]:
        reader = read_model(parent, stage.encoder, seed=stage.seed, dropout=0.0, carry_heads=True)
        if work.task.kind not in SCORED:
            raise Invalid(
                f"task {work.task.name!r}", [f"its kind must be scored by labels or spans, got {work.task.kind}"]
            )
        if work.task.head not in reader.head_outputs:
            known = nearest(work.task.head, reader.head_outputs)
            raise Invalid(
                f"stage {stage.digest}",
                [
                    f"its parent must have trained the head {work.task.head!r}, got none; {known}; train {work.task.name} first"
                ],
            )
        return reader.to(device), rows(work.task, work.split, work.languages, stage.encoder, work.visible, cache)

    reader, data = ranks.together(prepare)
    scored = score(
        reader,
        work.task,
        data,
        split=work.split,
        languages=work.languages,
        role=work.role,
        step=0,
        batch_size=work.batch_size,
        precision=stage.shape.precision,
        device=device,
        ranks=ranks,
    )

    def write() -> None:
        if ranks.rank == 0:
            output.mkdir(parents=True, exist_ok=True)
            pq.write_table(scored.predictions, output / "predictions.parquet", compression="zstd")
            _write_json(output / "scores.json", {"history": (), "scores": scored.scores})

    ranks.together(write)
    return Outcome(steps_executed=0, resumed_from=0, was_cancelled=False, scores=scored.scores)


def _write_json(path: Path, value: object) -> None:
    path.write_text(canonical(value) + "\n")


@dataclass(frozen=True, kw_only=True)
class _Feed:
    """One task of the mixture: its rows, what is minimised on them, and which of them come when."""

    task: Task
    rows: Rows
    sampler: Sampler
    contrastive: bool
    masked: bool
    head: str
    outputs: int


def _feed(stage: Stage, task: Task, settings: Settings, cache: Path | None) -> _Feed:
    data = rows(task, "train", None, stage.encoder, settings.visible, cache)
    contrastive = False
    if stage.kind is StageKind.ALIGN_IMAGES:
        if task.kind not in (Kind.CAPTION, Kind.IMAGE_TEXT):
            raise Invalid(f"task {task.name!r}", [f"align_images needs images with texts, got kind {task.kind}"])
        if task.kind is Kind.IMAGE_TEXT:
            data = _entailed(task, data)
        contrastive = settings.alignment is Alignment.CONTRASTIVE
    masked = not contrastive and (data.labels is None or stage.kind is StageKind.ALIGN_IMAGES)
    if stage.kind in (StageKind.PRETRAIN, StageKind.ALIGN_WORDS) and task.kind is not Kind.MASKED_LM:
        raise Invalid(f"task {task.name!r}", [f"{stage.kind} needs parallel sentences, got kind {task.kind}"])
    if not len(data):
        raise Invalid(f"task {task.name!r}", ["its train split must have rows, got none"])
    head = "contrastive" if contrastive else "masked_lm" if masked else task.head
    return _Feed(
        task=task,
        rows=data,
        sampler=Sampler(data.lengths, settings.batch_size, stage.seed, task.name),
        contrastive=contrastive,
        masked=masked,
        head=head,
        outputs=0 if contrastive or masked else len(task.labels),
    )


def _entailed(task: Task, data: Rows) -> Rows:
    if "entailment" not in task.labels:
        raise Invalid(
            f"task {task.name!r}", [f"its labels must name 'entailment' to align images by it, got {task.labels}"]
        )
    assert data.labels is not None
    return subset(data, np.flatnonzero(data.labels == task.labels.index("entailment")).tolist())


class _Run:
    """One attempt at a training stage."""

    def __init__(
        self, stage: Stage, parent: Path | None, cache: Path | None, device: torch.device, ranks: Ranks
    ) -> None:
        assert isinstance(stage.work, Training)
        self.stage, self.device, self.ranks = stage, device, ranks
        self.settings = stage.work.settings
        self.cache = cache
        self.feeds = {
            portion.task.name: _feed(stage, portion.task, self.settings, cache)
            for portion in stage.work.portions
            if portion.steps
        }
        self.order = order({portion.task.name: portion.steps for portion in stage.work.portions}, stage.seed)
        self.reader = read_model(
            parent,
            stage.encoder,
            seed=stage.seed,
            dropout=self.settings.dropout,
            carry_heads=self.settings.carry_heads,
        )
        for name in sorted(self.feeds):
            self.reader.head(self.feeds[name].head, self.feeds[name].outputs)
        self.reader.to(device).train()
        self.reader.freeze(self.settings.frozen)
        self.parameters = [parameter for parameter in self.reader.parameters() if parameter.requires_grad]
        self.optimiser = _optimiser(self.reader, self.settings)
        self.losses = torch.zeros(self.settings.maximum_steps, 3, dtype=torch.float64, device=device)
        self.history: list[Progress] = []
        self.checked = 0

    # -- the loop ---------------------------------------------------------------------------------------------------

    def train(
        self,
        output: Path,
        checkpoints: Checkpoints,
        report: Callable[[Progress], None],
        cancelled: Callable[[], bool],
        report_interval_seconds: float,
    ) -> Outcome:
        first = self.ranks.together(lambda: self._resume(checkpoints))
        self._refuse_apart(first)
        nth = {name: self.order[:first].count(name) for name in self.feeds}
        evaluated = frozenset(self.settings.evaluated_steps()) if self.stage.kind is StageKind.TRAIN else frozenset()
        reported_at, reported_step = time.monotonic(), first
        stop = False
        done = first
        for step in range(first, self.settings.maximum_steps):
            name = self.order[step]
            wants_stop = step % CANCEL_INTERVAL_STEPS == 0 and cancelled()
            stop = self._step(step, self.feeds[name], nth[name], wants_stop)
            nth[name] += 1
            done = step + 1
            due = checkpoints.due(done) or stop
            scored = done in evaluated
            if due or scored or done % CHECK_INTERVAL_STEPS == 0 or done == self.settings.maximum_steps:
                self._check_losses(done)
            late = self.ranks.rank == 0 and time.monotonic() - reported_at >= report_interval_seconds
            if scored or late:
                rate = (done - reported_step) * self.settings.batch_size / max(time.monotonic() - reported_at, 1e-9)
                progress = self._scored(done) if scored else self._progress(done, reported_step, ())
                if self.ranks.rank == 0:
                    report(replace(progress, examples_per_second=rate))
                reported_at, reported_step = time.monotonic(), done
            if due:
                self._save(checkpoints, done)
            if stop and done < self.settings.maximum_steps:
                return self._outcome(first, done, was_cancelled=True)
        self.ranks.together(lambda: self._write(output))
        return self._outcome(first, done, was_cancelled=False)

    def _outcome(self, first: int, done: int, *, was_cancelled: bool) -> Outcome:
        return Outcome(
            steps_executed=done - first,
            resumed_from=first,
            was_cancelled=was_cancelled,
            history=tuple(self.history),
        )

    def _step(self, step: int, feed: _Feed, nth: int, wants_stop: bool) -> bool:
        """One optimiser step; whether any rank wants to stop after it."""
        self.optimiser.zero_grad(set_to_none=True)
        rate = learning_rate(self.settings, step)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        if self.settings.dropout:
            torch.manual_seed(seed_of("step", self.stage.seed, step, self.ranks.rank))
        chosen = feed.sampler.rows(nth)
        hidden = None
        if feed.masked:
            hidden = draw_hidden(
                feed.rows, chosen, self.settings.masked_share, seed_of("mask", self.stage.seed, feed.task.name, nth)
            )
        parts = shard(chosen, self.ranks.size * self.settings.accumulation_steps)
        if self.ranks.size == 1 and len(parts) == 1:
            loss, labels = self._loss(feed, parts[0], hidden)
            (loss / max(labels, 1)).backward()
            stop = wants_stop
        else:
            loss, labels, stop = self._divided(feed, parts, hidden, wants_stop)
        self._update(step, loss.detach(), labels)
        return stop

    def _update(self, step: int, loss: torch.Tensor, labels: float) -> None:
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, self.settings.clip_norm)
        self.optimiser.step()
        row = self.losses[step]
        row[_LOSS] = loss
        row[_LABELS] = labels
        row[_NORM] = norm

    def _loss(self, feed: _Feed, chosen: np.ndarray, hidden: np.ndarray | None) -> tuple[torch.Tensor, int]:
        """Loss of some rows summed over labels, and the number of labels."""
        with self._autocast():
            part = self._batch(feed, chosen, hidden)
            if feed.contrastive:
                images, texts = self.reader.vectors(part)
                return self._contrast(part, images, texts), part.rows
            return self.reader.loss(part, feed.head, feed.outputs)

    def _contrast(self, part: Batch, images: torch.Tensor, texts: torch.Tensor) -> torch.Tensor:
        assert part.image_numbers is not None and part.text_numbers is not None
        return self.reader.contrastive_loss(images, texts, part.image_numbers, part.text_numbers)

    def _batch(self, feed: _Feed, chosen: np.ndarray, hidden: np.ndarray | None) -> Batch:
        return batch(feed.rows, chosen, hidden).to(self.device)

    def _autocast(self) -> torch.autocast:
        half = self.stage.shape.precision == "bfloat16"
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=half)

    # -- one step divided over accumulation and ranks ---------------------------------------------------------------

    def _divided(
        self, feed: _Feed, parts: list[np.ndarray], hidden: np.ndarray | None, wants_stop: bool
    ) -> tuple[torch.Tensor, float, bool]:
        """Backward over this rank's parts; gradients, loss and labels summed over ranks, then divided by the labels.

        One all-reduce carries the gradients, which parameters have one, loss, labels, the wish to stop and one
        failure flag per rank, so that a rank which fails still takes part and no other waits for it.
        """
        loss, labels, error = torch.zeros((), device=self.device), 0, None
        try:
            for number in range(self.settings.accumulation_steps):
                share, count = self._part(feed, parts, number, hidden)
                loss, labels = loss + share, labels + count
        except RankFailed:  # all ranks know already
            raise
        except Exception as raised:
            if self.ranks.size == 1:
                raise
            error = raised
        if self.ranks.size == 1:
            self._divide(labels)
            return loss, labels, wants_stop
        return self._reduced(loss, labels, wants_stop, error)

    def _part(
        self, feed: _Feed, parts: list[np.ndarray], number: int, hidden: np.ndarray | None
    ) -> tuple[torch.Tensor, int]:
        group = parts[number * self.ranks.size : (number + 1) * self.ranks.size]
        mine = group[self.ranks.rank]
        if feed.contrastive and self.ranks.size > 1:
            return self._contrast_over_ranks(feed, group)
        if not len(mine):
            return torch.zeros((), device=self.device), 0
        loss, labels = self._loss(feed, mine, hidden)
        loss.backward()
        return loss.detach(), labels

    def _contrast_over_ranks(self, feed: _Feed, group: list[np.ndarray]) -> tuple[torch.Tensor, int]:
        """The contrastive loss of the rows of all ranks: each rank's own vectors carry gradients, the others' are read.

        Summed over ranks, the gradients are those of the whole loss; the temperature's is taken on rank 0 alone.
        """
        mine = group[self.ranks.rank]
        begin = sum(len(part) for part in group[: self.ranks.rank])
        end, total, width = begin + len(mine), sum(len(part) for part in group), self.reader.width
        gathered = torch.zeros(2, total, width, device=self.device)

        def encode() -> tuple[torch.Tensor, torch.Tensor] | None:
            if not len(mine):
                return None
            with self._autocast():
                return self.reader.vectors(self._batch(feed, mine, None))

        vectors = self.ranks.together(encode)
        if vectors is not None:
            gathered[0, begin:end], gathered[1, begin:end] = (vector.detach() for vector in vectors)
        self.ranks.sum_(gathered)

        def contrast() -> torch.Tensor:
            images, texts = gathered
            if vectors is not None:
                images = torch.cat((images[:begin], vectors[0], images[end:]))
                texts = torch.cat((texts[:begin], vectors[1], texts[end:]))
            everyone = np.concatenate(group)
            assert feed.rows.image_numbers is not None and feed.rows.text_numbers is not None
            image_numbers, text_numbers = (
                torch.from_numpy(numbers[everyone]).to(self.device)
                for numbers in (feed.rows.image_numbers, feed.rows.text_numbers)
            )
            with self._autocast():
                loss = self.reader.contrastive_loss(images, texts, image_numbers, text_numbers)
            temperature = self.reader.head("contrastive").log_scale
            before = None if temperature.grad is None else temperature.grad.clone()
            loss.backward()
            if self.ranks.rank != 0:
                temperature.grad = before
            return loss.detach()

        loss = self.ranks.together(contrast)
        return (loss, total) if self.ranks.rank == 0 else (torch.zeros_like(loss), 0)

    def _reduced(
        self, loss: torch.Tensor, labels: int, wants_stop: bool, error: Exception | None
    ) -> tuple[torch.Tensor, float, bool]:
        size, count = self.ranks.size, len(self.parameters)
        used = torch.tensor([float(parameter.grad is not None) for parameter in self.parameters])
        told = torch.zeros(3 + size)
        told[:3] = torch.tensor([float(loss), float(labels), float(wants_stop)])
        told[3 + self.ranks.rank] = float(error is not None)
        if error is not None:
            told[:3] = 0
        pieces = [
            torch.zeros_like(parameter).flatten()
            if parameter.grad is None or error is not None
            else parameter.grad.flatten()
            for parameter in self.parameters
        ]
        flat = torch.cat([*pieces, used.to(self.device), told.to(self.device)])
        self.ranks.sum_(flat)
        tail = flat[-(count + 3 + size) :].cpu()
        self.ranks.raise_together(tail[count + 3 :].tolist(), error)
        total_loss, total_labels, stop = tail[count : count + 3].tolist()
        start = 0
        for parameter, is_used in zip(self.parameters, tail[:count].tolist(), strict=True):
            if is_used:
                parameter.grad = flat[start : start + parameter.numel()].view_as(parameter)
            start += parameter.numel()
        self._divide(total_labels)
        return torch.tensor(total_loss), total_labels, stop > 0

    def _divide(self, labels: float) -> None:
        gradients = [parameter.grad for parameter in self.parameters if parameter.grad is not None]
        torch._foreach_div_(gradients, float(max(labels, 1)))

    # -- losses and scores ------------------------------------------------------------------------------------------

    def _check_losses(self, done: int) -> None:
        """Raise `Diverged` if a loss or a gradient norm since the last look is no finite number."""
        recent = self.losses[self.checked : done]
        bad = ~torch.isfinite(recent[:, [_LOSS, _NORM]]).all(1)
        if bool(bad.any()):
            step = self.checked + int(bad.nonzero()[0])
            loss, labels, norm = self.losses[step].tolist()
            raise Diverged(
                f"the loss and the gradient must be finite; at step {step + 1} of {self.settings.maximum_steps}, task "
                f"{self.order[step]!r}, the loss was {loss / max(labels, 1)} and the gradient's norm {norm}, at learning "
                f"rate {learning_rate(self.settings, step):.3g}; lower learning_rate or raise warmup_steps"
            )
        self.checked = done

    def _task_losses(self, first: int, end: int) -> tuple[TaskLoss, ...]:
        """Mean loss per label of each task over steps first..end (end excluded)."""
        kept = self.losses[first:end].cpu()
        found = []
        for name in sorted(self.feeds):
            steps = [number for number in range(end - first) if self.order[first + number] == name]
            if steps:
                total, labels, _ = kept[steps].sum(0).tolist()
                mean = total / labels if labels else 0.0
                found.append(TaskLoss(task=name, loss=mean if math.isfinite(mean) else float("nan"), steps=len(steps)))
        return tuple(found)

    def _progress(self, done: int, since: int, scores: tuple[Score, ...]) -> Progress:
        return Progress(
            digest=self.stage.digest,
            step=done,
            losses=self._task_losses(since, done),
            learning_rate=learning_rate(self.settings, done - 1),
            scores=scores,
        )

    def _scored(self, done: int) -> Progress:
        """The report with scores after `done` steps; kept in the history without its speed, which is no result."""
        scores: list[Score] = []
        for name, feed in sorted(self.feeds.items()):
            dev = feed.task.split("dev")
            if dev is None or feed.task.kind not in SCORED:
                continue
            data = self.ranks.together(
                lambda task=feed.task: rows(task, "dev", None, self.stage.encoder, self.settings.visible, self.cache)
            )
            scores += score(
                self.reader,
                feed.task,
                data,
                split="dev",
                languages=dev.languages,
                role=Role.SELECT,
                step=done,
                batch_size=SELECT_BATCH_SIZE,
                precision=self.stage.shape.precision,
                device=self.device,
                ranks=self.ranks,
            ).scores
        since = self.history[-1].step if self.history else 0
        progress = self._progress(done, since, tuple(scores))
        self.history.append(progress)
        return progress

    # -- disk -------------------------------------------------------------------------------------------------------

    def _resume(self, checkpoints: Checkpoints) -> int:
        latest = checkpoints.latest()
        if latest is None:
            return 0
        position = read_running(latest, digest=self.stage.digest, reader=self.reader, optimiser=self.optimiser)
        if position is None:
            return 0
        self.losses.copy_(position.losses)
        self.history = list(position.history)
        self.checked = position.step
        return position.step

    def _refuse_apart(self, step: int) -> None:
        """Raise where ranks would resume from different steps, which would never meet again."""
        steps = torch.zeros(self.ranks.size)
        steps[self.ranks.rank] = float(step)
        self.ranks.sum_(steps)
        if len(set(steps.tolist())) > 1:
            raise RuntimeError(
                f"ranks must resume from one step, got {steps.tolist()}; is every host seeing the same directory?"
            )

    def _save(self, checkpoints: Checkpoints, done: int) -> None:
        def write(folder: Path) -> None:
            write_running(
                folder,
                digest=self.stage.digest,
                reader=self.reader,
                optimiser=self.optimiser,
                position=Position(step=done, losses=self.losses, history=tuple(self.history)),
            )

        self.ranks.together(lambda: checkpoints.save(done, write) if self.ranks.rank == 0 else None)

    def _write(self, output: Path) -> None:
        if self.ranks.rank != 0:
            return
        write_model(self.reader, self.stage.encoder, output)
        _write_json(output / "scores.json", {"history": self.history, "scores": ()})
        ends = range(LOSS_WINDOW_STEPS, self.settings.maximum_steps + LOSS_WINDOW_STEPS, LOSS_WINDOW_STEPS)
        windows = [
            {
                "step": min(end, self.settings.maximum_steps),
                "losses": self._task_losses(end - LOSS_WINDOW_STEPS, min(end, self.settings.maximum_steps)),
            }
            for end in ends
        ]
        _write_json(output / "losses.json", windows)


def _optimiser(reader: Reader, settings: Settings) -> torch.optim.Optimizer:
    """AdamW; biases, norms and other vectors do not decay, as in BERT's recipe."""
    trained = [parameter for parameter in reader.parameters() if parameter.requires_grad]
    if not trained:
        raise Invalid(
            "settings", [f"frozen must leave something to train, got {[Part(part).name for part in settings.frozen]}"]
        )
    groups = [
        {"params": [one for one in trained if one.ndim >= 2], "weight_decay": settings.weight_decay},
        {"params": [one for one in trained if one.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=settings.learning_rate, fused=True)
