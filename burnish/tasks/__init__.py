"""Tasks: what one example means. One file each; this table is the only place that lists them."""

from __future__ import annotations

import importlib
from typing import Any

from burnish.tasks.task import Task

TASKS = {"text": "burnish.tasks.text:TextTask", "chat": "burnish.tasks.chat:ChatTask"}


def make_task(name: str, tokenizer: Any) -> Task:
    """The task of that name, ready for a tokenizer. `name` is one of `TASKS`; the plan has checked it."""
    module, _, attribute = TASKS[name].partition(":")
    return getattr(importlib.import_module(module), attribute)(tokenizer)
