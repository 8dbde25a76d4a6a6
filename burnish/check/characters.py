"""Characters that no text should have: control characters, and text that was decoded by the wrong table."""

from __future__ import annotations

import re
from collections.abc import Iterator

CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\u200b\u200e\u200f\u2028-\u202e\u2060-\u2064\ufeff]")
"""All but tab and line ends; and what is not seen but becomes tokens: widths of nothing, marks of direction."""
_LOST = "\ufffd"
"""What decoders put where they could not go on."""


def odd_characters(text: str) -> Iterator[tuple[str, str]]:
    """(kind of defect, what was seen) for a text."""
    if text.isascii() and text.isprintable():
        return
    if found := CONTROL.search(text):
        yield "control-characters", f"U+{ord(found[0]):04X}"
    if _LOST in text:
        yield "lost-characters", _around(text, text.index(_LOST))
    elif not text.isascii() and (spoilt := _spoilt(text)):
        yield "mojibake", spoilt


def _spoilt(text: str) -> str:
    """Where a text looks decoded by the wrong table; empty where it does not."""
    from ftfy.badness import BADNESS_RE

    found = BADNESS_RE.search(text)
    return _around(text, found.start()) if found else ""


def _around(text: str, place: int) -> str:
    return f"…{text[max(0, place - 10) : place + 10]}…".replace("\n", " ")
