"""What a stage minimises on each of its tasks, and which rows come when; runs no step."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from trainables.catalogue.task import Kind, Task
from trainables.data.batches import Sampler
from trainables.data.rows import rows
from trainables.data.sequences import Rows, subset
from trainables.faults import Invalid
from trainables.settings import Alignment, Settings
from trainables.stages import Stage, StageKind


@dataclass(frozen=True, kw_only=True)
class Feed:
    """One task of the mixture: its rows, what is minimised on them, and which of them come when."""

    task: Task
    rows: Rows
    sampler: Sampler
    contrastive: bool
    by_words: bool
    """Of a contrastive feed: whether patches meet word embeddings, before the trunk."""
    masked: bool
    layer: int
    """The layer whose states are compared, of word pairs; see `Settings.word_layer`."""
    head: str
    """Empty where patches meet words: there is nothing between them to be learned."""
    outputs: int


def feed(stage: Stage, task: Task, settings: Settings, cache: Path | None) -> Feed:
    """The training rows of one task of a stage, and how the stage uses them.

    Raises:
        Invalid: where the stage cannot use the task.
    """
    if task.kind is Kind.RETRIEVAL:
        raise Invalid(
            f"task {task.name!r}", ["a retrieval task is not trained on, only scored; leave it to the target"]
        )
    data = rows(task, "train", None, stage.encoder, settings.visible, cache)
    contrastive = False
    if stage.kind is StageKind.ALIGN_IMAGES:
        if task.kind not in (Kind.CAPTION, Kind.IMAGE_TEXT, Kind.MASKED_LM):
            raise Invalid(
                f"task {task.name!r}",
                [f"align_images needs images with texts, or parallel sentences beside them, got kind {task.kind}"],
            )
        if task.kind is Kind.IMAGE_TEXT:
            data = _entailed(task, data)
        contrastive = settings.alignment is not Alignment.MASKED and task.kind is not Kind.MASKED_LM
    if (stage.kind is StageKind.ALIGN_WORDS) != (task.kind is Kind.WORDS):
        raise Invalid(
            f"task {task.name!r}",
            [f"align_words, and no other stage, takes word pairs, got {stage.kind} of {task.kind}"],
        )
    contrastive = contrastive or task.kind is Kind.WORDS
    masked = not contrastive and (not data.is_trained_by_labels or stage.kind is StageKind.ALIGN_IMAGES)
    if stage.kind is StageKind.PRETRAIN and task.kind is not Kind.MASKED_LM:
        raise Invalid(f"task {task.name!r}", [f"{stage.kind} needs sentences, got kind {task.kind}"])
    if not len(data):
        raise Invalid(f"task {task.name!r}", ["its train split must have rows, got none"])
    if masked and data.template.mask is None:
        raise Invalid(
            f"encoder {stage.encoder.name!r}",
            [f"its tokenizer must have a mask token, because {stage.kind} predicts masked words; use another encoder"],
        )
    if contrastive and task.kind is not Kind.WORDS and data.pixels is None:
        raise Invalid(f"task {task.name!r}", ["it must have images for align_images, got a text proxy"])
    by_words = contrastive and task.kind is not Kind.WORDS and settings.alignment is Alignment.WORDS
    head = "masked_lm" if masked else "" if by_words else "contrastive" if contrastive else task.head
    return Feed(
        task=task,
        rows=data,
        sampler=Sampler(data.lengths, settings.batch_size, stage.seed, task.name, settings.length_pool_batches),
        contrastive=contrastive,
        by_words=by_words,
        masked=masked,
        layer=settings.word_layer,
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
