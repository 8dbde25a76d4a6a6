"""JSON documents: the line of every row, one list inside an object, and where a broken one breaks."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import time

import pytest

from burnish.data.files.readers import read_rows
from burnish.data.rows.row import Rejected
from burnish.errors import DataError
from tests.snapshots import check_message

DOCUMENT = """
{"about": {"rows": 2, "list": [1, 2]},
 "data": [

  {"text": "a",
   "n": [{}]},  {"text": "b"},
  "no object",
  {"text":
     "c"}
 ]
}
"""


def test_each_row_of_a_nested_list_knows_its_line(write):
    rows = list(read_rows(write("a.json", DOCUMENT)))
    assert [(row.line, row.values["text"]) for row in rows if not isinstance(row, Rejected)] == [
        (5, "a"),
        (6, "b"),
        (8, "c"),
    ]
    assert [row for row in rows if isinstance(row, Rejected)] == [
        Rejected("a.json", 7, 'expected a JSON object, not `"no object"`')
    ]


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ('{"text": "only one"}', [1]),
        ('\n\n{"messages": [{"role": "user", "content": "x"}]}', [3]),
        ('{"prompt": [{"role": "user"}],\n "completion": "x"}', [1]),
        ('{"text": "a"}\n\n{"text": "b"}\n', [1, 3]),
        ("[]", []),
        ("{}", [1]),
    ],
)
def test_what_a_document_may_be(write, text, lines):
    assert [row.line for row in read_rows(write("a.json", text))] == lines


def test_json_lines_under_this_name_lose_one_row_for_one_bad_line(write):
    rows = list(read_rows(write("a.json", '{"text": "a"}\n{"text": \n{"text": "c"}\n')))
    assert [type(row).__name__ for row in rows] == ["Row", "Rejected", "Row"]


BROKEN = [
    '[{"a": 1},\n  {"a": }]',
    '[{"a": 1}\n {"a": 2}]',
    '[{"a": 1}, {"a"',
    '[{"a": 1}] x',
    '{"a": [\n{"b": 1},\n]}',
    "hello",
]


LOOSE = {
    "trailing.json": ('[\n  {"text": "a", "n": true},\n]', [{"text": "a", "n": True}]),
    "comments.json": (
        '/* rows */\n[{"text": "a"}, // first\n {"text": "http://b"}]', [{"text": "a"}, {"text": "http://b"}]
    ),
    "keys.json": ("[{text: 'a', n: false}]", [{"text": "a", "n": False}]),
    "printed.json": ("[{'text': 'a', 'n': None},]\n", [{"text": "a", "n": None}]),
    "hash.json": ('[{"text": "a", "n": null} # first\n]', None),
}  # fmt: skip
"""Documents, and what the command makes of each; None where there is no command."""


@pytest.mark.parametrize("name", LOOSE)
def test_json_with_more_than_json_has_is_named_and_converted(name, write):
    text, rows = LOOSE[name]
    path = write(name, text)
    with pytest.raises(DataError) as caught:
        list(read_rows(path))
    check_message(caught.value)
    if rows is not None:
        words = shlex.split(re.findall(r"`([^`]*)`", caught.value.fix)[0])
        given = words[words.index("python") + 1 : words.index(">")]
        done = subprocess.run([sys.executable, *given], capture_output=True, text=True, check=True)
        assert json.loads(done.stdout) == rows


def test_a_line_with_more_than_json_has_is_named(write):
    first, second = read_rows(write("a.jsonl", '{text: "a",}\n{"text": "a" /* it */}\n'))
    assert "a key without quotes and a comma before a closing bracket, which JSON does not have" in first.reason
    assert "a comment, which JSON does not have" in second.reason


@pytest.mark.parametrize("text", BROKEN)
def test_a_broken_document_is_refused_with_its_place(write, text):
    with pytest.raises(DataError) as caught:
        list(read_rows(write("a.json", text)))
    # The parser of Python 3.13 and later puts a trailing comma's error at the comma.
    if "trailing comma" not in caught.value.what:
        check_message(caught.value)


def test_two_lists_are_one_too_many(write):
    with pytest.raises(DataError) as caught:
        list(read_rows(write("a.json", '{"train": [{"text": "a"}], "valid": [{"text": "b"}]}')))
    check_message(caught.value)


def test_finding_lines_takes_linear_time(write):
    def seconds(num_rows: int) -> float:
        path = write("a.json", json.dumps([{"text": "word " * 10}] * num_rows, indent=1))
        start = time.process_time()
        assert [row.line for row in read_rows(path)][-1] == 3 * num_rows - 1
        return time.process_time() - start

    seconds(100)
    assert seconds(40_000) < 40 * max(seconds(4_000), 0.005)
