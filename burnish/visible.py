"""Text and JSON that do no harm where they are read: characters that would act are written as escapes.

A terminal obeys control characters: ESC and the C1 codes begin commands that move, erase, retitle or answer; a carriage
return or a backspace overwrites what came before it. Overrides of the writing direction make a text read as another
one. Half a surrogate pair is no text at all. Rows, names and answers of a model may hold any of them.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

_ACTIVE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def visible(text: str, kept: str = "\n\t") -> str:
    r"""The text with `\x1b`, `\r` or `\u202e` written out in place of the character.

    Args:
        text: from a user, a file or a model.
        kept: characters that may act here; line breaks and tabs, where nothing else is said.
    """
    return _ACTIVE.sub(lambda found: found[0] if found[0] in kept else _escape(found[0]), text)


def visible_json(text: str) -> str:
    r"""JSON in which those characters are `\u....`, whose value is the same. Control characters below U+0020 are so
    already, by JSON's own rule.

    Args:
        text: JSON.
    """
    return _ACTIVE.sub(lambda found: found[0] if found[0] in "\n\t\r" else f"\\u{ord(found[0]):04x}", text)


def json_text(value: Any, indent: int | None = None) -> str:
    """A value as JSON that every reader takes: JSON has no infinity and no NaN, which become null.

    Args:
        value: JSON-ready, but for such numbers.
        indent: of nested values, each on a line of its own; None for one line.
    """
    return visible_json(json.dumps(finite(value), indent=indent, ensure_ascii=False, allow_nan=False))


def finite(value: Any) -> Any:
    """A JSON-ready value with None in place of every number that is not finite."""
    if isinstance(value, dict):
        return {name: finite(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def parse_json(text: str | bytes) -> Any:
    """The value of JSON from anywhere: a text that nests too deeply is no JSON either.

    Raises:
        ValueError: it is none.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it nests too deeply") from None


def exact_json(value: Any) -> str:
    """A value as JSON from which `read_exact` makes the same value: numbers that are not finite are objects there."""
    return json.dumps(_spelled_out(value), allow_nan=False)


def read_exact(text: str) -> Any:
    """The value of `exact_json`, or of JSON with NaN and Infinity as Python writes them.

    Raises:
        ValueError: it is no JSON.
    """
    try:
        return json.loads(text, object_hook=lambda found: float(found[_FLOAT]) if found.keys() == {_FLOAT} else found)
    except RecursionError:
        raise ValueError("it nests too deeply") from None


_FLOAT = "not finite"


def _spelled_out(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _spelled_out(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_spelled_out(inner) for inner in value]
    return {_FLOAT: repr(float(value))} if isinstance(value, float) and not math.isfinite(value) else value


_NAMED = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def _escape(character: str) -> str:
    code = ord(character)
    return _NAMED.get(character) or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}")
