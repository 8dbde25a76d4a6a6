"""Text contents that are probably unwanted: control characters, wrong decoding, special tokens, private data."""

from __future__ import annotations

import heapq
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache
from hashlib import blake2b
from typing import Any

CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\u200b\u200e\u200f\u2028-\u202e\u2060-\u2064\ufeff]")
"""Control characters except tab and line ends, and invisible ones that become tokens: zero-width characters, direction
marks."""
_LINE_ENDS = re.compile(r"[\x0b\x0c\u2028\u2029]")
"""Characters that end a line, other than a newline."""
_NEXT_LINE = "\x85"
_OTHER_C1 = re.compile(r"[\x80-\x84\x86-\x9f]")
_BEYOND_ASCII = re.compile(r"[^\x00-\x7f]+")
_BEFORE, _AFTER = 2, 4
_REPLACEMENT = "\ufffd"
"""The replacement character that decoders insert for invalid bytes."""


def with_newlines(text: str) -> str:
    """A text in which every line ends in a newline: U+2028 and the like are replaced.

    U+0085 is an ellipsis in Windows-1252, so it stays where the text has other characters of that kind.
    """
    if text.isascii() and "\x0b" not in text and "\x0c" not in text:
        return text
    text = _LINE_ENDS.sub("\n", text)
    return text if _OTHER_C1.search(text) else text.replace(_NEXT_LINE, "\n")


def odd_characters(text: str) -> Iterator[tuple[str, str]]:
    """Yields (kind of defect, the text that shows it)."""
    if found := CONTROL.search(text):
        yield "control-characters", f"U+{ord(found[0]):04X}"
    if text.isascii():
        return
    if _NEXT_LINE in text and not _OTHER_C1.search(text):
        if not found:
            yield "control-characters", "U+0085"
        text = text.replace(_NEXT_LINE, " ")
    if _REPLACEMENT in text:
        yield "lost-characters", _around(text, text.index(_REPLACEMENT))
    elif (place := find_mojibake(text)) is not None:
        yield "mojibake", _around(text, place)


def find_mojibake(text: str) -> int | None:
    """Position of the first mojibake (text decoded with the wrong encoding) by ftfy's expression, or None.

    That expression is slow. All its matches begin at most two characters before a non-ASCII one, so only the
    surroundings of those are searched.
    """
    from ftfy.badness import BADNESS_RE

    for run in _BEYOND_ASCII.finditer(text):
        begin, end = run.span()
        if found := BADNESS_RE.search(text, max(0, begin - _BEFORE), end + _AFTER):
            return found.start()
    return None


def _around(text: str, place: int) -> str:
    return f"…{text[max(0, place - 10) : place + 10]}…".replace("\n", " ")


class SpecialTokens:
    """Finds special tokens of a tokenizer that are spelled out in a text."""

    def __init__(self, tokenizer: Any, lead: str) -> None:
        """Collects the special tokens.

        Args:
            tokenizer: a transformers tokenizer.
            lead: the text of the tokens that the tokenizer puts in front of every text.
        """
        spelled = {token.content for token in tokenizer.added_tokens_decoder.values() if token.special}
        spelled = {text for text in (*spelled, *tokenizer.all_special_tokens) if len(text.strip()) > 1}
        self._pattern = (
            re.compile("|".join(map(re.escape, sorted(spelled, key=len, reverse=True)))) if spelled else None
        )
        self._lead = lead

    def found_in(self, text: str) -> Iterator[tuple[str, str]]:
        """Yields (kind of defect, the text that shows it)."""
        if self._lead and text.startswith(self._lead):
            yield "double-bos", self._lead
            text = text[len(self._lead) :]
        if self._pattern and (found := self._pattern.search(text)):
            yield "special-tokens-in-text", found[0]


_MAIL_HOST = re.compile(r"@(?!example\.)[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{2,63})+")
_MAX_NAME_LENGTH = 64
_MAIL_NAME = re.compile(rf"[\w.+-]{{1,{_MAX_NAME_LENGTH}}}\Z")
_CARD = re.compile(r"\d(?<!\d\d)(?<!\d\.\d)(?:[ -]?\d){12,18}(?!\d|\.\d)")
"""Starts with a digit and checks what precedes it afterwards, so that the search can skip to digits."""
_MIN_DIGITS = 13
_DIGITS = b"0123456789"
_KEYS = {
    "an AWS access key": r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b",
    "a GitHub token": r"\bgh[pousr]_[A-Za-z0-9]{36,}\b",
    "a Hugging Face token": r"\bhf_[A-Za-z0-9]{30,}\b",
    "an API key": r"\bsk-[A-Za-z0-9_-]{20,}\b",
    "a Slack token": r"\bxox[abprs]-[A-Za-z0-9-]{10,}\b",
    "a Google key": r"\bAIza[0-9A-Za-z_-]{35}\b",
    "a private key": r"-----BEGIN [A-Z ]*PRIVATE KEY-----",
    "a JSON web token": r"\beyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}",
}
_KEY = re.compile("|".join(f"(?P<k{number}>{pattern})" for number, pattern in enumerate(_KEYS.values())))
_HINTS = ("AKIA", "ASIA", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "hf_", "sk-", "xox", "AIza", "PRIVATE KEY", "eyJ")
"""Every key contains one of these; most texts contain none, and searching for them is fast."""


