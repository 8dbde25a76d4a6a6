"""Each shape is detected over all rows and read as it is meant; what fits none is refused in words."""

from __future__ import annotations

import pytest

from burnish.data.rows.patterns import PATTERNS
from burnish.data.rows.records import ChatRecord, TextRecord
from burnish.data.rows.row import Row, RowError
from burnish.data.rows.shapes import detect_shape, pattern_of, patterns_of
from burnish.tasks import task_names_for
from tests.snapshots import check_message


def rows_of(*values):
    return [Row(value, "a.jsonl", line) for line, value in enumerate(values, start=1)]


def chat(*turns, tools=None, line=1):
    names = {"s": "system", "u": "user", "a": "assistant"}
    messages = tuple({"role": names[role], "content": content} for role, content in turns)
    return ChatRecord(messages, tools, f"a.jsonl:{line}")


MESSAGES = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
TURNS = [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]
QA = (("u", "q"), ("a", "a"))
TOOL = {"type": "function", "function": {"name": "f"}}

SHAPES = [
    # values, shape, record, ignored columns
    ({"text": "x"}, "text", TextRecord("x", True, "a.jsonl:1"), ()),
    ({"text": "x", "ends": False}, "text", TextRecord("x", False, "a.jsonl:1"), ()),
    ({"text": "x", "id": 1, "url": ""}, "text", TextRecord("x", True, "a.jsonl:1"), ("id", "url")),
    ({"content": "x"}, "text", TextRecord("x", True, "a.jsonl:1"), ()),
    ({"text": 7}, "text", TextRecord("7", True, "a.jsonl:1"), ()),
    ({"prompt": "q", "completion": "a"}, "prompt-completion", chat(*QA), ()),
    ({"prompt": "q", "response": "a"}, "prompt-completion", chat(*QA), ()),
    ({"prompt": "q", "output": "a"}, "prompt-completion", chat(*QA), ()),
    ({"prompt": "q", "answer": "a"}, "prompt-completion", chat(*QA), ()),
    ({"prompt": "q", "completion": "a", "answer": "z"}, "prompt-completion", chat(*QA), ("answer",)),
    ({"prompt": "q", "completion": "a", "system": "s"}, "prompt-completion", chat(("s", "s"), *QA), ()),
    ({"prompt": "q", "completion": "a", "system": " "}, "prompt-completion", chat(*QA), ()),
    ({"prompt": "q", "completion": {"k": "é"}}, "prompt-completion", chat(("u", "q"), ("a", '{"k": "é"}')), ()),
    ({"prompt": 1, "completion": True}, "prompt-completion", chat(("u", "1"), ("a", "true")), ()),
    ({"prompt": "", "completion": "a"}, "prompt-completion", chat(("u", ""), ("a", "a")), ()),
    ({"prompt": MESSAGES[:1], "completion": MESSAGES[1:]}, "prompt-completion", chat(*QA), ()),
    ({"prompt": MESSAGES[:1], "completion": "a"}, "prompt-completion", chat(*QA), ()),
    (
        {"prompt": MESSAGES[:1], "completion": MESSAGES[1:], "tools": [TOOL]},
        "prompt-completion",
        chat(*QA, tools=(TOOL,)),
        (),
    ),
    ({"instruction": "q", "input": "", "output": "a"}, "alpaca", chat(*QA), ()),
    ({"instruction": "q", "input": None, "output": "a"}, "alpaca", chat(*QA), ()),
    ({"instruction": "q", "output": "a", "text": "rendered"}, "alpaca", chat(*QA), ("text",)),
    ({"instruction": "q", "input": "i", "output": "a"}, "alpaca", chat(("u", "q\n\ni"), ("a", "a")), ()),
    ({"instruction": "", "input": "i", "output": "a"}, "alpaca", chat(("u", "i"), ("a", "a")), ()),
    ({"instruction": "q", "response": "a"}, "instruction-response", chat(*QA), ()),
    ({"instruction": "q", "output": "a", "tools": "a hammer"}, "alpaca", chat(*QA), ("tools",)),
    ({"prompt": "q", "completion": "a", "tools": [TOOL]}, "prompt-completion", chat(*QA, tools=(TOOL,)), ()),
    (
        {"instruction": "q", "context": "c", "response": "a", "category": "x"},
        "instruction-response",
        chat(("u", "q\n\nc"), ("a", "a")),
        ("category",),
    ),
    (
        {"instruction": "q", "input": "i", "response": "a"},
        "instruction-response",
        chat(("u", "q\n\ni"), ("a", "a")),
        (),
    ),
    ({"question": "q", "answer": "a"}, "question-answer", chat(*QA), ()),
    ({"Question": "q", "Answer": "a"}, "question-answer", chat(*QA), ()),
    ({"messages": MESSAGES}, "messages", chat(*QA), ()),
    ({"messages": MESSAGES, "prompt": "q", "text": "x"}, "messages", chat(*QA), ("prompt", "text")),
    ({"messages": MESSAGES, "tools": [TOOL]}, "messages", chat(*QA, tools=(TOOL,)), ()),
    ({"conversations": MESSAGES}, "messages", chat(*QA), ()),
    ({"conversations": TURNS}, "sharegpt", chat(*QA), ()),
    ({"messages": TURNS}, "sharegpt", chat(*QA), ()),
    (
        {"conversations": TURNS, "system": "s", "tools": '[{"name": "f"}]'},
        "sharegpt",
        chat(("s", "s"), *QA, tools=(TOOL,)),
        (),
    ),
    (
        {"conversations": [{"from": "system", "value": "own"}, *TURNS], "system": "other"},
        "sharegpt",
        chat(("s", "own"), *QA),
        (),
    ),
]


