"""Labels that are about something beside their text: asked about, with the command that learns them from both."""

from __future__ import annotations

import re
from typing import Any

import pytest

from burnish.data.rows.row import Row
from burnish.data.rows.shapes import detect_shape
from burnish.errors import DataError

STANCES = [
    {"ID": str(number), "Target": ("Lamps", "Red lamps")[number % 2], "Tweet": f"They burn {number}.",
     "Stance": ("FAVOR", "AGAINST", "NONE")[number // 2 % 3]}
    for number in range(30)
]  # fmt: skip
ASPECTS = [
    {"text": f"Good food {number // 2}, but slow.", "aspect": ("food", "service")[number % 2],
     "label": ("positive", "negative")[number % 2]}
    for number in range(30)
]  # fmt: skip


def rows_of(values: list[dict[str, Any]]) -> list[Row]:
    return [Row(one, "f.jsonl", place) for place, one in enumerate(values, start=1)]


@pytest.mark.parametrize(
    ("values", "texts", "label"),
    [(STANCES, ("Lamps", "They burn 0."), "FAVOR"), (ASPECTS, ("food", "Good food 0, but slow."), "positive")],
    ids=["stances", "aspects"],
)
def test_the_command_learns_the_label_from_its_target_and_the_text(
    values: list[dict[str, Any]], texts: tuple[str, str], label: str
) -> None:
    rows = rows_of(values)
    with pytest.raises(DataError) as caught:
        detect_shape(rows, {})
    both, alone = (
        dict(re.findall(r"--set data\.columns\.(\w+)=(\w+)", part)) for part in caught.value.fix.split(". From")
    )
    shape = detect_shape(rows, both)
    record: Any = shape.to_record(rows[0])
    assert shape.name == "labelled-pair"
    assert (record.texts, record.labels) == (texts, (label,))
    assert detect_shape(rows, alone).name == "labelled-text"


def test_a_topic_beside_labels_of_texts_is_no_target() -> None:
    values = [
        {"text": f"News {number}.", "topic": "ab"[number % 2], "label": "xy"[number // 2 % 2]} for number in range(30)
    ]
    assert detect_shape(rows_of(values), {}).name == "labelled-text"
    twice = [{**one, "text": "The same."} if number < 4 else one for number, one in enumerate(values)]
    assert detect_shape(rows_of(twice), {}).name == "labelled-text", "a text that occurs again says nothing"


@pytest.mark.parametrize(
    "review",
    [
        {"reviewerID": "A1", "asin": "B1", "reviewText": "It works.", "summary": "Good", "reviewTime": "01 1, 2014"},
        {"asin": "B1", "title": "Good", "text": "It works.", "user_id": "A1"},
        {"product_id": "B1", "review_headline": "Good", "review_body": "It works."},
    ],
    ids=["2014", "2023", "older"],
)
@pytest.mark.parametrize("rating", ["overall", "rating", "star_rating"])
def test_stars_of_reviews_are_scores(review: dict[str, str], rating: str) -> None:
    values = [{**review, rating: float(number % 5 + 1)} for number in range(30)]
    shape = detect_shape(rows_of(values), {})
    assert shape.name == "scored-text"
    record: Any = shape.to_record(rows_of(values)[3])
    assert record.score == 4


@pytest.mark.parametrize(
    ("column", "cells", "is_asked"),
    [
        ("labels", ["sports politics", "politics", "sports", "culture sports"], True),
        ("labels", ["sports politics", "politics tech", "sports tech", "culture sports"], True),
        ("labels", ["New York", "Rome", "Oslo", "Lima"], False),
        ("label", ["very good", "very bad", "good", "bad"], False),
        ("topics", ["sports politics", "politics tech", "sports tech", "culture sports"], True),
    ],
)
def test_spaces_that_may_separate_a_few_labels_are_named(column: str, cells: list[str], is_asked: bool) -> None:
    rows = rows_of([{"text": f"Text {number}.", column: cells[number % len(cells)]} for number in range(8)])
    notes = detect_shape(rows, {"label": column} if column == "topics" else {}).notes
    assert any("`--set annotation.separator=space`" in note for note in notes) is is_asked
