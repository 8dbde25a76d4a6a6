"""Tasks: what one example means. One file each; this table is the only place that lists them."""

from __future__ import annotations

import importlib
from typing import Any

from burnish.recipe.schema import Recipe
from burnish.tasks.task import Task

TASKS = {
    "preference": "burnish.tasks.preference:PreferenceTask",
    "reward": "burnish.tasks.reward:RewardTask",
    "tag": "burnish.tasks.tag:TagTask",
    "text": "burnish.tasks.text:TextTask",
    "chat": "burnish.tasks.chat:ChatTask",
    "vision": "burnish.tasks.vision:VisionTask",
    "text-to-text": "burnish.tasks.text_to_text:TextToTextTask",
    "classify": "burnish.tasks.classify:ClassifyTask",
    "fill-mask": "burnish.tasks.fill_mask:FillMaskTask",
    "span": "burnish.tasks.span:SpanTask",
}


def task_class(name: str) -> type[Task]:
    """The class of the task of that name, one of `TASKS`."""
    module, _, attribute = TASKS[name].partition(":")
    return getattr(importlib.import_module(module), attribute)


def make_task(name: str, tokenizer: Any, recipe: Recipe) -> Task:
    """The task of that name, ready for a tokenizer. `name` is one of `TASKS`; the plan has checked it.

    Args:
        name: of the task.
        tokenizer: of the base model, or of the result; its pad token is set.
        recipe: gives the task its options, and the labels where it has any.
    """
    return task_class(name)(tokenizer, recipe)
