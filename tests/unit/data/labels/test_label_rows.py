"""Labelled rows: what is a label, what is none, and what many of them together must be."""

from __future__ import annotations

import datetime
import json
import random
from decimal import Decimal

import pytest

import burnish
from burnish.data.labels.rows import FreeTextLabels, describe_labels, find_labels, has_label_lists, in_order
from burnish.data.rows.records import LabelledRecord, TextRecord
from burnish.data.rows.row import Row, RowError
from burnish.data.rows.settled import Asked
from burnish.data.rows.shapes import detect_shape
from burnish.errors import DataError
from tests.snapshots import check_message, check_text


def rows_of(*values):
    return [Row(value, "a.jsonl", line) for line, value in enumerate(values, start=1)]


def read_as(values):
    (row,) = rows_of(values)
    shape = detect_shape([row], {})
    return shape.name, shape.to_record(row)


def labelled(*labels, is_multi=False, line=1):
    return LabelledRecord(("x",), labels, is_multi, f"a.jsonl:{line}")


LABELS = [
    ("pos", ("pos",)),
    (" pos ", ("pos",)),
    ("a|b", ("a|b",)),
    (1, ("1",)),
    (1.0, ("1",)),
    ("1", ("1",)),
    (-0.0, ("0",)),
    (1.5, ("1.5",)),
    (Decimal("2.00"), ("2",)),
    (True, ("true",)),
    (False, ("false",)),
    (datetime.date(2024, 5, 6), ("2024-05-06",)),
]


@pytest.mark.parametrize(("value", "expected"), LABELS, ids=repr)
def test_a_label_is_a_word_whatever_its_type(value, expected):
    assert read_as({"text": "x", "label": value}) == ("labelled-text", labelled(*expected))


LISTS = [
    ([], ()),
    (["b", "a"], ("a", "b")),
    (["a", "a"], ("a",)),
    ([10, 9.0, "1"], ("1", "9", "10")),
]


@pytest.mark.parametrize(("value", "expected"), LISTS, ids=repr)
def test_a_list_is_a_set_of_labels_and_may_be_empty(value, expected):
    assert read_as({"text": "x", "labels": value}) == ("labelled-text", labelled(*expected, is_multi=True))


COLUMNS = [
    {"sentence": "x", "label": "a"},
    {"review": "x", "sentiment": "a"},
    {"comment": "x", "category": "a"},
    {"Text": "x", "Label": "a"},
    {"tweet": "x", "class": "a"},
    {"text": "x", "target": "a"},
]


@pytest.mark.parametrize("values", COLUMNS, ids=lambda values: "+".join(values))
def test_columns_of_a_labelled_text(values):
    assert read_as(values) == ("labelled-text", labelled("a"))


PAIRS = [
    {"sentence1": "x", "sentence2": "y", "label": "a"},
    {"premise": "x", "hypothesis": "y", "label": "a"},
    {"question1": "x", "question2": "y", "label": "a"},
    {"question": "x", "sentence": "y", "label": "a"},
    {"text": "x", "text_pair": "y", "label": "a"},
    {"sentence1": "x", "sentence2": "y", "gold_label": "a"},
]


@pytest.mark.parametrize("values", PAIRS, ids=lambda values: "+".join(values))
def test_columns_of_a_labelled_pair(values):
    name, record = read_as(values)
    assert name == "labelled-pair"
    assert record == LabelledRecord(("x", "y"), ("a",), False, "a.jsonl:1")


REFUSED = [
    {"text": "x", "label": None},
    {"text": "x", "label": float("nan")},
    {"text": "x", "label": float("inf")},
    {"text": "x", "label": Decimal("NaN")},
    {"text": "x", "label": " "},
    {"text": "x", "labels": ["a", None]},
    {"text": "x", "labels": ["a", ["b"]]},
    {"text": "x", "label": {"a": 1}},
    {"text": "x", "labels": [0, 1, 0]},
    {"text": " ", "label": "a"},
    {"text": None, "label": "a"},
    {"premise": "x", "hypothesis": "", "label": "a"},
    {"text": "x", "label": b"a"},
    {"text": "x"},
]


@pytest.mark.parametrize("values", REFUSED, ids=lambda value: str(value)[:40])
def test_a_row_without_text_or_label_is_refused_by_itself(values):
    good = {"hypothesis": "y", **dict.fromkeys(values, "x")} if "premise" in values else {"text": "x", "label": "a"}
    good |= {"labels": ["a"]} if "labels" in values else {}
    good = {name: value for name, value in good.items() if name in values or name == "label"}
    shape = detect_shape(rows_of(*[good] * 200), {})
    with pytest.raises(RowError) as caught:
        shape.to_record(Row(values, "a.jsonl", 1))
    check_message(caught.value)


NOT_LABELLED = [
    ({"prompt": "q", "completion": "a", "label": True}, "rated"),
    ({"prompt": "q", "completion": "a", "label": "spam"}, "prompt-completion"),
    ({"instruction": "q", "output": "a", "category": "x"}, "alpaca"),
    ({"question": "q", "answer": "a", "label": "x"}, "question-answer"),
    ({"text": "x", "title": "t"}, "text"),
]


