"""Tables: the delimiter and the quotes are inferred, named, and never against what the suffix says and the rows fit."""

from __future__ import annotations

import csv
import io

import pytest

from burnish.data.files.readers import read_rows
from burnish.data.rows.row import Rejected
from burnish.errors import DataError
from tests.snapshots import check_message

HEADER = ("question", "answer")
ROWS = [(f"Where is hat {n}, please; or cap?", f"Here | there {n}") for n in range(12)]


def table(delimiter: str, rows=ROWS, **options) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, delimiter=delimiter, lineterminator="\n", **options).writerows([HEADER, *rows])
    return buffer.getvalue()


def read(path):
    rows = list(read_rows(path))
    assert not [row for row in rows if isinstance(row, Rejected)]
    return [tuple(row.values.values()) for row in rows], rows[0].note


NAMES = {",": "`,`", ";": "`;`", "\t": "tabs", "|": "`|`"}


@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
@pytest.mark.parametrize("suffix", [".csv", ".tsv"])
@pytest.mark.parametrize("delimiter", NAMES)
def test_each_delimiter_is_found_and_named_if_it_is_not_that_of_the_suffix(write, delimiter, suffix, quoting):
    rows, note = read(write(f"a{suffix}", table(delimiter, quoting=quoting)))
    assert rows == ROWS
    usual = {".csv": ",", ".tsv": "\t"}[suffix]
    said = f"`a{suffix}` has columns separated by {NAMES[delimiter]}."
    assert note == ("" if delimiter == usual else said)


def test_the_delimiter_of_the_suffix_is_kept_where_it_fits(write):
    rows = [("a;b;c", "d;e;f")] * 5
    assert read(write("a.csv", "question;x,answer;y\n" + "a;b;c,d;e;f\n" * 5)) == (rows, "")


@pytest.mark.parametrize("first", ["sep=;", '"sep=;"', "SEP=;"])
def test_a_delimiter_that_the_first_line_declares(write, first):
    rows = list(read_rows(write("a.csv", first + "\r\n" + table(";").replace("\n", "\r\n"))))
    assert [tuple(row.values.values()) for row in rows if not isinstance(row, Rejected)] == ROWS
    assert rows[0].line == 3


@pytest.mark.parametrize("above", ["Orders of 2024", "# by me, in May", "Orders\n# by me", "Orders of 2024;"])
@pytest.mark.parametrize("delimiter", [",", ";"])
def test_lines_above_the_header_are_named(write, above, delimiter):
    path = write("a.csv", f"{above}\n" + table(delimiter))
    rows, note = read(path)
    assert rows == ROWS
    number = above.count("\n") + 1
    assert f"has {number} line{'s' * (number > 1)} above its header" in note
    assert next(iter(read_rows(path))).line == number + 2


@pytest.mark.parametrize("groups", ["Ticket,,Us,", "Question,,Reply,", "Made in May,,,\nTicket,,Us,"])
def test_names_of_groups_of_columns_are_above_the_header(write, groups):
    """As a worksheet with merged cells is exported."""
    path = write("a.csv", f"{groups}\nquestion,day,answer,by\n" + "Where?,Monday,Here.,Tom\n" * 5)
    row = next(iter(read_rows(path)))
    assert row.values == {"question": "Where?", "day": "Monday", "answer": "Here.", "by": "Tom"}
    assert "above its header" in row.note


def test_a_header_with_gaps_stays_one(write):
    row = next(iter(read_rows(write("a.csv", "text,label,,,\n" + "Buy now,review,,,\n" * 5))))
    assert (row.values["text"], row.values["label"]) == ("Buy now", "review")


@pytest.mark.parametrize("first", ["text", "note", "a,b"])
def test_a_header_of_one_column_is_no_title(write, first):
    rows = [row for row in read_rows(write("a.csv", f"{first}\nwhat\nis it\n")) if not isinstance(row, Rejected)]
    assert [list(row.values.values()) for row in rows] == ([["what"], ["is it"]] if first != "a,b" else [])


