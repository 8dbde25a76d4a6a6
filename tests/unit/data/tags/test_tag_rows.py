"""Rows of words and tags: what they mean, and what must be refused."""

from __future__ import annotations

import json

import pytest

from burnish.data.files.readers import read_rows
from burnish.data.rows.dataset import load_records
from burnish.data.rows.patterns import BY_NAME
from burnish.data.rows.records import TaggedRecord
from burnish.data.rows.row import Row, RowError
from burnish.data.rows.shapes import detect_shape
from burnish.errors import DataError
from burnish.recipe.schema import DataSection
from burnish.tasks import task_names_for
from tests.snapshots import check_message
from tests.tiny_data import read_as
from tests.typed_commands import run_jq

WORDS = ["Anna", "sings"]


def record(values):
    return read_as(BY_NAME["tagged"], values, "a.jsonl:3")


@pytest.mark.parametrize("words", ["tokens", "words"])
@pytest.mark.parametrize("tags", ["tags", "ner_tags", "labels", "pos_tags", "chunk_tags"])
def test_words_and_tags_under_every_name(words, tags):
    assert record({words: WORDS, tags: ["B-PER", "O"]}) == TaggedRecord(("Anna", "sings"), ("B-PER", "O"), "a.jsonl:3")


def test_numbers_are_taken_by_their_digits():
    assert record({"tokens": WORDS, "ner_tags": [3, 0]}).tags == ("3", "0")


@pytest.mark.parametrize(
    "values",
    [
        {"tokens": WORDS, "ner_tags": ["O"]},
        {"words": [], "tags": ["O"]},
        {"tokens": [], "tags": []},
        {"tokens": "Anna sings", "tags": ["O"]},
        {"tokens": None, "tags": ["O"]},
        {"tokens": WORDS, "tags": "O"},
        {"tokens": ["Anna", 5], "tags": ["O", "O"]},
        {"tokens": [None, "a"], "tags": ["O", "O"]},
        {"tokens": [["a"], "a"], "tags": ["O", "O"]},
        {"tokens": WORDS, "tags": ["O", None]},
        {"tokens": WORDS, "tags": ["O", ""]},
        {"tokens": WORDS, "tags": [0, -100]},
        {"tokens": WORDS, "tags": [0, 1.5]},
        {"tokens": WORDS, "tags": [True, 1]},
    ],
)
def test_what_is_no_sentence_says_why(values):
    with pytest.raises(RowError) as caught:
        record(values)
    check_message(caught.value)


def test_half_a_character_is_refused():
    with pytest.raises(RowError, match="half a surrogate pair"):
        record({"tokens": ["\ud83d"], "tags": ["O"]})


def test_the_shape_is_found_and_broken_rows_are_named(write):
    lines = ['{"tokens": ["Anna", "sings"], "ner_tags": ["B-PER", "O"], "id": 1}'] * 200
    lines[4] = '{"tokens": ["Anna", "sings"], "ner_tags": ["O"], "id": 1}'
    lines += ['{"tokens": ["Bo"], "ner_tags": ["B-PER"], "id": 2}']
    write("a.jsonl", "\n".join(lines))
    records = load_records(DataSection(path="a.jsonl"))
    assert (records.shape.name, records.ignored_columns) == ("tagged", ("id",))
    assert task_names_for(records.shape.record) == ["tag"]
    assert [(row.place, row.reason) for row in records.rejected] == [
        ("a.jsonl:5", "`tokens` has 2 entries, but `ner_tags` has 1")
    ]


def test_columns_can_be_named(write):
    rows = list(read_rows(write("a.jsonl", '{"form": ["Anna"], "ne": ["B-PER"]}')))
    shape = detect_shape(rows, {"tokens": "form", "tags": "ne"})
    assert shape.to_record(rows[0]) == TaggedRecord(("Anna",), ("B-PER",), "a.jsonl:1")


def test_a_conll_sentence_that_lacks_a_tag_is_named_by_its_line(write):
    write("a.conll", "Anna B-PER\nsings O\n\nin O\nRome\n\nso O\n")
    records = load_records(DataSection(path="a.conll"))
    assert [row.place for row in records.rejected] == ["a.conll:5"]


@pytest.mark.parametrize("write_list", [json.dumps, str])
def test_lists_in_the_cells_of_a_table(write_list):
    row = Row({"tokens": write_list(["Anna", "doesn't"]), "ner_tags": write_list([1, 0])}, "a.csv", 2)
    record = detect_shape([row], {}).to_record(row)
    assert isinstance(record, TaggedRecord)
    assert (record.tokens, record.tags) == (("Anna", "doesn't"), ("1", "0"))


@pytest.mark.parametrize(
    "values",
    [
        {"words": "Anna sings", "tags": "B-PER O"},
        {"tokens": "Anna sings", "ner_tags": ["B-PER", "O"]},
        {"sentence": "Anna sings", "word_labels": "B-PER,O"},
        {"text": "Anna sings", "labels": "B-PER O"},
        {"text": "Anna sings", "tags": ["B-PER", "O"]},
    ],
    ids=str,
)
def test_words_and_tags_may_be_texts(values):
    shape = detect_shape([Row(values, "a.jsonl", 1)], {})
    assert shape.to_record(Row(values, "a.jsonl", 3)) == TaggedRecord(("Anna", "sings"), ("B-PER", "O"), "a.jsonl:3")


@pytest.mark.parametrize(
    "values", [{"text": "good film", "labels": "very good"}, {"text": "O", "labels": "O"}], ids=["names", "one word"]
)
def test_words_that_are_no_tags_of_a_scheme_label_a_text(values):
    assert detect_shape([Row(values, "a.jsonl", 1)], {}).name == "labelled-text"


def test_numbers_without_names_are_said():
    (note,) = detect_shape([Row({"tokens": WORDS, "ner_tags": [1, 0]}, "a.jsonl", 1)], {}).notes
    assert "`ner_tags` has numbers for tags" in note
    assert detect_shape([Row({"tokens": WORDS, "ner_tags": ["B-PER", "O"]}, "a.jsonl", 1)], {}).notes == ()


def test_tags_that_are_none_are_no_numbers():
    for cell in ([["B"], 1], [{"x": 1}, 0]):
        assert detect_shape([Row({"tokens": WORDS, "ner_tags": cell}, "a.jsonl", 1)], {}).notes == ()


@pytest.mark.parametrize("mark", [-100, "-100"])
@pytest.mark.parametrize("words", ["tokens", "words"])
def test_what_a_script_leaves_out_of_the_loss_is_no_tag(mark, words):
    values = {words: [*WORDS, "##ly"], "ner_tags": ["B-PER", "O", mark]}
    with pytest.raises(RowError, match="entry 3 of `ner_tags` is -100, which is no tag"):
        record(values)
    with pytest.raises(DataError, match="`ner_tags` has -100, which is no tag, in 3 of the first 3 rows") as refused:
        detect_shape([Row(values, "a.jsonl", line) for line in (1, 2, 3)], {})
    assert run_jq(refused.value.fix, values) == [{words: WORDS, "ner_tags": ["B-PER", "O"]}]
