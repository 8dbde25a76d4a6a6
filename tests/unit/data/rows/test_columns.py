"""Cells as text, and columns under other names."""

from __future__ import annotations

import datetime
import decimal

import pytest

from burnish.data.rows.row import FIELDS, ColumnMap, RowError, as_text, quoted
from burnish.errors import DataError
from tests.snapshots import check_message


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("x", "x"),
        (" x\n", " x\n"),
        ("", ""),
        (3, "3"),
        (2.5, "2.5"),
        (True, "true"),
        (False, "false"),
        (None, None),
        (float("nan"), None),
        ({"b": [1, "é"], "a": None}, '{"b": [1, "é"], "a": null}'),
        ([1, 2], "[1, 2]"),
        (decimal.Decimal("1.50"), "1.50"),
        (datetime.date(2024, 5, 1), "2024-05-01"),
        ("😀", "😀"),
    ],
)
def test_a_cell_as_text(value, text):
    assert as_text(value, "c") == text


@pytest.mark.parametrize(
    "value",
    [
        b"x",
        [b"x"],
        "a\ud83d",
        ["\ud83d"],
    ],
)
def test_a_cell_that_is_no_text(value):
    with pytest.raises(RowError) as caught:
        as_text(value, "c")
    check_message(caught.value)


@pytest.mark.parametrize(
    ("columns", "before", "after"),
    [
        ({}, {"a": 1, "text": 2}, {"a": 1, "text": 2}),
        ({"prompt": "q"}, {"q": 1, "b": 2}, {"prompt": 1, "b": 2}),
        ({"prompt": "q"}, {"q": 1, "prompt": 2}, {"prompt": 1}),
        ({"prompt": "answer", "completion": "prompt"}, {"prompt": 1, "answer": 2}, {"completion": 1, "prompt": 2}),
        ({"prompt": "prompt"}, {"prompt": 1}, {"prompt": 1}),
        ({"prompt": "q"}, {"x": 1}, {"x": 1}),
        ({}, {"Question": 1, " ANSWER ": 2}, {"question": 1, "answer": 2}),
        ({}, {"Text": 1, "text": 2}, {"Text": 1, "text": 2}),
        ({"prompt": "Text"}, {"Text": 1}, {"prompt": 1}),
    ],
)
def test_renaming(columns, before, after):
    assert ColumnMap(columns).rename(before) == after


def test_every_field_can_be_mapped():
    for field in FIELDS:
        ColumnMap({field: "x"}).check(["x"])


@pytest.mark.parametrize(
    "columns",
    [
        {"promt": "q"},
        {"prompt": "qestion"},
        {"prompt": "zzz"},
    ],
)
def test_a_map_that_names_nothing_is_refused(columns):
    with pytest.raises(DataError) as caught:
        ColumnMap(columns).check(["Question", "reply"])
    check_message(caught.value)


def test_very_many_names_are_cut_short():
    assert quoted(range(25)).endswith("`19` and 5 more")
    assert quoted([]) == "none"
