"""Lists and objects that programs print into cells: JSON, Python and numpy; parsed, and never evaluated."""

from __future__ import annotations

from typing import Any

import numpy
import pytest

from burnish.data.rows.printed import is_shortened, printed
from burnish.data.rows.records import ChatRecord, PreferenceRecord, SpanRecord, TaggedRecord
from burnish.data.rows.row import Row, RowError
from burnish.data.rows.shapes import detect_shape
from burnish.errors import DataError

ASKED, GOOD, BAD = ({"role": role, "content": f"it's {role}"} for role in ("user", "assistant", "assistant"))


def array(*items: Any) -> numpy.ndarray:
    return numpy.array(items, dtype=object)


def read(**values: Any) -> Any:
    rows = [Row({name: str(cell) for name, cell in values.items()}, "f.csv", line) for line in (2, 3)]
    return detect_shape(rows, {}).to_record(rows[0])


@pytest.mark.parametrize(
    ("value", "meant"),
    [
        (["Anna", "it's", None, True, -1.5], ["Anna", "it's", None, True, -1.5]),
        (array("Anna", "it's"), ["Anna", "it's"]),
        (numpy.array([1, 0, -1]), [1, 0, -1]),
        (numpy.array([[0.5, 1], [2, 3]]), [[0.5, 1.0], [2.0, 3.0]]),
        (numpy.array([True, False]), [True, False]),
        (numpy.arange(100), list(range(100))),
        ({"text": array("a b"), "at": numpy.array([0])}, {"text": ["a b"], "at": [0]}),
        ([numpy.int64(3), numpy.str_("x")], [3, "x"]),
        ({"text": numpy.array([], dtype="int32")}, {"text": []}),
        (array(ASKED, GOOD), [ASKED, GOOD]),
        (["a", float("nan")], ["a", None]),
    ],
)
def test_what_python_and_numpy_print_is_read(value: Any, meant: Any) -> None:
    assert printed(str(value)) == meant


@pytest.mark.parametrize(
    "text",
    ["hello", "[see note]", "[1-2]", "{1, 2}", "['a''b']", "['a'", "[__import__('os')]", "[open('x')]", "[1] and [2]",
     "{'a': 1", "[f'{x}']", "array"],
)  # fmt: skip
def test_other_texts_are_no_lists(text: str) -> None:
    assert printed(text) is None


def test_a_list_without_its_middle_is_not_taken_for_the_whole() -> None:
    text = str(numpy.arange(2000))
    assert is_shortened(text) and printed(text) is None
    assert not is_shortened("[wait ... what]x")
    with pytest.raises(RowError, match="left out the middle"):
        read(tokens=text, ner_tags=text)


def test_tables_of_arrays_are_read_as_the_lists_that_they_were() -> None:
    record = read(tokens=array("Anna", "it's"), ner_tags=numpy.array([1, 0]))
    assert record == TaggedRecord(("Anna", "it's"), ("1", "0"), "f.csv:2")
    for answers in ({"text": ["Anna"], "answer_start": [3]}, {"text": array("Anna"), "answer_start": array(3)}):
        record = read(context="To Anna", question="Who?", answers=answers)
        assert isinstance(record, SpanRecord)
        assert record.answers == ((3, "Anna"),)
    assert read(context="To Anna", question="Who?", answers={"text": [], "answer_start": []}).answers == ()
    record = read(dialog=array("Hi.", "Hello."))
    assert [message["content"] for message in record.messages] == ["Hi.", "Hello."]


@pytest.mark.parametrize("wrap", [list, lambda turns: array(*turns)], ids=["list", "array"])
def test_messages_in_the_cells_of_a_table_are_messages(wrap: Any) -> None:
    bad = {**BAD, "content": "no"}
    record = read(prompt=wrap([ASKED]), completion=wrap([GOOD]))
    assert isinstance(record, ChatRecord) and record.messages == (ASKED, GOOD)
    assert read(messages=wrap([ASKED, GOOD])).messages == (ASKED, GOOD)
    record = read(prompt=wrap([ASKED]), chosen=wrap([GOOD]), rejected=wrap([bad]))
    assert isinstance(record, PreferenceRecord)
    assert (record.prompt, record.chosen, record.rejected) == ((ASKED,), (GOOD,), (bad,))


def test_an_answer_that_is_a_list_in_json_stays_text() -> None:
    cell = '[{"speaker": "Anna", "text": "Hi."}]'
    assert read(prompt="Who says what?", completion=cell).messages[-1]["content"] == cell
    assert read(question="The next row?", answer="[1 2]").messages[-1]["content"] == "[1 2]"


def test_zeros_and_ones_without_names_are_asked_about_in_numpys_form_too() -> None:
    rows = [
        Row({"text": f"a {place}", "labels": str(numpy.eye(3, dtype=int)[place % 3])}, "f.csv", 2) for place in range(9)
    ]
    with pytest.raises(DataError, match="not the names of the labels"):
        detect_shape(rows, {})
