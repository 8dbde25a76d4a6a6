"""Metrics of generated answers: SQuAD's exact match and F1, ROUGE-L, and validity and equality of JSON."""

from __future__ import annotations

import json
import re
import string
import unicodedata
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from decimal import Context, Decimal
from typing import Any, NoReturn

import numpy

from burnish.metrics.measure import Measure, MetricTable, mean, ratio

_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalize(text: str) -> str:
    """Lower-cases, removes ASCII punctuation, then English articles, and collapses whitespace.

    Punctuation is removed first and leaves no space: `the-end` becomes `theend`, and `A.` becomes an article.
    """
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_NO_PUNCTUATION)).split())


def exact_match(given: str, known: Sequence[str]) -> float:
    """1.0 if the normalized answer equals any known one, else 0.0; no known answer means "there is none"."""
    return float(normalize(given) in _normalized(known))


def token_f1(given: str, known: Sequence[str]) -> float:
    """F1 over the bag of words, maximum over the known answers; no known answer means "there is none".

    Two empty answers match (1.0); an empty and a non-empty one do not (0.0).
    """
    words = normalize(given).split()
    return max(_overlap(words, answer.split()) for answer in _normalized(known))


def answer_measures(given: Sequence[str], known: Sequence[Sequence[str]]) -> list[Measure]:
    """Exact match and F1; if only some questions have an answer, also separately for both kinds.

    Args:
        given: answer to each question, empty for "there is none".
        known: correct answers to each question, none if it cannot be answered.
    """
    pairs = list(zip(given, known, strict=True))
    exact = numpy.array([exact_match(answer, right) for answer, right in pairs])
    overlap = numpy.array([token_f1(answer, right) for answer, right in pairs])
    measures = [mean("exact match", exact), mean("F1", overlap)]
    has_answer = numpy.array([len(right) > 0 for right in known], dtype=bool)
    if has_answer.any() and not has_answer.all():
        measures += [
            ratio("exact match, answerable", exact * has_answer, has_answer),
            ratio("F1, answerable", overlap * has_answer, has_answer),
            # For an unanswerable question exact match and F1 are the same.
            ratio("right, unanswerable", exact * ~has_answer, ~has_answer),
        ]
    return measures


def _normalized(known: Sequence[str]) -> list[str]:
    """The normalized known answers that are not empty; a single empty answer if all are."""
    return [answer for answer in map(normalize, known) if answer] or [""]


def _overlap(given: list[str], right: list[str]) -> float:
    total = len(given) + len(right)
    return 2 * (Counter(given) & Counter(right)).total() / total if total else 1.0


_ASCII_WORD = re.compile(r"[a-z0-9]+")
_SPACELESS = re.compile("([\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff])")
"""Kana and Han, which are written without spaces: each character is a word."""


def words(text: str) -> list[str]:
    """Words of a text in lower case; for ASCII, runs of letters and digits without stemming, as in `rouge_score`.

    That package treats every other character as a separator, so that `naïve` is `na` and `ve` and a Greek text has no
    words. Here all letters, digits and combining marks form words, and each Chinese or Japanese character is a word;
    scores of such texts therefore differ from those of `rouge_score`.
    """
    lower = unicodedata.normalize("NFC", text.lower())
    if lower.isascii():
        return _ASCII_WORD.findall(lower)
    kept = "".join(character if _is_word_character(character) else " " for character in lower)
    return _SPACELESS.sub(r" \1 ", kept).split()


def rouge_l(expected: str, given: str) -> float:
    """F-measure of the longest common subsequence of words, 0.0 if either text has no words."""
    reference, candidate = words(expected), words(given)
    total = len(reference) + len(candidate)
    return 2 * common_length(reference, candidate) / total if total else 0.0


def rouge_measure(expected: Sequence[str], given: Sequence[str]) -> Measure:
    """Mean ROUGE-L over rows."""
    return mean("ROUGE-L", [rouge_l(*pair) for pair in zip(expected, given, strict=True)])


