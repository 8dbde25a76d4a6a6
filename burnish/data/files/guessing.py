"""The encoding of text that has no mark and is not UTF-8: guessed from its letters, or named as a candidate."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

_CANDIDATES = (
    "cp1250", "iso8859_2", "cp1251", "koi8_r", "cp866", "mac_cyrillic", "iso8859_5", "cp1252", "mac_roman", "cp850",
    "cp1253", "cp1254", "cp1255", "cp1256", "cp1257", "cp1258", "cp874", "cp932", "euc_jp", "gb18030", "big5", "cp949",
)  # fmt: skip
_SAMPLE_BYTES = 1 << 16
_LEAST_CHARACTERS = 40
"""Characters beyond ASCII from which on a guess is one."""
_MOST_CHAOS, _FEWER_CHAOS, _MORE_COHERENCE = 0.1, 0.1, 0.1
"""The most that is odd about a text, and by how much every other reading must be odder, or less like its language."""
_SHOWN_CHARACTERS, _NAMED = 20, 3
_OF_JAPANESE, _HIRAGANA = ("cp932", "euc_jp"), re.compile("[\u3041-\u3093]")
_FEWEST_JAPANESE, _LEAST_HIRAGANA = 10, 0.15
"""Characters beyond ASCII, and the share of hiragana among them, from which on a text is Japanese."""


@dataclass(frozen=True, slots=True)
class Guess:
    """How the bytes of a text could be read."""

    name: str
    """Of Python's codec."""
    example: str
    """The beginning of the text, decoded."""

    @property
    def of_iconv(self) -> str:
        """The name that iconv has for it."""
        return {"mac_roman": "macintosh"}.get(self.name, self.name.replace("_", "-"))


def guesses(sample: bytes) -> tuple[Guess | None, list[Guess]]:
    """The encoding of a text if it is clear, and else those that are possible, best first.

    Evaluated by charset-normalizer: how odd the characters are beside each other, and how often each occurs in a
    language.

    Args:
        sample: lines beyond ASCII.
    """
    from charset_normalizer import from_bytes

    if len(sample) > _SAMPLE_BYTES:
        end = max(sample.rfind(space, 0, _SAMPLE_BYTES) for space in (b"\n", b" "))
        sample = sample[: end if end > 0 else _SAMPLE_BYTES]
    if japanese := _japanese(sample):
        return japanese, [japanese]
    found = [match for match in from_bytes(sample, cp_isolation=list(_CANDIDATES)) if match.encoding != "ascii"]
    found.sort(key=lambda match: (match.chaos > _MOST_CHAOS, -match.coherence, match.chaos))
    named = [Guess(match.encoding, _shown(str(match))) for match in found[:_NAMED]]
    if not found or not _is_clear(found[0], found[1:]):
        return None, named
    return named[0], named


def _japanese(sample: bytes) -> Guess | None:
    """The encoding of a text in which hiragana shows: Japanese is full of it, and other text, read so, has next to
    none."""
    for name in _OF_JAPANESE:
        try:
            text = sample.decode(name)
        except UnicodeDecodeError:
            continue
        beyond = [character for character in text if not character.isascii()]
        if len(beyond) >= _FEWEST_JAPANESE and len(_HIRAGANA.findall(text)) >= _LEAST_HIRAGANA * len(beyond):
            return Guess(name, _shown(text))
    return None


def _is_clear(best: Any, others: list[Any]) -> bool:
    text = str(best)
    if best.chaos > _MOST_CHAOS or sum(not character.isascii() for character in text) < _LEAST_CHARACTERS:
        return False
    return all(
        str(other) == text
        or other.chaos >= best.chaos + _FEWER_CHAOS
        or (other.chaos >= best.chaos and other.coherence <= best.coherence - _MORE_COHERENCE)
        for other in others
    )


def _shown(text: str) -> str:
    """The part of a text that begins with its first word beyond ASCII."""
    first = next((place for place, character in enumerate(text) if not character.isascii()), 0)
    start = max((text.rfind(mark, 0, first) for mark in " \n\t,;\"'"), default=-1) + 1
    return re.split(r'[\n\t"]', text[start:], maxsplit=1)[0][:_SHOWN_CHARACTERS].strip()
