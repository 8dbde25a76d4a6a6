"""Entities as spans of characters: each tool's form gives the same words and tags, and what does not fit is named."""

from __future__ import annotations

import json

import pytest

from burnish.data.rows.dataset import load_records
from burnish.data.rows.row import Row, RowError
from burnish.data.rows.shapes import detect_shape
from burnish.data.tags.words import word_places, words_of
from burnish.errors import DataError
from burnish.recipe.schema import DataSection
from tests.snapshots import check_message, check_text

TEXT = "Anna Lee lives in New York, doesn't she?"
WORDS = ["Anna", "Lee", "lives", "in", "New", "York", ",", "doesn't", "she", "?"]
TAGS = ["B-PER", "I-PER", "O", "O", "B-LOC", "I-LOC", "O", "O", "O", "O"]
SPANS = [(0, 8, "PER"), (18, 26, "LOC")]


def studio(spans, text=TEXT):
    return [
        {"id": str(n), "type": "labels", "from_name": "label", "to_name": "text",
         "value": {"start": start, "end": end, "text": text[start:end], "labels": [label]}}
        for n, (start, end, label) in enumerate(spans)
    ]  # fmt: skip


def tokens(text=TEXT):
    return [{"text": text[a:b], "start": a, "end": b, "id": n} for n, (a, b) in enumerate(word_places(text))]


FORMS = {
    "doccano label": {"id": 1, "text": TEXT, "label": [list(span) for span in SPANS], "Comments": []},
    "doccano labels": {"text": TEXT, "labels": [list(span) for span in SPANS]},
    "doccano entities": {
        "text": TEXT,
        "entities": [{"id": 0, "label": kind, "start_offset": start, "end_offset": end} for start, end, kind in SPANS],
        "relations": [],
    },
    "spacy entities": {"text": TEXT, "entities": [list(span) for span in SPANS]},
    "spacy ents": {"text": TEXT, "ents": [{"start": start, "end": end, "label": label} for start, end, label in SPANS]},
    "label first": {"text": TEXT, "spans": [[label, start, end] for start, end, label in SPANS]},
    "prodigy": {
        "text": TEXT,
        "tokens": tokens(),
        "spans": [{"start": s, "end": e, "token_start": 0, "token_end": 1, "label": label} for s, e, label in SPANS],
        "answer": "accept",
        "_input_hash": 1,
    },
    "label studio": {"id": 1, "data": {"text": TEXT}, "annotations": [{"id": 7, "result": studio(SPANS)}]},
    "label studio min": {"id": 1, "text": TEXT, "label": [one["value"] for one in studio(SPANS)]},
    "hub": {"text": TEXT, "entities": [{"start": a, "end": b, "type": k, "text": TEXT[a:b]} for a, b, k in SPANS]},
    "under data": {"data": TEXT, "label": [list(span) for span in SPANS]},
    "under sentence": {"sentence": TEXT, "label": [list(span) for span in SPANS]},
    "places as text": {"text": TEXT, "label": [[str(start), str(end), label] for start, end, label in SPANS]},
    "places of objects as text": {
        "text": TEXT, "entities": [{"start": str(a), "end": str(b), "label": label} for a, b, label in SPANS]
    },
    "a cell as Python prints it": {"text": TEXT, "entities": str(SPANS)},
    "a cell of a table": {"text": TEXT, "entities": json.dumps([list(span) for span in SPANS])},
}  # fmt: skip


def record(values):
    row = Row(values, "a.jsonl", 1)
    shape = detect_shape([row], {})
    assert shape.name == "entities"
    return shape.to_record(row)


@pytest.mark.parametrize("form", FORMS)
def test_each_form_gives_the_same_words_and_tags(form):
    found = record(FORMS[form])
    assert (list(found.tokens), list(found.tags)) == (WORDS, TAGS)  # type: ignore[attr-defined]


def test_the_words_are_those_that_a_prompt_is_split_into():
    assert WORDS == words_of(TEXT) == [TEXT[start:end] for start, end in word_places(TEXT)]


