"""JSON whose rows have no names of columns, and objects that hold many rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from burnish.data.files.json_layouts import row_of
from burnish.data.files.readers import read_rows
from burnish.data.rows.dataset import load_records
from burnish.data.rows.row import Rejected, Row
from burnish.errors import DataError
from burnish.recipe.schema import DataSection
from tests.snapshots import check_message, check_text

LABELS = ("weather", "flight")
LABELLED = [[f"what is it in town {number}", LABELS[number % 2]] for number in range(24)]
PAIRS = [[f"What is {number}?", f"It is {number}."] for number in range(12)]
TALK = ["Hi.", "Hello.", "How are you?", "Fine."]


def text_of(rows: Any, name: str) -> str:
    return "\n".join(map(json.dumps, rows)) if name.endswith(".jsonl") else json.dumps(rows)


def values(path: Any) -> list[dict[str, Any]]:
    return [row.values for row in read_rows(path) if not isinstance(row, Rejected)]


def rejected(path: Any) -> list[Rejected]:
    return [row for row in read_rows(path) if isinstance(row, Rejected)]


def records(path: Any) -> Any:
    return load_records(DataSection(path=str(path)))


@pytest.mark.parametrize("name", ["a.json", "a.jsonl"])
@pytest.mark.parametrize("rows", [LABELLED, [row[::-1] for row in LABELLED], PAIRS], ids=["label", "reversed", "pairs"])
def test_two_columns_without_names_are_read_by_what_they_hold_and_a_note_says_so(write, name, rows):
    found = records(write(name, text_of(rows, name)))
    kept = [*found.train, *found.valid, *found.test]
    assert len(kept) == len(rows) and found.rejected == []
    if rows is PAIRS:
        assert found.shape.name == "prompt-completion"
        assert {tuple(one["content"] for one in record.messages) for record in kept} == set(map(tuple, PAIRS))
    else:
        assert found.shape.name == "labelled-text"
        assert {(record.texts[0], record.labels[0]) for record in kept} == set(map(tuple, LABELLED))
    check_text("\n".join(found.shape.notes))


def test_lines_of_lists_are_json_lines_also_under_the_name_json(write):
    assert values(write("a.json", text_of(LABELLED, "a.jsonl")))[0] == dict(
        zip(("column 1", "column 2"), LABELLED[0], strict=True)
    )


@pytest.mark.parametrize("name", ["a.json", "a.jsonl"])
@pytest.mark.parametrize(
    ("header", "rows"),
    [
        (["text", "label"], LABELLED),
        (["Utterance", "klasse"], LABELLED),
        (["nr", "satz"], [[number, text] for number, (text, _) in enumerate(LABELLED)]),
    ],
)
def test_a_first_row_of_names_is_a_header(write, name, header, rows):
    read = values(write(name, text_of([header, *rows], name)))
    assert read == [dict(zip(header, row, strict=True)) for row in rows]


@pytest.mark.parametrize("first", [["comment", "noun"], ["what it is", "noun"]])
def test_a_first_row_that_recurs_or_has_no_name_is_a_row(write, first):
    rows = [first, *[[f"word {number}", "noun"] for number in range(12)]]
    assert len(values(write("a.json", json.dumps(rows)))) == 13


def test_three_columns_are_asked_about(write):
    rows = [[number, *row] for number, row in enumerate(LABELLED)]
    with pytest.raises(DataError, match="column 3") as caught:
        records(write("a.json", json.dumps(rows)))
    assert "data.columns.text=column 2" in caught.value.fix


@pytest.mark.parametrize("name", ["a.json", "a.jsonl"])
def test_other_items_among_rows_of_cells_are_rejected_one_by_one(write, name):
    rows = [*LABELLED, ["only one"], "odd", 3]
    found = rejected(write(name, text_of(rows, name)))
    assert [row.reason for row in found] == [
        "1 cells, but the other rows have 2",
        "expected a list of 2 cells, unlike `odd`",
        "expected a list of 2 cells, unlike `3`",
    ]


@pytest.mark.parametrize("name", ["a.json", "a.jsonl"])
def test_bare_texts_are_texts(write, name):
    texts = [text for text, _ in LABELLED]
    assert values(write(name, text_of(texts, name))) == [{"text": text} for text in texts]


def test_lists_of_texts_of_several_lengths_and_below_conversations_are_said_in_turn(write):
    talks = [TALK, TALK[:2], TALK[:3], TALK]
    assert values(write("a.json", json.dumps(talks))) == [{"conversations": talk} for talk in talks]
    pairs = {"categories": ["x"], "conversations": PAIRS}
    assert values(write("b.json", json.dumps(pairs))) == [{"conversations": pair} for pair in PAIRS]
    assert records("b.json").shape.name == "turns"


WRAPPED = {
    "key": {"data": LABELLED},
    "deep key": {"version": 1, "all": {"rows": LABELLED}},
    "header beside": {"header": ["text", "label"], "rows": LABELLED},
    "columns below a key": {"data": {"text": [a for a, _ in LABELLED], "label": [b for _, b in LABELLED]}},
    "rows below keys": {
        f"q{n}": {"text": a, "label": b, **({"x": 1} if n else {})} for n, (a, b) in enumerate(LABELLED)
    },
    "numbered below a key": {"examples": {str(n): {"text": a, "label": b} for n, (a, b) in enumerate(LABELLED)}},
    "hub's viewer": {
        "features": [{"name": "text", "type": {}}, {"name": "label", "type": {"names": LABELS, "_type": "ClassLabel"}}],
        "rows": [{"row_idx": n, "row": {"text": a, "label": LABELS.index(b)}} for n, (a, b) in enumerate(LABELLED)],
    },
    "intents": {
        "intents": [
            {"tag": one, "patterns": [text for text, label in LABELLED if label == one], "responses": ["Ok."]}
            for one in LABELS
        ]
    },
    "Rasa": {
        "nlu": [
            {"intent": one, "examples": "".join(f"- {text}\n" for text, label in LABELLED if label == one)}
            for one in LABELS
        ]
    },
    "intents by name": {
        one: {"patterns": [text for text, label in LABELLED if label == one], "responses": ["Ok."]} for one in LABELS
    },
    "intents by name below a key": {
        "version": 2,
        "intents": {one: {"examples": [text for text, label in LABELLED if label == one]} for one in LABELS},
    },
    "search of Elasticsearch": {
        "took": 3,
        "hits": {
            "total": {"value": 24},
            "hits": [{"_index": "i", "_source": {"text": a, "label": b}} for a, b in LABELLED],
        },
    },
    "below labels": {
        one: [text for text, label in LABELLED if label == one][number:] for number, one in enumerate(LABELS)
    },
    "texts as keys": dict(LABELLED),
}


@pytest.mark.parametrize("form", WRAPPED)
def test_each_form_gives_the_labelled_texts_and_says_how(write, form):
    found = records(write("a.json", json.dumps(WRAPPED[form])))
    kept = {(record.texts[0], record.labels[0]) for part in (found.train, found.valid, found.test) for record in part}
    lost = {tuple(LABELLED[1])} if form == "below labels" else set()
    assert kept == set(map(tuple, LABELLED)) - lost
    check_text("\n".join(found.shape.notes))


def test_answers_of_intents_are_named_as_unused(write):
    assert records(write("a.json", json.dumps(WRAPPED["intents"]))).ignored_columns == ("responses",)


def test_intents_in_lines_are_read_as_those_in_a_list(write):
    lines = [*WRAPPED["intents"]["intents"], {"tag": "none", "patterns": []}]
    path = write("a.jsonl", "\n".join(map(json.dumps, lines)))
    assert [(row["text"], row["label"]) for row in values(path)] == sorted(
        map(tuple, LABELLED), key=lambda pair: LABELS.index(pair[1])
    )
    assert [(row.line, row.reason) for row in rejected(path)] == [(3, "`none` has no `patterns`")]
    note = next(row.note for row in read_rows(path) if isinstance(row, Row))
    assert "`jq -c '.responses[0] as $a | .patterns[] |" in note


TABLES = {"en": {"text": ["a b", "c d"], "summary": ["a", "c"]}, "de": {"text": ["e f", "g h"], "summary": ["e", "g"]}}
TWO = {"intents": WRAPPED["intents by name"], "small talk": WRAPPED["intents by name"]}


@pytest.mark.parametrize("document", [TABLES, TWO], ids=["tables", "two"])
def test_objects_that_may_be_something_else_are_no_intents(write, document):
    """Nothing of them may be left out without a word."""
    notes = {row.note for row in read_rows(write("a.json", json.dumps(document))) if isinstance(row, Row)}
    assert not any("intents by name" in note for note in notes)


def test_what_a_hit_of_elasticsearch_says_of_itself_stays_a_column(write):
    hits = [{"_index": "i", "_id": str(n), "_source": {"text": a, "label": b}} for n, (a, b) in enumerate(LABELLED)]
    found = records(write("a.jsonl", "\n".join(map(json.dumps, hits))))
    assert found.shape.name == "labelled-text"
    assert found.ignored_columns == ("_id", "_index")


SENTENCES = [
    [["Anna", "B-PER"], ["is", "O"], ["in", "O"], ["Rome", "B-LOC"], *[[".", "O"]] * (n % 3)] for n in range(9)
]
TAGGED = [{"tokens": [word for word, _ in one], "tags": [tag for _, tag in one]} for one in SENTENCES]


@pytest.mark.parametrize("key", ["", "sentence"])
@pytest.mark.parametrize("name", ["a.json", "a.jsonl"])
def test_words_beside_their_tags_are_a_sentence(write, name, key):
    rows = [{"id": n, key: one} if key else one for n, one in enumerate(SENTENCES)]
    expected = [{**({"id": n} if key else {}), **one} for n, one in enumerate(TAGGED)]
    path = write(name, text_of(rows, name))
    assert values(path) == expected
    assert records(path).shape.name == "tagged"


def test_parts_of_speech_between_words_and_tags_are_a_column(write):
    rows = [[[word, "X", tag] for word, tag in one] for one in SENTENCES]
    assert values(write("a.json", json.dumps(rows))) == [
        {**one, "column 2": ["X"] * len(one["tags"])} for one in TAGGED
    ]


TALKS = [[["Hi.", "Hello."], ["Fine?", "Yes."]], [["Hi", "OK"], ["How are you", "FINE"]], [["a", "O"], ["b"]], [[]], []]


PAIRED = [[["Hi", "OK"], ["Bye", "YES"]], [["Anna", "PER"], ["Rome", "LOC"]], [["Rome", "in", "ITALY"]]]
"""Said in turn, names with their kinds, and what is said of one by another."""


@pytest.mark.parametrize("value", [*TALKS, *PAIRED], ids=str)
def test_other_lists_of_lists_are_no_sentences(value):
    assert row_of(value) is None
    assert row_of({"talk": value}) == {"talk": value}


@pytest.mark.parametrize("key", ["tokens", "words", "tags"])
def test_words_that_a_row_has_already_are_not_replaced(key):
    row = {key: ["Anna"], "pairs": SENTENCES[0]}
    assert row_of(row) == row


def test_names_with_their_kinds_beside_a_text_are_asked_about(write):
    """They have no places, and are not all words of the text."""
    rows = [{"text": f"Anna lives in Rome {n}", "entities": PAIRED[1]} for n in range(8)]
    with pytest.raises(DataError, match="`entities` seems to annotate the text"):
        records(write("a.jsonl", text_of(rows, "a.jsonl")))


def test_tags_in_a_column_called_ner(write):
    rows = [{"tokens": one["tokens"], "ner": one["tags"]} for one in TAGGED]
    assert records(write("a.jsonl", text_of(rows, "a.jsonl"))).shape.name == "tagged"


def test_an_intent_without_texts_and_a_text_that_is_none_are_rejected(write):
    document = {"intents": [*WRAPPED["intents"]["intents"], {"tag": "none", "patterns": []}]}
    assert [row.reason for row in rejected(write("a.json", json.dumps(document)))] == ["`none` has no `patterns`"]


ROWS = [
    {"sentences": ["a b", "c d"], "label": "x"},
    {"utterances": ["a b", "c d"], "label": "x"},
    {"text": ["a", "b"], "tag": "x"},
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: next(iter(row)))
def test_labels_that_recur_are_those_of_whole_rows(write, row):
    assert values(write("a.json", json.dumps([row] * 8))) == [row] * 8


SMALL = [
    {"name": "a b", "kind": "c d"},
    {f"key {number}": None for number in range(30)},
    {**{f"key {number}": "a b" for number in range(30)}, "text": "a b"},
    {f"app.key_{number}": f"Do it {number}" for number in range(200)},
    {f"word {number}": number + 0.5 for number in range(30)},
]


@pytest.mark.parametrize("value", SMALL, ids=["few", "nothing", "known name", "no words", "numbers"])
def test_an_object_that_may_be_a_row_stays_one(write, value):
    assert values(write("a.json", json.dumps(value))) == [value]


def test_texts_with_answers_as_keys(write):
    document = {f"What is {number}?": f"It is {number}." for number in range(20)}
    assert values(write("a.json", json.dumps(document, indent=1)))[3] == {
        "prompt": "What is 3?",
        "completion": "It is 3.",
    }
    assert [row.line for row in read_rows(Path("a.json"))] == list(range(2, 22))


def piece(*pieces: tuple[str, str]) -> dict[str, Any]:
    return {"data": [{"text": text, **({"entity": name} if name else {})} for text, name in pieces]}


def test_texts_in_pieces_are_joined_with_the_places_of_entities(write):
    document = {"Play": [piece(("play ", ""), (" one song ", "track"), ("by Abba", ""))], "Hi": [piece(("hello", ""))]}
    assert values(write("a.json", json.dumps(document))) == [
        {"intent": "Play", "text": "play  one song by Abba", "entities": [[6, 14, "track"]]},
        {"intent": "Hi", "text": "hello", "entities": []},
    ]


def test_marks_of_rasa_are_entities(write):
    examples = '- go to [Rome](city) now\n- see [Anna Lee]{"entity": "person", "role": "x"}\n- [Paris](city:paris)'
    document = {"nlu": [{"intent": "go", "examples": examples}, {"synonym": "x", "examples": "- y"}]}
    read = values(write("a.json", json.dumps(document)))
    assert [(row["text"], row["entities"]) for row in read] == [
        ("go to Rome now", [[6, 10, "city"]]),
        ("see Anna Lee", [[4, 12, "person"]]),
        ("Paris", [[0, 5, "city"]]),
    ]
    assert [row.reason for row in rejected(Path("a.json"))] == ["there is no `intent`"]


FORMS = {
    "cells": lambda rows: rows,
    "cells below a key": lambda rows: {"data": rows},
    "columns": lambda rows: {"text": [text for text, _ in rows], "label": [label for _, label in rows]},
}


@pytest.mark.parametrize("form", FORMS)
def test_splits_are_keys_wherever_they_stand_and_others_are_named_with_a_command(write, form):
    held_out = [[f"other {number}", LABELS[number % 2]] for number in range(6)]
    small = [[f"odd {number}", "oos"] for number in range(6)]
    filler = [[f"{'long ' * 50}{number}", LABELS[0]] for number in range(400)]
    parts = {"oos_val": small, "val": filler, "train": LABELLED, "test": held_out, "oos_train": small}
    found = records(write("a.json", json.dumps({name: FORMS[form](rows) for name, rows in parts.items()})))
    assert (len(found.train), len(found.valid), len(found.test)) == (24, 400, 6)
    check_text("\n".join(found.shape.notes[:2]))


def test_which_of_several_lists_is_asked_with_the_largest_as_the_example(write):
    document = {"intents": [{"name": "a"}], "utterances": [{"text": a, "intent": b} for a, b in LABELLED]}
    with pytest.raises(DataError) as caught:
        records(write("a.json", json.dumps(document)))
    assert "a.json:utterances" in caught.value.fix


@pytest.mark.parametrize("document", [{"a": [r[0] for r in LABELLED], "b": [r[0] for r in LABELLED]}, [TALK] * 12])
def test_what_else_texts_may_be_is_said(write, document):
    with pytest.raises(DataError) as caught:
        records(write("a.json", json.dumps(document)))
    check_message(caught.value)


def test_cells_beside_names_of_another_number_are_rejected(write):
    document = {"columns": ["text", "label"], "data": [["a", "b"], ["c"], ["d", "e", "f"]]}
    found = rejected(write("a.json", json.dumps(document)))
    assert [row.reason for row in found] == ["1 cells, but the header has 2", "3 cells, but the header has 2"]


def test_a_command_holds_for_names_with_spaces(tmp_path: Path) -> None:
    intents = [
        {"tag": f"tag {n}", "patterns": [f"how are {n}", f"who is {n}"], "responses": ["Fine."]} for n in range(4)
    ]
    path = tmp_path / "my bot.json"
    path.write_text(json.dumps({"all intents": intents}), encoding="utf-8")
    note = next(row.note for row in read_rows(path) if isinstance(row, Row))
    assert '`jq -c \'."all intents"[] |' in note
    assert f"'{path}' > OUT.jsonl`" in note


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.json"])
def test_objects_as_json_text_are_objects(write, name):
    texts = [json.dumps(json.dumps({"prompt": f"a {number}", "completion": "b"})) for number in range(3)]
    content = "\n".join(texts) if name.endswith("l") else f"[{', '.join(texts)}]"
    found = list(read_rows(write(name, content)))
    assert [row.values["prompt"] for row in found] == ["a 0", "a 1", "a 2"]


def test_texts_in_braces_are_texts(write):
    found = list(read_rows(write("rows.jsonl", '"{a} and {b}"\n"{}{"\n')))
    assert [row.values for row in found] == [{"text": "{a} and {b}"}, {"text": "{}{"}]
