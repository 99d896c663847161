"""One attempt at a training stage: step after step, scores, checkpoints, output; knows no evaluation stage."""

from __future__ import annotations

import logging
import math
import os
import shutil
import time
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors import SafetensorError

from trainables import pulse
from trainables.canonical import canonical
from trainables.catalogue.task import Kind, Role
from trainables.data.batches import draw_hidden
from trainables.data.mixture import order
from trainables.data.rows import rows
from trainables.data.seeds import seed_of
from trainables.faults import Invalid
from trainables.inflight import Checkpoints
from trainables.model.reader import Reader
from trainables.on_disk import NO_FILE
from trainables.scores import CheckpointScores, Progress, Score, TaskLoss
from trainables.settings import Settings
from trainables.stages import Stage, StageKind, Training
from trainables.training import explosion
from trainables.training.checkpoint import (
    KEPT_WEIGHTS,
    Position,
    kept_weights,
    read_model,
    read_running,
    write_model,
    write_running,
    write_trained,
)
from trainables.training.evaluate import SCORED, score
from trainables.training.feeds import Feed, feed
from trainables.training.gradients import Drawn, Gradients, Taken
from trainables.training.memory import OutOfMemory, advice, fitting_division, is_exhausted, let_go
from trainables.training.ranks import Ranks
from trainables.training.scaling import FIRST, LEFT_OUT, next_scale
from trainables.training.schedule import learning_rate
from trainables.training.words import score_words

_log = logging.getLogger(__name__)

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
    """A loss or a gradient stopped being a number, or a loss exploded: another learning rate or warm-up is needed."""


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
    checkpoints: tuple[CheckpointScores, ...] = ()
    """Of an evaluation that scored several of a run's checkpoints."""


def write_json(path: Path, value: object) -> None:
    """Canonical JSON, so that equal values are equal bytes."""
    path.write_text(canonical(value) + "\n")


