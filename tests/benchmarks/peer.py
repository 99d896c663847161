"""The peer of the benchmarks: our model under Hugging Face's Trainer; measures time from callbacks alone."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn
from transformers import Trainer, TrainerCallback, TrainingArguments

from trainables.data.batches import Batch, batch
from trainables.data.sequences import Rows
from trainables.model.reader import Reader
from trainables.settings import Settings


class Wrapped(nn.Module):
    """Our reader as the Trainer wants a model: a batch in, the mean loss out."""

    def __init__(self, reader: Reader, head: str, labels: int) -> None:
        super().__init__()
        self.reader, self.head, self.labels = reader, head, labels

    def forward(self, fields: dict) -> dict[str, torch.Tensor]:
        loss, count = self.reader.loss(Batch(**fields), self.head, self.labels)
        return {"loss": loss / count}


class _Numbers(torch.utils.data.Dataset):
    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, number: int) -> int:
        return number


class _InOrder(Trainer):
    def _get_train_sampler(self, *_):
        return torch.utils.data.SequentialSampler(self.train_dataset)


class _Clock(TrainerCallback):
    """Seconds from the end of step `warm` to the end of training, and the loss of every step."""

    def __init__(self, warm: int, now: Callable[[], float]) -> None:
        self.now = now
        self.warm, self.first, self.last, self.steps = warm, 0.0, 0.0, 0

    def on_step_end(self, args, state, control, **_):
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.last, self.steps = self.now(), state.global_step
        if state.global_step == self.warm:
            self.first = self.last


def train(
    reader: Reader,
    rows: Rows,
    settings: Settings,
    *,
    head: str,
    labels: int,
    folder: Path,
    batches: list[np.ndarray] | None = None,
    warm: int = 5,
    bf16: bool = False,
    now: Callable[[], float] = time.perf_counter,
) -> tuple[float, list[float]]:
    """Examples per second after `warm` steps, and the losses if `batches` are given.

    With `batches`, exactly those are trained on, in order, and nothing else differs from our loop. Without, the
    Trainer shuffles and pads as it does by default.
    """
    losses: list[float] = []
    model = Wrapped(reader, head, labels)
    given = batches is not None

    def collate(items: list[int]) -> dict:
        chosen = batches[items[0]] if batches is not None else np.array(items)
        return {"fields": vars(batch(rows, chosen))}

    if given:
        original = model.forward

        def recording(fields: dict):
            answer = original(fields)
            losses.append(answer["loss"].detach())
            return answer

        model.forward = recording
    clock = _Clock(warm, now)
    arguments = TrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=1 if given else settings.batch_size,
        max_steps=settings.maximum_steps,
        learning_rate=settings.learning_rate,
        weight_decay=settings.weight_decay,
        max_grad_norm=settings.clip_norm,
        warmup_steps=settings.warmup_steps,
        lr_scheduler_type="linear",
        logging_strategy="no" if given else "steps",
        save_strategy="no",
        report_to=[],
        use_cpu=not torch.cuda.is_available(),
        remove_unused_columns=False,
        dataloader_pin_memory=False,
        disable_tqdm=True,
        bf16=bf16,
    )
    kind = _InOrder if given else Trainer
    kind(
        model=model,
        args=arguments,
        train_dataset=_Numbers(settings.maximum_steps if given else len(rows)),
        data_collator=collate,
        callbacks=[clock],
    ).train()
    rate = (clock.steps - warm) * settings.batch_size / (clock.last - clock.first)
    return rate, [float(loss) for loss in losses]
