"""What to do when a step does not fit in memory: the division that does, found by trying; knows no schedule."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator

import torch

from trainables.training.gradients import Gradients

#: How allocators that raise a plain RuntimeError say it: that of a CPU, and CUDA's libraries.
_TEXTS = ("not enough memory", "can't allocate memory", "out of memory", "CUBLAS_STATUS_ALLOC_FAILED")


class OutOfMemory(MemoryError):
    """A step did not fit, with the setting that would have."""


def is_exhausted(error: BaseException) -> bool:
    """Whether an error is that memory ran out, whatever type says so."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and any(text in str(error) for text in _TEXTS)
    )


def let_go(error: BaseException) -> None:
    """Free what the frames of an error still hold: all that the step which did not fit had computed so far."""
    chained: BaseException | None = error
    while chained is not None:
        traceback.clear_frames(chained.__traceback__)
        chained = chained.__context__


def fitting_division(
    gradients: Gradients, optimiser: torch.optim.Optimizer, batch_size: int, take: Callable[[], object]
) -> int | None:
    """The fewest accumulation steps, more than now, at which `take` fits; None where one example at a time does not.

    The optimiser's two moments are held meanwhile, as the next step would need them too. `gradients` come back as they
    were, without their gradients.
    """
    before = gradients.accumulation_steps
    held: list[torch.Tensor] = []
    try:
        gradients.parameters[0].grad = None
        held = [torch.empty_like(p) for p in gradients.parameters for _ in range(2) if p not in optimiser.state]
        for steps in _divisions(batch_size, before):
            optimiser.zero_grad(set_to_none=True)
            gradients.accumulation_steps = steps
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            try:
                take()
            except Exception as error:
                if not is_exhausted(error):
                    raise
                continue
            return steps
    except Exception as error:  # even the moments do not fit: no division helps
        if not is_exhausted(error):
            raise
    finally:
        held.clear()
        optimiser.zero_grad(set_to_none=True)
        gradients.accumulation_steps = before
    return None


def advice(batch_size: int, now: int, fits: int | None) -> str:
    """What the user can set, in words."""
    if fits is None:
        return (
            f"not even one example at a time fits; of batch_size {batch_size} no accumulation_steps would: use a "
            "larger machine, fewer maximum_tokens, LoRA, or frozen parts"
        )
    return (
        f"accumulation_steps={fits} fits (tried: {batch_size // fits} instead of {batch_size // now} examples at a "
        "time), with the same batch_size and, but for rounding, the same losses"
    )


def _divisions(batch_size: int, above: int) -> Iterator[int]:
    return (steps for steps in range(above + 1, batch_size + 1) if batch_size % steps == 0)
