"""The result of a run: trained weights in their standard layout, with all that other programs need to use them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from burnish.models.config import context_limit
from burnish.models.generation import MAX_NEW_TOKENS
from burnish.models.tokenizer import save_tokenizer
from burnish.prepare.context import RunContext
from burnish.runs.atomic import write_folder
from burnish.runs.folder import RunFolder


def write_result(network: Any, context: RunContext, folder: RunFolder) -> None:
    """Writes the trained weights in their standard layout, with the tokenizer and its template."""
    set_generation(network, context)
    with write_folder(context.method.result_folder(folder)) as target:
        context.method.save(network, target)
        save_tokenizer(context.tokenizer, target)
        context.task.predictor.save_extras(target)
        write_generation(network, context, target)


def set_generation(network: Any, context: RunContext) -> None:
    """Sets how a network generates before it is saved, so that other programs get the answers that were evaluated."""
    settings = getattr(network, "generation_config", None)
    if context.task.generates and settings is not None:
        settings.eos_token_id = list(context.task.predictor.stop_ids) or None
        settings.pad_token_id = context.tokenizer.pad_token_id
        limit = context_limit(context.config) or 2 * MAX_NEW_TOKENS
        settings.max_new_tokens = min(MAX_NEW_TOKENS, limit // 2)


def write_generation(network: Any, context: RunContext, folder: Path) -> None:
    """Writes the generation settings beside an adapter; a full model has its own file for them."""
    if context.task.generates and not (folder / "generation_config.json").exists():
        network.generation_config.save_pretrained(str(folder))
