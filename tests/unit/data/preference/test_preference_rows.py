"""Rows of better and worse answers: what each shape means, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from burnish.data.rows.dataset import Records, load_records
from burnish.data.rows.patterns import PATTERNS
from burnish.data.rows.records import PreferenceRecord, RatedRecord
from burnish.data.rows.row import RowError
from burnish.data.rows.shapes import pattern_of
from burnish.errors import DataError
from burnish.recipe.schema import DataSection
from burnish.tasks import task_names_for
from tests.snapshots import check_message
from tests.tiny_data import read_as

USER = {"role": "user", "content": "Which colour?"}
GOOD = {"role": "assistant", "content": "Red."}
BAD = {"role": "assistant", "content": "No."}
HH = "\n\nHuman: Which colour?\n\nAssistant: {}"


def read(values: dict[str, Any]) -> Any:
    """The record of a row, with its shape found as in a file."""
    pattern = pattern_of(values, PATTERNS)
    assert pattern is not None
    return read_as(pattern, values, "rows.jsonl:1")


def parts(typed: dict[str, str]) -> dict[str, Any]:
    return {"role": typed["role"], "content": [{"type": "text", "value": typed["content"]}], "loss_weight": 0.5}


PAIRS: dict[str, dict[str, Any]] = {
    "strings": {"prompt": "Which colour?", "chosen": "Red.", "rejected": "No."},
    "instruction": {"instruction": "Which colour?", "input": "", "chosen": "Red.", "rejected": "No."},
    "messages": {"prompt": [USER], "chosen": [GOOD], "rejected": [BAD]},
    "mixed spelling": {"prompt": "Which colour?", "chosen": [GOOD], "rejected": BAD},
    "question and dialogues": {"prompt": "Which colour?", "chosen": [USER, GOOD], "rejected": [USER, BAD]},
    "turns": {
        "conversations": [{"from": "human", "value": "Which colour?"}],
        "chosen": {"from": "gpt", "value": "Red."},
        "rejected": {"from": "gpt", "value": "No."},
    },
    "turns as JSON text": {"messages": json.dumps([USER]), "chosen": "Red.", "rejected": "No."},
    "dialogues": {"chosen": [USER, GOOD], "rejected": [USER, BAD]},
    "dialogues as JSON text": {"chosen": json.dumps([USER, GOOD]), "rejected": json.dumps([USER, BAD])},
    "typed parts": {
        "chosen_messages": [parts(USER), parts(GOOD)],
        "rejected_messages": [parts(USER), parts(BAD)],
    },
    "OpenAI's form": {
        "input": {"messages": [USER], "tools": [], "parallel_tool_calls": True},
        "preferred_output": [GOOD],
        "non_preferred_output": [BAD],
    },
    "HH text": {"chosen": HH.format("Red."), "rejected": HH.format("No.")},
    "HH prompt": {"prompt": HH.format("").rstrip(" "), "chosen": "Red.", "rejected": "No."},
}


@pytest.mark.parametrize("name", PAIRS)
def test_every_spelling_of_a_pair_is_the_same_record(name: str) -> None:
    assert read(PAIRS[name]) == PreferenceRecord((USER,), (GOOD,), (BAD,), None, "rows.jsonl:1")


def test_the_system_prompt_the_addition_and_the_tools_are_read() -> None:
    values = {
        "instruction": "Which colour?",
        "input": "It is a fox.",
        "chosen": "Red.",
        "rejected": "No.",
        "system": "Be brief.",
    }
    record = read(values)
    assert [message["content"] for message in record.prompt] == ["Be brief.", "Which colour?\n\nIt is a fox."]
    tools = read({**PAIRS["messages"], "tools": [{"name": "look"}]}).tools
    assert tools[0]["function"]["name"] == "look"
    prompt = {"messages": [USER], "tools": [{"type": "function", "function": {"name": "look"}}]}
    tools = read({**PAIRS["OpenAI's form"], "input": prompt}).tools
    assert tools[0]["function"]["name"] == "look"


def test_what_of_openais_form_is_not_used_is_said(write: Any) -> None:
    rows = [
        {**PAIRS["OpenAI's form"], "input": {"messages": [{**USER, "content": f"{number}?"}]}} for number in range(9)
    ]
    assert load(write, rows).shape.notes == ()
    rows[3]["input"]["parallel_tool_calls"] = False
    assert load(write, rows).shape.notes == ("`parallel_tool_calls` in `input` is not used.",)


def test_dialogues_part_at_the_assistants_turn() -> None:
    again = {"role": "user", "content": "Sure?"}
    other = {"role": "user", "content": "Really?"}
    record = read({"chosen": [USER, GOOD, again, GOOD], "rejected": [USER, GOOD, again, BAD]})
    assert (record.prompt, record.chosen, record.rejected) == ((USER, GOOD, again), (GOOD,), (BAD,))
    record = read({"chosen": [USER, GOOD, again, GOOD], "rejected": [USER, GOOD, other, BAD]})
    assert record.prompt == (USER,), "what the user says next is no answer to compare"
    assert record.chosen == (GOOD, again, GOOD)
    record = read({"chosen": [USER, GOOD], "rejected": [USER, GOOD, again, BAD]})
    assert (record.prompt, record.chosen) == ((USER,), (GOOD,))


def test_the_turns_of_an_hh_text() -> None:
    text = "\n\nHuman: Hi.\n\nSo?\n\nAssistant: Yes: Human: is no turn here.\n\nHuman: Good.\n\nAssistant: {}"
    record = read({"chosen": text.format("Bye."), "rejected": text.format("What?")})
    assert [message["content"] for message in record.prompt] == ["Hi.\n\nSo?", "Yes: Human: is no turn here.", "Good."]
    assert record.chosen == ({"role": "assistant", "content": "Bye."},)


PROMPT = {"prompt": "Which colour?"}
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no chosen": {**PROMPT, "chosen": None, "rejected": "No."},
    "no rejected": {**PROMPT, "chosen": "Red.", "rejected": float("nan")},
    "no turns": {**PROMPT, "chosen": [], "rejected": "No."},
    "empty": {**PROMPT, "chosen": "Red.", "rejected": " \n"},
    "empty turn": {**PROMPT, "chosen": {"from": "gpt", "value": ""}, "rejected": "No."},
    "no question": {"prompt": None, "chosen": "Red.", "rejected": "No."},
    "empty question": {"prompt": " ", "chosen": "Red.", "rejected": "No."},
    "equal": {**PROMPT, "chosen": "Red.", "rejected": "Red. "},
    "not an answer": {**PROMPT, "chosen": [USER], "rejected": [GOOD]},
    "begins elsewhere": {**PROMPT, "chosen": [USER, GOOD], "rejected": [BAD]},
    "other dialogues": {"prompt": "How?", "chosen": [USER, GOOD], "rejected": [USER, BAD]},
    "answered prompt": {"prompt": [USER, GOOD], "chosen": "Red.", "rejected": "No."},
    "no role": {**PROMPT, "chosen": {"content": "Red."}, "rejected": "No."},
    "no beginning": {"chosen": HH.format("Red."), "rejected": "\n\nHuman: How?\n\nAssistant: No."},
    "only the system": {
        "chosen": [{"role": "system", "content": "Hm."}, GOOD],
        "rejected": [{"role": "system", "content": "Hm."}, BAD],
    },
    "ends with the user": {"chosen": [USER, GOOD, USER], "rejected": [USER, BAD]},
    "HH ends with the user": {"chosen": HH.format("Red."), "rejected": HH.format("No.") + "\n\nHuman: Oh."},
    "HH without the answer": {"chosen": HH.format("Red."), "rejected": HH.format("")},
    "no dialogue": {"chosen": "Red.", "rejected": "No."},
    "equal dialogues": {"chosen": HH.format("Red."), "rejected": HH.format("Red.")},
    "one dialogue missing": {"chosen": HH.format("Red."), "rejected": None},
    "other keys of a prompt": {
        "input": {"messages": [USER], "temperature": 1},
        "preferred_output": [GOOD],
        "non_preferred_output": [BAD],
    },
    "a prompt without messages": {"input": {}, "preferred_output": [GOOD], "non_preferred_output": [BAD]},
    "a picture": {**PROMPT, "chosen": [{"role": "assistant", "content": [{"type": "image"}]}], "rejected": "No."},
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name: str) -> None:
    values = REFUSED[name]
    with pytest.raises(RowError) as caught:
        read(values)
    check_message(caught.value)


@pytest.mark.parametrize(("label", "good"), [(True, True), (False, False), ("true", True), (" False", False)])
def test_rated_answers(label: Any, good: bool) -> None:
    expected = RatedRecord((USER,), (GOOD,), good, None, "rows.jsonl:1")
    assert read({"prompt": "Which colour?", "completion": "Red.", "label": label}) == expected
    assert read({"messages": [USER, GOOD], "label": label}) == expected


RATED = next(pattern for pattern in PATTERNS if pattern.name == "rated")
RATED_MESSAGES = next(pattern for pattern in PATTERNS if pattern.name == "rated-messages")


@pytest.mark.parametrize("label", ["maybe", "", 1, 0.5, None, [True]])
def test_ratings_are_yes_or_no(label: Any) -> None:
    with pytest.raises(RowError) as caught:
        read_as(RATED, {"prompt": "Which colour?", "completion": "Red.", "label": label}, "rows.jsonl:1")
    check_message(caught.value)


@pytest.mark.parametrize(
    "values",
    [
        {"messages": [USER], "label": True},
        {"messages": [USER, GOOD, USER], "label": True},
        {"messages": [GOOD], "label": True},
        {"messages": [USER, {"role": "assistant", "content": " "}], "label": False},
        {"prompt": "Which colour?", "completion": "", "label": True},
        {"prompt": "Which colour?", "completion": None, "label": True},
    ],
)
def test_what_is_refused_of_rated_rows(values: dict[str, Any]) -> None:
    pattern = RATED_MESSAGES if "messages" in values else RATED
    with pytest.raises(RowError) as caught:
        read_as(pattern, values, "rows.jsonl:1")
    check_message(caught.value)


def load(write: Any, rows: list[dict[str, Any]], **options: Any) -> Records:
    write("rows.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    return load_records(DataSection(path="rows.jsonl", **options))


def pair(number: int) -> dict[str, Any]:
    return {"prompt": f"What is {number}?", "chosen": "A number.", "rejected": "No idea."}


def test_a_refused_row_is_named_and_the_others_stay(write: Any) -> None:
    rows = [pair(number) for number in range(5)]
    rows[3]["rejected"] = "A number."
    del rows[4]["rejected"]
    records = load(write, rows)
    assert task_names_for(records.shape.record) == ["preference", "reward"]
    assert [(row.place, row.reason.split(" (")[0]) for row in records.rejected] == [
        ("rows.jsonl:4", "the chosen and the rejected answer are the same"),
        ("rows.jsonl:5", "there is no column `rejected`"),
    ]
    assert len(records.train) + len(records.valid) + len(records.test) == 3


@pytest.mark.parametrize(
    "other",
    [
        {"messages": [USER, GOOD], "label": True},
        {"chosen": HH.format("Red."), "rejected": HH.format("No.")},
        {"messages": [USER, GOOD]},
    ],
)
def test_mixed_shapes_are_refused_with_the_line(write: Any, other: dict[str, Any]) -> None:
    with pytest.raises(DataError) as caught:
        load(write, [*(pair(number) for number in range(4)), other])
    assert "rows.jsonl:5: this row looks like" in caught.value.what or "has the columns" in caught.value.what
    assert "rows.jsonl:5" in caught.value.what


def test_one_bad_rating_among_many_is_left_out(write: Any) -> None:
    rows = [{"prompt": f"What is {number}?", "completion": "A number.", "label": True} for number in range(150)]
    rows[7]["label"] = "perhaps"
    records = load(write, rows)
    assert records.shape.name == "rated"
    assert [row.place for row in records.rejected] == ["rows.jsonl:8"]
    assert "perhaps" in records.rejected[0].reason
