"""Characters that would act instead of being read: what shows a text to people writes them as escapes.

A terminal obeys control characters: ESC and the C1 codes begin commands that move, erase, retitle or answer; a carriage
return or a backspace overwrites what came before it. Overrides of the writing direction make a text read as another
one. Half a surrogate pair is no text at all. Rows, names and answers of a model may hold any of them.
"""

from __future__ import annotations

import re

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


_NAMED = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def _escape(character: str) -> str:
    code = ord(character)
    return _NAMED.get(character) or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}")
