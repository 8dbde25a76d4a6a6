"""Reads rows of preferences: pairs of answers, pairs of complete conversations, and answers rated good or bad."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from burnish.data.chat.accepted import is_one_message, json_notes
from burnish.data.chat.messages import (
    NO_ROLES,
    USED,
    Message,
    as_message_list,
    cell_text,
    read_message,
    with_thoughts,
)
from burnish.data.chat.rows import NO_ADDITION, earlier_turns, is_answer, tools_of, with_system
from burnish.data.rows.pattern import Pattern
from burnish.data.rows.patterns import ANSWER, PROMPT, TURNS
from burnish.data.rows.records import Messages, PreferenceRecord, RatedRecord
from burnish.data.rows.row import RowError, as_text, parse_json_text, pick
from burnish.visible import parse_json

_SPEAKER = re.compile(r"(?:\A\s*|\n\n)(Human|Assistant):[ \t]*")
_ROLES = {"Human": "user", "Assistant": "assistant"}
_RATINGS = {"true": True, "false": False}


def pair_record(pattern: Pattern, values: Mapping[str, Any], place: str) -> PreferenceRecord:
    """A prompt with a better and a worse answer.

    Each answer is a text, one turn, or a list of turns; a list may also be the complete conversation.

    Raises:
        RowError: the prompt or an answer is missing, an answer is empty or not the assistant's, or both are the same.
    """
    names = [pick(values, field)[0] for field in pattern.required]
    chosen, rejected = (read_answer(values.get(name), name, pattern.roles) for name in names[1:])
    prompt = _asked(pattern, values, names[0])
    if all(answer[0]["role"] != "assistant" for answer in (chosen, rejected)):
        shared, chosen, rejected = part(chosen, rejected)
        if prompt[-1]["content"].strip() not in [message["content"].strip() for message in shared]:
            raise RowError(f"the conversations in `{names[1]}` and `{names[2]}` do not start with `{names[0]}`")
        prompt = shared
    for name, answer in zip(names[1:], (chosen, rejected), strict=True):
        if answer[0]["role"] != "assistant":
            raise RowError(f"`{name}` does not start with an assistant message")
    return _pair(values, prompt, chosen, rejected, place)


def input_pair_record(pattern: Pattern, values: Mapping[str, Any], place: str) -> PreferenceRecord:
    """A prompt with a better and a worse answer in OpenAI's form: the first column has the messages and the tools.

    Raises:
        RowError: as `pair_record`, or the prompt has other keys.
    """
    name, given = pick(values, pattern.required[0])
    if isinstance(given, dict):
        if unknown := sorted(str(key) for key in given if key not in _OF_INPUT):
            raise RowError(f"`{name}` has `{unknown[0]}`, which is not a part of a prompt")
        values = {**values, name: given.get("messages"), "tools": given.get("tools") or None}
    return pair_record(pattern, values, place)


def answered_pair_record(pattern: Pattern, values: Mapping[str, Any], place: str) -> PreferenceRecord:
    """A conversation that ends with the better answer, and a worse one: in its place, or of a conversation as a whole.

    Raises:
        RowError: as `pair_record`, or the conversation is only an answer.
    """
    (first, said), (name, worse) = (pick(values, field) for field in pattern.required)
    turns = read_answer(parse_json_text(said, f"`{first}`"), first, pattern.roles)
    rejected = read_answer(worse, name, pattern.roles)
    if rejected[0]["role"] != "assistant":
        return _pair(values, *part(turns, rejected), place)
    if len(turns) < 2:
        raise RowError(f"`{first}` has an answer but no question")
    return _pair(values, turns[:-1], turns[-1:], rejected, place)


_OF_INPUT = ("messages", "tools", "parallel_tool_calls")


def input_notes(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """What of the prompts in OpenAI's form is not used."""
    prompts = (values.get("input") for values in rows)
    is_given = any(isinstance(prompt, dict) and "parallel_tool_calls" in prompt for prompt in prompts)
    return ["`parallel_tool_calls` in `input` is not used."] if is_given else []


