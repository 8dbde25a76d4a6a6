"""Substitutes for missing models and rows in planning: a config for a model, placeholder rows for data."""

from __future__ import annotations

from typing import Any

from burnish.data.rows.dataset import Records
from burnish.data.rows.patterns import BY_NAME
from burnish.data.rows.records import ChatRecord, LabelledRecord, TextRecord
from burnish.data.rows.row import ColumnMap
from burnish.data.rows.shapes import Shape
from burnish.errors import ModelError
from burnish.models.base import load_tokenizer
from burnish.models.config import find_public, model_kind, public_names
from burnish.models.location import (
    FoundModel,
    ModelLocation,
    find_cached,
    has_tokenizer,
    locate_model,
    read_config,
    refuse_special,
)
from burnish.prepare.context import Emit
from burnish.prepare.resolve import READER, WRITER
from burnish.recipe.schema import BUNDLED_MODELS, ModelSection
from burnish.runs.events import Note
from burnish.system.machine import expanded

_NO_LIMIT = 10**30
_ROWS = 64
_WORDS = 6000
"""Enough to fill the longest automatic context, in any vocabulary."""


def find_for_planning(section: ModelSection, emit: Emit) -> FoundModel:
    """A model of which only the config is needed: from a folder, the hub cache, or the bundled configurations.

    Raises:
        ModelError: there is no such model, its config is incomplete, or its tokenizer is damaged.
    """
    location = _locate(section)
    config = read_config(location, section)
    if getattr(config.get_text_config(), "vocab_size", None) is None:
        raise ModelError(
            f"the config of `{location.name}` has no `vocab_size`",
            "A plan needs the complete `config.json` of a model.",
            "Copy it again from the source of the model",
        )
    try:
        tokenizer = load_tokenizer(location, section)
    except ModelError:
        if has_tokenizer(location.folder):  # it is damaged, and training would fail on it, too
            raise
        tokenizer = _stand_in(config)
        emit(
            Note(
                "The model's tokenizer is not available here; tokens are counted with that of a bundled model, which "
                "gives an upper bound."
            )
        )
    return FoundModel(location, config, tokenizer)


def _locate(section: ModelSection) -> ModelLocation:
    folder = expanded(section.name)
    if section.name in BUNDLED_MODELS:
        return locate_model(section)
    if (folder / "config.json").is_file():
        location = ModelLocation(section.name, folder, False)
        refuse_special(location)
        return location
    if folder.is_file() and folder.suffix == ".json":
        return ModelLocation(section.name, folder, False)
    cached = find_cached(section)
    if cached is not None:
        return ModelLocation(section.name, cached, True)
    public = find_public(section.name)
    if public is not None:
        return ModelLocation(section.name, public, False)
    try:
        return locate_model(section)
    except ModelError as error:
        named = ", ".join(f"`{name}`" for name in public_names())
        raise ModelError(error.what, error.why, f"{error.fix}. Plans also support {named}") from error


def _stand_in(config: Any) -> Any:
    """The tokenizer of the bundled model of the same kind."""
    name = READER if model_kind(config) == "masked" else WRITER
    section = ModelSection(name=name)
    tokenizer = load_tokenizer(locate_model(section), section)
    tokenizer.model_max_length = _NO_LIMIT  # so that the model's own limit applies
    return tokenizer


def placeholder_records(kind: str) -> Records:
    """Placeholder rows that fill the context, for a plan without data.

    Args:
        kind: of the model, see `models/config.py`.
    """
    long = " ".join(["word"] * _WORDS)
    rows: list[Any]
    if kind == "masked":
        shape = BY_NAME["labelled-text"]
        rows = [LabelledRecord((f"{row} {long}",), ("ab"[row % 2],), False, f"made up:{row}") for row in range(_ROWS)]
    elif kind == "seq2seq":
        shape = BY_NAME["messages"]
        turns = ({"role": "user", "content": long}, {"role": "assistant", "content": " ".join(["word"] * 100)})
        rows = [ChatRecord(turns, None, f"made up:{number}") for number in range(_ROWS)]
    else:
        shape = BY_NAME["text"]
        rows = [TextRecord(long, True, "made up:1")] * _ROWS
    return Records(rows, [], [], Shape(shape, ColumnMap({}), ()), [], "", [])
