"""Every format gives the same rows, plain or compressed, whatever its byte order mark and line ends."""

from __future__ import annotations

import gzip
import io
import json

import pyarrow
import pyarrow.parquet
import pytest

from burnish.data.files.readers import READERS, data_suffix, read_rows
from burnish.data.rows.row import Rejected, Row
from burnish.errors import DataError
from tests.snapshots import check_message, check_text

VALUES = [{"prompt": "a", "completion": "b"}, {"prompt": "c\nd", "completion": "é"}]


def parquet_bytes(rows: list[dict]) -> bytes:
    buffer = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), buffer)
    return buffer.getvalue()


LINES = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in VALUES)
FILES = {
    "rows.jsonl": (LINES.encode(), [1, 2]),
    "rows.json": (json.dumps(VALUES, indent=1).encode(), [2, 6]),
    "lines.json": (LINES.encode(), [1, 2]),
    "wrapped.json": (json.dumps({"version": 1, "names": ["x"], "data": VALUES}).encode(), [1, 2]),
    "rows.csv": ('prompt,completion\na,b\n"c\nd",é\n'.encode(), [2, 3]),
    "rows.tsv": ('prompt\tcompletion\na\tb\n"c\nd"\té\n'.encode(), [2, 3]),
    "rows.parquet": (parquet_bytes(VALUES), [1, 2]),
}


def test_the_formats_read_are_those_promised():
    lines, columns = [".jsonl", ".ndjson", ".jl"], [".conll", ".conllu", ".conllup", ".iob", ".iob2", ".bio", ".bioes"]
    tables = [".csv", ".tsv", ".parquet", ".arrow", ".feather", ".xlsx", ".xls", ".xlsm", ".xlsb", ".ods"]
    assert list(READERS) == [*lines, ".json", *tables, ".txt", ".md", *columns, ".ann"]


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize("name", FILES)
def test_each_format_gives_rows_and_their_lines(write, name, packed):
    content, lines = FILES[name]
    path = write(name + ".gz", gzip.compress(content, mtime=0)) if packed else write(name, content)
    assert [(row.values, row.place) for row in read_rows(path)] == [
        (values, f"{path}:{line}") for values, line in zip(VALUES, lines, strict=True)
    ]


@pytest.mark.parametrize("name", [name for name in FILES if not name.endswith("parquet")])
def test_byte_order_mark_windows_line_ends_and_blank_lines_change_nothing(write, name):
    content = FILES[name][0]
    strange = b"\xef\xbb\xbf" + content.replace(b"\n", b"\r\n") + b"\r\n \r\n"
    assert [row.values for row in read_rows(write(name, strange))] == VALUES


def test_blank_lines_between_rows_count_for_the_line_numbers(write):
    rows = list(read_rows(write("a.jsonl", '\n{"text": "x"}\n\n   \n{"text": "y"}')))
    assert [(row.line, row.values["text"]) for row in rows] == [(2, "x"), (5, "y")]


def test_characters_that_only_some_call_line_ends_stay_in_their_row(write):
    text = "a\u2028b\u0085c\x0bd"
    path = write("a.jsonl", json.dumps({"text": text}, ensure_ascii=False) + "\n")
    assert [row.values for row in read_rows(path)] == [{"text": text}]
    assert "".join(row.values["text"] for row in read_rows(write("a.txt", text))) == text


def test_a_line_may_end_in_the_comma_of_a_list(write):
    rows = list(read_rows(write("a.jsonl", '{"text": "1"},\n{"text": "2,"}, \r\n{"text": "3"}\n')))
    assert [row.values for row in rows] == [{"text": "1"}, {"text": "2,"}, {"text": "3"}]


BROKEN_LINES = [
    '{"text": "x"',
    "{'text': 'x'}",
    '{"text": "x"} {}',
    '{"text": "x",}',
    '{"text": "x"},,',
    '["x"]',
    '"x"',
    "3",
    "true",
    "null",
    "[" * 100_000,
]


@pytest.mark.parametrize("line", BROKEN_LINES, ids=lambda line: line[:20])
def test_a_broken_line_is_rejected_and_the_rest_is_read(write, line):
    path = write("a.jsonl", '{"text": "1"}\n' + line + '\n{"text": "3"}\n')
    first, second, third = read_rows(path)
    assert (first, third) == (Row({"text": "1"}, "a.jsonl", 1), Row({"text": "3"}, "a.jsonl", 3))
    assert isinstance(second, Rejected) and second.place == "a.jsonl:2"
    check_text(second.reason)


def test_a_line_that_is_not_utf8_is_rejected_alone(write):
    path = write("a.jsonl", b'{"text": "\xc3\xa9"}\n{"text": "caf\xe9"}\n{"text": "3"}\n')
    assert list(read_rows(path))[1] == Rejected("a.jsonl", 2, "byte 0xe9 at position 14 is not UTF-8")


def test_an_integer_too_long_to_read_is_rejected(write):
    (row,) = read_rows(write("a.jsonl", '{"text": ' + "9" * 5000 + "}"))
    assert isinstance(row, Rejected) and "Exceeds the limit" in row.reason


