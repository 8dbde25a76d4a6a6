"""Characters that no text should have: control characters, and text that was decoded by the wrong table."""

from __future__ import annotations

import re
from collections.abc import Iterator

CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\u200b\u200e\u200f\u2028-\u202e\u2060-\u2064\ufeff]")
"""All but tab and line ends; and what is not seen but becomes tokens: widths of nothing, marks of direction."""
_BEYOND_ASCII = re.compile(r"[^\x00-\x7f]+")
_BEFORE, _BEHIND = 2, 4
_LOST = "\ufffd"
"""What decoders put where they could not go on."""


def odd_characters(text: str) -> Iterator[tuple[str, str]]:
    """(kind of defect, what was seen) for a text."""
    if found := CONTROL.search(text):
        yield "control-characters", f"U+{ord(found[0]):04X}"
    if text.isascii():
        return
    if _LOST in text:
        yield "lost-characters", _around(text, text.index(_LOST))
    elif (place := find_spoilt(text)) is not None:
        yield "mojibake", _around(text, place)


def find_spoilt(text: str) -> int | None:
    """Where a text first looks decoded by the wrong table, by ftfy's expression; None where it does not.

    That expression is slow. All that it knows begins at most two ASCII characters before another one, so it is asked
    around those only.
    """
    from ftfy.badness import BADNESS_RE

    for run in _BEYOND_ASCII.finditer(text):
        begin, end = run.span()
        if found := BADNESS_RE.search(text, max(0, begin - _BEFORE), end + _BEHIND):
            return found.start()
    return None


def _around(text: str, place: int) -> str:
    return f"…{text[max(0, place - 10) : place + 10]}…".replace("\n", " ")
