"""Tables without a header row, and tables with one that must not be taken for them."""

from __future__ import annotations

import pytest

from burnish.data.files.readers import read_rows
from burnish.data.rows.row import Rejected
from burnish.data.rows.shapes import detect_shape
from burnish.errors import DataError

TEXTS = [f"the film number {number} is one of its kind" for number in range(20)]


def table(rows, delimiter="\t"):
    return "".join(delimiter.join(row) + "\n" for row in rows)


def labelled(count=20):
    return [(text, str(number % 2)) for number, text in enumerate(TEXTS[:count])]


def whole(path):
    """The rows that are not rejected."""
    return [row for row in read_rows(path) if not isinstance(row, Rejected)]


def names(path):
    return list(whole(path)[0].values)


def test_text_then_label(write):
    rows = whole(write("a.tsv", table(labelled())))
    assert [row.values for row in rows] == [{"text": text, "label": label} for text, label in labelled()]
    assert rows[0].line == 1
    shape = detect_shape(rows, {})
    assert shape.name == "labelled-text"
    assert shape.notes == ("`a.tsv` has no header row; its two columns are read as `text` and `label`.",)


def test_label_then_text(write):
    rows = [(label, text) for text, label in labelled()]
    (first, *_) = whole(write("a.tsv", table(rows)))
    assert first.values == {"label": "0", "text": TEXTS[0]}


def test_with_commas(write):
    rows = [(f'"{text}, really"', label) for text, label in labelled()]
    (first, *_) = whole(write("a.csv", table(rows, ",")))
    assert first.values == {"text": f"{TEXTS[0]}, really", "label": "0"}


def test_quotes_that_do_not_pair_up_are_plain_characters_and_no_row_is_lost(write):
    rows = labelled()
    rows[2] = ('"a great film', "0")
    rows[5] = ('"a great" film', "1")
    rows[7] = ('so said the "critics"', "1")
    rows[9] = ('"a great film"', "1")
    read = whole(write("a.tsv", table(rows)))
    assert [tuple(row.values.values()) for row in read] == rows


def test_quotes_that_pair_up_enclose_cells(write):
    rows = labelled()
    rows[2] = ('"a ""great"" film"', "0")
    rows[7] = ('so said the "critics"', "1")
    read = whole(write("a.tsv", table(rows)))
    assert read[2].values["text"] == 'a "great" film'
    assert read[7].values["text"] == 'so said the "critics"'


def test_a_row_with_other_cells_is_rejected_by_itself(write):
    rows = [(f"{text} ({number})", label) for number in range(10) for text, label in labelled()]
    read = list(read_rows(write("a.tsv", table(rows) + "only a text\n")))
    assert read[-1] == Rejected("a.tsv", 201, "1 cells, but the other rows have 2")
    assert len(read) == 201


HEADERS = {
    "known name": [("text", "1"), *labelled()],
    "other known name": [("the great film", "Label"), *labelled()],
    "label that never comes again": [("der Satz", "Klasse"), *labelled()],
    "one word where texts stand": [("satz", "1"), *labelled()],
    "too few rows": labelled(9),
    "labels that are all different": [(text, str(number)) for number, text in enumerate(TEXTS)],
    "labels on both sides": [("a b", "1"), ("c d", "2")] * 10,
    "texts on both sides": [(text, text + " too") for text in TEXTS],
    "three columns": [(*row, "x") for row in labelled()],
    "ragged rows": [*labelled(), ("a", "b", "c")],
}


@pytest.mark.parametrize("case", HEADERS)
def test_the_first_row_stays_a_header_where_it_may_be_one(write, case):
    rows = HEADERS[case]
    assert names(write("a.tsv", table(rows))) == list(rows[0])


def test_quoted_cells_under_a_header_are_read_as_ever(write):
    rows = [("text", "label"), ('"two\nlines"', "1"), ('"a ""b"""', "0")]
    read = whole(write("a.tsv", table(rows)))
    assert [row.values["text"] for row in read] == ["two\nlines", 'a "b"']
    assert read[0].note == ""


def test_other_tables_without_header_are_refused_as_before(write):
    rows = whole(write("a.tsv", table(HEADERS["texts on both sides"])))
    with pytest.raises(DataError, match="has no known shape"):
        detect_shape(rows, {})
