"""The first rows of a run as the model sees them, kept in its folder: a report needs neither model nor data then."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from burnish.check.token_view import Passage, TokenView, view_tokens
from burnish.prepare.context import Rows, Setting
from burnish.recipe.schema import Recipe
from burnish.runs.atomic import write_text
from burnish.runs.folder import RunFolder

ROWS = 8
MOST_TOKENS = 512
"""Of a passage; what lies in the middle of longer ones is left out."""


def write_views(folder: RunFolder, rows: Rows, setting: Setting, recipe: Recipe) -> None:
    """Writes the first training rows, token by token, into the run folder.

    Args:
        folder: of the run.
        rows: encoded.
        setting: of the run.
        recipe: resolved.
    """
    firsts: dict[int, Any] = {}
    for number, owner in enumerate(rows.training.owners):
        if owner not in firsts:
            if len(firsts) == ROWS:
                break
            firsts[owner] = rows.training.examples[number]
    views = [
        shortened(view_tokens(example, setting.task.encoder, setting.tokenizer)).to_dict()
        for example in firsts.values()
    ]
    write_text(folder.views, json.dumps(views, ensure_ascii=False, separators=(",", ":")) + "\n")


def shortened(view: TokenView) -> TokenView:
    """A view whose long passages have lost their middle, and say how much."""
    return replace(view, passages=[part for passage in view.passages for part in _halves(passage)])


def _halves(passage: Passage) -> list[Passage]:
    """The passage, or its beginning and its end."""
    half = MOST_TOKENS // 2
    middle = passage.tokens[half:-half]
    if len(passage.tokens) <= MOST_TOKENS:
        return [passage]
    learned = sum(token.is_learned for token in middle)
    left_out = f"{passage.name} after {len(middle):,} more tokens, {learned:,} of them learned".strip()
    return [replace(passage, tokens=passage.tokens[:half], note=""),
            replace(passage, name=left_out, tokens=passage.tokens[-half:])]  # fmt: skip