@pytest.mark.parametrize(("values", "name", "record", "ignored"), SHAPES, ids=lambda value: str(value)[:50])
def test_a_row_of_each_shape(values, name, record, ignored):
    (row,) = rows_of(values)
    shape = detect_shape([row], {}, "auto")
    assert (shape.name, task_names_for(shape.record)[0]) == (name, "text" if name == "text" else "chat")
    assert shape.to_record(row) == record
    assert shape.ignored == ignored


REJECTED = [
    ({"text": "x"}, {"text": " \n"}),
    ({"text": "x"}, {"text": None}),
    ({"text": "x"}, {"text": b"x"}),
    ({"prompt": "q", "completion": "a"}, {"prompt": "q", "completion": ""}),
    ({"prompt": "q", "completion": "a"}, {"prompt": "q", "completion": " \n"}),
    ({"prompt": "q", "completion": "a"}, {"prompt": "q", "completion": None}),
    ({"prompt": "q", "completion": "a"}, {"prompt": "q"}),
    ({"prompt": "q", "completion": "a"}, {"prompt": None, "completion": "a"}),
    ({"instruction": "q", "output": "a"}, {"instruction": "q", "output": float("nan")}),
    ({"prompt": "q", "completion": "a"}, {"prompt": MESSAGES, "completion": [{"role": "assistant", "content": ""}]}),
    ({"messages": MESSAGES}, {"messages": None}),
    ({"messages": MESSAGES}, {"messages": MESSAGES[:1]}),
    ({"messages": MESSAGES}, {"text": "x"}),
]


@pytest.mark.parametrize(("good", "bad"), REJECTED, ids=lambda value: str(value)[:50])
def test_a_row_that_cannot_be_learned_from(good, bad):
    rows = rows_of(*[good] * 150, bad)
    shape = detect_shape(rows, {}, "auto")
    with pytest.raises(RowError) as caught:
        shape.to_record(rows[-1])
    check_message(caught.value)


