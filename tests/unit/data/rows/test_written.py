"""What is asked about unclear marks, votes and names comes with a command, and the command does what it says."""

from __future__ import annotations

import re
import shlex
from typing import Any

import pytest

from burnish.data.rows.row import Row
from burnish.data.rows.shapes import detect_shape
from burnish.errors import DataError
from tests.typed_commands import run_jq

TEXTS = [f"Anna sings in house {chr(97 + number)}" for number in range(24)]


def rows_of(*values: dict[str, Any]) -> list[Row]:
    return [Row(one, "f.jsonl", number) for number, one in enumerate(values, start=1)]


def refused(rows: list[Row], shape: str = "auto") -> DataError:
    with pytest.raises(DataError) as caught:
        detect_shape(rows, {}, shape)
    return caught.value


def written(rows: list[Row]) -> list[Row]:
    """The rows as the command of the error writes them."""
    return rows_of(*run_jq(refused(rows).fix, *(row.values for row in rows)))


@pytest.mark.parametrize(
    ("key", "learned", "other"),
    [("masked", False, True), ("is_ignored", 0, 1), ("noTrain", "false", "true"), ("learn", True, False)],
)
def test_a_mark_becomes_train_by_the_command(key: str, learned: Any, other: Any) -> None:
    said = [("A bad lamp.", other), ("A good lamp.", learned)]
    turns = [({"role": "user", "content": "Which?"}, {"role": "assistant", "content": text, key: mark})
             for text, mark in said]  # fmt: skip
    made = written(rows_of({"messages": [one for pair in turns for one in pair]}))
    answers = made[0].values["messages"][1::2]
    assert [answer["train"] for answer in answers] == [False, True]
    assert all(set(answer) == {"role", "content", "train"} for answer in answers)
    assert not detect_shape(made, {}).unused_keys


def test_answers_of_annotators_become_labels_by_the_command() -> None:
    found = [{"user_id": "u", "value": kind, "status": "submitted"} for kind in ["good", "bad"] * 12]
    made = written(rows_of(*({"text": text, "label": [one]} for text, one in zip(TEXTS, found, strict=True))))
    assert made[1].values == {"text": TEXTS[1], "label": "bad"} and detect_shape(made, {}).name == "labelled-text"


def test_texts_said_in_turn_under_another_name_are_mapped() -> None:
    rows = rows_of({"id": "1", "data": ["Which lamp?", "The red one."]})
    option = shlex.split(re.findall(r"`(--set [^`]*)`", refused(rows).fix)[0])[1]
    assert option == "data.columns.messages=data"
    assert detect_shape(rows, {"messages": "data"}).name == "turns"


def test_plain_text_that_is_asked_for_is_mapped_where_its_column_has_another_name() -> None:
    rows = rows_of(*({"Target": "Lamps here", "Tweet": text} for text in TEXTS))
    assert "`--set data.shape=text --set data.columns.text=Tweet`" in refused(rows, "text").fix
    assert detect_shape(rows, {"text": "Tweet"}, "text").name == "text"


def test_how_sure_a_language_was_is_no_annotation() -> None:
    web = [{"text": text, "url": "x", "language": "en", "language_score": 0.9, "token_count": 5} for text in TEXTS]
    assert detect_shape(rows_of(*web), {}).name == "text"
    with pytest.raises(DataError):
        detect_shape(rows_of(*({**one, "toxicity_score": 0.1} for one in web)), {})
