"""Measures forgetting: the loss of a run's models on texts unrelated to the task."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy
import torch

from burnish.data.files.passages import is_own, read_passages
from burnish.errors import MachineError
from burnish.metrics.measure import Measure
from burnish.models.config import model_kind
from burnish.models.fingerprint import fingerprint
from burnish.prepare.context import RunContext
from burnish.prepare.encode import Encoded, encode_records
from burnish.prepare.resolve import MOST_GENERAL_TOKENS, reads_texts
from burnish.recipe.schema import AUTO, NONE
from burnish.runs.atomic import write_json
from burnish.system.machine import cache_folder, package_versions, this_machine
from burnish.tasks import RUNNING_TEXT, make_task
from burnish.tasks.evaluated import loss_of_rows
from burnish.visible import parse_json

_FOLDER = "base-losses"
_MOST_PASSAGES, _SHORTEST_PASSAGE = 62, 16
"""The tokens are shared by so many passages (the bundled ones are fewer), each of at least so many tokens."""
_Row = TypeVar("_Row")


@dataclass(frozen=True, slots=True)
class GeneralTexts:
    """Texts outside the task, encoded for evaluation."""

    context: RunContext
    """The run's context, with the task `text`."""
    passages: Encoded
    source: str
    """As text."""


def general_texts(context: RunContext) -> GeneralTexts | None:
    """The texts named by `evaluate.general`, one example each, truncated to the context and their share of the tokens.

    Args:
        context: fully resolved.

    Returns:
        None if there are none, or the run's models do not continue plain text.

    Raises:
        DataError: they cannot be read.
    """
    recipe, general = context.recipe, context.recipe.evaluate.general
    if general == NONE or not reads_texts(context.task, model_kind(context.config)):
        return None
    given = recipe.evaluate.general_tokens
    tokens = MOST_GENERAL_TOKENS if given == AUTO else int(given)
    records = drawn(read_passages(general), min(_MOST_PASSAGES, tokens // _SHORTEST_PASSAGE), recipe.seed)
    length = min(context.context_length, tokens // len(records))
    task = make_task(RUNNING_TEXT, context.tokenizer, recipe)
    encoded = encode_records(task.encoder, records, length)
    begins = {owner: number for number, owner in reversed(list(enumerate(encoded.owners)))}
    chosen = [encoded.examples[begins[owner]] for owner in sorted(begins)]
    source = f"`{Path(general).name}`" if is_own(general) else "other texts"
    passages = Encoded(chosen, range(len(chosen)), encoded.rejected)
    return GeneralTexts(replace(context, task=task), passages, source) if chosen else None


class BaseLoss:
    """The base model's loss on general texts, cached between commands, since it is the same for all runs on the model.

    Args:
        texts: of a run that is fully resolved.
    """

    def __init__(self, texts: GeneralTexts) -> None:
        context = texts.context
        tokens = [[int(token) for token in example.input_ids] for example in texts.passages.examples]
        ingredients = {
            "model": fingerprint(context.location.folder),
            "loading": context.recipe.model.model_dump(mode="json", exclude={"name", "revision", "memory", "compile"}),
            "quantizes": context.method.name if context.method.quantizes else "",
            "packing": context.recipe.data.packing,
            "tokens": tokens,
            "versions": package_versions(),
            "machine": [this_machine().processor, torch.get_num_threads()],
        }
        text = json.dumps(ingredients, sort_keys=True)
        self._file = f"{hashlib.sha256(text.encode('utf-8')).hexdigest()}.json"
        self._rows = len(set(texts.passages.owners))

    def find(self) -> Measure | None:
        """The cached loss; None if there is none, or its file is damaged."""
        try:
            sums, counts = parse_json((cache_folder() / _FOLDER / self._file).read_text(encoding="utf-8"))
            if len(sums) != self._rows or not all(map(math.isfinite, [*sums, *counts])):
                return None
            return loss_of_rows(numpy.array(sums, dtype=float), numpy.array(counts, dtype=float))
        except (OSError, RuntimeError, TypeError, ValueError):
            return None

    def keep(self, loss: Measure) -> None:
        """Caches the loss; errors are ignored, since a missing cache costs only time."""
        with contextlib.suppress(OSError, RuntimeError, MachineError):
            folder = cache_folder() / _FOLDER
            folder.mkdir(parents=True, exist_ok=True)
            write_json(folder / self._file, loss.table.T.tolist())


def drawn(rows: Sequence[_Row], most: int, seed: int) -> list[_Row]:
    """A random sample of at most `most` rows, in their order; the same for the same seed."""
    if len(rows) <= most:
        return list(rows)
    numbers = numpy.random.default_rng(seed).choice(len(rows), most, replace=False)
    return [rows[number] for number in sorted(numbers.tolist())]


def against_forgetting(context: RunContext) -> str:
    """What to change if a run forgets too much, in a sentence."""
    section, method = context.recipe.train, context.method
    # where both are set, `train.max_steps` is the one that can always shorten the run
    length = ("train.epochs", section.epochs) if section.max_steps is None else ("train.max_steps", section.max_steps)
    changes = [
        f"lower `train.learning_rate` (now {float(section.learning_rate):g})",
        f"train for fewer `{length[0]}` (now {float(length[1]):g})",
    ]
    if option := method.size_option:
        section_name, _, name = option.partition(".")
        changes.append(f"lower `{option}` (now {getattr(getattr(context.recipe, section_name), name)})")
    if method.trains_base:
        changes.append("use `--method lora`, which changes the model less")
    return f"To forget less: {', '.join(changes)}, or mix general rows into the data."