def private_strings(text: str) -> Iterator[tuple[str, str]]:
    """Yields (kind of defect, the text that shows it), with secrets abbreviated."""
    if mail := _mail_in(text):
        yield "e-mail-addresses", mail
    if any(hint in text for hint in _HINTS) and (found := _KEY.search(text)):
        yield "secrets", f"{list(_KEYS)[int((found.lastgroup or 'k0')[1:])]}, {found[0][:6]}…"
    for found in _CARD.finditer(text) if _has_enough_digits(text) else ():
        digits = re.sub(r"\D", "", found[0])
        if _is_card(digits):
            yield "card-numbers", f"{digits[:4]}…{digits[-2:]}"
            return


def _mail_in(text: str) -> str:
    """The first e-mail address in a text, or an empty string. Starts at the `@`, which is rarer than letters."""
    for host in _MAIL_HOST.finditer(text):
        if name := _MAIL_NAME.search(text, max(0, host.start() - _MAX_NAME_LENGTH), host.start()):
            return name[0] + host[0]
    return ""


def _has_enough_digits(text: str) -> bool:
    """Whether a text has as many digits as the shortest card number; a faster test than the regular expression."""
    coded = text.encode("utf-8", "surrogatepass")
    return len(coded) - len(coded.translate(None, _DIGITS)) >= _MIN_DIGITS


def _is_card(digits: str) -> bool:
    """Tests length, first digit and check digit (ISO/IEC 7812-1, Luhn's formula)."""
    if not _MIN_DIGITS <= len(digits) <= 19 or digits[0] not in "3456" or len(set(digits)) < 2:
        return False
    doubled = (int(digit) * (2 if place % 2 else 1) for place, digit in enumerate(reversed(digits)))
    return sum(number - 9 if number > 9 else number for number in doubled) % 10 == 0


_MIN_CHARACTERS = 40
"""The language of a shorter text is too uncertain."""
_SAMPLE_CHARACTERS = 1_000
"""Characters per text that the language is guessed from."""
_MIN_PROBABILITY = 0.9


class LanguageMix:
    """Guesses the languages of a random sample of the texts."""

    def __init__(self, most: int = 500) -> None:
        self._most = most
        self._kept: list[tuple[int, str]] = []
        """A heap of (negative hash of the location, beginning of the text)."""

    def add(self, place: str, text: str) -> None:
        """Adds a text to the sample. Texts with the lowest hashes of their location are kept (bottom-k sampling, Cohen
        and Kaplan 2007): a uniform sample that does not depend on the order."""
        if len(text) >= _MIN_CHARACTERS:
            key = int.from_bytes(blake2b(place.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")
            self._keep(-key, text)

    def join(self, other: LanguageMix) -> None:
        """Adds the sample of another."""
        for key, text in other._kept:
            self._keep(key, text)

    def _keep(self, key: int, text: str) -> None:
        if len(self._kept) < self._most:
            heapq.heappush(self._kept, (key, text[:_SAMPLE_CHARACTERS]))
        elif key > self._kept[0][0]:
            heapq.heapreplace(self._kept, (key, text[:_SAMPLE_CHARACTERS]))

    def shares(self) -> list[tuple[str, float]]:
        """Languages (ISO 639-1) and their shares of the texts with a confident guess, the most common first."""
        return _shares([text for _, text in self._kept])

    def summary(self) -> str:
        """The most common languages as a phrase; empty if no text is long enough."""
        named = [f"{language} {100 * share:.0f} %" for language, share in self.shares()[:4] if share >= 0.01]
        about = f" (guessed from {len(self._kept)} texts)" if named else ""
        return ", ".join(named) + about


def _shares(texts: Sequence[str]) -> list[tuple[str, float]]:
    if not texts:
        return []
    identifier = _language_identifier()
    guesses = [identifier.classify(text) for text in texts]
    confident = Counter(language for language, probability in guesses if probability >= _MIN_PROBABILITY)
    return [(language, count / confident.total()) for language, count in confident.most_common()]


@cache
def _language_identifier() -> Any:
    """py3langid's model; unpacking it takes half a second."""
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
