"""JSON documents that hold their rows otherwise than as a list: inside objects, by column, or as annotated texts."""

from __future__ import annotations

import json

import pandas
import pytest

from burnish.data.files.readers import read_rows
from burnish.data.files.sources import find_sources, read_source
from burnish.data.rows.dataset import load_records
from burnish.data.rows.row import Rejected
from burnish.errors import DataError
from burnish.recipe.schema import DataSection
from tests.snapshots import check_message
from tests.typed_commands import run_jq

ROWS = [{"prompt": "a b", "completion": "c"}, {"prompt": "d e", "completion": "f"}]
FRAME = pandas.DataFrame(ROWS)
COLUMNS = {"prompt": ["a b", "d e"], "completion": ["c", "f"]}
LAYOUTS = {
    "list": (ROWS, ""),
    "one key": ({"data": ROWS}, "is read from its key `data`"),
    "several keys": ({"version": "1", "n": 2, "names": ["x"], "rows": ROWS}, "is read from its key `rows`"),
    "deep": ({"meta": {"v": 1}, "result": {"page": {"data": ROWS}}}, "is read from its key `result.page.data`"),
    "hub viewer": (
        {"features": [], "rows": [{"row_idx": n, "row": row, "truncated_cells": []} for n, row in enumerate(ROWS)]},
        "is read from its key `rows`",
    ),
    "columns": (COLUMNS, "is read as columns"),
    "pandas columns": (json.loads(FRAME.to_json()), "is read as columns"),
    "pandas index": (json.loads(FRAME.to_json(orient="index")), "is read as numbered rows"),
    "pandas split": (json.loads(FRAME.to_json(orient="split")), "is read as rows of cells"),
    "pandas records": (json.loads(FRAME.to_json(orient="records")), ""),
    "pandas table": (json.loads(FRAME.to_json(orient="table", index=False)), "is read from its key `data`"),
}