@pytest.mark.parametrize(("values", "name"), NOT_LABELLED, ids=lambda value: str(value)[:30])
def test_a_label_beside_more_reporting_columns_makes_no_classification(values, name):
    assert detect_shape(rows_of(values), {}).name == name


def test_a_text_corpus_does_not_become_classification_by_accident():
    corpus = rows_of(*({"text": f"text {number}", "label": f"id-{number}"} for number in range(10)))
    with pytest.raises(DataError) as caught:
        detect_shape(corpus, {})
    check_message(caught.value)
    shape = detect_shape(corpus, {}, asked=Asked(records=(TextRecord,)))
    assert shape.name == "text"
    assert shape.ignored == ("label",)
    unlabelled = detect_shape(rows_of(*({"text": f"text {number}", "label": None} for number in range(3))), {})
    assert unlabelled.name == "text"


def test_labels_that_are_shared_or_asked_for_stay_labels():
    values = [{"text": f"text {number}", "label": f"id-{number}"} for number in range(10)]
    assert detect_shape(rows_of(*values, {"text": "more", "label": "id-0"}), {}).name == "labelled-text"
    assert detect_shape(rows_of(*values[:9]), {}).name == "labelled-text"
    assert detect_shape(rows_of(*values), {}, "labelled-text").name == "labelled-text"
    assert detect_shape(rows_of(*values), {"label": "label"}).name == "labelled-text"


def test_other_columns_are_read_as_mapped():
    (row,) = rows_of({"satz": "x", "klasse": "a", "id": 1})
    shape = detect_shape([row], {"text": "satz", "label": "klasse"})
    assert (shape.name, shape.ignored) == ("labelled-text", ("id",))
    assert shape.to_record(row) == labelled("a")


def test_labels_stand_in_numeric_order_where_they_are_numbers():
    assert in_order({"10", "9", "-1"}) == ["-1", "9", "10"]
    assert in_order({"10", "9", "x"}) == ["10", "9", "x"]
    assert in_order({"1", "nan"}) == ["1", "nan"]


def test_lists_and_single_labels_do_not_mix():
    single, listed = labelled("a"), labelled("a", is_multi=True, line=2)
    assert has_label_lists([listed, listed])
    assert not has_label_lists([single, single])
    for records in ([single, listed], [listed, single]):
        with pytest.raises(DataError) as caught:
            has_label_lists(records)
        assert caught.value.what == "a.jsonl:2 has a list of labels, but a.jsonl:1 has a single label"


def test_one_label_for_all_rows_is_nothing_to_learn():
    with pytest.raises(DataError, match="every training row has the same label: `a`"):
        find_labels([labelled("a")] * 5, False)
    with pytest.raises(DataError, match="no training row has a label"):
        find_labels([labelled(is_multi=True)] * 5, True)
    assert find_labels([labelled("a", is_multi=True), labelled(is_multi=True)], True) == ["a"]


def test_more_labels_than_half_of_the_rows_are_free_text_if_few_recur():
    records = [labelled(f"{number}") for number in range(10)] + [labelled("0")] * 3
    with pytest.raises(DataError, match="look like free text: 10 different ones in 13 training rows"):
        find_labels(records, False)
    assert len(find_labels([*records, labelled("1")], False)) == 10, "six of fourteen rows share their label"
    assert len(find_labels([*records, *[labelled("0")] * 7], False)) == 10, "half of the rows and no more"


def test_free_text_names_columns_that_may_have_the_labels_instead():
    with pytest.raises(FreeTextLabels) as caught:
        find_labels([labelled(f"{number}") for number in range(10)], False)
    assert "COLUMN" not in caught.value.fix
    beside = caught.value.beside(("id", "kind", "my_topic"))
    assert "labels: `--set data.columns.label=my_topic` or `--set data.columns.label=kind`." in beside.fix
    assert "No other column is left for labels." in caught.value.beside(("id",)).fix


def test_the_unused_columns_are_those_that_are_named(tmp_path):
    rows = [
        {"text": f"t {one}", "label": f"free remark number {one % 19} of it", "kind": "ab"[one % 2]}
        for one in range(20)
    ]
    data = tmp_path / "rows.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    with pytest.raises(DataError, match="look like free text") as caught:
        burnish.check_data(data, task="classify")
    assert "`--set data.columns.label=kind`" in caught.value.fix


def test_many_labels_of_many_words_are_free_text():
    records = [labelled(f"one {number} three four five six") for number in range(10)] + [labelled("0 0")] * 7
    assert len(find_labels(records, False)) == 11
    sentences = [labelled(f"one {number} three four five six seven eight nine ten eleven") for number in range(10)]
    with pytest.raises(DataError, match="look like free text: 11 different ones in 17 training rows"):
        find_labels(sentences + records[10:], False)


def test_a_sample_of_many_classes_is_no_free_text():
    source = random.Random(0)
    records = [labelled(f"intent_{source.randrange(150)}") for _ in range(180)]
    assert len(find_labels(records, False)) > 90


def test_few_labels_are_labels():
    assert find_labels([labelled("a"), labelled("b"), labelled("a")], False) == ["a", "b"]


def test_how_uneven_the_labels_are_is_reported():
    records = [labelled("a")] * 9 + [labelled("b")]
    check_text(describe_labels(records, ["a", "b"]))
