"""Questions with several accepted answers: the first is learned; a list that is itself an answer stays one."""

from __future__ import annotations

from typing import Any

import pytest

from burnish.data.rows.row import Row, RowError
from burnish.data.rows.shapes import detect_shape
from burnish.errors import DataError


def learned(*rows: dict[str, Any], **columns: str) -> tuple[list[str | None], str]:
    """The answers that are learned, and the notes."""
    given = [Row(values, "a.jsonl", line) for line, values in enumerate(rows, start=1)]
    shape = detect_shape(given, columns)
    return [shape.to_record(row).answer() for row in given], " ".join(shape.notes)


@pytest.mark.parametrize(
    "cell",
    [
        ["Oslo", "the city of Oslo"],
        "['Oslo', 'the city of Oslo']",
        {"value": "Oslo", "aliases": ["Oslo", "the city of Oslo"], "normalized_value": "oslo", "type": "Entity"},
        {"text": ["Oslo", "the city of Oslo"], "answer_start": [4, 0]},
        [{"text": "Oslo", "answer_start": -1}, {"text": "the city of Oslo", "answer_start": -1}],
    ],
    ids=["list", "list as text", "TriviaQA", "SQuAD's columns", "SQuAD's list"],
)
@pytest.mark.parametrize("name", ["answer", "answers"])
def test_the_first_of_several_accepted_answers_is_learned(name: str, cell: Any) -> None:
    answers, notes = learned({"question": "Where?", name: cell}, {"question": "Who?", name: ["Ann"]})
    assert answers == ["Oslo", "Ann"]
    assert f"`{name}` has several accepted answers in 1 of 2 rows; the first of each is learned" in notes


def test_a_list_of_one_is_its_answer_whatever_the_column_is_called() -> None:
    answers, notes = learned(
        {"instruction": "Add 1 and 1.", "output": ["2"]}, {"instruction": "Say hi.", "output": "hi"}
    )
    assert (answers, notes) == (["2", "hi"], "")
    with pytest.raises(RowError, match="the answer is empty"):
        learned({"instruction": "Add 1 and 1.", "output": ["2"]}, {"instruction": "Say hi.", "output": []})


def test_a_mapped_column_keeps_the_meaning_of_its_name() -> None:
    row = {"q": "Where?", "possible_answers": '["Oslo", "Christiania"]'}
    answers, notes = learned(row, prompt="q", completion="possible_answers")
    assert answers == ["Oslo"]
    assert "`possible_answers` has several" in notes


@pytest.mark.parametrize(("cell", "text"), [(["a", "b"], '["a", "b"]'), ({"name": "a", "value": 3}, None)], ids=str)
def test_other_lists_and_objects_are_learned_as_they_are_and_said(cell: Any, text: str | None) -> None:
    answers, notes = learned({"prompt": "Extract.", "completion": cell}, {"prompt": "Say hi.", "completion": "hi"})
    assert answers == [text or '{"name": "a", "value": 3}', "hi"]
    assert "`completion` has lists or objects in 1 of 2 rows; they are learned as JSON text" in notes


def test_messages_and_parts_are_no_list_of_answers() -> None:
    answers, notes = learned(
        {"prompt": "Hi.", "completion": [{"role": "assistant", "content": "Hello."}]},
        {"prompt": "Hi.", "completion": [{"type": "text", "text": "Hello."}]},
    )
    assert (answers, notes) == (["Hello.", "Hello."], "")


def test_several_questions_in_a_cell_are_said_and_one_is_itself() -> None:
    rows = [{"question": ["Where?", "In which place?"], "answer": "Oslo"}, {"question": ["Who?"], "answer": "Ann"}]
    assert "`question` has several texts in 2 of 2 rows" in learned(*rows)[1]
    shape = detect_shape([Row(rows[1], "a.jsonl", 1)], {})
    assert next(shape.to_record(Row(rows[1], "a.jsonl", 1)).all_texts()) == "Who?"
    assert shape.notes == ()


OBJECT = {"name": "a", "n": 3}
WRITTEN = '{"name": "a", "n": 3}'


@pytest.mark.parametrize(
    ("row", "notes"),
    [
        ({"instruction": "Say.", "input": OBJECT, "output": "a"}, ["`input`"]),
        ({"prompt": OBJECT, "completion": "a"}, ["`prompt`"]),
        ({"input": OBJECT, "output": {"n": 3}}, ["`output`", "`input`"]),
        ({"messages": [{"role": "user", "content": OBJECT}, {"role": "assistant", "content": "a"}]}, ["as content"]),
        ({"prompt": OBJECT, "chosen": {"n": 3}, "rejected": {"n": 4}}, ["`prompt`", "`chosen`", "`rejected`"]),
        ({"prompt": OBJECT, "completion": {"n": 3}, "label": True}, ["`prompt`", "`completion`"]),
    ],
    ids=["input", "prompt", "both", "content", "pair", "rated"],
)
def test_objects_are_json_in_prompts_and_in_pairs_too_and_said(row: dict[str, Any], notes: list[str]) -> None:
    shape = detect_shape([Row(row, "a.jsonl", 1)], {})
    record = shape.to_record(Row(row, "a.jsonl", 1))
    assert any(WRITTEN in text for text in record.all_texts())
    said = [note for note in shape.notes if "as JSON text" in note]
    assert len(said) == len(notes)
    assert all(name in note for name, note in zip(notes, said, strict=True))


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "Say.", "chosen": {"role": "assistant", "content": "a"}, "rejected": {"from": "gpt", "value": "b"}},
        {"prompt": {"role": "user", "content": "Say."}, "chosen": [{"from": "gpt", "value": "a"}], "rejected": "b"},
        {
            "prompt": "Say.",
            "chosen": {"type": "text", "text": "a"},
            "rejected": [{"role": "assistant", "content": "b"}],
        },
    ],
)
def test_one_message_in_a_pair_is_a_message(row: dict[str, Any]) -> None:
    shape = detect_shape([Row(row, "a.jsonl", 1)], {})
    record = shape.to_record(Row(row, "a.jsonl", 1))
    assert list(record.all_texts()) == ["Say.", "a", "b"]
    assert shape.notes == ()


def test_messages_as_an_input_are_no_object_to_write() -> None:
    with pytest.raises(DataError, match="no known shape"):
        learned({"input": {"messages": []}, "output": {"n": 3}})
