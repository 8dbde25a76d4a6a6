"""ROUGE-L: the longest common subsequence of words (Lin 2004), as the `rouge_score` package computes it."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Hashable, Sequence

from burnish.metrics.measure import Measure, mean

_ASCII_WORD = re.compile(r"[a-z0-9]+")
_SPACELESS = re.compile("([\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff])")
"""Kana and Han, which are written without spaces: each character is a word."""


def words(text: str) -> list[str]:
    """Words of a text in lower case; for ASCII runs of letters and digits, without stemming, as `rouge_score` has it.

    That package takes every other character for a gap, so that `naïve` is `na` and `ve` and a Greek text has no
    words. Here all letters, digits and combining marks make words, and each Chinese or Japanese character is one;
    figures for such texts are therefore not those of `rouge_score`.
    """
    lower = unicodedata.normalize("NFC", text.lower())
    if lower.isascii():
        return _ASCII_WORD.findall(lower)
    kept = "".join(character if _is_of_a_word(character) else " " for character in lower)
    return _SPACELESS.sub(r" \1 ", kept).split()


def rouge_l(expected: str, given: str) -> float:
    """F-measure of the longest common subsequence of words, 0.0 where either text has none."""
    reference, candidate = words(expected), words(given)
    if not reference or not candidate:
        return 0.0
    return 2 * common_length(reference, candidate) / (len(reference) + len(candidate))


def rouge_measure(expected: Sequence[str], given: Sequence[str]) -> Measure:
    """Mean ROUGE-L over rows."""
    return mean("ROUGE-L", [rouge_l(*pair) for pair in zip(expected, given, strict=True)])


def common_length(first: Sequence[Hashable], second: Sequence[Hashable]) -> int:
    """Length of the longest common subsequence, bit-parallel: one row of the table is one integer.

    A bit is 0 where the length grows along `first` (Hyyrö 2004, "Bit-parallel LCS-length computation revisited").
    """
    places: dict[Hashable, int] = {}
    for place, item in enumerate(first):
        places[item] = places.get(item, 0) | 1 << place
    full = (1 << len(first)) - 1
    row = full
    for item in second:
        matches = row & places.get(item, 0)
        row = (row + matches | row - matches) & full
    return len(first) - row.bit_count()


def _is_of_a_word(character: str) -> bool:
    return character.isalnum() or unicodedata.category(character).startswith("M")
