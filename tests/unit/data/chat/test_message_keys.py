"""Keys of a message besides its role and content: what is learned, what it thought, and what nothing uses."""

from __future__ import annotations

from typing import Any

import pytest

from burnish.data.chat.format import ChatFormat
from burnish.data.chat.messages import THOUGHT, find_role, read_content, read_message
from burnish.data.chat.rows import read_messages
from burnish.data.rows.dataset import load_records
from burnish.data.rows.records import ChatRecord
from burnish.data.rows.row import IGNORED, Row, RowError
from burnish.data.rows.settled import Asked
from burnish.data.rows.shapes import detect_shape
from burnish.errors import DataError, RecipeError
from burnish.prepare.context import what_is_asked
from burnish.recipe.schema import DataSection, Recipe
from tests.snapshots import check_message
from tests.tiny_models import make_tokenizer

QUESTION = {"role": "user", "content": "the fox"}


def answer(text: str, **keys: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": text, **keys}


NOT_LEARNED = [
    {"weight": 0}, {"weight": 0.0}, {"train": False}, {"training": "false"}, {"weight": "0"}, {"loss": False},
    {"loss": 0.0}, {"train_on_turn": False}, {"trainable": 0},
]  # fmt: skip


@pytest.mark.parametrize("keys", NOT_LEARNED, ids=str)
def test_an_answer_with_the_weight_0_is_context_only(keys: dict[str, Any]) -> None:
    turns = [QUESTION, answer("a bad boat", **keys), QUESTION, answer("a boat", weight=1)]
    record = ChatRecord(read_messages(turns, "messages"), None, "a.jsonl:1")
    tokenizer = make_tokenizer()
    (example,) = ChatFormat(tokenizer).encode(record, 64).examples
    learned = [label for label in example.labels if label != IGNORED]
    assert tokenizer.decode(learned).startswith("a boat")
    assert "a bad boat" in tokenizer.decode(list(example.input_ids))


def test_nothing_after_the_last_learned_answer_is_kept() -> None:
    turns = [QUESTION, answer("a boat"), QUESTION, answer("a bad boat", train=False)]
    assert [message["content"] for message in read_messages(turns, "messages")] == ["the fox", "a boat"]
    with pytest.raises(RowError) as caught:
        read_messages([QUESTION, answer("a", weight=0)], "messages")
    check_message(caught.value)


def test_a_weight_between_is_refused() -> None:
    with pytest.raises(RowError) as caught:
        read_message(answer("a", weight=0.5), 2)
    check_message(caught.value)


def test_a_loss_that_was_measured_says_nothing() -> None:
    turns = [QUESTION, answer("a boat", loss=2.31)]
    assert len(read_messages(turns, "messages")) == 2
    shape = detect_shape([Row({"messages": turns}, "a.jsonl", 1)], {})
    assert shape.unused_keys == ("loss",)


@pytest.mark.parametrize("key", ["mask", "is_ignored", "learn"])
def test_a_key_that_may_say_what_is_learned_is_asked_about(key: str) -> None:
    turns = [QUESTION, answer("a bad boat", **{key: True}), QUESTION, answer("a boat", **{key: False})]
    rows = [Row({"messages": turns}, "a.jsonl", line) for line in (1, 2)]
    with pytest.raises(DataError) as caught:
        detect_shape(rows, {})
    check_message(caught.value)
    assert detect_shape(rows, {}, "messages").unused_keys == (key,)


@pytest.mark.parametrize("key", THOUGHT)
def test_a_thought_has_one_key(key: str) -> None:
    assert read_message(answer("a", **{key: "hm"}), 2) == {
        "role": "assistant",
        "content": "a",
        "reasoning_content": "hm",
    }


@pytest.mark.parametrize("key", THOUGHT)
@pytest.mark.parametrize(
    ("ask", "reply"), [("prompt", "completion"), ("question", "answer"), ("instruction", "output")]
)
def test_a_thought_may_have_a_column_of_its_own(key: str, ask: str, reply: str) -> None:
    rows = [Row({ask: f"Why {n}?", key: thought, reply: "So."}, "a.jsonl", n) for n, thought in ((1, "Hm."), (2, None))]
    shape = detect_shape(rows, {})
    thoughtful, plain = (shape.to_record(row) for row in rows)
    assert isinstance(thoughtful, ChatRecord)
    assert isinstance(plain, ChatRecord)
    assert thoughtful.messages[1] == {"role": "assistant", "content": "So.", "reasoning_content": "Hm."}
    assert plain.messages[1] == {"role": "assistant", "content": "So."}
    assert shape.ignored == ()
    note = f"`{key}` is taken as the thought before each answer. To leave it out, remove the column."
    assert shape.notes == (note,)


ROLES = [
    ("User", "user"),
    ("HUMAN", "user"),
    ("customer", "user"),
    ("Prompter", "user"),
    ("AI", "assistant"),
    ("Assistant:", "assistant"),
    ("AI Assistant", "assistant"),
    ("Bot", "assistant"),
    ("model", "assistant"),
    ("gpt4", "assistant"),
    ("gpt-4o-mini", "assistant"),
    ("gpt-3.5-turbo", "assistant"),
    ("claude-3-opus", "assistant"),
    ("System", "system"),
    ("Developer", "system"),
    ("Function", "tool"),
    ("function-call", "function_call"),
    ("narrator", None),
    ("4", None),
    ("user2x", None),
]


@pytest.mark.parametrize(("name", "role"), ROLES)
def test_usual_names_of_roles_are_known_whatever_their_case(name: str, role: str | None) -> None:
    assert find_role(name, {}) == role


def test_the_recipe_says_what_other_roles_mean() -> None:
    turns = [{"from": "narrator", "value": "q"}, {"from": "dragon king", "value": "a"}]
    roles = {"narrator": "user", "dragon king": "assistant"}
    shape = detect_shape([Row({"conversations": turns}, "a.jsonl", 1)], {}, asked=Asked(roles=roles))
    record = shape.to_record(Row({"conversations": turns}, "a.jsonl", 1))
    assert [message["role"] for message in record.dialogues()[0]] == ["user", "assistant"]
    prompted = {"prompt": turns[:1], "chosen": turns[1:], "rejected": [{"from": "dragon king", "value": "b"}]}
    shape = detect_shape([Row(prompted, "a.jsonl", 1)], {}, asked=Asked(roles=roles))
    assert shape.to_record(Row(prompted, "a.jsonl", 1)).dialogues()[0][1]["content"] == "a"
    with pytest.raises(RecipeError) as caught:
        what_is_asked(Recipe(data=DataSection(roles={"narrator": "author"})))
    check_message(caught.value)


CONTENTS = [
    ({"type": "text", "text": "a"}, "a"),
    ([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], "ab"),
    ([{"type": "input_text", "text": "a"}, {"type": "output_text", "text": "b"}], "ab"),
    ([{"text": "a"}, "b"], "ab"),
    ([{"type": "refusal", "refusal": "No."}], "No."),
    ({"content_type": "text", "parts": ["a", "b"]}, "ab"),
    ({"answer": 42}, '{"answer": 42}'),
    ({"type": "text"}, '{"type": "text"}'),
    (0.5, "0.5"),
]


@pytest.mark.parametrize(("content", "text"), CONTENTS, ids=str)
def test_parts_are_text_and_other_objects_are_json(content: Any, text: str) -> None:
    assert read_content(content, 1) == (text, "", [])


def test_a_refusal_is_an_answer() -> None:
    assert read_message({"role": "assistant", "content": None, "refusal": "No."}, 2)["content"] == "No."


FUNCTION = {"name": "weather", "parameters": {"type": "object", "properties": {}}}


def test_functions_are_tools() -> None:
    call = {"role": "assistant", "content": None, "function_call": {"name": "weather", "arguments": '{"city": "Rome"}'}}
    row = Row({"messages": [QUESTION, call], "functions": [FUNCTION]}, "a.jsonl", 1)
    shape = detect_shape([row], {})
    record = shape.to_record(row)
    assert isinstance(record, ChatRecord)
    assert record.tools == ({"type": "function", "function": FUNCTION},)
    assert record.messages[1]["tool_calls"][0]["function"] == {"name": "weather", "arguments": {"city": "Rome"}}
    assert shape.ignored == ()


def test_keys_and_columns_that_nothing_uses_are_named() -> None:
    turns = [{**QUESTION, "timestamp": 1, "id": "m1"}, answer("a", weight=1, thinking="hm", mood=None, likes=3)]
    shape = detect_shape([Row({"messages": turns, "id": 7, "model": "m"}, "a.jsonl", 1)], {})
    assert (shape.ignored, shape.unused_keys) == (("id", "model"), ("id", "likes", "timestamp"))
    assert shape.unused == "the columns `id`, `model` and the keys `id`, `likes`, `timestamp` inside messages"
    as_text = '[{"role": "user", "content": "q", "note": 1}, {"role": "assistant", "content": "a"}]'
    assert detect_shape([Row({"messages": as_text}, "a.jsonl", 1)], {}).unused_keys == ("note",)
    answers = [{"prompt": "q", "chosen": [answer("a", score=1)], "rejected": [answer("b")]}]
    assert detect_shape([Row(answers[0], "a.jsonl", 1)], {}).unused_keys == ("score",)


def test_unknown_roles_are_left_out_with_the_command(tmp_path: Any) -> None:
    path = tmp_path / "a.jsonl"
    line = '{"messages": [{"role": "narrator", "content": "q%d"}, {"role": "gpt", "content": "a"}]}\n'
    path.write_text("".join(line % n for n in range(4)), encoding="utf-8")
    roles = Asked(roles={"narrator": "user"})
    assert len(load_records(DataSection(path=str(path)), roles).train) > 0
