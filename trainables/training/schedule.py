"""The learning rate of every step as a pure function; knows no optimiser."""

from __future__ import annotations

import math

from trainables.settings import Schedule, Settings


def learning_rate(settings: Settings, step: int) -> float:
    """The learning rate of optimiser step `step`, counted from 0 up to but without `maximum_steps`.

    Linear warm-up reaches the peak at step `warmup_steps`; LINEAR and COSINE then fall towards 0, which a step
    after the last would have. The same numbers as `transformers.get_scheduler`.
    """
    if step < settings.warmup_steps:
        return settings.learning_rate * step / settings.warmup_steps
    left = settings.maximum_steps - settings.warmup_steps
    gone = (step - settings.warmup_steps) / left if left else 1.0
    if settings.schedule is Schedule.CONSTANT:
        return settings.learning_rate
    if settings.schedule is Schedule.LINEAR:
        return settings.learning_rate * max(0.0, 1.0 - gone)
    return settings.learning_rate * 0.5 * (1.0 + math.cos(math.pi * min(1.0, gone)))
