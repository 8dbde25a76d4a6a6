"""Words and tags that are written as text, with a space or a comma between two."""

from __future__ import annotations

import re
from typing import Any

_SCHEME_TAG = re.compile(r"O|[BIESLUM]-\S+")
"""A tag of the schemes IOB, IOBES, BILOU or BMES."""


def words_in(cell: Any) -> list[Any]:
    """The entries of a list, or the words of a text; of a text without white space its parts between commas."""
    if isinstance(cell, list):
        return cell
    if not isinstance(cell, str):
        return []
    words = cell.split()
    return words if len(words) != 1 or "," not in cell.strip() else [part.strip() for part in cell.split(",")]


def is_scheme_tag(tag: Any) -> bool:
    """Whether a tag says that its word begins, continues or ends an entity, or is in none."""
    return isinstance(tag, str) and _SCHEME_TAG.fullmatch(tag.strip(",")) is not None
