"""What the weights beside adapters would be if the adapters were folded in now; changes none, and loads no peft."""

from __future__ import annotations

import torch
from torch import nn


def folded(trunk: nn.Module) -> dict[str, torch.Tensor]:
    """By their names in the folded trunk, the weights that adapters add to, with what they add; empty without any.

    Folding and taking the adapters out again would change the weights in their last bits, and with them the training.
    """
    found = {}
    with torch.no_grad():
        for name, module in trunk.named_modules():
            if not hasattr(module, "lora_A") or not hasattr(module, "get_delta_weight"):
                continue
            weight = module.get_base_layer().weight
            added = sum(module.get_delta_weight(adapter) for adapter in module.active_adapters)
            found[f"{name}.weight"] = (weight + added).to(weight.dtype)
    return found
