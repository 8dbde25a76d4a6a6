"""What vLLM serves of an adapter, and the command that does it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from burnish.prepare.context import RunContext
from burnish.runs.events import Note

RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""Values of `--max-lora-rank`."""


def hindrances(settings: Mapping[str, Any]) -> list[str]:
    """Why vLLM refuses an adapter, as phrases; none if it serves it.

    Args:
        settings: the adapter's `adapter_config.json`.
    """
    found = []
    if settings.get("peft_type", "LORA") != "LORA":
        return [f"it is no LoRA adapter but `{settings['peft_type']}`"]
    ranks = [settings.get("r", 8), *(settings.get("rank_pattern") or {}).values()]
    if max(ranks) > RANKS[-1]:
        found.append(f"its rank {max(ranks)} is above {RANKS[-1]}")
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


def largest_rank(settings: Mapping[str, Any]) -> int:
    """The value of `--max-lora-rank` that an adapter needs."""
    return next(rank for rank in RANKS if rank >= settings.get("r", 8))


def remark_on_serving(context: RunContext) -> None:
    """Says before a training if vLLM does not serve the adapter that it trains."""
    settings = context.method.adapter_settings(context.recipe) if context.task.generates else None
    refused = hindrances(settings) if settings is not None else []
    if refused:
        merges = context.method.can_merge
        ending = "`burnish export` merges it instead" if merges else "It cannot be merged either: use `burnish serve`"
        context.emit(Note(f"vLLM does not serve the adapter that this trains: {'; '.join(refused)}. {ending}."))
