"""What a run forgets: its models on texts that have nothing to do with the task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy

from burnish.data.files.passages import is_own, read_passages
from burnish.models.config import model_kind
from burnish.prepare.context import Setting
from burnish.prepare.encode import Encoded, encode_records
from burnish.prepare.resolve import reads_texts
from burnish.recipe.schema import NONE, Recipe
from burnish.tasks import RUNNING_TEXT, make_task

_MOST_TOKENS = 8_000
"""Of all passages together, so that judging them stays small beside a run."""
_SHORTEST = 128
"""Tokens of a passage, for which there is room in any case."""
_Row = TypeVar("_Row")


@dataclass(frozen=True, slots=True)
class GeneralTexts:
    """Texts outside the task, as they are judged."""

    setting: Setting
    """That of the run, with the task of going on with a text."""
    passages: Encoded
    source: str
    """In words."""


def general_texts(setting: Setting, recipe: Recipe) -> GeneralTexts | None:
    """The texts that `evaluate.general` names, one example each, cut to the context and to their share of the tokens.

    Args:
        setting: of the run.
        recipe: fully resolved.

    Returns:
        None where there are none, or the run's models do not go on with any text.

    Raises:
        DataError: they cannot be read.
    """
    general = recipe.evaluate.general
    if general == NONE or not reads_texts(setting.task, model_kind(setting.config)):
        return None
    records = drawn(read_passages(general), _MOST_TOKENS // _SHORTEST, recipe.seed)
    length = min(int(recipe.data.context), _MOST_TOKENS // len(records))
    task = make_task(RUNNING_TEXT, setting.tokenizer, recipe)
    encoded = encode_records(task.encoder, records, length)
    begins = {owner: number for number, owner in reversed(list(enumerate(encoded.owners)))}
    chosen = [encoded.examples[begins[owner]] for owner in sorted(begins)]
    source = f"`{Path(general).name}`" if is_own(general) else "other texts"
    passages = Encoded(chosen, range(len(chosen)), encoded.rejected)
    return GeneralTexts(replace(setting, task=task), passages, source) if chosen else None


def drawn(rows: Sequence[_Row], most: int, seed: int) -> list[_Row]:
    """At most so many of the rows, in their order: always the same ones for the same seed."""
    if len(rows) <= most:
        return list(rows)
    numbers = numpy.random.default_rng(seed).choice(len(rows), most, replace=False)
    return [rows[number] for number in sorted(numbers.tolist())]


def against_forgetting(setting: Setting, recipe: Recipe) -> str:
    """What to change where a run forgets too much, in a sentence."""
    section = recipe.train
    changes = [
        f"lower `train.learning_rate` (now {float(section.learning_rate):g})",
        f"train for fewer `train.epochs` (now {float(section.epochs):g})",
    ]
    if option := setting.method.size_option:
        section_name, _, name = option.partition(".")
        changes.append(f"lower `{option}` (now {getattr(getattr(recipe, section_name), name)})")
    if setting.method.trains_base:
        changes.append("take `--method lora`, which moves less")
    return f"To keep more of it: {', '.join(changes)}, or mix general rows into the data."
