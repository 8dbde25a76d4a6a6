"""The result of a run: trained weights in their standard layout, with all that other programs need to use them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from burnish.decoding.generate import MAX_NEW_TOKENS
from burnish.engine.checkpoint import checkpoint_path, damage_of, restore_weights, share_weights
from burnish.engine.loop import Loop
from burnish.errors import BurnishError
from burnish.models.config import context_limit
from burnish.models.sharded import is_sharded, save_whole
from burnish.models.tokenizer import save_tokenizer
from burnish.prepare.context import RunContext
from burnish.prepare.model import unmoved
from burnish.recipe.schema import Recipe
from burnish.runs.atomic import write_folder
from burnish.runs.events import Warned
from burnish.runs.folder import RunFolder
from burnish.system.shell import quoted


def keep_best(loop: Loop, context: RunContext, folder: RunFolder) -> int:
    """Restores the best weights of a finished loop, writes them as the result, and returns their step.

    Raises:
        BurnishError: the best checkpoint is damaged.
        MachineError: the disk is full.
    """
    network, progress = loop.trainer.network, loop.progress
    is_main, shards = context.process.is_main, is_sharded(network)
    best = progress.best_step or progress.step
    if best != progress.step and (is_main or shards):
        checkpoint = checkpoint_path(folder.checkpoints, best)
        if damage := context.process.decide(lambda: damage_of(checkpoint)) if shards else damage_of(checkpoint):
            raise BurnishError(
                f"the checkpoint `{checkpoint}`, the best one of the run, is damaged",
                damage,
                f"Train again from an earlier one: `burnish resume {quoted(str(folder.path))}`",
            )
        restore_weights(checkpoint, network)
    share_weights(network, context.process)
    if reason := unmoved(network, context):
        context.emit(Warned(_without_effect(reason, context.recipe)))
    if is_main:
        write_result(network, context, folder)
    elif shards:
        save_whole(network, None)
    return best


def _without_effect(reason: str, recipe: Recipe) -> str:
    return (
        f"The adapter changes nothing. {reason}. It is saved, but every command that loads it will reject it. Raise "
        f"`train.learning_rate` (now {recipe.train.learning_rate}) or train for more steps."
    )


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
