"""Every number that a training stage reads, each with its unit and its bounds; refuses to know how training is done."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from trainables.faults import refuse


class Schedule(StrEnum):
    """How the learning rate goes on after the warm-up."""

    CONSTANT = "constant"
    LINEAR = "linear"
    COSINE = "cosine"


class Precision(StrEnum):
    """Number format of matrix products. `AUTO` becomes bfloat16 where the hardware has it natively."""

    AUTO = "auto"
    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"


class Part(StrEnum):
    """A part of the model that a stage may keep as it is."""

    WORD_EMBEDDINGS = "word_embeddings"
    TRUNK = "trunk"
    VISION = "vision"


class Visible(StrEnum):
    """What the model may see of an image-text example; the two lesser views make the baselines."""

    BOTH = "both"
    IMAGE_ONLY = "image_only"
    HYPOTHESIS_ONLY = "hypothesis_only"


class Alignment(StrEnum):
    """What `align_images` minimises.

    `CONTRASTIVE` brings the image vector of a pair near to its text vector; `MASKED` predicts masked words of
    the text given the image, through the trunk.
    """

    CONTRASTIVE = "contrastive"
    MASKED = "masked"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings of one training stage.

    Raises:
        Invalid: naming every field out of its bounds.
    """

    learning_rate: float
    """Peak learning rate of AdamW; above 0, at most 1."""
    maximum_steps: int
    """Optimiser steps; at least 1. The stage always runs all of them."""
    batch_size: int
    """Examples per optimiser step, over all workers and accumulation steps."""
    schedule: Schedule = Schedule.LINEAR
    warmup_steps: int = 0
    """Steps of linear warm-up from 0; at most `maximum_steps`."""
    accumulation_steps: int = 1
    """Forward and backward passes that one optimiser step is divided into."""
    clip_norm: float = 1.0
    """Largest global gradient norm; `inf` clips nothing. 1.0 is the default of BERT's and XTREME's recipes."""
    weight_decay: float = 0.01
    dropout: float = 0.1
    """Probability of dropping a hidden unit or an attention weight; 0 up to but without 1."""
    frozen: tuple[Part, ...] = ()
    precision: Precision = Precision.AUTO
    evaluation_interval_steps: int = 100
    """The development split of every task of the stage is scored after each multiple of this, and at the end."""
    carry_heads: bool = True
    """Whether heads trained by the parent stage are kept; `False` draws them anew, as Phang et al. 2020 do."""
    visible: Visible = Visible.BOTH
    alignment: Alignment = Alignment.MASKED
    """Read by `align_images` alone."""
    masked_share: float = 0.3
    """Share of the target words hidden by masked prediction; above 0, at most 1. Read by `pretrain` and `align_images`."""

    def __post_init__(self) -> None:
        refuse(f"{type(self).__name__}", self._faults())

    def _faults(self) -> Iterator[str]:
        for name in ("learning_rate", "clip_norm", "weight_decay", "dropout", "masked_share"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value):
                yield f"{name} must be a number, got {value!r}; give a finite number"
                return
        if not 0 < self.learning_rate <= 1:
            yield f"learning_rate must be above 0 and at most 1, got {self.learning_rate!r}; fine-tuning uses 1e-6 to 1e-2"
        if self.clip_norm <= 0:
            yield f"clip_norm must be above 0, got {self.clip_norm!r}; use float('inf') to clip nothing"
        if not 0 <= self.weight_decay <= 1:
            yield f"weight_decay must be from 0 to 1, got {self.weight_decay!r}"
        if not 0 <= self.dropout < 1:
            yield f"dropout must be from 0 up to but without 1, got {self.dropout!r}"
        if not 0 < self.masked_share <= 1:
            yield f"masked_share must be above 0 and at most 1, got {self.masked_share!r}"
        for name, least in (
            ("maximum_steps", 1),
            ("batch_size", 1),
            ("accumulation_steps", 1),
            ("evaluation_interval_steps", 1),
            ("warmup_steps", 0),
        ):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                yield f"{name} must be a whole number of at least {least}, got {value!r}"
                return
        if self.warmup_steps > self.maximum_steps:
            yield f"warmup_steps must be at most maximum_steps ({self.maximum_steps}), got {self.warmup_steps}"
        if self.batch_size % self.accumulation_steps:
            yield (
                f"batch_size must be a multiple of accumulation_steps, got {self.batch_size} and "
                f"{self.accumulation_steps}; change one of them"
            )
        for name, enum in (
            ("schedule", Schedule),
            ("precision", Precision),
            ("visible", Visible),
            ("alignment", Alignment),
        ):
            value = getattr(self, name)
            if not isinstance(value, enum):
                yield f"{name} must be one of {', '.join(f'{enum.__name__}.{m.name}' for m in enum)}, got {value!r}"
        for part in self.frozen:
            if not isinstance(part, Part):
                yield f"frozen must hold Part values ({', '.join(f'Part.{m.name}' for m in Part)}), got {part!r}"

    def evaluated_steps(self) -> tuple[int, ...]:
        """The optimiser steps after which development splits are scored, the last step always among them."""
        every = self.evaluation_interval_steps
        return (*range(every, self.maximum_steps, every), self.maximum_steps)
