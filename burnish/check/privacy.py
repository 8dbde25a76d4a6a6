"""Strings that look private: addresses, cards, keys. A warning; a model may repeat what it was trained on."""

from __future__ import annotations

import re
from collections.abc import Iterator

_MAIL_HOST = re.compile(r"@(?!example\.)[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{2,63})+")
_MOST_OF_NAME = 64
_MAIL_NAME = re.compile(rf"[\w.+-]{{1,{_MOST_OF_NAME}}}\Z")
_CARD = re.compile(r"\d(?<!\d\d)(?<!\d\.\d)(?:[ -]?\d){12,18}(?!\d|\.\d)")
"""Begins with what it looks for, and only then looks back: so the search skips to digits."""
_FEWEST_DIGITS = 13
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
"""One of these stands in every key; most texts have none, and looking for them is quick."""


def private_strings(text: str) -> Iterator[tuple[str, str]]:
    """(kind of defect, what was seen) for a text; what is secret is not repeated whole."""
    if mail := _mail_in(text):
        yield "e-mail-addresses", mail
    if any(hint in text for hint in _HINTS) and (found := _KEY.search(text)):
        yield "secrets", f"{list(_KEYS)[int((found.lastgroup or 'k0')[1:])]}, {found[0][:6]}…"
    for found in _CARD.finditer(text) if _has_digits_of_card(text) else ():
        digits = re.sub(r"\D", "", found[0])
        if _is_card(digits):
            yield "card-numbers", f"{digits[:4]}…{digits[-2:]}"
            return


def _mail_in(text: str) -> str:
    """The first address in a text, or nothing. Looked for from its middle, as letters are many and `@` is rare."""
    for host in _MAIL_HOST.finditer(text):
        if name := _MAIL_NAME.search(text, max(0, host.start() - _MOST_OF_NAME), host.start()):
            return name[0] + host[0]
    return ""


def _has_digits_of_card(text: str) -> bool:
    """Whether a text has as many digits as the shortest number; quicker told than where they stand."""
    coded = text.encode("utf-8", "surrogatepass")
    return len(coded) - len(coded.translate(None, _DIGITS)) >= _FEWEST_DIGITS


def _is_card(digits: str) -> bool:
    """By length, first digit and check digit (ISO/IEC 7812-1, Luhn's formula)."""
    if not _FEWEST_DIGITS <= len(digits) <= 19 or digits[0] not in "3456" or len(set(digits)) < 2:
        return False
    doubled = (int(digit) * (2 if place % 2 else 1) for place, digit in enumerate(reversed(digits)))
    return sum(number - 9 if number > 9 else number for number in doubled) % 10 == 0