def test_the_first_row_does_not_decide():
    rows = rows_of({"text": "odd"}, *[{"prompt": "q", "completion": "a"}] * 200)
    assert detect_shape(rows, {}, "auto").name == "prompt-completion"


def test_rows_without_an_optional_column_have_the_same_shape():
    rows = rows_of({"instruction": "q", "input": "i", "output": "a"}, {"instruction": "q", "output": "a"})
    assert detect_shape(rows, {}, "auto").name == "alpaca"


def test_both_spellings_of_a_conversation_may_stand_in_one_file():
    rows = rows_of({"conversations": TURNS}, {"conversations": MESSAGES}, {"conversations": TURNS})
    shape = detect_shape(rows, {}, "auto")
    assert shape.name == "sharegpt"
    assert all(shape.to_record(row).messages == tuple(MESSAGES) for row in rows)


ANY = {"q": "q", "a": "a", "note": "n"}
MAPPED = [
    ({"prompt": "q", "completion": "a"}, ANY, "prompt-completion", chat(*QA), ("note",)),
    ({"question": "q", "answer": "a"}, ANY, "question-answer", chat(*QA), ("note",)),
    ({"instruction": "q", "output": "a", "input": "note"}, ANY, "alpaca", chat(("u", "q\n\nn"), ("a", "a")), ()),
    ({"text": "note"}, ANY, "text", TextRecord("n", True, "a.jsonl:1"), ("a", "q")),
    (
        {"prompt": "q", "completion": "a"},
        {"messages": MESSAGES, **ANY},
        "prompt-completion",
        chat(*QA),
        ("messages", "note"),
    ),
    (
        {"prompt": "q", "answer": "a"},
        {"response": "other", **ANY},
        "prompt-completion",
        chat(*QA),
        ("note", "response"),
    ),
    ({"messages": "dialog"}, {"dialog": MESSAGES}, "messages", chat(*QA), ()),
    ({"conversations": "dialog"}, {"dialog": TURNS}, "sharegpt", chat(*QA), ()),
    (
        {"completion": "chosen"},
        {"prompt": "q", "chosen": "a", "rejected": "b"},
        "prompt-completion",
        chat(*QA),
        ("rejected",),
    ),
]


@pytest.mark.parametrize(("columns", "values", "name", "record", "ignored"), MAPPED, ids=lambda value: str(value)[:40])
def test_a_column_map_overrides_detection(columns, values, name, record, ignored):
    (row,) = rows_of(values)
    shape = detect_shape([row], columns, "auto")
    assert (shape.name, shape.to_record(row), shape.ignored) == (name, record, ignored)


def test_a_wanted_shape_leaves_the_other_rows_out():
    rows = rows_of({"text": "x", "prompt": "q", "completion": "a"}, {"prompt": "q", "completion": "a"}, {"text": "y"})
    assert detect_shape(rows[:1], {}, "auto").name == "prompt-completion"
    shape = detect_shape(rows, {}, "text")
    assert [shape.to_record(row).text for row in (rows[0], rows[2])] == ["x", "y"]
    with pytest.raises(RowError, match="there is no column `text`; this row looks like `prompt-completion`"):
        shape.to_record(rows[1])


def test_rows_of_the_same_columns_each_have_the_shape_that_they_have_alone() -> None:
    result = [values for values, *_ in SHAPES]
    spoken = [{"messages": TURNS}, {"messages": MESSAGES}, {"conversations": MESSAGES}, {"conversations": TURNS}]
    rated = [{"prompt": "q", "completion": "a", "label": label} for label in (True, "x", "false", 1)]
    rows = [*result, *spoken, *rated, {"tokens": ["a"], "tags": ["b"]}, {"tokens": "a", "tags": "b"}, {"nothing": 1}]
    alone = [pattern_of(values, PATTERNS) for values in rows]
    assert list(patterns_of([*rows, *reversed(rows)], PATTERNS)) == [*alone, *reversed(alone)]
    assert len(set(alone)) >= 10
