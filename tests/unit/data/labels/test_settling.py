"""What a label column means, decided over all of its rows: several labels, no gold label, classes or a score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from burnish.data.labels.cells import find_separator, list_in_text
from burnish.data.labels.missing import find_missing, is_doubtful
from burnish.data.labels.numbers import are_amounts, number_of
from burnish.data.rows.records import LabelledRecord, Record, ScoredRecord, TextRecord
from burnish.data.rows.row import Row, RowError
from burnish.data.rows.settled import Asked
from burnish.data.rows.shapes import Shape, detect_shape
from burnish.errors import DataError
from burnish.recipe.schema import AnnotationSection
from tests.snapshots import check_message, check_text


def rows_of(values: Sequence[dict[str, Any]]) -> list[Row]:
    return [Row(value, "a.jsonl", line) for line, value in enumerate(values, start=1)]


def shape_of(
    cells: Sequence[Any], column: str = "label", records: tuple[type[Record], ...] = (), **annotation: Any
) -> Shape:
    """The shape of rows with a text and a cell each."""
    rows = rows_of([{"text": f"text {number}", column: cell} for number, cell in enumerate(cells)])
    return detect_shape(rows, {}, asked=Asked(records=records, annotation=AnnotationSection(**annotation)))


def labels_of(shape: Shape, cell: Any, column: str = "label") -> tuple[str, ...]:
    record = shape.to_record(Row({"text": "x", column: cell}, "a.jsonl", 1))
    assert isinstance(record, LabelledRecord)
    return record.labels


SEVERAL = [
    (["joy__anger", "anger", "joy", "fear__joy", "fear"], "underscores"),
    (["a/b", "b/c", "c/a", "a/b/c", "c/b", "b/a"], "slash"),
    (["a+b", "b+c", "c+a", "a+b+c", "c+b", "b+a"], "plus"),
    (["joy", "anger", "anger,joy", "fear,joy", "fear"], "comma"),
    (["joy", "anger, joy", "anger,fear, joy", "fear"], "comma"),
    (["a|b", "b", "a"], "bar"),
    (["a#b", "b#c", "c#a"], "hash"),
    (["a; b", "b", "a", "c; a", "c"], "semicolon"),
    (["shipping", "shipping, urgent", "billing, urgent", "billing", "defect, urgent", "defect"], "comma"),
    (["3", "1,2", "1,2,3", "2"], "comma"),
    (["14", "1 14", "1", "27 1", "27"], "space"),
    (["spam/ham", "spam", "ham"], "slash"),
    (["a\tb", "b", "a"], "tab"),
    (["a\nb", "b\nc", "c\r\na", "b"], "newline"),
    (["very good [SEP] new", "new", "very good"], "sep"),
    (["['a', 'b']", "['a']", "[]"], "list"),
    (['["a", "b"]', '["b"]'], "list"),
    (["['a' 'b']", "['b']"], "list"),
    (["[1 2]", "[2]", "[]"], "list"),
    (["('a', 'b')", "('b',)"], "list"),
    (["{'a', 'b'}", "{'b'}"], "list"),
]


@pytest.mark.parametrize(("cells", "separator"), SEVERAL, ids=str)
def test_parts_that_recur_are_labels_of_their_own(cells: list[str], separator: str) -> None:
    assert find_separator(cells) == separator
    shape = shape_of(cells * 4, "labels")
    assert shape.name == "labelled-text"
    assert ("annotation.separator", separator) in [choice[:2] for choice in shape.choices]
    assert len(shape.notes) == 1
    assert "--set annotation.separator=none" in shape.notes[0]
    assert all(isinstance(label, str) for label in labels_of(shape, cells[0], "labels"))


ONE = [
    ["New York, NY", "Albany, NY", "Los Angeles, CA", "San Diego, CA"],
    ["Portland, OR", "Portland, ME", "Salem, OR", "Salem, ME"],
    ["Paris, France", "Lyon, France", "Paris, Texas", "Austin, Texas"],
    ["Sci/Tech", "World", "Sports", "Business"],
    ["very good", "good", "very bad", "bad"],
    ["Food & Drink", "Home & Garden", "Toys"],
    ["TCP/IP", "UDP/IP", "HTTP"],
    ["2,6", "2,2", "1,6", "3", "4,8"],
    ["[UNK]", "[PAD]"],
    ["c++", "c", "java"],
    ["f(x)", "g(x)"],
]


@pytest.mark.parametrize("cells", ONE, ids=str)
def test_a_name_with_a_mark_in_it_is_one_label(cells: list[str]) -> None:
    assert find_separator(cells * 9) == "none"


def test_a_mark_that_separates_nothing_is_named() -> None:
    shape = shape_of(["New York, NY", "Albany, NY", "Los Angeles, CA"] * 6)
    assert labels_of(shape, "New York, NY") == ("New York, NY",)
    check_text("\n".join(shape.notes))


def test_the_user_decides_how_cells_are_split() -> None:
    cells = ["anger,joy", "joy", "anger"] * 4
    assert labels_of(shape_of(cells), "anger,joy") == ("anger", "joy")
    assert labels_of(shape_of(cells, separator="none"), "anger,joy") == ("anger,joy",)
    assert labels_of(shape_of(["a, b", "c, d"] * 4, separator="comma"), "c, d,") == ("c", "d")


def test_a_cell_becomes_a_set_of_labels() -> None:
    shape = shape_of(["b,a", "a", "b"] * 4, "labels")
    record = shape.to_record(Row({"text": "x", "labels": "b, a,, b"}, "a.jsonl", 1))
    assert record == LabelledRecord(("x",), ("a", "b"), True, "a.jsonl:1")


@pytest.mark.parametrize(
    ("text", "items"),
    [
        ("['a', \"b c\"]", ["a", "b c"]),
        ("[1, 2.5, null]", ["1", "2.5"]),
        ("[a, b]", ["a", "b"]),
        ("[]", []),
        ("a, b", None),
        ("<python><pandas>", ["python", "pandas"]),
        ("<c++>", ["c++"]),
        ("a <b>", None),
        ("[[1], [2]]", None),
        ("[{'a': 1}]", None),
        ("[", None),
    ],
)
def test_lists_in_text(text: str, items: list[str] | None) -> None:
    assert list_in_text(text) == items


MISSING = [
    (["0", "1", "2", "-1"], ["-1"]),
    (["1", "2", "3", "4", "5", "-1"], ["-1"]),
    (["0", "1", "2", "-100"], ["-100"]),
    (["entailment", "neutral", "contradiction", "-"], ["-"]),
    (["World", "Sports", "-1"], ["-1"]),
    (["a", "b", "nan", "NULL", "n/a"], ["nan", "NULL", "n/a"]),
    (["0", "1", "None"], ["None"]),
    (["a", "b", "None"], ["None"]),
    (["0", "1", "NA"], ["NA"]),
    (["a", "b", "?"], ["?"]),
    (["0.5", "1.5", "-1"], ["-1"]),
    (["0.5", "1.5", "inf", "-inf"], ["inf", "-inf"]),
    (["pos", "neg", "..."], ["..."]),
    (["pos", "neg", "No label", "(blank)", "n.a."], ["No label", "(blank)", "n.a."]),
]
CLASSES = [
    ["-1", "0", "1"],
    ["-1", "1"],
    ["0", "1"],
    ["-2", "-1", "0", "1", "2"],
    ["+", "-"],
    [".", ",", "?"],
    ["favor", "against", "none"],
    ["Favor", "Against", "None"],
    ["EU", "AS", "NA"],
    ["-0.3", "-1", "0.9", "0.5"],
    ["nan"],
    ["inf", "sup"],
    ["0", "1", "99"],
]


@pytest.mark.parametrize(("labels", "marks"), MISSING, ids=str)
def test_values_that_mean_no_gold_label(labels: list[str], marks: list[str]) -> None:
    assert find_missing(labels) == marks


@pytest.mark.parametrize("labels", CLASSES, ids=str)
def test_classes_that_look_like_missing_labels(labels: list[str]) -> None:
    assert find_missing(labels) == []


def test_a_row_without_a_gold_label_is_left_out_and_named() -> None:
    shape = shape_of([0, 1, 2, -1] * 5)
    assert labels_of(shape, 1) == ("1",)
    with pytest.raises(RowError, match="`label` is `-1`: the row has no gold label"):
        labels_of(shape, -1.0)
    check_text("\n".join(shape.notes))
    assert labels_of(shape_of([0, 1, 2, -1] * 5, missing=[]), -1) == ("-1",)
    with pytest.raises(RowError, match="no gold label"):
        labels_of(shape_of([0, 1, 2] * 5, missing=[2]), 2)


def test_a_doubtful_class_stays_one_with_a_word() -> None:
    assert is_doubtful("-1", ["-1", "0", "1"])
    assert is_doubtful("none", ["favor", "none"])
    assert not is_doubtful("-1", ["-1", "1"])
    assert is_doubtful("999", ["0", "1", "2", "999"]) and is_doubtful("unknown", ["pos", "neg", "unknown"])
    assert not is_doubtful("9", ["7", "8", "9"]) and not is_doubtful("99", ["98", "99", "100"])
    shape = shape_of([-1, 0, 1] * 5)
    assert labels_of(shape, -1) == ("-1",)
    check_text("\n".join(shape.notes))


AMOUNTS = [
    ([2.6, 2.2, 1.6, 5.0, 0.0], "label"),
    (["0.5", "0,75", "1"], "label"),
    ([1, 2, 3, 4, 5], "stars"),
    ([1, 2, 3, 4, 5], "rating"),
    (list(range(18, 91)), "label"),
    ([-1.5, 0, 2], "score"),
    (["10%", "25 %", "3%"], "label"),
    (["1,200", "900", "12,000"], "label"),
    (["3/5", "4/5", "1/5"], "rating"),
    ([0.3, 1.2, 4.4], "label"),
]
IDS = [
    ([0, 1, 2], "label"),
    ([1, 2, 3, 4, 5], "label"),
    ([0, 1], "score"),
    (["a", "2.5", "b"], "label"),
    (["good", "bad", "ok"], "rating"),
    (list(range(77)), "label"),
    (["1/2", "3/4", "5/8"], "label"),
]


@pytest.mark.parametrize(("cells", "column"), AMOUNTS, ids=lambda value: str(value)[:30])
def test_amounts_are_learned_as_a_score(cells: list[Any], column: str) -> None:
    shape = shape_of(cells, column)
    assert (shape.name, shape.record) == ("scored-text", ScoredRecord)
    number = number_of(str(cells[0]))
    assert shape.to_record(Row({"text": "x", column: cells[0]}, "a.jsonl", 1)) == ScoredRecord(
        ("x",), float(number or 0), "a.jsonl:1"
    )
    assert "`--task classify`" in shape.notes[0]
    assert shape_of(cells, column, records=(LabelledRecord,)).name == "labelled-text"


@pytest.mark.parametrize(("cells", "column"), IDS, ids=lambda value: str(value)[:30])
def test_classes_stay_classes(cells: list[Any], column: str) -> None:
    assert shape_of(cells * 6, column).name == "labelled-text"


NUMBERS = [
    ("1.5", 1.5), ("1,5", 1.5), ("0,125", 0.125), ("1,200", 1200), ("1,234,567.5", 1234567.5), ("-1,200", -1200),
    ("40 %", 40), ("4.5/5", 0.9), ("7/0", None), ("1,2,3", None), ("1,20,000", None), ("inf", None), ("x", None),
    ("4 stars", 4), ("1 Star", 1), ("3.5 points", 3.5), ("4 out of 5", 0.8), ("★★★☆☆", 3), ("⭐", 1), ("☆", None),
    ("stars", None), ("4 stars or so", None), ("4%", 4),
]  # fmt: skip


@pytest.mark.parametrize(("text", "number"), NUMBERS)
def test_how_numbers_are_written(text: str, number: float | None) -> None:
    assert number_of(text) == number


@pytest.mark.parametrize(
    "cells", [["1,200", "2,25", "0,5"], ["10%", "0.25", "0.5"], ["3/5", "4", "1/5"], ["3 out of 5", "4", "1"]], ids=str
)
def test_numbers_that_are_not_written_alike_are_refused(cells: list[str]) -> None:
    with pytest.raises(DataError) as caught:
        shape_of(cells, "score")
    check_message(caught.value)


def test_whole_numbers_may_be_taken_as_amounts() -> None:
    shape = shape_of([1, 2, 3, 4, 5] * 6)
    check_text("\n".join(shape.notes))
    assert shape_of([1, 2, 3, 4, 5] * 6, records=(ScoredRecord,)).name == "scored-text"
    assert shape_of([0, 1, 2] * 6).notes == ()
    stars = ["1 star", *(f"{number} stars" for number in range(2, 6))] * 6
    assert (shape_of(stars).name, shape_of(stars, "rating").name) == ("labelled-text", "scored-text")
    assert shape_of(stars).notes == shape.notes


def test_more_whole_numbers_than_pairs_have_classes_may_be_amounts() -> None:
    values = [{"sentence1": "x", "sentence2": f"y {n}", "label": n % 6} for n in range(60)]
    assert "`--task score`" in "".join(detect_shape(rows_of(values), {}).notes)
    assert detect_shape(rows_of([{**row, "label": row["label"] % 3} for row in values]), {}).notes == ()


def test_many_whole_numbers_are_classes_only_if_they_count_and_recur() -> None:
    assert not are_amounts([str(number) for number in range(50)] * 6, False)
    assert are_amounts([str(number) for number in range(50)], False)
    assert are_amounts([str(number * 7) for number in range(50)] * 6, False)


def test_a_pair_has_a_score_too() -> None:
    rows = rows_of([{"sentence1": "x", "sentence2": "y", "score": number / 4} for number in range(9)])
    shape = detect_shape(rows, {})
    assert shape.name == "scored-pair"
    assert shape.to_record(rows[1]) == ScoredRecord(("x", "y"), 0.25, "a.jsonl:2")
    mapped = detect_shape(rows_of([{"a": "x", "b": number / 4} for number in range(9)]), {"text": "a", "score": "b"})
    assert mapped.name == "scored-text"


@pytest.mark.parametrize("cell", [None, float("nan"), "", "high", [1]], ids=str)
def test_a_row_without_a_number_has_no_score(cell: Any) -> None:
    shape = shape_of([0.5, 1.5, 2.5] * 3, "score")
    with pytest.raises(RowError) as caught:
        shape.to_record(Row({"text": "x", "score": cell}, "a.jsonl", 1))
    check_message(caught.value)


FLAGS = [{"text": f"t {n}", "billing": n % 2, "damage": n % 3 // 2, "id": n} for n in range(30)]


def test_columns_of_0_and_1_are_labels() -> None:
    shape = detect_shape(rows_of(FLAGS), {})
    assert (shape.name, shape.ignored) == ("labelled-text", ("id",))
    assert shape.choices[0][:2] == ("annotation.columns", ["billing", "damage"])
    found = [shape.to_record(row) for row in rows_of(FLAGS[:6])]
    assert [record.labels for record in found if isinstance(record, LabelledRecord)] == [
        (),
        ("billing",),
        ("damage",),
        ("billing",),
        (),
        ("billing", "damage"),
    ]
    check_text("\n".join(shape.notes))


MARKS = [
    ("yes", "no"),
    ("x", ""),
    (1, None),
    ("True", "False"),
    ("1.0", "0.0"),
]


@pytest.mark.parametrize(("yes", "no"), MARKS, ids=str)
def test_flags_have_many_spellings(yes: Any, no: Any) -> None:
    values = [{"text": f"t {n}", "billing": (no, yes)[n % 2], "damage": (no, yes)[n % 3 // 2]} for n in range(30)]
    shape = detect_shape(rows_of(values), {})
    assert (shape.name, shape.ignored) == ("labelled-text", ())
    found = [shape.to_record(row) for row in rows_of(values[:3])]
    assert [record.labels for record in found if isinstance(record, LabelledRecord)] == [(), ("billing",), ("damage",)]
    saved = Asked(annotation=AnnotationSection(columns=["billing", "damage"]))
    assert detect_shape(rows_of(values), {}, "labelled-text", saved).to_record(rows_of(values)[0]) == found[0]


def test_an_empty_cell_beside_zeros_is_no_label() -> None:
    values = [{**row, "billing": None} if n == 4 else row for n, row in enumerate(FLAGS)]
    asked = Asked(annotation=AnnotationSection(columns=["billing", "damage"]))
    shape = detect_shape(rows_of(values), {}, asked=asked)
    with pytest.raises(RowError, match="no gold label"):
        shape.to_record(rows_of(values)[4])


def test_flags_beside_a_text_of_another_name_say_how_to_name_it() -> None:
    with pytest.raises(DataError) as caught:
        detect_shape(rows_of([{"note": f"t {n}", "toxic": n % 2, "threat": n % 3 // 2} for n in range(30)]), {})
    assert caught.value.fix == "Map the columns: `--set data.columns.text=note`"


OTHERS: list[dict[str, Any]] = [
    {"cats": {"a": True, "b": False}},
    {"genres": ["a", "b"]},
    {"joy": 0.25, "fear": 0.5},
]


@pytest.mark.parametrize("columns", OTHERS, ids=str)
def test_labels_and_shares_in_columns_of_other_names_are_asked_about(columns: dict[str, Any]) -> None:
    shares = [
        {name: cell + n / 99 if isinstance(cell, float) else cell for name, cell in columns.items()} for n in range(30)
    ]
    with pytest.raises(DataError) as caught:
        detect_shape(rows_of([{"text": f"t {n}", **cells} for n, cells in enumerate(shares)]), {})
    check_message(caught.value)


def test_other_rows_are_read_with_the_same_columns() -> None:
    asked = Asked(annotation=AnnotationSection(columns=["damage"]))
    shape = detect_shape(rows_of(FLAGS), {}, "labelled-text", asked)
    record = shape.to_record(Row({"text": "x", "damage": "1", "billing": "0"}, "a.jsonl", 1))
    assert record == LabelledRecord(("x",), ("damage",), True, "a.jsonl:1")
    with pytest.raises(RowError, match="no gold label"):
        shape.to_record(Row({"text": "x", "damage": "-1"}, "a.jsonl", 1))
    with pytest.raises(DataError) as caught:
        detect_shape(rows_of(FLAGS), {}, asked=replace(asked, annotation=AnnotationSection(columns=["loss"])))
    check_message(caught.value)


def test_one_annotation_beside_a_text_is_asked_about() -> None:
    rows = rows_of([{"text": f"t {number}", "spam": number % 2} for number in range(30)])
    with pytest.raises(DataError) as caught:
        detect_shape(rows, {})
    check_message(caught.value)
    assert detect_shape(rows, {"label": "spam"}).name == "labelled-text"
    assert detect_shape(rows, {}, "text").name == "text"


def test_where_a_text_is_from_is_no_annotation() -> None:
    rows = [{"text": f"t {n}", "source": f"s{n % 2}", "id": n, "words": "x" * 50} for n in range(30)]
    assert detect_shape(rows_of(rows), {}).name == "text"


def test_a_number_beside_long_texts_is_asked_about() -> None:
    rows = rows_of([{"text": "word " * 400, "score": number / 7} for number in range(30)])
    with pytest.raises(DataError) as caught:
        detect_shape(rows, {})
    check_message(caught.value)
    assert detect_shape(rows, {}, asked=Asked(records=(ScoredRecord,))).name == "scored-text"


def test_a_few_rows_without_the_column_are_left_out_by_themselves() -> None:
    rows = rows_of([*[{"text": f"t {number}", "label": "ab"[number % 2]} for number in range(30)], {"text": "x"}])
    shape = detect_shape(rows, {})
    with pytest.raises(RowError, match="there is no column `label`"):
        shape.to_record(rows[-1])


def test_a_task_for_texts_takes_the_text_alone() -> None:
    rows = rows_of([{"text": f"t {number}", "score": number / 7} for number in range(30)])
    shape = detect_shape(rows, {}, asked=Asked(records=(TextRecord,)))
    assert (shape.name, shape.ignored) == ("text", ("score",))


def test_an_object_of_flags_is_a_list_of_labels() -> None:
    cells = [{"a": 1, "b": 0}, {"a": True, "b": True}, {"a": 0, "b": 0}] * 4
    shape = shape_of(cells, "labels")
    assert [labels_of(shape, cell, "labels") for cell in cells[:3]] == [("a",), ("a", "b"), ()]


def test_the_only_number_beside_a_text_is_asked_about() -> None:
    rows = rows_of([{"text": f"t {number}", "price": 9.5 + number} for number in range(30)])
    with pytest.raises(DataError) as caught:
        detect_shape(rows, {})
    check_message(caught.value)
    assert detect_shape(rows, {"score": "price"}).name == "scored-text"


def test_a_pair_without_a_known_label_says_how_to_name_it() -> None:
    rows = rows_of([{"sentence1": "x", "sentence2": "y", "sim": number / 9} for number in range(30)])
    with pytest.raises(DataError) as caught:
        detect_shape(rows, {})
    assert caught.value.fix == "Name the column with the scores: `--set data.columns.score=sim`"
    assert detect_shape(rows, {"score": "sim"}).name == "scored-pair"


def test_a_pair_without_a_clear_label_names_a_column_that_there_is() -> None:
    for more, said in (
        (
            {"verdict": "yes", "comment_by": "someone"},
            "If `verdict` has the labels: `--set data.columns.label=verdict`",
        ),
        ({"id": "7"}, "no column is left for them"),
        ({}, "no column is left for them"),
    ):
        with pytest.raises(DataError) as caught:
            detect_shape(rows_of([{"sentence1": "x", "sentence2": "y", **more}] * 3), {})
        assert said in caught.value.fix
        assert "COLUMN" not in caught.value.fix


def test_held_out_rows_may_lack_a_label_where_training_rows_do_not() -> None:
    shape = shape_of([0, 1, 2] * 5)
    for cell in (-1, "-1", "-", "nan"):
        with pytest.raises(RowError, match="no gold label"):
            labels_of(shape, cell)
    assert labels_of(shape_of([0, 1] * 5), -1) == ("-1",)


@pytest.mark.parametrize("cells", [[[1, 0], [0, 1]], [[0, 0, 1], [1, 1, 0]], [[True, False], [True, True]]], ids=str)
def test_zeros_and_ones_without_names_are_refused(cells: list[list[int]]) -> None:
    with pytest.raises(DataError, match="not the names of the labels"):
        shape_of(cells * 5, "labels")
    for other in ([[0], [1], [0, 1]], [["x", "y"], ["y", "x"]], [[0, 1], [0, 2]]):
        assert shape_of([*other] * 5, "labels").name == "labelled-text"


def test_a_label_beside_flags_is_asked_about() -> None:
    rows = [
        Row({"text": f"a {n}", "polarity": ("pos", "neg")[n % 2], "is_retweet": n % 2, "has_url": n % 3 % 2}, "a", n)
        for n in range(20)
    ]
    with pytest.raises(DataError, match="`polarity` looks like a label"):
        detect_shape(rows, {})


@pytest.mark.parametrize(
    ("cells", "what"),
    [
        ([{"name": "b", "id": 0}, {"name": "c", "id": 1}], "has objects that Burnish does not know as labels"),
        (["{'name': 'b'}", "{'name': 'c'}"], "has objects that Burnish does not know as labels"),
        ([{"pos": 0.1, "neg": 0.9}, {"pos": 0.6, "neg": 0.4}], "has objects that Burnish does not know as labels"),
        ([["a", "a", "b"], ["b", "b", "b"]], "seems to have the label that each of several people gave"),
    ],
    ids=["objects", "printed objects", "shares", "votes"],
)
def test_cells_that_are_no_labels_are_asked_about(cells: list[Any], what: str) -> None:
    with pytest.raises(DataError, match=f"`labels` {what}"):
        shape_of(cells * 10, "labels")


@pytest.mark.parametrize(
    "text",
    ["### Human: Hi### Assistant: Hello", "<s>[INST] Hi [/INST] Hello</s>", "<|im_start|>user\nHi<|im_end|>\n"
     "<|im_start|>assistant\nHello", "User: Hi\nAssistant: Hello"],
)  # fmt: skip
def test_conversations_that_are_written_out_are_said(text: str) -> None:
    (note,) = detect_shape([Row({"text": f"{text} {n}"}, "a", n) for n in range(5)], {}).notes
    assert "conversations that are written out" in note
    assert detect_shape([Row({"text": f"The user: a man. {n}"}, "a", n) for n in range(5)], {}).notes == ()


TWO_LABELS = [
    {"text": f"text number {number}", "coarse": "ab"[number % 2], "fine_label": "cdef"[number % 4], "id": number}
    for number in range(40)
]


def test_a_second_column_of_labels_is_named_with_the_option_that_learns_it():
    rows = [{"text": row["text"], "label": row["coarse"], "category": row["fine_label"]} for row in TWO_LABELS]
    shape = detect_shape(rows_of(rows), {})
    check_text("\n".join(shape.notes))
    assert detect_shape(rows_of(rows), {"label": "category"}).notes == ()
    assert labels_of(detect_shape(rows_of(rows), {"label": "category"}), "x", "category") == ("x",)


def test_where_no_column_of_labels_has_a_known_name_each_is_named():
    rows = [{"text": row["text"], "coarse_label": row["coarse"], "fine_label": row["fine_label"]} for row in TWO_LABELS]
    with pytest.raises(DataError) as caught:
        detect_shape(rows_of(rows), {})
    check_message(caught.value)


POINTED = [
    ["1.200", "2.340", "3.001", "4.560", "5.125", "950", "812"],
    ["1.200.000", "2.300.000", "1.000", "2.000", "3.500", "12"],
]
DECIMAL = [["0.125", "2.5", "3.001", "4", "5.125", "1"], ["1.125", "2.250", "3.375", "4.125", "5.125", "1"]]
PRICES = {"$1,137": 1137, "€ 12.50": 12.5, "1,5 €": 1.5, "£3": 3, "$": None, "$x": None, "1.200.000": 1_200_000}


@pytest.mark.parametrize("labels", POINTED)
def test_a_point_between_thousands_is_not_taken_for_that_of_a_decimal(labels: list[str]) -> None:
    with pytest.raises(DataError, match="not all in the same format"):
        shape_of(labels * 3, "score")


@pytest.mark.parametrize("labels", DECIMAL)
def test_decimals_beside_whole_numbers_are_amounts(labels: list[str]) -> None:
    assert shape_of(labels * 3, "score").name == "scored-text"


@pytest.mark.parametrize("text", PRICES)
def test_prices_are_amounts(text: str) -> None:
    assert number_of(text) == PRICES[text]


def test_a_label_that_no_row_has_is_named() -> None:
    rows = [Row({"text": f"a {n}", "angry": n % 2, "sad": (n + 1) % 2, "odd": 0}, "f.csv", n) for n in range(12)]
    assert "`odd` is marked in no row" in detect_shape(rows, {}).notes[0]


SPELLED = [
    ([True, False, 1, 0, True], {"true"}, {"false"}),
    ([1, 0, 1, 0, True], {"1"}, {"0"}),
    ([True, False, "true", 1], {"true"}, {"false"}),
    (["yes", "no", "yes", "true", "false"], {"yes"}, {"no"}),
    (["True", "False", "True", "true"], {"True"}, {"False"}),
    (["TRUE", "FALSE", "TRUE", "1", "0"], {"TRUE"}, {"FALSE"}),
    (["ja", "nein", "ja", "Ja", 1], {"ja"}, {"nein"}),
]


@pytest.mark.parametrize(("cells", "good", "bad"), SPELLED)
def test_true_and_false_are_two_classes_however_they_are_spelled(
    cells: list[Any], good: set[str], bad: set[str]
) -> None:
    shape = shape_of(cells)
    found = [labels_of(shape, cell) for cell in cells]
    assert set(found) == {tuple(good), tuple(bad)} & set(found)
    assert {label for labels in found for label in labels} <= good | bad
    assert any("--set 'annotation.rename={}'" in note for note in shape.notes)


def test_spellings_of_held_out_rows_are_read_as_those_of_the_training_rows() -> None:
    shape = shape_of([True, False, 1, True])
    assert labels_of(shape, 0) == ("false",)
    again = shape_of([0, 1, 0], rename={option: value for option, value, _ in shape.choices}["annotation.rename"])
    assert [labels_of(again, cell) for cell in (0, 1)] == [("false",), ("true",)]


@pytest.mark.parametrize("cells", [[True, False, True], [1, 0, 1], ["yes", "no"], [1, 0, "maybe", True], ["no", "se"]])
def test_other_labels_keep_their_names(cells: list[Any]) -> None:
    shape = shape_of(cells)
    assert len({labels_of(shape, cell) for cell in cells}) == len({str(cell) for cell in cells})
    assert not any("annotation.rename" in note for note in shape.notes)


def test_each_spelling_can_be_kept_and_any_label_renamed() -> None:
    kept = shape_of([True, False, 1, 0], rename={})
    assert {labels_of(kept, cell) for cell in (True, 1)} == {("true",), ("1",)}
    shape = shape_of(["Good", "good", "bad", "bad"], rename={"Good": "good", "Bda": "bad"})
    assert labels_of(shape, "Good") == ("good",)
    assert [note for note in shape.notes if "rename" in note] == [
        "`label` has no label `Bda`, which `annotation.rename` names."
    ]
    several = shape_of([["Good", "new"], ["good"], ["new"]], rename={"Good": "good"})
    assert labels_of(several, ["Good", "new"]) == ("good", "new")
