"""Whether a text is one JSON document, and whether it says what the expected one says."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Context, Decimal
from typing import Any, NoReturn

from burnish.metrics.measure import Measure, mean

_NEVER_RAISING = Context(traps=[])


@dataclass(frozen=True, slots=True)
class JsonVerdict:
    """What can be said of one text."""

    is_valid: bool
    """One document by RFC 8259 and nothing else: no code fence, no words around it, no NaN, no comments."""
    is_equal: bool
    """The value expected, whatever the order of keys, the white space and the spelling of numbers (1.0 is 1)."""


def judge_json(given: str, expected: str) -> JsonVerdict:
    """Judge one text; nothing equals an expected text that is not itself JSON.

    Of keys that occur twice the last counts. A number whose exponent is beyond 10^18 equals nothing.
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
    """Share of texts that are valid JSON, and share that equal the expected value.

    Args:
        given: text of each row.
        expected: likewise.
    """
    verdicts = [judge_json(*pair) for pair in zip(given, expected, strict=True)]
    return [
        mean("valid JSON", [verdict.is_valid for verdict in verdicts]),
        mean("equal JSON", [verdict.is_equal for verdict in verdicts]),
    ]


def _parse(text: str) -> Any:
    """The value, with every number as an exact decimal.

    Raises:
        ValueError: not one JSON document.
        RecursionError: nested too deep to read.
    """
    return json.loads(text, parse_int=_number, parse_float=_number, parse_constant=_refuse)


def _number(spelling: str) -> Decimal:
    return Decimal(spelling, _NEVER_RAISING)


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _is_same(first: Any, second: Any) -> bool:
    """Equal in value and in type: `true` is not 1, though Python has them equal."""
    if type(first) is not type(second):
        return False
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(_is_same(inner, second[key]) for key, inner in first.items())
    if isinstance(first, list):
        return len(first) == len(second) and all(map(_is_same, first, second))
    return first == second
