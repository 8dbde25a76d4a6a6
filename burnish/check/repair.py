"""Repairs rows: control characters and wrongly decoded text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from burnish.check.contents import CONTROL


def repaired(value: Any, name: str = "") -> tuple[Any, list[str]]:
    """A JSON value with repaired texts, and the changes as phrases.

    Args:
        value: the value of a column.
        name: the column and the path inside it.
    """
    if isinstance(value, str):
        return _repaired_text(value, name)
    if isinstance(value, dict):
        parts = {key: repaired(inner, f"{name}.{key}" if name else str(key)) for key, inner in value.items()}
        return {key: part for key, (part, _) in parts.items()}, list(_changes(parts.values()))
    if isinstance(value, (list, tuple)):
        items = [repaired(inner, f"{name}[{number}]") for number, inner in enumerate(value)]
        return [part for part, _ in items], list(_changes(items))
    return value, []


def _changes(parts: Any) -> Iterator[str]:
    for _, changes in parts:
        yield from changes


def _repaired_text(text: str, name: str) -> tuple[str, list[str]]:
    from ftfy import fix_encoding

    changes = []
    cleaned = CONTROL.sub("", text)
    if cleaned != text:
        count = len(text) - len(cleaned)
        changes.append(f"`{name}`: {count} control character{'s' if count > 1 else ''} removed")
    if not cleaned.isascii() and (fixed := fix_encoding(cleaned)) != cleaned:
        changes.append(f"`{name}`: decoded again")
        cleaned = fixed
    return cleaned, changes