GZIPPED = gzip.compress(LINES.encode(), mtime=0)
REFUSED = [
    ("a.jsonl", b""),
    ("a.csv", b""),
    ("a.txt", b""),
    ("a.json", b""),
    ("a.json", b" \n\n"),
    ("a.csv", b"\n\n"),
    ("a.jsonl.gz", gzip.compress(b"", mtime=0)),
    ("a.jsonl", b"ab\ncd\0ef"),
    ("a.txt", b"x\n" * 5000 + b"\0"),
    ("a.txt", b"one \xc3\xa9\ncaf\xe9\n"),
    ("a.csv", b"text\n\xcf\xf0\xe8\xe2\xe5\xf2\n"),
    ("a.json", b'[{"text":\n"\xff"}]'),
    ("a.csv", "text".encode("utf-16") + b"\0"),
    ("a.csv", b"PK\x03\x04xlsx"),
    ("a.jsonl", GZIPPED),
    ("a.jsonl.gz", LINES.encode()),
    ("a.jsonl.gz", GZIPPED[:-12]),
    ("a.parquet", b"PAR1 but not really"),
    ("a.jsonl", b'[\n{"text": "x"}\n]\n'),
    ("a.xlsx", b"x"),
    ("a", b"x"),
]


@pytest.mark.parametrize(("name", "content"), REFUSED, ids=lambda value: str(value)[:20])
def test_a_file_that_is_no_data_is_refused_in_words(write, name, content):
    with pytest.raises(DataError) as caught:
        list(read_rows(write(name, content)))
    check_message(caught.value)
    assert caught.value.fix and caught.value.exit_code == 2


def test_a_file_that_goes_missing_is_refused_in_words(write):
    write("there.jsonl", "{}").unlink()
    with pytest.raises(DataError, match="`there.jsonl` cannot be read"):
        list(read_rows(write("other.jsonl", "{}").with_name("there.jsonl")))


def test_random_bytes_give_no_row(write):
    noise = bytes((index * 151 + 77) % 255 + 1 for index in range(3000))
    assert all(isinstance(row, Rejected) for row in read_rows(write("a.jsonl", noise)))


@pytest.mark.parametrize(
    ("name", "suffix"),
    [
        ("a.jsonl", ".jsonl"),
        ("A.JSONL.GZ", ".jsonl"),
        ("a.conllu.bz2", ".conllu"),
        ("a.xlsx.xz", ".xlsx"),
        ("a.ndjson.zst", ".ndjson"),
        ("a.b.csv", ".csv"),
        ("a.gz", None),
        ("a", None),
        ("a.bin", None),
    ],
)
def test_the_ending_decides(name, suffix):
    assert data_suffix(name) == suffix


def test_parquet_keeps_types_and_nesting(write):
    rows = [{"n": 1, "ok": True, "m": [{"role": "user", "content": None}]}, {"n": None, "ok": False, "m": []}]
    assert [row.values for row in read_rows(write("a.parquet", parquet_bytes(rows)))] == rows


def test_a_key_with_two_values_makes_a_row_unclear(write):
    lines = '{"prompt": "a", "completion": "x", "completion": "y"}\n{"prompt": "b", "completion": "x"}\n'
    lines += '{"prompt": "c", "completion": "x", "completion": "x"}\n{"a": {"b": [{"c": 1, "c": 2}]}}\n'
    twice, plain, same, inside = read_rows(write("rows.jsonl", lines))
    assert twice.reason == "the key `completion` has two values in one object"
    assert inside.reason == "the key `c` has two values in one object"
    assert (plain.values["prompt"], same.values) == ("b", {"prompt": "c", "completion": "x"})


@pytest.mark.parametrize("layout", ["[{rows}]", '{{"data": [{rows}]}}', '[{{"paragraphs": [{{"qas": [{rows}]}}]}}]'])
def test_a_key_with_two_values_rejects_its_row_alone_in_a_document(write, layout):
    rows = '{"question": "a", "answer": 1, "answer": 2}, {"question": "b", "answer": 1}'
    twice, plain = read_rows(write("rows.json", layout.format(rows=rows)))
    assert twice.reason == "the key `answer` has two values in one object"
    assert plain.values["question"] == "b"


@pytest.mark.parametrize(
    ("name", "content"),
    [("a.jsonl", '{\n  "prompt": "a"\n}\n{\n  "prompt": "b"\n}\n'), ("a.json", '{"prompt": "a"} {"prompt": "b"}')],
)
def test_objects_that_are_no_lines_are_refused_with_a_command(write, name, content):
    with pytest.raises(DataError) as caught:
        list(read_rows(write(name, content)))
    assert "`jq -c . a.json" in caught.value.fix


def test_objects_as_python_prints_them_are_named(write):
    (row,) = read_rows(write("a.jsonl", "{'prompt': 'a'}\n"))
    assert row.reason.startswith("this is an object as Python prints it")


def test_old_line_ends_among_others_end_rows_too(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"a": 1}\n{"a": 2}\r{"a": 3}\r\r{"a": \r\n{"a":\r 4}\r\n')
    found = list(read_rows(path))
    assert [(row.values["a"], row.line) for row in found if isinstance(row, Row)] == [(1, 1), (2, 2), (3, 2), (4, 3)]
    assert [row.line for row in found if isinstance(row, Rejected)] == [2]
