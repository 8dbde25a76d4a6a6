"""Excel files: the only worksheet with rows, one that is named, or one for each split."""

from __future__ import annotations

import gzip
import io
import zipfile

import pytest

from burnish.data.files import excel
from burnish.data.files.readers import read_rows
from burnish.data.files.sources import find_sources, read_source
from burnish.data.files.worksheet_area import spanned_cells
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


def sheet(*rows: str) -> bytes:
    """A workbook whose worksheet is this XML."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(workbook({"A": [["a"]]}))) as good, zipfile.ZipFile(buffer, "w") as made:
        for name in good.namelist():
            content = good.read(name)
            if "worksheets/" in name:
                content = content[: content.index(b"<row")] + "".join(rows).encode() + b"</sheetData></worksheet>"
            made.writestr(name, content)
    return buffer.getvalue()


def cells(row: int, *columns: str) -> str:
    texts = "".join(f'<c r="{column}{row}" t="inlineStr"><is><t>x</t></is></c>' for column in columns)
    return f'<row r="{row}">{texts}</row>'


def open_document(rows: int, columns: int, value: str) -> bytes:
    """An OpenDocument workbook of a row and a cell that are repeated, after one that is not."""
    cell = '<table:table-cell office:value-type="string"{}><text:p>x</text:p></table:table-cell>'
    last = (
        cell.format(f' table:number-columns-repeated="{columns}"')
        if value
        else (f'<table:table-cell table:number-columns-repeated="{columns}"/>')
    )
    names = "".join(
        f' xmlns:{name}="urn:oasis:names:tc:opendocument:xmlns:{name}:1.0"' for name in ("office", "table", "text")
    )
    content = (
        f'<?xml version="1.0"?><office:document-content{names}><office:body><office:spreadsheet>'
        f'<table:table table:name="A"><table:table-row>{cell.format("") * 2}</table:table-row>'
        f'<table:table-row table:number-rows-repeated="{rows}">{last}</table:table-row></table:table>'
        "</office:spreadsheet></office:body></office:document-content>"
    )
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as made:
        made.writestr("mimetype", "application/vnd.oasis.opendocument.spreadsheet")
        made.writestr("content.xml", content)
        made.writestr("META-INF/manifest.xml", '<?xml version="1.0"?><manifest/>')
    return buffer.getvalue()


def binary(row: int, column: int) -> bytes:
    """A part of Excel's binary format: a row, and a cell in it."""
    return bytes([0, 4]) + row.to_bytes(4, "little") + bytes([7, 8]) + column.to_bytes(4, "little") + bytes(4)


FAR = {
    "two corners": ("a.xlsx", lambda: sheet(cells(1, "A"), cells(1_048_576, "XFD"))),
    "apostrophes": ("a.xlsx", lambda: sheet(cells(1, "A"), "<row><c r = 'XFD1048576'><v>1</v></c></row>")),
    "compressed once more": ("a.xlsx.gz", lambda: gzip.compress(sheet(cells(1, "A"), cells(1_048_576, "XFD")))),
    "repeated cells": ("a.ods", lambda: open_document(20_000, 1_000, "x")),
    "repeated rows": ("a.ods", lambda: open_document(1_000_000, 6, "x")),
}


@pytest.mark.parametrize("case", FAR)
def test_a_worksheet_of_far_more_cells_than_bytes_is_refused(case, write):
    """Reading one kills the process, or fills the memory."""
    name, make = FAR[case]
    with pytest.raises(DataError) as caught:
        list(read_rows(write(name, make())))
    assert "nearly all of them empty or repeated" in caught.value.what
    if case == "two corners":
        check_message(caught.value)


def test_cells_of_a_binary_worksheet_are_counted():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as made:
        made.writestr("xl/worksheets/sheet1.bin", binary(0, 0) + binary(99, 6) + binary(7, 3))
    with zipfile.ZipFile(buffer) as archive:
        assert spanned_cells(archive) == 700


def test_empty_rows_to_the_end_of_a_worksheet_are_usual(write):
    assert excel.worksheets(write("a.ods", open_document(1_048_575, 16_384, "")))["A"].cells[0][:2] == ["x", "x"]


def test_a_workbook_that_unpacks_to_far_more_than_its_size_is_refused(write, monkeypatch):
    monkeypatch.setattr(excel, "SMALL_BYTES", 1000)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("xl/worksheets/sheet1.xml", b" " * 1_000_000)
    with pytest.raises(DataError) as caught:
        list(read_rows(write("a.xlsx", buffer.getvalue())))
    check_message(caught.value)


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


def test_merged_cells_count_for_each_of_their_rows(write):
    rows = [["text", "label"], ["a", "x"], ["b", None], ["c", None], ["d", "y"], ["e", None]]
    path = write("rows.xlsx", workbook({"S": rows}, merged=["B2:B4", "A6:B6"]))
    read = list(read_rows(path))
    assert [tuple(row.values.values()) for row in read] == [("a", "x"), ("b", "x"), ("c", "x"), ("d", "y"), ("e", "")]
    assert read[0].note.endswith("it has merged cells, whose value counts for each of their rows, in `label`.")


def test_a_title_over_merged_columns_is_still_a_title(write):
    rows = [["Reviews", None], ["text", "label"], ["a", "x"], ["b", "y"]]
    read = list(read_rows(write("rows.xlsx", workbook({"S": rows}, merged=["A1:B1"]))))
    assert [row.values for row in read] == [{"text": "a", "label": "x"}, {"text": "b", "label": "y"}]


def test_names_of_groups_of_columns_are_above_the_header(write):
    rows = [["Input", None, "Output"], ["question", "context", "answer"], ["q", "c", "a"], ["r", "d", "b"]]
    read = list(read_rows(write("rows.xlsx", workbook({"S": rows}, merged=["A1:B1"]))))
    assert read[0].values == {"question": "q", "context": "c", "answer": "a"}
    assert "has 1 line above its header" in read[0].note


def test_a_header_with_a_merged_cell_stays_the_header(write):
    rows = [["text", None, "label"], ["a", None, "x"], ["b", None, "y"], ["c", None, "x"]]
    read = list(read_rows(write("rows.xlsx", workbook({"S": rows}, merged=["A1:B1", "A2:B2", "A3:B3", "A4:B4"]))))
    assert [(row.values["text"], row.values["label"]) for row in read] == [("a", "x"), ("b", "y"), ("c", "x")]
