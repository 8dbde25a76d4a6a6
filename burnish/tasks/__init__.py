"""Tasks: what one example means. Only this module lists them; importing it loads none of them."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from burnish.data.rows.records import Record
    from burnish.recipe.schema import Recipe
    from burnish.tasks.task import Task, TaskFacts

# Among tasks that learn from the same kind of record, the most likely one comes first.
_TASKS: dict[str, str | TaskFacts] = {
    "preference": "burnish.tasks.preference:PREFERENCE",
    "reward": "burnish.tasks.reward:REWARD",
    "tag": "burnish.tasks.tag:TAG",
    "text": "burnish.tasks.text:TEXT",
    "chat": "burnish.tasks.chat:CHAT",
    "vision": "burnish.tasks.vision:VISION",
    "text-to-text": "burnish.tasks.text_to_text:TEXT_TO_TEXT",
    "classify": "burnish.tasks.classify:CLASSIFY",
    "score": "burnish.tasks.score:SCORE",
    "fill-mask": "burnish.tasks.fill_mask:FILL_MASK",
    "span": "burnish.tasks.span:SPAN",
}
_GENERATING = ("preference", "text", "chat", "vision", "text-to-text")
"""Tasks whose `generates` is true: the command line needs to know without loading them."""
_SECTIONS: dict[str, tuple[str, ...]] = {
    "preference": ("template", "preference", "annotation"),
    "reward": ("template",),
    "tag": ("tag",),
    "chat": ("template",),
    "vision": ("template", "vision"),
    "classify": ("classify", "annotation"),
    "score": ("score", "annotation"),
    "fill-mask": ("fill_mask",),
    "span": ("span",),
}
"""The `sections` of tasks that have any: what does nothing is to be named before any task is loaded."""
CONVERSATION, RUNNING_TEXT = "chat", "text"
"""The task used for chatting with any decoder, and the one used for evaluating it on any text."""
USUAL_TASKS = {"causal": CONVERSATION, "masked": "classify"}
"""The usual task of each kind of model (`models/config.py`)."""


def task_names() -> list[str]:
    """All tasks, in the order of the table."""
    return list(_TASKS)


def task_facts(name: str) -> TaskFacts:
    """The facts of the task of that name, one of `task_names()`; they need no tokenizer."""
    found = _TASKS[name]
    if isinstance(found, str):
        module, _, attribute = found.partition(":")
        return getattr(importlib.import_module(module), attribute)
    return found


def writes_text(name: str) -> bool:
    """Whether the trained model generates text and can be chatted with; loads nothing."""
    found = _TASKS.get(name)
    return name in _GENERATING if found is None or isinstance(found, str) else found.generates


def task_sections(name: str) -> tuple[str, ...]:
    """Sections of the recipe that belong to a task; loads nothing."""
    found = _TASKS[name]
    return _SECTIONS.get(name, ()) if isinstance(found, str) else found.sections


def register_task(facts: TaskFacts) -> Callable[[], None]:
    """Adds a task from outside this package, for this process; it can then be used like the built-in ones.

    Returns:
        A function that removes the task again.

    Raises:
        ValueError: the name is taken.
    """
    if facts.name in _TASKS:
        raise ValueError(f"there is already a task `{facts.name}`")
    _TASKS[facts.name] = facts
    return lambda: _TASKS.__delitem__(facts.name)


def task_names_for(record: type[Record]) -> list[str]:
    """The tasks that learn from a kind of record, the most likely first."""
    return [name for name in _TASKS if record in task_facts(name).records]


def make_task(name: str, tokenizer: Any, recipe: Recipe) -> Task:
    """The task of that name, one of `task_names()`, for a tokenizer: see `TaskFacts.make`."""
    return task_facts(name).make(tokenizer, recipe)