def test_a_column_of_texts_is_not_split(write):
    texts = ["one; two", "three | four; five", "six"]
    assert read(write("a.csv", "text\n" + "".join(f"{text}\n" for text in texts))) == ([(text,) for text in texts], "")


def test_two_columns_without_header_may_have_another_delimiter(write):
    rows = [(f"the film number {number} is one of its kind", str(number % 2)) for number in range(20)]
    found, note = read(write("a.csv", "".join(f"{text};{label}\n" for text, label in rows)))
    assert found == rows
    assert note == (
        "`a.csv` has columns separated by `;`; it has no header row; its two columns are read as `text` and `label`."
    )


def test_quotes_that_do_not_enclose_cells_are_characters(write):
    rows = [(f'"hat" number {n}', f'so "they" say {n}') for n in range(6)] + [('"a cap', "yes"), ('5" wide', "no")]
    content = "".join("\t".join(row) + "\n" for row in [HEADER, *rows])
    found, note = read(write("a.tsv", content))
    assert found == rows
    assert note == "`a.tsv` has quotes that are ordinary characters, not around cells."


def test_quotes_that_are_needed_stay_quotes_although_some_rows_are_broken(write):
    content = table(",", quoting=csv.QUOTE_ALL) + '"he said "so" and left","x"\n' * 2
    rows = list(read_rows(write("a.csv", content)))
    assert [tuple(row.values.values()) for row in rows if not isinstance(row, Rejected)] == ROWS
    assert len([row for row in rows if isinstance(row, Rejected)]) == 2


def test_quotes_escaped_by_a_backslash(write):
    rows = [('say "hi", they said', r"C:\new\table"), ("plain", "b")]
    content = "question,answer\n" + r'"say \"hi\", they said","C:\new\table"' + "\nplain,b\n"
    assert read(write("a.csv", content)) == (rows, '`a.csv` has quotes inside cells written as `\\"`.')


def test_spaces_before_quotes(write):
    assert read(write("a.csv", 'question, answer\n"a, b", "c, d"\n"e", "f"\n'))[0] == [("a, b", "c, d"), ("e", "f")]


def swallowing(number: int, ending: str) -> str:
    """Rows whose second opens a quote in its first cell; the one after so many others has the ending."""
    rows = [f'a "plain" row {n},"quoted, {n}"' for n in range(4)] + ['"a stray quote,no']
    return "text,label\n" + "\n".join([*rows, *(f"row {n},yes" for n in range(number)), ending, "last,no"]) + "\n"


def test_rows_that_a_quote_swallows_are_refused(write):
    with pytest.raises(DataError) as caught:
        list(read_rows(write("a.csv", swallowing(495, 'closing",no'))))
    check_message(caught.value)


def test_rows_that_a_broken_quote_swallows_are_read(write):
    rows = list(read_rows(write("a.csv", swallowing(495, 'in the "middle" of it,no'))))
    rejected = [row for row in rows if isinstance(row, Rejected)]
    assert [row.line for row in rejected] == [6]
    assert "closes in line 502, after 495 lines" in rejected[0].reason
    assert len(rows) == 4 + 1 + 495 + 2


def test_few_lines_that_look_like_rows_are_a_cell(write):
    assert len(list(read_rows(write("a.csv", swallowing(9, 'closing",no'))))) == 4 + 1 + 1


def test_a_cell_of_many_lines_is_named_once(write):
    poem = "\n".join(f"line {n} without what parts cells" for n in range(200))
    rows = list(read_rows(write("a.csv", f'text,label\na,b\n"{poem}",c\n"{poem}",d\n')))
    assert [row.note for row in rows if row.note] == [
        "`a.csv` has a cell of 200 lines in the row of line 3: if it should have fewer, a quote is missing there."
    ]


def test_cells_over_several_lines_with_another_delimiter(write):
    rows = [("one\ntwo; three", "x"), ("four", "five\n\nsix")] * 3
    assert read(write("a.csv", table(";", rows)))[0] == rows
