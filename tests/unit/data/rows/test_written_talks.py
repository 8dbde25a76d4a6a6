"""Conversations in one text, in turns without speakers or in trees: the command of the message writes messages."""

from __future__ import annotations

from typing import Any

import pytest

from burnish.data.rows.records import ChatRecord
from burnish.data.rows.row import Row
from burnish.data.rows.shapes import Shape, detect_shape
from burnish.errors import DataError
from tests.typed_commands import run_jq

ASKED, SAID = (
    {"role": "user", "content": "Which lamp?\n\nNote: be short."},
    {"role": "assistant", "content": "The red."},
)
AGAIN = [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "It is dim."}]
TALK = [ASKED, SAID, *AGAIN]
HEADS = {
    "capitals": ("USER: ", "ASSISTANT: ", "\n\n\n"),
    "marks at the ends": ("USER: ", "ASSISTANT: ", " <|endoftext|>\n\n\n"),
    "headings": ("### Human: ", "### Assistant: ", "\n"),
    "headings within a line": ("### Human: ", "### Assistant: ", ""),
    "tokens": ("<|user|>\n", "<|assistant|>\n", "</s>\n"),
    "names": ("Customer: ", "Agent: ", "\n"),
}


def detect(rows: list[dict[str, Any]]) -> Shape:
    return detect_shape([Row(values, "f.jsonl", place) for place, values in enumerate(rows, start=1)], {})


def fix_of(rows: list[dict[str, Any]]) -> str:
    with pytest.raises(DataError) as caught:
        detect(rows)
    return caught.value.fix


def written(user: str, assistant: str, end: str) -> str:
    heads = {"user": user, "assistant": assistant}
    return "".join(f"{heads[turn['role']]}{turn['content']}{end}" for turn in TALK)


@pytest.mark.parametrize("heads", HEADS.values(), ids=HEADS)
def test_a_written_conversation_is_split_where_somebody_speaks(heads: tuple[str, str, str]) -> None:
    rows = [{"chat": written(*heads), "id": f"{number}"} for number in range(3)]
    (made,) = run_jq(fix_of(rows), rows[0])
    assert made == {"messages": TALK}
    assert detect([made]).name == "messages"


def test_a_text_column_is_read_and_the_command_named() -> None:
    rows = [{"text": written("### Human: ", "### Assistant: ", "")}] * 3
    (note,) = detect(rows).notes
    assert run_jq(note, rows[0]) == [{"messages": TALK}]


def test_what_is_before_the_first_turn_is_not_lost() -> None:
    rows = [{"chat": "Below is a talk.\n\n" + written("USER: ", "ASSISTANT: ", "\n")}] * 3
    assert "`jq" not in fix_of(rows)


def test_calls_of_tools_are_written_as_calls() -> None:
    """As Glaive's data has them."""
    tool = '{\n    "name": "look",\n    "parameters": {\n        "type": "object",\n        "properties": {}\n    }\n}'
    system = "SYSTEM: You may call functions -\n"
    call = """<functioncall> {"name": "look", "arguments": '{"at": "lamp"}'}"""
    chat = f'USER: Which?\n\n\nASSISTANT: {call} <|endoftext|>\n\n\nFUNCTION RESPONSE: {{"it": 1}}\n\n\nASSISTANT: One.'
    rows = [
        {"system": f"{system}{tool}\n\n{tool.replace('look', 'see')}\n", "chat": f"{chat} <|endoftext|>\n\n\n"},
        {"system": "SYSTEM: You have no functions.", "chat": "USER: Hi?\n\n\nASSISTANT: Hi. <|endoftext|>\n\n\n"},
    ]
    first, second = run_jq(fix_of(rows), *rows)
    function = {"name": "look", "arguments": '{"at": "lamp"}'}
    assert first["messages"] == [
        {"role": "system", "content": "You may call functions -"},
        {"role": "user", "content": "Which?"},
        {"role": "assistant", "content": "", "tool_calls": [{"type": "function", "function": function}]},
        {"role": "tool", "content": '{"it": 1}'},
        {"role": "assistant", "content": "One."},
    ]
    assert [one["name"] for one in first["tools"]] == ["look", "see"]
    assert [one["content"] for one in second["messages"]] == ["You have no functions.", "Hi?", "Hi."]
    assert second["tools"] == []
    record = detect([first, second]).to_record(Row(first, "f.jsonl", 1))
    assert isinstance(record, ChatRecord)
    assert len(record.tools or ()) == 2


@pytest.mark.parametrize("name", ["log", "turns"])
def test_turns_without_speakers_are_said_in_turn(name: str) -> None:
    """As MultiWOZ has them."""
    rows = [{"goal": {}, name: [{"text": turn["content"], "metadata": {}} for turn in TALK]}] * 3
    fix = fix_of(rows)
    assert fix.startswith("If the first is the user")
    assert run_jq(fix, rows[0]) == [{"messages": TALK}]


SPEAKERS: dict[str, dict[str, Any]] = {
    "objects": {"turns": [{"speaker": who, "utterance": turn["content"], "frames": []}
                          for who, turn in zip(("USER", "SYSTEM") * 2, TALK, strict=True)]},
    "lists": {"turns": {"speaker": [0, 1, 0, 1], "utterance": [turn["content"] for turn in TALK]}},
    "names": {"session": [{"speaker_id": who, "utterance": turn["content"]}
                          for who, turn in zip(("Anna", "Ben") * 2, TALK, strict=True)]},
}  # fmt: skip


@pytest.mark.parametrize("values", SPEAKERS.values(), ids=SPEAKERS)
def test_the_first_of_two_speakers_is_the_user(values: dict[str, Any]) -> None:
    rows = [{"services": ["lamp"], **values}] * 3
    fix = fix_of(rows)
    assert fix.startswith("If ")
    assert run_jq(fix, rows[0]) == [{"messages": TALK}]


def branch(key: str, turn: dict[str, str], *replies: Any, rank: int | None = None) -> dict[str, Any]:
    return {"message_id": key, "text": turn["content"], "role": turn["role"], "rank": rank, "replies": list(replies)}


def test_the_best_replies_of_a_tree_are_a_conversation() -> None:
    """As OpenAssistant has them."""
    worse = branch("w", {"role": "assistant", "content": "No."}, rank=1)
    best = branch("b", SAID, branch("c", AGAIN[0], branch("d", AGAIN[1], rank=0)), rank=0)
    rows = [{"message_tree_id": "t", "prompt": branch("a", ASKED, worse, best)}] * 3
    assert run_jq(fix_of(rows), rows[0]) == [{"messages": TALK}]


@pytest.mark.parametrize(("own", "above"), [("message_id", "parent_id"), ("id", "parent")])
@pytest.mark.parametrize("said", ["text", "content"])
def test_rows_that_reply_to_others_are_joined(own: str, above: str, said: str) -> None:
    turns = [(1, None, ASKED, None), (2, 1, {"role": "assistant", "content": "No."}, 1), (3, 1, SAID, 0),
             (4, 3, AGAIN[0], None), (5, 4, AGAIN[1], 0)]  # fmt: skip
    rows = [
        {own: key, above: parent, said: turn["content"], "role": turn["role"], "rank": rank, "message_tree_id": 1}
        for key, parent, turn, rank in turns
    ]
    (made,) = run_jq(fix_of(rows), *rows)
    assert made == {"messages": TALK}
