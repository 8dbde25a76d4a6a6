"""What vLLM serves of an adapter, and the command that does it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from burnish.export.plain_lora import what_is_not_plain
from burnish.prepare.context import RunContext
from burnish.runs.events import Note

RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""Values of `--max-lora-rank`."""


def hindrances(settings: Mapping[str, Any]) -> list[str]:
    """Why vLLM refuses an adapter, as phrases; none if it serves it.

    Args:
        settings: the adapter's `adapter_config.json`.
    """
    found = what_is_not_plain(settings)
    if settings.get("peft_type", "LORA") == "LORA":
        highest = max(settings.get("r", 8), *(settings.get("rank_pattern") or {}).values(), 0)
        found += [f"its rank {highest} is above {RANKS[-1]}"] if highest > RANKS[-1] else []
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
