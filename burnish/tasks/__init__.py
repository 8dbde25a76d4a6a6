"""Tasks: what one example means. One file each; only this module lists them, and importing it loads none of them."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from burnish.data.rows.records import Record
    from burnish.recipe.schema import Recipe
    from burnish.tasks.task import Task, TaskFacts

# Of the tasks that learn from the same kind of record, the likelier one comes first.
_TASKS: dict[str, str | TaskFacts] = {
    "preference": "burnish.tasks.preference:PREFERENCE",
    "reward": "burnish.tasks.reward:REWARD",
    "tag": "burnish.tasks.tag:TAG",
    "text": "burnish.tasks.text:TEXT",
    "chat": "burnish.tasks.chat:CHAT",
    "vision": "burnish.tasks.vision:VISION",
    "text-to-text": "burnish.tasks.text_to_text:TEXT_TO_TEXT",
    "classify": "burnish.tasks.classify:CLASSIFY",
    "fill-mask": "burnish.tasks.fill_mask:FILL_MASK",
    "span": "burnish.tasks.span:SPAN",
}
_WRITING = ("preference", "text", "chat", "vision", "text-to-text")
"""Those whose `generates` is true, for the command line, which must not load them to find out."""
CONVERSATION, RUNNING_TEXT = "chat", "text"
"""The task by which any decoder is chatted with, and the one by which it is evaluated on texts of any kind."""
USUAL_TASKS = {"causal": CONVERSATION, "masked": "classify"}
"""What models of a kind (`models/config.py`) are usually trained to do."""


def task_names() -> list[str]:
    """Every task, in the order of the table."""
    return list(_TASKS)


def task_facts(name: str) -> TaskFacts:
    """What is known of the task of that name, one of `task_names()`, before there is a tokenizer."""
    found = _TASKS[name]
    if isinstance(found, str):
        module, _, attribute = found.partition(":")
        return getattr(importlib.import_module(module), attribute)
    return found


def writes_text(name: str) -> bool:
    """Whether the result of a task writes text, and can be chatted with; loads nothing."""
    found = _TASKS.get(name)
    return name in _WRITING if found is None or isinstance(found, str) else found.generates


def register_task(facts: TaskFacts) -> Callable[[], None]:
    """Adds a task from outside this package, for this process. Runs of it can then be trained, evaluated and asked.

    Returns:
        Takes the task out again.

    Raises:
        ValueError: there is one of that name already.
    """
    if facts.name in _TASKS:
        raise ValueError(f"there is a task `{facts.name}` already")
    _TASKS[facts.name] = facts
    return lambda: _TASKS.__delitem__(facts.name)


def task_names_for(record: type[Record]) -> list[str]:
    """The tasks that learn from a kind of record, the likeliest first."""
    return [name for name in _TASKS if record in task_facts(name).records]


def make_task(name: str, tokenizer: Any, recipe: Recipe) -> Task:
    """The task of that name, ready for a tokenizer: see `TaskFacts.make`. `name` is one of `task_names()`."""
    return task_facts(name).make(tokenizer, recipe)
