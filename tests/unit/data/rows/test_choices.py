"""Answers to choose from: the command that the error shows writes them into the questions, and the right one."""

from __future__ import annotations

from typing import Any

import pytest

from burnish.data.rows.row import Row
from burnish.data.rows.shapes import detect_shape
from burnish.errors import DataError
from tests.typed_commands import run_jq

LAMPS = ["a red lamp", "a blue lamp", "a dim lamp"]
SECOND = {"prompt": "Which lamp?\nA) a red lamp\nB) a blue lamp\nC) a dim lamp", "completion": "a blue lamp"}
LETTERS = list("ABC")

FORMS: dict[str, list[dict[str, Any]]] = {
    "list and numbers": [{"choices": LAMPS, "answer": place} for place in (1, 0, 2)],
    "list and letters": [{"options": LAMPS, "answer": letter} for letter in "BAC"],
    "list and numbers as text": [{"endings": LAMPS, "label": place} for place in ("1", "0", "2")],
    "list and texts": [{"choices": LAMPS, "answer": LAMPS[place]} for place in (1, 0, 2)],
    "texts with names": [{"choices": {"text": LAMPS, "label": LETTERS}, "answerKey": key} for key in "BAC"],
    "texts with numbers": [{"choices": {"text": LAMPS, "label": list("123")}, "answerKey": key} for key in "213"],
    "objects": [{"choices": [{"label": key, "text": text} for key, text in zip(LETTERS, LAMPS, strict=True)],
                 "answerKey": key} for key in "BAC"],
    "letters as keys": [{"options": dict(zip(LETTERS, LAMPS, strict=True)), "answer_idx": key} for key in "BAC"],
    "columns from 0": [{**dict(zip(("opa", "opb", "opc"), LAMPS, strict=True)), "cop": place} for place in (1, 0, 2)],
    "columns from 1": [{**dict(zip(("option1", "option2", "option3"), LAMPS, strict=True)), "answer": place}
                       for place in (2, 1, 3)],
    "columns of letters": [{**dict(zip(LETTERS, LAMPS, strict=True)), "answer": key} for key in "BAC"],
}  # fmt: skip


def command(rows: list[dict[str, Any]]) -> str:
    """The advice of the error, if it has a command; else empty."""
    with pytest.raises(DataError) as caught:
        detect_shape([Row(values, "f.jsonl", place) for place, values in enumerate(rows, start=1)], {})
    return caught.value.fix if "`jq " in caught.value.fix else ""


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_the_command_writes_choices_into_the_question(form: list[dict[str, Any]]) -> None:
    rows = [{"question": "Which lamp?", **values} for values in form]
    (made,) = run_jq(command(rows), rows[0])
    assert made == SECOND
    assert detect_shape([Row(made, "f.jsonl", 1)], {}).name == "prompt-completion"


def test_right_answers_stand_among_the_wrong_ones_and_below_their_text() -> None:
    row = {"question": "Which lamp?", "support": "Ben has a blue lamp.", "correct_answer": LAMPS[1],
           "distractor1": LAMPS[0], "distractor2": LAMPS[2]}  # fmt: skip
    (made,) = run_jq(command([row] * 3), row)
    assert made == {
        "prompt": "Ben has a blue lamp.\n\nWhich lamp?\nA) a blue lamp\nB) a dim lamp\nC) a red lamp",
        "completion": "a blue lamp",
    }


@pytest.mark.parametrize("answers", [(1, 2, 1), ("first", "second", "third")])
def test_no_command_is_guessed_where_the_answer_is_not_clear(answers: tuple[Any, ...]) -> None:
    assert not command([{"question": "Which lamp?", "choices": LAMPS, "answer": answer} for answer in answers])
