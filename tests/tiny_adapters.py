"""Networks with a LoRA adapter that already changes their output."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import peft
import torch
from torch import nn

from burnish.methods.lora_layer import register_layers


def with_adapter(network: Any, targets: Sequence[str], is_fused: bool, rank: int = 4, spread: float = 0.1) -> Any:
    """The network, frozen, with a new adapter, equal for equal arguments.

    Args:
        network: a causal language model.
        targets: names of the layers that get an adapter.
        is_fused: whether these layers are Burnish's.
        rank: of the adapter.
        spread: standard deviation of the matrices that PEFT leaves at 0.
    """
    network.requires_grad_(False)
    config = peft.LoraConfig(r=rank, target_modules=list(targets), task_type="CAUSAL_LM")
    if is_fused:
        register_layers(config, [nn.Linear(1, 1)])
    torch.manual_seed(1)
    tuned = peft.get_peft_model(network, config)
    for name, weight in tuned.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(weight, std=spread)
    return tuned