def tags(text, *spans):
    found = record({"text": text, "entities": [list(span) for span in spans]})
    return [(word, tag) for word, tag in zip(found.tokens, found.tags, strict=True) if tag != "O"]  # type: ignore


@pytest.mark.parametrize(
    ("text", "spans", "expected"),
    [
        ("Rome  and Oslo", [(0, 5, "X"), (9, 14, "X")], [("Rome", "B-X"), ("Oslo", "B-X")]),
        ("New York-based firm", [(0, 8, "LOC")], [("New", "B-LOC"), ("York", "I-LOC")]),
        ("the U.S. today", [(4, 8, "LOC")], [("U.S", "B-LOC"), (".", "I-LOC")]),
        ("the U.S. today", [(4, 7, "LOC")], [("U.S", "B-LOC")]),
        ("Anna's hat", [(0, 4, "PER")], [("Anna", "B-PER")]),
        ("A B", [(0, 1, "X"), (2, 3, "X")], [("A", "B-X"), ("B", "B-X")]),
        ("A B", [(0, 1, "X"), (0, 1, "X")], [("A", "B-X")]),
        ("😀 Anna in Rome", [(2, 6, "PER"), (10, 14, "LOC")], [("Anna", "B-PER"), ("Rome", "B-LOC")]),
        ("我住在北京市。", [(3, 5, "LOC")], [("北", "B-LOC"), ("京", "I-LOC")]),
        ("नमस्ते दिल्ली", [(7, 13, "LOC")], [("दिल्ली", "B-LOC")]),
        ("زار أحمد القاهرة", [(4, 8, "PER")], [("أحمد", "B-PER")]),
    ],
)
def test_spans_become_the_tags_of_their_words(text, spans, expected):
    assert tags(text, *spans) == expected


def test_places_in_utf16_units_are_understood_where_the_text_of_the_spans_shows_them():
    text = "😀😀 Anna sings"
    values = {"text": text, "label": [{"start": 5, "end": 9, "text": "Anna", "labels": ["PER"]}]}
    found = record(values)
    assert list(zip(found.tokens, found.tags, strict=True))[-2:] == [("Anna", "B-PER"), ("sings", "O")]  # type: ignore


