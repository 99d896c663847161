"""Attention and dropout as a processor computes them fast, in place of what serves GPUs; changes no result but by
rounding and by which units are dropped.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.masking_utils import eager_mask

#: The name under which transformers knows `attention`.
ATTENTION = "processor"

#: Encoders whose attention is `attention` and nothing else: no bias of distances, no window, no shared heads.
_PLAIN = ("bert", "roberta", "xlm-roberta")

#: Random numbers of 16 bits are enough to say whether a unit stays.
_LEVELS = 1 << 16


def suit(trunk: PreTrainedModel, *, half: bool) -> None:
    """Have a trunk compute well on a processor, in half precision or in float32.

    Measured on small models: torch's fused attention took over half of a bfloat16 step in its backward pass; drawing
    dropout's masks one number at a time a quarter; converting the sums between layers up and down again a tenth.
    """
    drops = any(isinstance(module, nn.Dropout) and module.p > 0 for module in trunk.modules())
    if half or drops:
        trunk.set_attn_implementation(ATTENTION if trunk.config.model_type in _PLAIN else "eager")
    lighten_dropout(trunk)
    if half and hasattr(trunk, "embeddings"):
        trunk.embeddings.register_forward_hook(_in_half)


def lighten_dropout(module: nn.Module) -> None:
    """Put `Dropout` in the place of every `nn.Dropout`."""
    for name, child in module.named_children():
        if type(child) is nn.Dropout:
            setattr(module, name, Dropout(child.p))
        else:
            lighten_dropout(child)


class Dropout(nn.Dropout):
    """Dropout whose masks come from numpy, seeded by torch: a resumed stage that has torch's state drops the same."""

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return _dropped(values, self.p) if self.training else values


def attention(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **_: object,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Plain attention with its softmax in float32.

    query, key, value: (row, head, token, head width); attention_mask: added to the scores, broadcast to
    (row, head, token, token) → (row, token, head, head width) and the weights.
    """
    scores = (query * (scaling or query.shape[-1] ** -0.5)) @ key.mT
    if attention_mask is not None:
        scores = scores + attention_mask
    weights = torch.softmax(scores.float(), dim=-1).to(value.dtype)
    if module.training:
        weights = _dropped(weights, dropout)
    return (weights @ value).transpose(1, 2).contiguous(), weights


def _dropped(values: torch.Tensor, share: float) -> torch.Tensor:
    if share == 0:
        return values
    if share == 1:
        return values * 0
    seed = int(torch.randint(1 << 62, ()))
    drawn = np.random.SFC64(seed).random_raw(math.ceil(values.numel() / 4)).view(np.uint16)[: values.numel()]
    kept = torch.from_numpy(drawn >= round(share * _LEVELS)).view(values.shape)
    return values * kept.to(values.dtype).mul_(1 / (1 - share))


def _in_half(module: nn.Module, arguments: object, embedded: torch.Tensor) -> torch.Tensor:
    return embedded.to(torch.get_autocast_dtype("cpu")) if torch.is_autocast_enabled("cpu") else embedded


AttentionInterface.register(ATTENTION, attention)
AttentionMaskInterface.register(ATTENTION, eager_mask)
