"""Cells as text, and columns under other names."""

from __future__ import annotations

import datetime
import decimal

import pytest

from burnish.data.rows.columns import FIELDS, ColumnMap, as_text, quoted
from burnish.data.rows.row import RowError
from burnish.errors import DataError


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
    ("value", "reason"),
    [
        (b"x", "`c` holds bytes, which is not text"),
        ([b"x"], "`c` cannot be written as JSON: Object of type bytes is not JSON serializable"),
        ("a\ud83d", "`c` holds half a surrogate pair (\\ud83d), which is not a character"),
        (["\ud83d"], "`c` holds half a surrogate pair (\\ud83d), which is not a character"),
    ],
)
def test_a_cell_that_is_no_text(value, reason):
    with pytest.raises(RowError) as caught:
        as_text(value, "c")
    assert str(caught.value) == reason


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
    ("columns", "what", "fix"),
    [
        (
            {"promt": "q"},
            "`data.columns.promt` is not a field that a column can be mapped to",
            "Did you mean `prompt`?",
        ),
        (
            {"prompt": "qestion"},
            "there is no column `qestion`, which `data.columns.prompt` names",
            "Did you mean `Question`?",
        ),
        (
            {"prompt": "zzz"},
            "there is no column `zzz`, which `data.columns.prompt` names",
            "Set `data.columns.prompt` to",
        ),
    ],
)
def test_a_map_that_names_nothing_is_refused(columns, what, fix):
    with pytest.raises(DataError) as caught:
        ColumnMap(columns).check(["Question", "reply"])
    assert caught.value.what == what
    assert caught.value.fix.startswith(fix)


def test_very_many_names_are_cut_short():
    assert quoted(range(25)).endswith("`19` and 5 more")
    assert quoted([]) == "none"
