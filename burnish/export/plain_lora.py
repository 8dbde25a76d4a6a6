"""What keeps programs that add LoRA adapters to a base model from using one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def what_is_not_plain(settings: Mapping[str, Any]) -> list[str]:
    """Why an adapter is no plain one of LoRA, of one rank and scale, as phrases; none if it is.

    Args:
        settings: the adapter's `adapter_config.json`.
    """
    found = []
    if settings.get("peft_type", "LORA") != "LORA":
        return [f"it is no LoRA adapter but `{settings['peft_type']}`"]
    if settings.get("rank_pattern") or settings.get("alpha_pattern"):
        found.append("its layers have different ranks or scales")
    if settings.get("use_dora"):
        found.append("it is a DoRA adapter")
    if settings.get("modules_to_save"):
        found.append(f"it trains whole modules ({', '.join(settings['modules_to_save'])})")
    if settings.get("trainable_token_indices"):
        found.append("it trains the embeddings of single tokens")
    if settings.get("bias", "none") != "none":
        found.append("it trains biases")
    return found