def dialogues_record(pattern: Pattern, values: Mapping[str, Any], place: str) -> PreferenceRecord:
    """Two complete conversations with a common beginning, as lists of messages or text with `Human:` and `Assistant:`.

    Raises:
        RowError: one is missing, they have no common beginning, are equal, or do not end with the assistant.
    """
    dialogues = []
    for field in pattern.required:
        name, value = pick(values, field)
        if not isinstance(value, str):
            dialogues.append(read_answer(value, name, pattern.roles))
        elif value.lstrip().startswith("["):
            dialogues.append(read_answer(parse_json_text(value, f"`{name}`"), name, pattern.roles))
        else:
            dialogues.append(_ends_with_answer(read_turns_of_text(value, name), name))
    prompt, chosen, rejected = part(*dialogues)
    return _pair(values, prompt, chosen, rejected, place)


def rated_record(pattern: Pattern, values: Mapping[str, Any], place: str) -> RatedRecord:
    """A prompt with a rated answer, or a conversation with a rated last answer.

    Raises:
        RowError: the rating is not true or false, or there is no answer.
    """
    name, rating = pick(values, pattern.required[-1])
    good = _RATINGS.get(rating.strip().lower()) if isinstance(rating, str) else rating
    if not isinstance(good, bool):
        raise RowError(f"the rating in `{name}` is {as_text(rating, name) or 'missing'}, not true or false")
    first, value = pick(values, pattern.required[0])
    if len(pattern.required) == 2:
        turns = read_answer(parse_json_text(value, f"`{first}`"), first, pattern.roles)
        prompt, completion = turns[:-1], turns[-1:]
        if not prompt:
            raise RowError(f"`{first}` has an answer but no question")
    else:
        prompt = _asked(pattern, values, first)
        name, value = pick(values, pattern.required[1])
        completion = read_answer(value, name, pattern.roles)
        if completion[0]["role"] != "assistant":
            raise RowError(f"`{name}` does not start with an assistant message")
    return RatedRecord(with_system(values, prompt), completion, good, tools_of(values), place)


def _asked(pattern: Pattern, values: Mapping[str, Any], name: str) -> Messages:
    """The prompt in a column, after the turns before it."""
    return (
        *earlier_turns(pattern, values),
        *read_prompt(values.get(name), name, _addition(pattern, values), pattern.roles),
    )


def read_answer(value: Any, column: str, roles: Mapping[str, str] = NO_ROLES) -> Messages:
    """Turns that end with an assistant message, from a text, one turn or a list of turns.

    Raises:
        RowError: there is none, it is empty, or the last message is not the assistant's.
    """
    value = as_message_list(value)
    if value is None or value != value or value == []:
        raise RowError(f"the answer is missing (column `{column}`)")
    if _are_turns(value):
        return _ends_with_answer(_read_turns(value, column, roles), column)
    text = cell_text(value, column) or ""
    return _ends_with_answer([{"role": "assistant", "content": text}], column)


def read_prompt(value: Any, column: str, addition: str, roles: Mapping[str, str] = NO_ROLES) -> Messages:
    """The prompt: a text with its addition, if any, or the turns before the answer.

    Raises:
        RowError: it is missing, or ends with an assistant message.
    """
    value = as_message_list(value)
    if isinstance(value, str) and column in ("messages", "conversations"):
        value = parse_json_text(value, f"`{column}`")
    if _are_turns(value) and value:
        turns = _read_turns(value, column, roles)
    else:
        text = cell_text(value, column) if value != [] else None
        if text is None:
            raise RowError(f"the question is missing (column `{column}`)")
        turns = read_turns_of_text(text, column) if is_dialogue_text(text) else [{"role": "user", "content": text}]
        if turns[-1] == {
            "role": "assistant",
            "content": "",
        }:  # a trailing `Assistant:` that only prompts for the answer
            turns = turns[:-1]
        if addition:
            joined = "\n\n".join(part for part in (turns[-1]["content"], addition) if part.strip())
            turns = [*turns[:-1], {**turns[-1], "content": joined}]
    if not turns or turns[-1]["role"] not in ("user", "tool"):
        raise RowError(f"`{column}` does not end with a question")
    if turns[-1]["role"] == "user" and not turns[-1]["content"].strip():
        raise RowError(f"the question is empty (column `{column}`)")
    return tuple(turns)


