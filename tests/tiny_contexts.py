"""Run contexts for tests of what takes one, without data and without weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from burnish.data.rows.dataset import Records
from burnish.data.rows.patterns import BY_NAME
from burnish.data.rows.row import ColumnMap
from burnish.data.rows.shapes import Shape
from burnish.methods import make_method
from burnish.models.location import ModelLocation
from burnish.prepare.context import RunContext
from burnish.recipe.schema import Recipe
from burnish.runs.events import Event
from burnish.tasks import make_task


def ignore(event: Event) -> None:
    """Receives events that a test does not care about."""


def tiny_context(
    recipe: Recipe | None = None,
    tokenizer: Any = None,
    config: Any = None,
    task: str = "chat",
    method: str = "lora",
    location: ModelLocation | None = None,
    emit: Callable[[Event], None] = ignore,
) -> RunContext:
    """A run of no rows on the CPU; without a tokenizer it has no task either."""
    recipe = recipe or Recipe()
    records = Records([], [], [], Shape(BY_NAME["messages"], ColumnMap({}), ()), [], "", [])
    made: Any = None if tokenizer is None else make_task(task, tokenizer, recipe)
    return RunContext(
        asked=recipe,
        recipe=recipe,
        records=records,
        location=location or ModelLocation("tiny", Path(), False),
        config=config,
        tokenizer=tokenizer,
        task=made,
        method=make_method(method),
        device=torch.device("cpu"),
        emit=emit,
    )