@pytest.mark.parametrize("indent", [None, 1], ids=["one line", "many lines"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_each_layout_gives_the_rows_and_says_how(write, layout, indent):
    value, note = LAYOUTS[layout]
    rows = list(read_rows(write("a.json", json.dumps(value, indent=indent))))
    assert [row.values for row in rows] == ROWS
    assert rows[0].note == (f"`a.json` {note}." if note else "")
    assert len({row.place for row in rows}) == 2


ALONE = [
    {"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}]},
    {"conversations": [{"from": "human", "value": "x"}], "tools": [{"name": "t"}]},
    {"text": "Anna sings.", "entities": [{"start": 0, "end": 4, "label": "PER"}]},
    {"tokens": ["Anna", "sings"], "tags": ["B-PER", "O"]},
    {"prompt": [{"role": "user", "content": "x"}], "chosen": [{"role": "assistant", "content": "y"}]},
]


@pytest.mark.parametrize("value", ALONE, ids=lambda value: next(iter(value)))
def test_an_object_that_is_a_row_is_one_row(write, value):
    assert [row.values for row in read_rows(write("a.json", json.dumps(value)))] == [value]


def test_columns_of_conversations_and_of_words(write):
    turns = [[{"role": "user", "content": "x"}], [{"role": "user", "content": "y"}]]
    assert [row.values for row in read_rows(write("a.json", json.dumps({"messages": turns})))] == [
        {"messages": one} for one in turns
    ]
    words = {"tokens": [["Anna"], ["Rome"]], "tags": [["O"], ["O"]]}
    assert [row.values["tokens"] for row in read_rows(write("b.json", json.dumps(words)))] == [["Anna"], ["Rome"]]


def test_a_key_may_be_named(write):
    write("a.json", json.dumps({"old": ROWS[:1], "new": {"rows": ROWS}}))
    assert len(list(read_source(find_sources("a.json:old").train[0]))) == 1
    assert [row.values for row in read_source(find_sources("a.json:new.rows").train[0])] == ROWS  # type: ignore
    assert load_records(DataSection(path="a.json:new.rows")).files == ["a.json"]


@pytest.mark.parametrize("name", ["a.json", "a.json:no", "a.json:new.no", "a.json:v"])
def test_which_list_is_asked(write, name):
    write("a.json", json.dumps({"v": 1, "old": ROWS, "new": {"rows": ROWS}}))
    with pytest.raises(DataError) as caught:
        list(read_source(find_sources(name).train[0]))
    check_message(caught.value)


def test_lists_named_after_splits_are_splits(write):
    write("a.json", json.dumps({"train": ROWS, "validation": [{"prompt": "g h", "completion": "i"}]}))
    records = load_records(DataSection(path="a.json"))
    assert (len(records.train), len(records.valid), records.held_out) == (2, 1, frozenset())
    assert records.shape.notes[0] == "Parts of `a.json`: train a.json:train, validation a.json:validation."


SPACY = [["Anna sings.", {"entities": [[0, 4, "PER"]]}], ["It rains.", {"entities": []}]]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.json", json.dumps(SPACY)),
        ("a.json", json.dumps({"classes": ["PER"], "annotations": SPACY})),
        ("a.jsonl", "".join(json.dumps(one) + "\n" for one in SPACY)),
    ],
)
def test_texts_with_entities_as_spacy_writes_them(write, name, text):
    assert [row.values for row in read_rows(write(name, text))] == [
        {"text": "Anna sings.", "entities": [[0, 4, "PER"]]},
        {"text": "It rains.", "entities": []},
    ]


def test_other_lists_are_no_rows(write):
    rows = list(read_rows(write("a.jsonl", '["a", {"b": 1}]\n["a", "b"]\n[1, {"entities": []}]\n')))
    assert all(isinstance(row, Rejected) for row in rows)


@pytest.mark.parametrize("suffix", ["json", "jsonl"])
@pytest.mark.parametrize(
    ("kind", "value", "column", "found"),
    [
        ("choices", {"choices": ["pos"]}, "label", "pos"),
        ("rating", {"rating": 4}, "rating", "4"),
        ("number", {"number": 0}, "score", "0"),
        ("textarea", {"text": ["Fine."]}, "answer", "Fine."),
    ],
)
def test_answers_in_label_studio_are_columns(write, suffix, kind, value, column, found):
    result = [{"type": kind, "value": value, "from_name": "q", "to_name": "text"}]
    task = json.dumps({"id": 1, "data": {"text": "a"}, "annotations": [{"result": result}]})
    (row,) = read_rows(write(f"a.{suffix}", task if suffix == "jsonl" else f"[{task}]"))
    assert row.values == {"id": 1, "text": "a", column: found}


def test_categories_of_spacy_are_labels(write):
    (row,) = read_rows(write("a.json", '[["a text", {"cats": {"POS": 1.0, "NEG": 0.0}}]]'))
    assert row.values == {"text": "a text", "label": {"POS": 1.0, "NEG": 0.0}}


@pytest.mark.parametrize("suffix", ["json", "jsonl"])
def test_a_row_may_be_a_list_of_messages(write, suffix):
    talk = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    text = json.dumps([talk, talk]) if suffix == "json" else f"{json.dumps(talk)}\n" * 2
    assert [row.values for row in read_rows(write(f"a.{suffix}", text))] == [{"messages": talk}] * 2


@pytest.mark.parametrize("action", ["index", "create", "update"])
def test_a_bulk_file_of_elasticsearch_is_named_with_the_command_that_leaves_its_actions_out(write, action):
    documents = [{"prompt": "q", "completion": "a"}, {"prompt": "q", "completion": "b"}]
    held = [{"doc": one} if action == "update" else one for one in documents]
    lines = [line for one in held for line in ({action: {"_index": "x", "_id": "1"}}, one)]
    path = write("rows.ndjson", "\n".join(map(json.dumps, lines)) + "\n")
    with pytest.raises(DataError, match="bulk file of Elasticsearch") as caught:
        list(read_rows(path))
    assert run_jq(caught.value.fix, *lines) == documents


def test_a_row_whose_only_column_has_the_name_of_an_action_stays_one(write):
    path = write("rows.jsonl", '{"index": {"text": "a"}}\n{"update": {}, "text": "b"}\n')
    assert len(list(read_rows(path))) == 2


def test_rows_by_their_ids_have_a_command_though_each_holds_a_list(write):
    """As MultiWOZ has its dialogues."""
    value = {f"d{number}": {"goal": {}, "log": [{"text": "Hi."}, {"text": "Hello."}]} for number in range(3)}
    with pytest.raises(DataError) as caught:
        list(read_rows(write("a.json", json.dumps(value))))
    assert run_jq(caught.value.fix, value) == list(value.values())
    with pytest.raises(DataError) as caught:
        list(read_rows(write("b.json", json.dumps({"old": ROWS[:1], "new": {"rows": ROWS}}))))
    assert "jq" not in caught.value.fix
