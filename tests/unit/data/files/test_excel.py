"""Excel files: the only worksheet with rows, one that is named, or one for each split."""

from __future__ import annotations

import pytest

from burnish.data.files.readers import read_rows
from burnish.data.files.sources import find_sources, read_source
from burnish.data.rows.dataset import load_records
from burnish.errors import DataError
from burnish.recipe.schema import DataSection
from tests.snapshots import check_message
from tests.unit.data.files.workbooks import workbook

HEADER = ["prompt", "completion"]
ROWS = [["Grüße, “a”?", "b\nc"], ["d", "e"]]


def values(rows):
    return [list(row.values.values()) for row in rows]


def test_the_only_worksheet_with_rows_is_read(write):
    path = write("orders.xlsx", workbook({"Empty": [], "May": [[], HEADER, *ROWS, [], ["f", 7.5]], "Blank": [[" "]]}))
    rows = list(read_rows(path))
    assert values(rows) == [*ROWS, ["f", 7.5]]
    assert [row.line for row in rows] == [3, 4, 6]
    assert rows[0].note == "`orders.xlsx` is read from its worksheet `May`."


def test_a_title_above_the_header(write):
    first, *others = read_rows(write("a.xlsx", workbook({"A": [["Orders of 2024"], [], HEADER, *ROWS]})))
    assert values([first, *others]) == ROWS
    assert (first.line, "has 1 line above its header" in first.note) == (4, True)


def test_numbers_and_empty_cells(write):
    path = write(
        "a.xlsx", workbook({"A": [["text", "label", None, "flag"], ["x", 1.0, "y", True], ["z", 2, None, None]]})
    )
    first, second = read_rows(path)
    assert first.values == {"text": "x", "label": 1, "column 3": "y", "flag": True}
    assert isinstance(first.values["label"], int)
    assert second.values == {"text": "z", "label": 2, "column 3": "", "flag": ""}


def test_two_columns_without_header(write):
    rows = [[f"the film number {number} is one of its kind", number % 2] for number in range(20)]
    found = list(read_rows(write("a.xlsx", workbook({"A": rows}))))
    assert found[0].values == {"text": rows[0][0], "label": 0}
    assert len(found) == 20


def test_a_worksheet_may_be_named(write):
    write("orders.xlsx", workbook({"May: old": [HEADER, ["x", "y"]], "June": [HEADER, *ROWS]}))
    records = load_records(DataSection(path="orders.xlsx:June"))
    assert len(records.train) + len(records.valid) + len(records.test) == 2
    assert records.files == ["orders.xlsx"]


def test_worksheets_named_after_splits_are_splits(write):
    path = write(
        "all.xlsx", workbook({"Train": [HEADER, *ROWS], "Dev": [HEADER, ["x", "y"]], "Notes": [["free text"]]})
    )
    sources = find_sources(str(path))
    assert values(read_source(sources.train[0])) == ROWS
    assert sources.valid is not None and values(read_source(sources.valid[0])) == [["x", "y"]]
    assert sources.notes == (
        "Parts of `all.xlsx`: train all.xlsx:Train, validation all.xlsx:Dev.",
        "Not used: `Notes`.",
    )


REFUSED = {
    "two worksheets": ("a.xlsx", {"May": [HEADER, *ROWS], "June": [HEADER, *ROWS]}),
    "no such worksheet": ("a.xlsx:July", {"May": [HEADER, *ROWS], "June": [HEADER, *ROWS]}),
    "nothing": ("a.xlsx", {"May": []}),
    "two equal names": ("a.xlsx", {"May": [["text", "text"], ["a", "b"]]}),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_not_clear_is_asked(write, case):
    name, worksheets = REFUSED[case]
    write("a.xlsx", workbook(worksheets))
    with pytest.raises(DataError) as caught:
        list(read_source(find_sources(name).train[0]))
    check_message(caught.value)
