"""JSON documents, evaluated strictly and by value."""

from __future__ import annotations

import pytest

from burnish.metrics.answers import JsonVerdict, compare_json, json_measures
from burnish.metrics.measure import value
from tests.unit.metrics.redraws import check


@pytest.mark.parametrize("text", ["{}", " [1]\n", '"x"', "null", "-0.5e+3", "true", '{"a": 1, "a": 2}', "1" * 6000])
def test_valid(text: str) -> None:
    assert compare_json(text, text) == JsonVerdict(is_valid=True, is_equal=True)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "```json\n{}\n```",
        "Here it is: {}",
        "{} {}",
        "{'a': 1}",
        '{"a": 1,}',
        "[NaN]",
        "-Infinity",
        "01",
        "+1",
        ".5",
        "True",
        "\ufeff{}",
        "{} // done",
        '"tab\there"',
        "[" * 200_000,
        "[" * 200_000 + "]" * 200_000,
    ],
)
def test_not_valid(text: str) -> None:
    assert compare_json(text, text) == JsonVerdict(is_valid=False, is_equal=False)


@pytest.mark.parametrize(
    ("given", "expected", "is_equal"),
    [
        ('{"a": 1, "b": [true, null]}', '{"b":[true,null],"a":1}', True),
        ("1.0", "1", True),
        ("1e2", "100", True),
        ("0.10", "0.1", True),
        ("-0", "0", True),
        ('"\\u00e9"', '"é"', True),
        ("0.1000000000000000055511151231257827", "0.1", False),
        ("12345678901234567890", "12345678901234567891", False),
        ("1e400", "1e500", False),
        ("true", "1", False),
        ("0", "false", False),
        ("[true]", "[1]", False),
        ('"1"', "1", False),
        ("null", "false", False),
        ("[1, 2]", "[2, 1]", False),
        ("[1]", "[1, 1]", False),
        ('{"a": 1}', '{"a": 1, "b": 2}', False),
        ('{"a": {"b": [1]}}', '{"a": {"b": [2]}}', False),
        ("{}", "[]", False),
        ("{}", "not JSON", False),
        ("1e99999999999999999999", "1e99999999999999999999", False),
    ],
)
def test_equal_as_a_value(given: str, expected: str, is_equal: bool) -> None:
    assert compare_json(given, expected) == JsonVerdict(is_valid=True, is_equal=is_equal)


def test_redrawn_rows() -> None:
    given, expected = ['{"a": 1}', "x", "[1, 2]", "3", "{"] * 5, ['{"a": 1.0}', "1", "[2, 1]", "3", "{}"] * 5
    measures = json_measures(given, expected)
    assert {m.name: value(m) for m in measures} == {"valid JSON": pytest.approx(0.6), "equal JSON": pytest.approx(0.4)}
    for number, measure in enumerate(measures):
        check(measure, lambda rows, n=number: json_measures([given[r] for r in rows], [expected[r] for r in rows])[n])