def common_length(first: Sequence[Hashable], second: Sequence[Hashable]) -> int:
    """Length of the longest common subsequence, bit-parallel: one row of the table is one integer.

    A bit is 0 where the length increases along `first` (Hyyrö 2004, "Bit-parallel LCS-length computation revisited").
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


def _is_word_character(character: str) -> bool:
    return character.isalnum() or unicodedata.category(character).startswith("M")


_NEVER_RAISING = Context(traps=[])


@dataclass(frozen=True, slots=True)
class JsonVerdict:
    """Whether a text is valid JSON, and the expected one."""

    is_valid: bool
    """Exactly one document by RFC 8259: no code fence, no text around it, no NaN, no comments."""
    is_equal: bool
    """Equal to the expected value, ignoring the order of keys, whitespace and the notation of numbers (1.0 is 1)."""


def compare_json(given: str, expected: str) -> JsonVerdict:
    """Compares a text with the expected JSON; nothing equals an expected text that is not JSON itself.

    For duplicate keys the last one counts. A number with an exponent beyond 10^18 equals nothing.
    """
    try:
        value = _parse(given)
    except (ValueError, RecursionError):
        return JsonVerdict(is_valid=False, is_equal=False)
    try:
        is_equal = _is_same(value, _parse(expected))
    except (ValueError, RecursionError):
        is_equal = False
    return JsonVerdict(is_valid=True, is_equal=is_equal)


def json_measures(given: Sequence[str], expected: Sequence[str]) -> list[Measure]:
    """Shares of texts that are valid JSON and that equal the expected value.

    Args:
        given: generated text of each row.
        expected: expected text of each row.
    """
    verdicts = [compare_json(*pair) for pair in zip(given, expected, strict=True)]
    return [
        mean("valid JSON", [verdict.is_valid for verdict in verdicts]),
        mean("equal JSON", [verdict.is_equal for verdict in verdicts]),
    ]


def _parse(text: str) -> Any:
    """The value, with every number as an exact decimal.

    Raises:
        ValueError: not one JSON document.
        RecursionError: nested too deeply to parse.
    """
    return json.loads(text, parse_int=_number, parse_float=_number, parse_constant=_refuse)


def _number(text: str) -> Decimal:
    return Decimal(text, _NEVER_RAISING)


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _is_same(first: Any, second: Any) -> bool:
    """Equal in value and type: `true` is not 1, although they are equal in Python."""
    if type(first) is not type(second):
        return False
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(_is_same(inner, second[key]) for key, inner in first.items())
    if isinstance(first, list):
        return len(first) == len(second) and all(map(_is_same, first, second))
    return first == second


def answer_tables(given: Sequence[str], known: Sequence[Sequence[str]]) -> list[MetricTable]:
    """Questions with and without an answer, where there are both.

    Args:
        given: the answer to each question; empty where none was given.
        known: the accepted answers to each; empty where there is none.
    """
    pairs = list(zip(given, known, strict=True))
    kinds = {
        "answerable": [pair for pair in pairs if pair[1]],
        "unanswerable": [pair for pair in pairs if not pair[1]],
    }
    if not all(kinds.values()):
        return []
    columns = ("questions", "number", "answered", "exact match", "F1")
    return [MetricTable("With and without an answer", columns, tuple(_line(*kind) for kind in kinds.items()))]


def _line(kind: str, pairs: Sequence[tuple[str, Sequence[str]]]) -> tuple[str | float | int, ...]:
    """One line of the table: how many there are, how many got an answer, and how good it is."""
    exact = sum(exact_match(given, known) for given, known in pairs) / len(pairs)
    overlap = sum(token_f1(given, known) for given, known in pairs) / len(pairs)
    return kind, len(pairs), sum(given != "" for given, _ in pairs), exact, overlap
