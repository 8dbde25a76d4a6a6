"""Small made-up data: examples of random tokens, and files of short questions and answers."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from burnish.data.rows.pattern import Pattern, load_function
from burnish.data.rows.records import Record
from burnish.data.rows.row import IGNORED, Example
from burnish.recipe.load import load_recipe
from burnish.recipe.schema import Recipe

_THINGS = ("hat", "coat", "boat", "fox", "river", "garden", "man", "cat")
_COLOURS = ("red", "blue", "green", "yellow", "grey")


def random_examples(count: int, shortest: int, longest: int, seed: int = 0, vocabulary: int = 300) -> list[Example]:
    """Examples of random tokens whose prompts, of random lengths too, are not trained on."""
    source = random.Random(seed)
    examples = []
    for number in range(count):
        length = source.randint(shortest, longest)
        ids = [source.randrange(3, vocabulary) for _ in range(length)]
        prompt = source.randint(1, length - 2)
        examples.append(Example(ids, [IGNORED] * prompt + ids[prompt:], f"made.jsonl:{number + 1}"))
    return examples


def read_as(pattern: Pattern, values: Mapping[str, Any], place: str) -> Record:
    """The record of a row of this shape."""
    return load_function(pattern.reader)(pattern, values, place)


def write_rows(path: Path, count: int = 40, seed: int = 0) -> Path:
    """A file of different questions with answers of different lengths."""
    source = random.Random(seed)
    lines = []
    for number in range(count):
        colours = " and ".join(source.choice(_COLOURS) for _ in range(source.randint(1, 3)))
        row = {"prompt": f"What is {number} like, the {source.choice(_THINGS)}?", "completion": f"It is {colours}."}
        lines.append(json.dumps(row) + "\n")
    path.write_text("".join(lines), encoding="utf-8")
    return path


def make_recipe(data: Path, model: Path, runs: Path, **options: Any) -> Recipe:
    """A recipe for the CPU in fp32, whose run is not evaluated on general texts, which takes a tenth of its time.

    Options by their dotted names, with `__` for the dot: `train__epochs=2`.
    """
    flags = {"model.name": str(model), "runs": str(runs), "model.device": "cpu", "model.precision": "fp32"}
    flags["evaluate.general"] = "none"
    flags.update({name.replace("__", "."): value for name, value in options.items()})
    return load_recipe(str(data), flags, []).recipe
