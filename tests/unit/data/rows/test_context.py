"""What a question is about, what was said before, and what can be chosen is not left out of a prompt."""

from __future__ import annotations

from typing import Any

import pytest

from burnish.data.rows.records import ChatRecord, SpanRecord
from burnish.data.rows.row import Row, RowError
from burnish.data.rows.shapes import detect_shape
from burnish.errors import DataError


def read(**values: Any) -> Any:
    row = Row(values, "f.jsonl", 1)
    return detect_shape([row], {}).to_record(row)


@pytest.mark.parametrize("name", ["context", "passage"])
def test_the_text_beside_a_question_is_a_part_of_it(name: str) -> None:
    row = Row({name: "Ann wrote it.", "question": "Who wrote it?", "answer": "Ann"}, "f.jsonl", 1)
    shape = detect_shape([row], {})
    record = shape.to_record(row)
    assert isinstance(record, ChatRecord)
    assert record.messages[0]["content"] == "Who wrote it?\n\nAnn wrote it."
    assert shape.notes == (f"`{name}` is read as a part of each question, below it.",)
    assert not shape.ignored


def test_an_answer_with_its_place_is_a_span() -> None:
    record = read(context="Ann wrote it.", question="Who?", answer={"text": "Ann", "answer_start": 0})
    assert isinstance(record, SpanRecord)
    assert record.answers == ((0, "Ann"),)


def test_earlier_turns_come_before_the_question() -> None:
    record = read(instruction="And now?", input="", output="Dark.", history=[["Was it light?", "Yes."]])
    assert [message["content"] for message in record.messages] == ["Was it light?", "Yes.", "And now?", "Dark."]
    assert [message["role"] for message in record.messages] == ["user", "assistant"] * 2
    with pytest.raises(RowError, match="`history` is not a list"):
        read(instruction="And now?", output="Dark.", history=["Was it light?"])


@pytest.mark.parametrize(
    ("ask", "reply"),
    [("query", "response"), ("source", "target"), ("instruction", "response"), ("prompt", "answer"),
     ("question", "answer"), ("instruction", "output")],
)  # fmt: skip
def test_every_shape_of_a_question_and_its_answer_has_earlier_turns(ask: str, reply: str) -> None:
    record = read(**{ask: "And now?", reply: "Dark."}, history=[["Was it light?", "Yes."]])
    assert [message["content"] for message in record.messages] == ["Was it light?", "Yes.", "And now?", "Dark."]


@pytest.mark.parametrize("name", ["conversation_history", "previousTurns", "past"])
def test_earlier_turns_under_another_name_are_asked_about(name: str) -> None:
    values = {"prompt": "And now?", "completion": "Dark.", name: [["Was it light?", "Yes."]]}
    row = Row(values, "f.jsonl", 1)
    with pytest.raises(DataError, match="the turns before each question") as caught:
        detect_shape([row], {})
    assert f"--set data.columns.history={name}" in caught.value.fix
    record = detect_shape([row], {"history": name}).to_record(row)
    assert isinstance(record, ChatRecord) and len(record.messages) == 4
    assert detect_shape([row], {}, "prompt-completion").ignored == (name,)


def test_earlier_turns_come_before_a_prompt_of_messages() -> None:
    asked = [{"role": "user", "content": "And now?"}]
    record = read(prompt=asked, completion="Dark.", history=[["Was it light?", "Yes."]])
    assert [message["content"] for message in record.messages] == ["Was it light?", "Yes.", "And now?", "Dark."]


@pytest.mark.parametrize(
    "choices",
    [
        {"choices": ["red", "blue"]},
        {"options": "['red', 'blue']"},
        {"choices": {"text": ["red", "blue"], "label": ["A", "B"]}},
        {"A": "red", "B": "blue", "C": "green"},
        {"option_a": "red", "option_b": "blue", "option_c": "green"},
        {"options": {"A": "red", "B": "blue"}},
        {"options": "{'A': 'red', 'B': 'blue'}"},
        {"options": "a ) red , b ) blue"},
        {"opa": "red", "opb": "blue"},
        {"distractor1": "red", "distractor2": "blue"},
    ],
)
def test_answers_to_choose_from_are_asked_about(choices: dict[str, Any]) -> None:
    row = Row({"question": "Which colour?", **choices, "answer": "A"}, "f.jsonl", 1)
    with pytest.raises(DataError, match="the answers to choose from"):
        detect_shape([row], {})
    assert detect_shape([row], {}, "question-answer").name == "question-answer"


@pytest.mark.parametrize(
    "other",
    [{"a": 1, "b": 2}, {"a": 1, "b": 0, "c": 1}, {"options": "fast"}, {"options": {"k": 3}}, {"choices": ["one"]}],
)
def test_other_columns_are_only_named(other: dict[str, Any]) -> None:
    row = Row({"question": "Which colour?", "answer": "Red.", **other}, "f.jsonl", 1)
    assert detect_shape([row], {}).ignored == tuple(sorted(other))


@pytest.mark.parametrize(
    "values",
    [
        {"question": "a b?", "opa": "c d", "opb": "e f", "opc": "g h", "cop": 0},
        {"goal": "a b?", "sol1": "c d", "sol2": "e f", "label": 0},
        {"premise": "a b", "choice1": "c d", "choice2": "e f", "question": "cause", "label": 0},
        {"sentence": "_ is a b", "option1": "Anna", "option2": "Otto", "answer": "1"},
        {"sent1": "a b", "ending0": "c d", "ending1": "e f", "ending2": "g h", "label": 1},
        {"question": {"stem": "a b?", "choices": [{"label": "A", "text": "c"}, {"label": "B", "text": "d"}]}},
        {"sentence": "_ is a b", "option1": "Anna {}", "option2": "Otto {}", "label": "1"},
    ],
)
def test_no_command_learns_a_choice_that_may_be_wrong(values: dict[str, Any]) -> None:
    def filled(line: int) -> dict[str, Any]:
        return {name: cell.format(line) if isinstance(cell, str) else cell for name, cell in values.items()}

    with pytest.raises(DataError) as caught:
        detect_shape([Row(filled(line), "f.jsonl", line) for line in range(1, 13)], {})
    assert "to choose from" in f"{caught.value.what} {caught.value.why}"
    assert "completion=" not in caught.value.fix


def test_right_answers_can_be_learned_without_the_others_by_the_command_that_is_named() -> None:
    values = {"question": "a b?", "distractor1": "wrong one", "distractor2": "x", "correct_answer": "right one"}
    rows = [Row(values, "f.jsonl", line) for line in range(1, 13)]
    with pytest.raises(DataError) as caught:
        detect_shape(rows, {})
    command = "--set data.columns.prompt=question --set data.columns.completion=correct_answer --set data.shape="
    assert f"`{command}prompt-completion`" in caught.value.fix
    shape = detect_shape(rows, {"prompt": "question", "completion": "correct_answer"}, "prompt-completion")
    assert shape.to_record(rows[0]).answer() == "right one"