def pair_notes(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Which prompts and answers are objects, and taken as JSON text."""
    learned = ("chosen", "rejected", *ANSWER)
    return json_notes(dict.fromkeys(PROMPT, "read") | dict.fromkeys(learned, "learned"), rows)


def is_dialogue_text(text: str) -> bool:
    """Whether a text starts with a `Human:` or `Assistant:` turn."""
    return _SPEAKER.match(text) is not None


def read_turns_of_text(text: str, column: str) -> list[Message]:
    """The turns of a conversation in the form of Anthropic's HH data: `\n\nHuman: ...\n\nAssistant: ...`.

    Raises:
        RowError: the text does not have that form.
    """
    as_text(text, column)
    if not is_dialogue_text(text):
        raise RowError(
            f"`{column}` is not a conversation: neither a list of messages nor text with `Human:` and `Assistant:`"
        )
    _, *parts = _SPEAKER.split(text)
    turns = zip(parts[::2], parts[1::2], strict=True)
    return [{"role": _ROLES[speaker], "content": content.strip()} for speaker, content in turns]


def part(chosen: Messages, rejected: Messages) -> tuple[Messages, Messages, Messages]:
    """(prompt, better rest, worse rest) of two conversations; the prompt is their longest common beginning that both
        answer.

    Raises:
        RowError: they have no common beginning, or are equal.
    """
    if chosen == rejected:
        raise RowError("the two conversations are the same")
    shared = 0
    while shared < min(len(chosen), len(rejected)) and chosen[shared] == rejected[shared]:
        shared += 1
    while shared and not all(
        len(turns) > shared and turns[shared]["role"] == "assistant" for turns in (chosen, rejected)
    ):
        shared -= 1
    if not any(message["role"] in ("user", "tool") for message in chosen[:shared]):
        raise RowError("the two conversations have no common beginning that the assistant answers")
    return chosen[:shared], chosen[shared:], rejected[shared:]


def _pair(
    values: Mapping[str, Any], prompt: Messages, chosen: Messages, rejected: Messages, place: str
) -> PreferenceRecord:
    if _stripped(chosen) == _stripped(rejected):
        raise RowError("the chosen and the rejected answer are the same")
    return PreferenceRecord(with_system(values, prompt), chosen, rejected, tools_of(values), place)


def _stripped(messages: Messages) -> list[Message]:
    """The messages without surrounding whitespace, which templates strip."""
    return [{**message, "content": message["content"].strip()} for message in messages]


def _are_turns(value: Any) -> bool:
    """Whether a cell is a list, a message, or a message that only lacks its role; another object is JSON."""
    lacks_role = isinstance(value, dict) and "content" in value and set(value) <= USED
    return isinstance(value, list) or is_one_message(value) or lacks_role


def _read_turns(value: Any, column: str, roles: Mapping[str, str]) -> list[Message]:
    turns = value if isinstance(value, list) else [value]
    try:
        return with_thoughts([read_message(turn, number, roles) for number, turn in enumerate(turns, start=1)])
    except RowError as error:
        raise RowError(f"`{column}`: {error}") from error


def _ends_with_answer(turns: list[Message], column: str) -> Messages:
    if turns[-1]["role"] != "assistant":
        raise RowError(f"`{column}` does not end with the assistant")
    if not is_answer(turns[-1]):
        raise RowError(f"the answer is empty (column `{column}`)")
    return tuple(turns)


def _addition(pattern: Pattern, values: Mapping[str, Any]) -> str:
    name, value = pick(values, pattern.addition or ("input",)) if pattern.addition else ("input", None)
    text = as_text(value, name)
    return text if text and text.strip() and text.strip().lower() not in NO_ADDITION else ""


def read_dialogue(prompt: str) -> tuple[Messages, Messages] | None:
    """(question, answer) of a user's text; None where it is no dialogue.

    Args:
        prompt: a JSON list of messages, an object with a prompt and an answer, or text with `Human:` and `Assistant:`.

    Raises:
        RowError: it is a dialogue, and its question or its last answer is missing.
    """
    text = prompt.strip()
    if is_dialogue_text(text):
        turns = read_answer(read_turns_of_text(text, "prompt"), "prompt")
        return _parted(turns)
    if text[:1] not in ("{", "["):
        return None
    try:
        values = parse_json(text)
    except ValueError:
        return None
    if isinstance(values, list):
        return _parted(read_answer(values, "messages"))
    name, turns = pick(values, TURNS)
    if turns is not None:
        return _parted(read_answer(turns, name))
    (asks, asked), (says, said) = pick(values, PROMPT), pick(values, (*ANSWER, "chosen"))
    if asked is None and said is None:
        return None
    return read_prompt(asked, asks, ""), read_answer(said, says)


def _parted(turns: Messages) -> tuple[Messages, Messages]:
    if len(turns) < 2:
        raise RowError("it has an answer but no question")
    return turns[:-1], turns[-1:]