class Attempt:
    """One attempt at a training stage."""

    def __init__(
        self,
        stage: Stage,
        parent: Path | None,
        cache: Path | None,
        device: torch.device,
        ranks: Ranks,
        explosion_multiple: float = explosion.MULTIPLE,
    ) -> None:
        assert isinstance(stage.work, Training)
        self.stage, self.device, self.ranks = stage, device, ranks
        self.settings = stage.work.settings
        self.cache = cache
        self.explosion_multiple = explosion_multiple
        self.feeds = {
            portion.task.name: feed(stage, portion.task, self.settings, cache)
            for portion in stage.work.portions
            if portion.steps
        }
        self.order = order({portion.task.name: portion.steps for portion in stage.work.portions}, stage.seed)
        self.steps_of: dict[str, list[int]] = {name: [] for name in self.feeds}
        for step, name in enumerate(self.order):
            self.steps_of[name].append(step)
        self.reader = read_model(
            parent,
            stage.encoder,
            seed=stage.seed,
            dropout=self.settings.dropout,
            carry_heads=self.settings.carry_heads,
        )
        for name in sorted(self.feeds):
            if self.feeds[name].head:
                self.reader.head(self.feeds[name].head, self.feeds[name].outputs)
            if self.feeds[name].masked and self.settings.replaced_share:
                self.reader.head("replaced")
        if self.settings.lora:
            from trainables.model.lora import adapt  # peft takes a second to load, and few stages need it

            adapt(self.reader.trunk, self.settings.lora, stage.seed)
        if stage.kind is StageKind.ALIGN_WORDS:
            _refuse_layer(self.reader, self.settings)
        self.reader.to(device).train()
        self.reader.suit(stage.shape)
        if self.settings.gradient_checkpointing:
            self.reader.recompute_activations()
        self.reader.freeze(self.settings.frozen)
        self.gradients = Gradients(self.reader, self.settings.accumulation_steps, stage.shape, device, ranks)
        self.optimiser = _optimiser(self.reader, self.settings)
        self.losses = torch.zeros(self.settings.maximum_steps, 3, dtype=torch.float64, device=device)
        self.history: list[Progress] = []
        self.checked = 0
        self.pending: Exception | None = None
        self.steps_at_scale = 0
        self.kept_steps = frozenset(stage.work.kept_steps)
        if stage.shape.precision == "float16":
            self.gradients.scale = FIRST

    # The loop

    def train(
        self,
        output: Path,
        checkpoints: Checkpoints,
        report: Callable[[Progress], None],
        cancelled: Callable[[], bool],
        report_interval_seconds: float,
    ) -> Outcome:
        first = self.ranks.together(lambda: self._resume(checkpoints, output))
        self._refuse_apart(first)
        nth = {name: self.order[:first].count(name) for name in self.feeds}
        scored_kinds = (StageKind.TRAIN, StageKind.ALIGN_WORDS)
        evaluated = frozenset(self.settings.evaluated_steps()) if self.stage.kind in scored_kinds else frozenset()
        if self.stage.kind is StageKind.ALIGN_WORDS and not first:
            self._scored(0)  # how near the words were before says as much as how near they come
        for past in self.history if self.ranks.rank == 0 else ():
            report(past)  # whoever listens only now hears what led here
        reported_at, reported_step = time.monotonic(), first
        stop = False
        done = first
        for step in range(first, self.settings.maximum_steps):
            name = self.order[step]
            stop = self._step(step, nth[name], cancelled)
            nth[name] += 1
            done = step + 1
            due = checkpoints.due(done) or stop
            scored = done in evaluated
            if due or scored or done % CHECK_INTERVAL_STEPS == 0 or done == self.settings.maximum_steps:
                self._check_losses(done)
            if explosion.is_looked_at(done, self.settings.maximum_steps):
                self._check_explosion(done)
            late = self.ranks.rank == 0 and time.monotonic() - reported_at >= report_interval_seconds
            if scored or late:
                rate = (done - reported_step) * self.settings.batch_size / max(time.monotonic() - reported_at, 1e-9)
                progress = self._scored(done) if scored else self._progress(done, reported_step, ())
                if self.ranks.rank == 0:
                    told = replace(progress, examples_per_second=rate)
                    self._later(lambda told=told: report(told))
                reported_at, reported_step = time.monotonic(), done
            if done in self.kept_steps and self.ranks.rank == 0:
                self._later(lambda done=done: write_trained(self.reader, kept_weights(output, done)))
            if due:
                self._save(checkpoints, done, output)
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

    def _step(self, step: int, nth: int, cancelled: Callable[[], bool]) -> bool:
        """One optimiser step; whether any rank wants to stop after it."""
        pulse.beat()
        feed = self.feeds[self.order[step]]
        self.optimiser.zero_grad(set_to_none=True)
        rate = learning_rate(self.settings, step)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        if self.settings.dropout or (self.settings.lora and self.settings.lora.dropout):
            torch.manual_seed(seed_of("step", self.stage.seed, step, self.ranks.rank))

        def draw() -> Drawn:
            self._raise_pending()
            chosen, hidden = feed.sampler.rows(nth), None
            if feed.masked:
                seed = seed_of("mask", self.stage.seed, feed.task.name, nth)
                hidden = draw_hidden(feed.rows, chosen, self.settings.masked_share, seed, self.settings.replaced_share)
            wants_stop = step % CANCEL_INTERVAL_STEPS == 0 and cancelled()
            return Drawn(rows=chosen, hidden=hidden, wants_stop=wants_stop)

        try:
            taken = self.gradients.take(feed, draw)
            self._later(lambda: self._update(step, taken))
        except (MemoryError, RuntimeError) as error:
            if not is_exhausted(error):
                raise
            let_go(error)
            raise OutOfMemory(self._memory_advice(step, feed, draw)) from error
        return taken.stop

    def _memory_advice(self, step: int, feed: Feed, draw: Callable[[], Drawn]) -> str:
        """Where memory ran out, and the setting that fits; with other ranks beside, one alone can try nothing."""
        size, now = self.settings.batch_size, self.settings.accumulation_steps
        where = f"memory ran out at step {step + 1}, task {feed.task.name!r}, with {size // now} examples at a time"
        if self.ranks.size > 1:
            return f"{where}; raise accumulation_steps above {now}: the batch stays, in smaller parts"
        fits = fitting_division(self.gradients, self.optimiser, size, lambda: self.gradients.take(feed, draw))
        return f"{where}; {advice(size, now, fits)}"

    def _update(self, step: int, taken: Taken) -> None:
        norm = torch.nn.utils.clip_grad_norm_(self.gradients.parameters, self.settings.clip_norm)
        if self.stage.shape.precision == "float16":
            norm = self._rescaled(norm)
        if self.stage.shape.precision != "float16" or norm != LEFT_OUT:
            self.optimiser.step()
        row = self.losses[step]
        row[_LOSS] = taken.loss
        row[_LABELS] = taken.labels
        row[_NORM] = norm

    def _rescaled(self, norm: torch.Tensor) -> float:
        """The gradient's norm, or `LEFT_OUT` where it overflowed; the scale of the next step is set by it.

        Raises:
            Diverged: where gradients overflow however small the scale.
        """
        told = float(norm) if bool(torch.isfinite(norm)) else LEFT_OUT
        self.gradients.scale, self.steps_at_scale = next_scale(self.gradients.scale, self.steps_at_scale, told)
        if self.gradients.scale < 1.0:
            raise Diverged(
                "gradients in float16 must be finite at some scale of the loss, got an overflow at every one; lower "
                "learning_rate, or use Precision.BFLOAT16 or FLOAT32"
            )
        return told

    def _replay_scale(self, position: Position) -> None:
        """Bring the scale of float16 losses to where the steps so far have brought it."""
        if self.stage.shape.precision == "float16":
            for norm in position.losses[: position.step, _NORM].tolist():
                self.gradients.scale, self.steps_at_scale = next_scale(self.gradients.scale, self.steps_at_scale, norm)

    def _later(self, work: Callable[[], None]) -> None:
        """Do what no other rank takes part in; with others, what it raises waits until all ranks can hear of it."""
        try:
            work()
        except Exception as raised:  # kept for the next collective, or the other ranks would wait in it for ever
            if self.ranks.size == 1:
                raise
            self.pending = self.pending or raised

    def _raise_pending(self) -> None:
        if self.pending is not None:
            raise self.pending

    # Losses and scores

    def _check_losses(self, done: int) -> None:
        """Raise `Diverged` if a loss or a gradient norm since the last look is no finite number."""
        recent = self.losses[self.checked : done]
        bad = ~torch.isfinite(recent[:, [_LOSS, _NORM]]).all(1)
        if bool(bad.any()):
            step = self.checked + int(bad.nonzero()[0])
            loss, labels, norm = self.losses[step].tolist()
            raise Diverged(
                f"the loss and the gradient must be finite; at step {step + 1} of {self.settings.maximum_steps}, task "
                f"{self.order[step]!r}, the loss was {loss / max(labels, 1)} and the gradient's norm {norm}, at a "
                f"learning rate of {learning_rate(self.settings, step):.3g}; lower learning_rate or raise warmup_steps"
            )
        self.checked = done

    def _check_explosion(self, done: int) -> None:
        """Raise `Diverged` if the loss of a task has exploded: on every rank, since all have the same losses."""
        for name in sorted(self.feeds):
            steps, window = self.steps_of[name], explosion.window_of(len(self.steps_of[name]))
            begin, end = (bisect_left(steps, one) for one in (explosion.looked_at_before(done), done))
            looked = steps[max(1, begin - window + 1) : end]
            if not looked:
                continue
            rows = self.losses[[steps[0], *looked]].tolist()
            first, *losses = (row[_LOSS] / max(row[_LABELS], 1) for row in rows)
            if seen := explosion.found(first, losses, window, self.explosion_multiple):
                step = looked[seen.place]
                raise Diverged(
                    f"the loss must not explode; at step {step + 1} of {self.settings.maximum_steps}, task {name!r}, "
                    f"{seen.above} of its last {window} steps had cost more than {seen.bound:.3g} nats per label, the "
                    f"larger of {explosion.LEAST_NATS:g} and {self.explosion_multiple:g} times its first step's "
                    f"{first:.3g}; the worst cost {seen.loss:.3g}, at a learning rate of "
                    f"{learning_rate(self.settings, step):.3g}; lower learning_rate or raise warmup_steps, or set "
                    "Gangs(explosion_multiple=float('inf')) where such a loss is meant"
                )

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
            learning_rate=learning_rate(self.settings, max(done - 1, 0)),
            scores=scores,
        )

    def _scored(self, done: int) -> Progress:
        """The report with scores after `done` steps; kept in the history without its speed, which is no result."""
        scores: list[Score] = []
        for one in (self.feeds[name] for name in sorted(self.feeds)):
            dev = one.task.split("dev")
            if dev is None or one.task.kind not in SCORED | {Kind.WORDS}:
                continue
            data = self.ranks.together(
                lambda task=one.task: rows(task, "dev", None, self.stage.encoder, self.settings.visible, self.cache)
            )
            if one.task.kind is Kind.WORDS:
                scores += score_words(
                    self.reader, one.task, data, dev, self.settings.word_layer, done, self.stage.shape, self.device
                )
                continue
            scores += score(
                self.reader,
                one.task,
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

    # Disk

    def _resume(self, checkpoints: Checkpoints, output: Path) -> int:
        """The step to go on from: that of the newest checkpoint that can be read and fits; 0 where none does."""
        for folder in checkpoints.kept():
            try:
                position = read_running(folder, digest=self.stage.digest, reader=self.reader, optimiser=self.optimiser)
            except (*NO_FILE, ValueError, KeyError, SafetensorError) as error:
                _log.warning("the checkpoint %s cannot be used (%s); falling back to the one before", folder, error)
                continue
            if position is not None:
                self.losses.copy_(position.losses)
                self._replay_scale(position)
                self.history = list(position.history)
                self.checked = position.step
                if self.ranks.rank == 0:
                    _bring(folder / KEPT_WEIGHTS, output / KEPT_WEIGHTS)
                return position.step
        return 0

    def _refuse_apart(self, step: int) -> None:
        """Raise where ranks would resume from different steps, which would never meet again."""
        steps = torch.zeros(self.ranks.size)
        steps[self.ranks.rank] = float(step)
        self.ranks.sum_(steps)
        if len(set(steps.tolist())) > 1:
            raise RuntimeError(
                f"ranks must resume from one step, got {steps.tolist()}; is every host seeing the same directory?"
            )

    def _save(self, checkpoints: Checkpoints, done: int, output: Path) -> None:
        def write(folder: Path) -> None:
            write_running(
                folder,
                digest=self.stage.digest,
                reader=self.reader,
                optimiser=self.optimiser,
                position=Position(step=done, losses=self.losses, history=tuple(self.history)),
            )
            _bring(output / KEPT_WEIGHTS, folder / KEPT_WEIGHTS)

        def save() -> None:
            self._raise_pending()
            if self.ranks.rank == 0:
                checkpoints.save(done, write)

        self.ranks.together(save)

    def _write(self, output: Path) -> None:
        self._raise_pending()
        if self.ranks.rank != 0:
            return
        if self.settings.lora:
            from trainables.model.lora import fold

            fold(self.reader.trunk)
        write_model(self.reader, self.stage.encoder, output)
        write_json(output / "scores.json", {"history": self.history, "scores": ()})
        ends = range(LOSS_WINDOW_STEPS, self.settings.maximum_steps + LOSS_WINDOW_STEPS, LOSS_WINDOW_STEPS)
        windows = [
            {
                "step": min(end, self.settings.maximum_steps),
                "losses": self._task_losses(end - LOSS_WINDOW_STEPS, min(end, self.settings.maximum_steps)),
            }
            for end in ends
        ]
        write_json(output / "losses.json", windows)


def _bring(source: Path, target: Path) -> None:
    """The weights kept so far, under another folder too: as the same files where the disk can, else as copies."""
    for file in sorted(source.glob("[0-9]*.safetensors")):
        target.mkdir(parents=True, exist_ok=True)
        if (target / file.name).exists():
            continue
        try:
            os.link(file, target / file.name)
        except OSError:
            shutil.copyfile(file, target / file.name)


def _refuse_layer(reader: Reader, settings: Settings) -> None:
    layers = reader.trunk.config.num_hidden_layers
    if settings.word_layer > layers:
        raise Invalid(
            "align_words", [f"word_layer must be a layer of the trunk, 0 to {layers}, got {settings.word_layer}"]
        )


def _optimiser(reader: Reader, settings: Settings) -> torch.optim.Optimizer:
    """AdamW; biases, norms and other vectors do not decay, as in BERT's recipe."""
    trained = [parameter for parameter in reader.parameters() if parameter.requires_grad]
    groups = [
        {"params": [one for one in trained if one.ndim >= 2], "weight_decay": settings.weight_decay},
        {"params": [one for one in trained if one.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=settings.learning_rate, fused=True)
