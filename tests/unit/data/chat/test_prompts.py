"""What is said of answers that repeat their prompt, and of system prompts that are not used."""

from __future__ import annotations

from typing import Any

import pytest

from burnish.data.rows.row import Row
from burnish.data.rows.shapes import Shape, detect_shape

ASKED = "Q: Where is the door?\nA:"
TURNS = [{"role": "user", "content": "a?"}, {"role": "assistant", "content": "b"}]


def shape_of(**values: Any) -> Shape:
    return detect_shape([Row(values, "f.jsonl", line) for line in (1, 2, 3)], {})


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"prompt": ASKED, "completion": f"{ASKED} Here."}, ["completion"]),
        ({"question": ASKED, "answer": f"{ASKED} Here."}, ["answer"]),
        ({"prompt": ASKED, "chosen": f"{ASKED} Here.", "rejected": f"{ASKED} There."}, ["chosen", "rejected"]),
        ({"prompt": ASKED, "completion": "Here."}, []),
        ({"prompt": "Hi", "completion": "Hi there."}, []),
        ({"messages": TURNS}, []),
    ],
)
def test_answers_that_repeat_their_prompt_are_named(values: dict[str, Any], named: list[str]) -> None:
    assert [note.split("`")[1] for note in shape_of(**values).notes if "begins with the text" in note] == named


def test_a_system_prompt_that_another_message_replaces_is_named() -> None:
    other = [{"role": "system", "content": "Be long."}, *TURNS]
    (note,) = shape_of(messages=other, system="Be brief.").notes
    assert "`system` is not used in 3 of 3 rows" in note
    for values in ({"messages": TURNS, "system": "Be brief."}, {"messages": other, "system": "Be long."}):
        assert not shape_of(**values).notes


@pytest.mark.parametrize("cell", ["<noinput>", "nan", "", None])
@pytest.mark.parametrize("answers", [{"output": "b"}, {"chosen": "b", "rejected": "c"}])
def test_a_mark_for_no_input_is_no_part_of_the_question(cell: Any, answers: dict[str, str]) -> None:
    row = Row({"instruction": "a", "input": cell, **answers}, "f.jsonl", 1)
    record: Any = detect_shape([row], {}).to_record(row)
    assert record.dialogues()[0][0]["content"] == "a"
