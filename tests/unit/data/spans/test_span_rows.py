"""Rows of questions about a text: every spelling of the answers, and what is refused."""

from __future__ import annotations

import json

import pytest

from burnish.data.rows.dataset import load_records
from burnish.data.rows.patterns import BY_NAME, PATTERNS
from burnish.data.rows.records import ChatRecord, SpanRecord
from burnish.data.rows.row import Row, RowError
from burnish.data.rows.shapes import detect_shape, pattern_of
from burnish.recipe.schema import DataSection
from tests.snapshots import check_message, check_text
from tests.tiny_data import read_as

CONTEXT = "Anna met Ben. Ben lives in Rome."


def record_of(**values):
    row = {"context": CONTEXT, "question": "Where?", **values}
    pattern = pattern_of(row, PATTERNS)
    assert pattern is not None
    assert pattern.record is SpanRecord
    return read_as(pattern, row, "a.jsonl:1")


SPELLINGS = [
    ({"answers": {"text": ["Rome"], "answer_start": [27]}}, ((27, "Rome"),)),
    ({"answers": {"text": "Rome", "answer_start": 27}}, ((27, "Rome"),)),
    ({"answers": [{"text": "Rome", "answer_start": 27}]}, ((27, "Rome"),)),
    ({"answers": [{"text": "Rome", "answer_start": "27"}]}, ((27, "Rome"),)),
    ({"answers": {"text": ["Rome", "in Rome", "Rome"], "answer_start": [27, 24, 27]}}, ((27, "Rome"), (24, "in Rome"))),
    ({"answers": "Rome"}, ((27, "Rome"),)),
    ({"answers": ["Rome", "Ben"]}, ((27, "Rome"), (9, "Ben"))),
    ({"answer": "Ben", "answer_start": 14}, ((14, "Ben"),)),
    ({"answer": "Ben", "answer_start": "14"}, ((14, "Ben"),)),
    ({"answers": {"text": [], "answer_start": []}}, ()),
    ({"answers": []}, ()),
    ({"answers": ""}, ()),
    ({"answers": None, "is_impossible": True}, ()),
    ({"answers": [], "is_impossible": "true"}, ()),
    ({"answers": ["Rome"], "is_impossible": False}, ((27, "Rome"),)),
    ({"answer": "", "answer_start": ""}, ()),
]


@pytest.mark.parametrize(("values", "answers"), SPELLINGS)
def test_every_spelling_of_the_answers(values, answers):
    record = record_of(**values)
    assert (record.context, record.question, record.answers) == (CONTEXT, "Where?", answers)


REFUSED = [
    {"answers": {"text": ["Rome"], "answer_start": [26]}},
    {"answers": [{"text": "Ben", "answer_start": 15}]},
    {"answers": [{"text": "Paris", "answer_start": 27}]},
    {"answers": [{"text": "Rome", "answer_start": 32}]},
    {"answers": [{"text": "Rome", "answer_start": -5}]},
    {"answers": [{"text": "Rome", "answer_start": 27.5}]},
    {"answers": [{"text": "Rome", "answer_start": True}]},
    {"answers": [{"text": "Rome", "answer_start": "x"}]},
    {"answers": {"text": ["Rome", "Ben"], "answer_start": [27]}},
    {"answers": {"text": ["Rome"]}},
    {"answers": [{"answer_start": 27}]},
    {"answers": ["Rome", 3]},
    {"answers": "Paris"},
    {"answers": [{"text": " ", "answer_start": 4}]},
    {"answers": None},
    {"answers": 3},
    {"answers": ["Rome"], "is_impossible": True},
    {"answers": ["Rome"], "context": " "},
    {"answers": ["Rome"], "context": None},
    {"answers": ["Rome"], "question": ""},
    {"answer": "Rome", "answer_start": ""},
    {"answer": "", "answer_start": 3},
]


@pytest.mark.parametrize("values", REFUSED)
def test_what_is_refused_and_why(values):
    with pytest.raises(RowError) as caught:
        record_of(**values)
    check_message(caught.value)


def test_places_count_characters_not_bytes_or_utf_16():
    context = "\U0001f98a\U0001f469‍\U0001f4bb caf\u0065\u0301 in Zürich"
    start = 4 + 1 + 5 + 1 + 3
    assert context[start:] == "Zürich"
    values = {"context": context, "question": "Where?", "answers": [{"text": "Zürich", "answer_start": start}]}
    assert read_as(BY_NAME["span"], values, "a:1").answers == ((start, "Zürich"),)
    in_utf_16 = len(context[:start].encode("utf-16-le")) // 2
    with pytest.raises(RowError, match=f"which is at {start}"):
        read_as(BY_NAME["span"], {**values, "answers": [{"text": "Zürich", "answer_start": in_utf_16}]}, "a:1")


def test_a_precomposed_accent_is_not_a_combining_one():
    values = {"context": "a caf\u0065\u0301", "question": "What?", "answers": [{"text": "café", "answer_start": 2}]}
    with pytest.raises(RowError, match="which does not occur"):
        read_as(BY_NAME["span"], values, "a:1")


def rows(*answers):
    return [
        Row({"context": CONTEXT, "question": "Who?", "answers": answer}, "a.jsonl", line)
        for line, answer in enumerate(answers, 1)
    ]


def test_answers_whose_place_was_guessed_are_counted():
    placed = {"text": ["Ben"], "answer_start": [9]}
    check_text("\n".join(detect_shape(rows("Rome", ["Ben"], "Ben", placed, []), {}).notes))
    check_text("\n".join(detect_shape(rows("Ben", "Rome"), {}).notes))
    assert detect_shape(rows("Rome", placed), {}).notes == ()


def test_questions_with_written_answers_stay_chat():
    row = {"context": CONTEXT, "question": "Where?", "answer": "He lives in Rome."}
    assert detect_shape([Row(row, "a.jsonl", 1)], {}).record is ChatRecord


def test_the_first_answers_of_other_columns_can_be_mapped(write):
    lines = [{"passage": CONTEXT, "question": f"{n}?", "answers": ["Rome"]} for n in range(3)]
    path = write("a.jsonl", "\n".join(map(json.dumps, lines)))
    records = load_records(DataSection(path=str(path), columns={"context": "passage"}))
    assert records.shape.name == "span"
    assert len(records.train) + len(records.valid) + len(records.test) == 3


def test_a_table_with_starts_is_read(write):
    path = write("a.csv", "context,question,answer,answer_start\nAnna is here.,Who?,Anna,0\nBen left.,Who came?,,\n")
    records = load_records(DataSection(path=str(path)))
    assert records.rejected == []
    assert {record.answers for record in [*records.train, *records.valid, *records.test]} == {((0, "Anna"),), ()}
