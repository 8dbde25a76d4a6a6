"""What is said of answers that repeat their prompt, and of system prompts that are not used."""

from __future__ import annotations

from typing import Any

import pytest

from burnish.data.rows.row import Row
from burnish.data.rows.shapes import Shape, detect_shape
from tests.typed_commands import run_jq

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


@pytest.mark.parametrize("said", [f"{ASKED} Here.", f"\n{ASKED}Here.", f"{ASKED.strip()}\n Here."])
def test_the_command_cuts_a_prompt_from_the_answers_that_repeat_it(said: str) -> None:
    (note,) = shape_of(prompt=f" {ASKED}", completion=said).notes
    rows = [(f" {ASKED}", said), (ASKED, " Elsewhere."), (ASKED, None), (None, " a"), ("", " b")]
    found = run_jq(note, *({"prompt": asked, "completion": answer} for asked, answer in rows))
    assert [row["completion"] for row in found] == ["Here.", " Elsewhere.", None, " a", " b"]
    assert [row["prompt"] for row in found] == [asked for asked, _ in rows]


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
