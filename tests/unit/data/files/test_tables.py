"""CSV and TSV: quotes, rows that do not fit, and where each row begins."""

from __future__ import annotations

import pytest

from burnish.data.files.readers import read_rows
from burnish.data.rows.row import Rejected
from burnish.errors import DataError
from tests.snapshots import check_message


def read(path):
    """(line, cells or reason) of each row."""
    return [
        (row.line, row.reason if isinstance(row, Rejected) else tuple(row.values.values())) for row in read_rows(path)
    ]


TABLES = {
    "a,b\n1,2\n": [(2, ("1", "2"))],
    'a,b\n"x, y","say ""hi"""\n': [(2, ("x, y", 'say "hi"'))],
    'a,b\n"one\n\nthree",2\n3,4\n': [(2, ("one\n\nthree", "2")), (5, ("3", "4"))],
    "a,b\n1,\n": [(2, ("1", ""))],
    "a,b\n1,2\n\n,\n3,4": [(2, ("1", "2")), (5, ("3", "4"))],
    "a,b\n1,2,3\n1\n5,6\n": [
        (2, "3 cells, but the header has 2"),
        (3, "1 cells, but the header has 2"),
        (4, ("5", "6")),
    ],
    'a,b\n1,"2" x\n5,6\n': [(2, "invalid row: ',' expected after '\"'"), (3, ("5", "6"))],
    'a,b\n1,"2\nx" y\n5,6\n': [(2, "invalid row: ',' expected after '\"' (lines 2 to 3)"), (4, ("5", "6"))],
    'a,b\n1,2\n3,"4\n5,6\n7,8\n': [
        (2, ("1", "2")),
        (3, "a quote opens here and is never closed"),
        (4, ("5", "6")),
        (5, ("7", "8")),
    ],
    'a,b\n1,"2\n3,"4\n5,6\n': [
        (2, "invalid row: ',' expected after '\"' (lines 2 to 3)"),
        (4, ("5", "6")),
    ],
    "a,b\n": [],
}


@pytest.mark.parametrize("text", TABLES)
def test_rows_of_a_table(write, text):
    assert read(write("a.csv", text)) == TABLES[text]
    if ", " not in text:
        in_tabs = [
            (line, cells.replace("','", r"'	'") if isinstance(cells, str) else cells) for line, cells in TABLES[text]
        ]
        assert read(write("a.tsv", text.replace(",", "\t"))) == in_tabs


def test_a_cell_may_be_longer_than_the_csv_module_allows_by_default(write):
    assert read(write("a.csv", "text\n" + "x" * 200_000)) == [(2, ("x" * 200_000,))]


def test_names_are_stripped_and_a_nameless_column_gets_one(write):
    (row,) = read_rows(write("a.csv", " text ,,n\nx,y,1\n"))
    assert row.values == {"text": "x", "column 2": "y", "n": "1"}


REFUSED = [
    ("a.csv", "text,n,text\n"),
    ("a.csv", "prompt;completion\na\nb\nc;d;e\n"),
    ("a.tsv", "prompt,completion\na\nb\nc,d,e\n"),
    ("a.csv", '"prompt" x,completion\n'),
]


@pytest.mark.parametrize(("name", "text"), REFUSED)
def test_a_header_that_cannot_be_used_is_refused(write, name, text):
    with pytest.raises(DataError) as caught:
        list(read_rows(write(name, text)))
    check_message(caught.value)
    assert caught.value.fix