REFUSED = {
    "past the end": ("Anna", [[0, 9, "X"]]),
    "before the beginning": ("Anna", [[-1, 4, "X"]]),
    "empty": ("Anna", [[2, 2, "X"]]),
    "reversed": ("Anna", [[4, 0, "X"]]),
    "only white space": ("Anna  sings", [[4, 6, "X"]]),
    "cuts a word": ("London calls", [[0, 3, "X"]]),
    "overlap": ("New York Times", [[0, 8, "LOC"], [4, 14, "ORG"]]),
    "two labels": ("Anna", [{"start": 0, "end": 4, "labels": ["A", "B"]}]),
    "no label": ("Anna", [{"start": 0, "end": 4, "label": None}]),
    "no end": ("Anna sings", [{"start": 0, "end": 4, "label": "X"}, {"start": 5, "label": "X"}]),
    "another text": ("Anna sings", [{"start": 0, "end": 4, "label": "X", "text": "Otto"}]),
    "half a number": ("Anna", [{"start": 0.5, "end": 4, "label": "X"}]),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_span_that_does_not_fit_rejects_its_row_in_words(case):
    text, spans = REFUSED[case]
    with pytest.raises(RowError) as caught:
        record({"text": text, "entities": spans})
    check_text(str(caught.value))


@pytest.mark.parametrize(
    "values",
    [
        {"text": "Anna sings", "spans": [{"start": 0, "end": 4, "label": "X"}], "answer": "reject"},
        {"text": "", "entities": [[0, 1, "X"]]},
        {"data": {"text": "Anna"}, "annotations": [{"result": studio([(0, 4, "X")], "Anna"), "was_cancelled": True}]},
        {"data": {"text": "Anna"}, "annotations": []},
        {"data": {"text": "Anna"}, "annotations": [{"result": [{"type": "choices", "value": {"choices": ["A"]}}]}]},
        {"data": {"image": "x.png", "other": "y"}, "annotations": [{"result": []}]},
    ],
    ids=["rejected", "no text", "cancelled", "not annotated", "choices", "no text of a task"],
)
def test_a_row_without_usable_annotations_is_rejected_in_words(values):
    with pytest.raises(RowError) as caught:
        record(values)
    check_text(str(caught.value))


def lines(rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


@pytest.mark.parametrize("column", ["label", "labels", "entities", "spans"])
@pytest.mark.parametrize("empty", [3, 30])
def test_texts_without_entities_are_texts_of_words_outside(write, column, empty):
    rows = [{"text": f"Anna sings {n}", column: [[0, 4, "PER"]]} for n in range(9)]
    rows += [{"text": f"It rains {n}", column: []} for n in range(empty)]
    write("a.jsonl", lines(rows))
    records = load_records(DataSection(path="a.jsonl"))
    assert (records.shape.name, len(records.train) + len(records.valid) + len(records.test)) == ("entities", len(rows))
    assert records.rejected == []


def test_lists_of_labels_stay_labels(write):
    write("a.jsonl", lines([{"text": f"a {n}", "labels": ["x", "y"][: n % 3]} for n in range(30)]))
    assert load_records(DataSection(path="a.jsonl")).shape.name == "labelled-text"


def test_bad_rows_are_counted_and_the_others_are_learned(write):
    rows = [{"text": f"Anna sings {n}", "label": [[0, 4, "PER"]]} for n in range(9)]
    write("a.jsonl", lines([*rows, {"text": "Anna", "label": [[0, 7, "PER"]]}]))
    records = load_records(DataSection(path="a.jsonl"))
    (rejected,) = records.rejected
    assert (len(records.train) + len(records.valid) + len(records.test), rejected.line) == (9, 10)


def test_several_annotations_of_a_text_are_named():
    values = {**FORMS["label studio"], "annotations": FORMS["label studio"]["annotations"] * 2}
    shape = detect_shape([Row(values, "a.json", 1), Row(FORMS["label studio"], "a.json", 2)], {})
    assert shape.notes == ("1 text has several annotations; the first of each is used.",)


GLINER = [
    {"tokenized_text": ["Anna", "Lee", "sings", "in", "Rome"], "ner": [[4, 4, "place"], [0, 1, "singer"]]},
    {"tokenized_text": ["It", "rains"], "ner": []},
]


def test_spans_of_words_end_with_their_last_word(tmp_path):
    path = tmp_path / "gliner.json"
    path.write_text(json.dumps(GLINER), encoding="utf-8")
    records = load_records(DataSection(path=str(path)))
    found = {one.tokens: one.tags for one in [*records.train, *records.valid, *records.test]}
    assert records.shape.name == "word-entities"
    assert found == {
        ("Anna", "Lee", "sings", "in", "Rome"): ("B-singer", "I-singer", "O", "O", "B-place"),
        ("It", "rains"): ("O", "O"),
    }
    check_text("\n".join(records.shape.notes))


@pytest.mark.parametrize(
    "spans",
    [[[0, 5, "x"]], [[-1, 0, "x"]], [[1, 0, "x"]], [[0, 1, "x"], [1, 2, "y"]], [[0, 0]], [[0, 0, ""]]],
    ids=["outside", "before", "backwards", "overlap", "no label", "empty label"],
)
def test_spans_of_words_that_do_not_fit_are_named(spans):
    row = Row({**GLINER[0], "ner": spans}, "a.jsonl", 3)
    shape = detect_shape([Row(GLINER[0], "a.jsonl", 1), Row(GLINER[1], "a.jsonl", 2)], {})
    with pytest.raises(RowError) as caught:
        shape.to_record(row)
    check_text(str(caught.value))


ROME = {("in", "Rome"): ("O", "B-place"), ("It", "rains"): ("O", "O")}


def tags_of_rows(*rows):
    """The tags by the words of each row, and the notes on how all were read."""
    given = [Row(values, "a.jsonl", line) for line, values in enumerate(rows, start=1)]
    shape = detect_shape(given, {})
    records = [shape.to_record(row) for row in given]
    return {one.tokens: one.tags for one in records}, shape.notes


@pytest.mark.parametrize(
    "rows",
    [
        [{"tokenized_text": ["in", "Rome"], "ner": [[1, 2, "place"]]}],
        [{"tokens": ["in", "Rome"], "entities": [{"type": "place", "start": 1, "end": 2}]}],
        [{"tokens": ["in", "Rome"], "entities": [{"type": "place", "start": 1, "end": 1}]}],
        [{"words": ["in", "Rome"], "spans": [{"label": "place", "token_start": 1, "token_end": 1}]}],
        [{"tokens": ["in", "Rome"], "ner": [[[1, 1, "place"]]]}],
    ],
    ids=["past", "spert", "last word", "token places", "dygie of one sentence"],
)
def test_the_places_show_whether_spans_of_words_end_past_their_last_word(rows):
    names = list(rows[0])
    found, notes = tags_of_rows(*rows, dict(zip(names, (["It", "rains"], []), strict=True)))
    assert found == ROME
    is_last = rows[0][names[1]] in ([[[1, 1, "place"]]],) or "1, 'end': 1" in str(rows) or "token_end" in str(rows)
    assert ("its last word" in notes[0]) == is_last


def test_spans_of_words_without_any_sign_end_as_their_format_has_it():
    two = {"tokens": ["Rio", "de", "Janeiro", "is", "big"]}
    assert tags_of_rows({**two, "ner": [[0, 2, "x"]]})[0] == {tuple(two["tokens"]): ("B-x", "I-x", "I-x", "O", "O")}
    assert tags_of_rows({**two, "entities": [[0, 2, "x"]]})[0] == {tuple(two["tokens"]): ("B-x", "I-x", "O", "O", "O")}


def test_sentences_of_a_document_count_from_its_first_word():
    row = {"sentences": [["in", "Rome"], ["Anna", "sings"]], "ner": [[[1, 1, "place"]], [[2, 2, "singer"]]]}
    assert tags_of_rows(row)[0] == {("in", "Rome", "Anna", "sings"): ("O", "B-place", "B-singer", "O")}
    with pytest.raises(RowError, match="words 0 to 0 is not in sentence 2"):
        tags_of_rows({**row, "ner": [[], [[0, 0, "singer"]]]})


def test_spans_of_words_that_contradict_each_other_are_refused():
    with pytest.raises(DataError) as caught:
        tags_of_rows({"tokens": ["in", "Rome"], "entities": [[1, 2, "place"], [0, 0, "x"]]})
    check_message(caught.value)


@pytest.mark.parametrize(
    "spans",
    [[[0, 3, "PER"], [14, 17, "LOC"]], [{"start": 0, "end": 3, "label": "PER", "text": "Anna"}]],
    ids=["without texts", "with texts"],
)
def test_ends_may_be_last_characters(spans):
    found, notes = tags_of_rows({"text": "Anna lives in Rome", "entities": spans})
    assert found == {("Anna", "lives", "in", "Rome"): ("B-PER", "O", "O", "B-LOC" if len(spans) > 1 else "O")}
    assert "The ends of spans are taken as their last characters" in notes[0]


def test_a_span_that_cuts_a_word_is_no_sign_for_all():
    rows = [{"text": "Anna lives in Rome", "entities": [[0, 4, "PER"], [14, 18, "LOC"], [5, 9, "X"]]}]
    with pytest.raises(RowError, match="cuts the word"):
        tags_of_rows(*rows)


def test_labels_beside_entities_are_named_with_the_options_that_learn_them():
    rows = [
        Row({"text": TEXT, "entities": [list(span) for span in SPANS], "intent": "ab"[number % 2]}, "a.jsonl", number)
        for number in range(10)
    ]
    shape = detect_shape(rows, {})
    check_text("\n".join(shape.notes))
    assert detect_shape(rows, {"label": "intent"}, "labelled-text").name == "labelled-text"
