"""Rows of running text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from burnish.data.columns import as_text
from burnish.data.patterns import Pattern, pick
from burnish.data.records import TextRecord
from burnish.data.row import RowError


def text_record(pattern: Pattern, values: Mapping[str, Any], place: str) -> TextRecord:
    """A row whose text is learned whole. Raises RowError where it is empty."""
    name, value = pick(values, pattern.required[0])
    text = as_text(value, name)
    if text is None or not text.strip():
        raise RowError("the text is empty")
    return TextRecord(text, values.get("ends") is not False, place)
