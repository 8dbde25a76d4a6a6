"""Which runs a script of transformers, peft and trl can repeat."""

from __future__ import annotations

from burnish.errors import InputError
from burnish.recipe.schema import Recipe

TASKS = ("text", "chat", "preference")
METHODS = ("full", "lora", "qlora", "int8-lora")
_INSTEAD = "Its result is a standard folder that other programs load; `burnish merge` folds an adapter in"


def check_ejectable(recipe: Recipe) -> None:
    """Whether a run can be repeated without Burnish, loss for loss.

    Args:
        recipe: fully resolved.

    Raises:
        InputError: trl or peft has no counterpart, or one that computes something else.
    """
    options = recipe.preference
    if recipe.task not in TASKS:
        raise InputError(
            f"a run of the task `{recipe.task}` cannot be ejected",
            f"No trainer of trl computes its loss; scripts are written for {_listed(TASKS)}.",
            _INSTEAD,
        )
    if recipe.method not in METHODS:
        raise InputError(
            f"a run of the method `{recipe.method}` cannot be ejected",
            f"peft has no counterpart that begins with the same weights; scripts are written for {_listed(METHODS)}.",
            _INSTEAD,
        )
    if recipe.method != "full" and recipe.lora.added_tokens:
        raise InputError(
            "a run with `lora.added_tokens` cannot be ejected",
            "peft wraps the output layer to train their rows, and trl's loss reads that layer's weights by itself.",
            _INSTEAD,
        )
    if recipe.task == "preference" and (options.loss not in ("dpo", "ipo") or options.label_smoothing):
        smoothed = " with `preference.label_smoothing`" if options.label_smoothing else ""
        raise InputError(
            f"a run with the loss `{options.loss}`{smoothed} cannot be ejected",
            "trl computes another loss under that name; scripts are written for `dpo` and `ipo` without smoothing.",
            _INSTEAD,
        )


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in names)
