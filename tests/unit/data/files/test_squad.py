"""SQuAD's nested layout: each question is a row that knows its text and its line."""

from __future__ import annotations

import json

import pytest

from burnish.data.files.readers import read_rows
from burnish.data.rows.dataset import load_records
from burnish.data.rows.row import Rejected, Row
from burnish.recipe.schema import DataSection

FILE = """{"version": "v2.0", "data": [
  {"title": "Boats", "paragraphs": [
    {"qas": [
       {"id": "1", "question": "What sails?",
        "answers": [{"text": "boat", "answer_start": 8}], "is_impossible": false},
       {"id": "2", "question": "Who sings?", "is_impossible": true, "answers": [],
        "plausible_answers": [{"text": "boat", "answer_start": 8}]}], "context": "A small boat sails."},
    {"context": "It has a red sail.", "qas": []}
  ]},
  {"title": "Foxes", "paragraphs": [{"context": "The fox is red.",
    "qas": [{"id": "3", "question": "Which colour?", "answers": [{"text": "red", "answer_start": 11}]}]}]}
]}
"""


def rows_of(path):
    return [(row.line, row.values["id"], row.values["context"]) for row in read_rows(path)]


ROWS = [(4, "1", "A small boat sails."), (6, "2", "A small boat sails."), (11, "3", "The fox is red.")]


def test_every_question_is_a_row_with_its_line(write):
    assert rows_of(write("a.json", FILE)) == ROWS


def test_the_list_of_articles_alone_will_do(write):
    start = FILE.index("[")
    assert rows_of(write("a.json", "\n" + FILE[start : FILE.rindex("}")])) == [
        (line + 1, *rest) for line, *rest in ROWS
    ]


@pytest.mark.parametrize("part", ["article", "paragraphs", "paragraph"])
def test_any_level_of_it_may_stand_alone(write, part):
    article = json.loads(FILE)["data"][1]
    alone = {"article": article, "paragraphs": article["paragraphs"], "paragraph": article["paragraphs"][0]}[part]
    assert rows_of(write("a.json", json.dumps(alone))) == [(1, "3", "The fox is red.")]


def test_plausible_answers_are_not_read_and_said_not_to_be(write):
    records = load_records(DataSection(path=str(write("a.json", FILE))))
    assert records.shape.name == "span"
    assert records.ignored_columns == ("plausible_answers",)
    answers = {record.question: record.answers for record in [*records.train, *records.valid, *records.test]}
    assert answers == {"What sails?": ((8, "boat"),), "Who sings?": (), "Which colour?": ((11, "red"),)}


def test_what_is_no_question_is_named_and_the_rest_is_read(write):
    text = """[{"paragraphs": [
 {"context": "x"},
 {"context": "y", "qas": [
  "what?",
  {"question": "why?", "id": "1", "answers": ["y"]}]}]}]"""
    assert list(read_rows(write("a.json", text))) == [
        Rejected("a.json", 2, "expected a paragraph with `context` and a list `qas`"),
        Rejected("a.json", 4, "expected a question with `question` and `answers`"),
        Row({"context": "y", "question": "why?", "id": "1", "answers": ["y"]}, "a.json", 5),
    ]


def test_rows_with_a_column_of_that_name_are_rows(write):
    text = '[{"text": "a", "paragraphs": ["one", "two"]}, {"text": "b", "qas": 3}]'
    assert [row.values["text"] for row in read_rows(write("a.json", text))] == ["a", "b"]


def test_a_wrong_start_is_named_with_its_line(write):
    broken = FILE.replace('"answer_start": 11', '"answer_start": 12')
    records = load_records(DataSection(path=str(write("a.json", broken))))
    assert records.rejected == [
        Rejected("a.json", 11, "the text at `answer_start` 12 is `ed.`, not the answer `red`, which is at 11")
    ]
