"""Reads conversations in OpenAI's and ShareGPT's form, and questions with answers, into one form."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from burnish.data.rows.pattern import Pattern
from burnish.data.rows.patterns import THOUGHT, TOOLS
from burnish.data.rows.records import ChatRecord
from burnish.data.rows.row import RowError, as_json, as_text, check_characters, pick, quoted
from burnish.errors import DataError
from burnish.visible import parse_json

Message = dict[str, Any]

_ROLES = {
    "system": "system developer sys system_prompt",
    "user": "user human prompter customer client question input query prompt usr",
    "assistant": "assistant gpt chatgpt bing bard claude gemini llama model ai bot chatbot agent answer output "
    "response completion llm ai_assistant",
    "function_call": "function_call tool_call",
    "tool": "tool function observation tool_response tool_result function_response function_result ipython",
}
ROLES = {name: role for role, names in _ROLES.items() for name in names.split()}
"""The usual names of roles, in lower case, by what they mean."""
_VERSION = re.compile(r"[-_. ]?v?\d[\w.:-]*\Z")
"""What follows the name of a model, as in `gpt-4` and `claude-3-opus`."""
NO_ROLES: Mapping[str, str] = {}

WEIGHTS = ("weight", "train", "training", "trainable", "train_on_turn", "loss", "loss_weight")
"""Keys that say whether an answer is learned."""
_MEASURED = ("loss", "loss_weight")
"""Of these, keys that may as well hold something measured, which says nothing."""
_MARKS = {
    "mask",
    "masked",
    "ignore",
    "ignored",
    "skip",
    "exclude",
    "excluded",
    "learn",
    "learned",
    "trained",
    "supervised",
}
"""Words in a key that may say whether an answer is learned, but not which of its values does."""
_OBJECTS = re.compile(r"\s*\[\s*\{")
"""How a list of objects begins as JSON text."""
MOST_MESSAGES = 4096
"""Each answer is found in what the template writes of all messages before it, so the time grows with their square."""
KEPT = ("name", "tool_call_id")
_USED = frozenset(
    ("role", "from", "content", "value", "tool_calls", "function_call", "refusal", *KEPT, *THOUGHT, *WEIGHTS)
)
TEXTS = ("text", "input_text", "output_text", "refusal")
PARTS = ("text", "reasoning", "thinking", "tool_call")
IMAGES = ("image", "image_url", "input_image", "video", "audio", "input_audio")


def read_messages(value: Any, column: str, roles: Mapping[str, str] = NO_ROLES) -> tuple[Message, ...]:
    """The messages of a row up to the last assistant turn that is learned; nothing is trained on after it.

    Args:
        value: a list of messages, or one as JSON text.
        column: for errors.
        roles: the user's names of roles.

    Raises:
        RowError: they are not messages, or there is no answer.
    """
    value = parse_json_text(value, column)
    if value is None:
        raise RowError(f"`{column}` is missing")
    if not isinstance(value, (list, tuple)):
        raise RowError(f"`{column}` is not a list of messages")
    if len(value) > MOST_MESSAGES:
        raise RowError(f"`{column}` has {len(value):,} messages, and a conversation may have {MOST_MESSAGES:,}")
    messages = [read_message(message, number, roles) for number, message in enumerate(value, start=1)]
    return through_last_answer(messages, column)


def through_last_answer(messages: list[Message], column: str) -> tuple[Message, ...]:
    """The messages up to the last non-empty assistant message that is learned.

    Raises:
        RowError: there is none.
    """
    answers = [number for number, message in enumerate(messages, start=1) if is_answer(message)]
    learned = [number for number in answers if is_learned(messages[number - 1])]
    if learned:
        return tuple(messages[: learned[-1]])
    if answers:
        raise RowError("no answer is learned: each has `weight: 0`, `train: false` or the like")
    if any(message["role"] == "assistant" for message in messages):
        raise RowError("the answer is empty: no assistant message has content or tool calls")
    raise RowError(f"there is no assistant message in `{column}`, so there is nothing to train on")


def is_answer(message: Message) -> bool:
    """Whether this is a non-empty assistant message."""
    return message["role"] == "assistant" and bool(message["content"].strip() or message.get("tool_calls"))


def is_learned(message: Message) -> bool:
    """Whether an answer is learned rather than only part of the conversation."""
    return message.get("weight") != 0


def read_message(message: Any, number: int, roles: Mapping[str, str] = NO_ROLES) -> Message:
    """One message with `role` (or ShareGPT's `from`) and `content` (or `value`).

    An answer that must not be learned keeps `weight: 0`; its thought is under `reasoning_content`.

    Args:
        message: as in the file.
        number: from 1, for errors.
        roles: the user's names of roles.

    Raises:
        RowError: it is not a message; the error gives its number.
    """
    if not isinstance(message, dict):
        raise RowError(f"message {number} is not an object with `role` and `content`")
    role = read_role(message, number, roles)
    content = next((message[key] for key in ("content", "value", "refusal") if message.get(key) is not None), None)
    if role == "function_call":
        return {"role": "assistant", "content": "", "tool_calls": read_calls(content, number)}
    text, reasoning, calls = read_content(content, number)
    read: Message = {"role": role, "content": text or ""}
    if role == "assistant":
        calls = calls or message.get("tool_calls") or message.get("function_call")
        if calls:
            read["tool_calls"] = read_calls(calls, number)
        if thought := reasoning or read_thought(message, number):
            read["reasoning_content"] = thought
        if not read_weight(message, number):
            read["weight"] = 0
    elif text is None:
        raise RowError(f"message {number} ({role}) has no content")
    for key in KEPT:
        extra = message.get(key)
        if isinstance(extra, str) and extra:
            check_characters(extra, key)
            read[key] = extra
    return read


def read_thought(message: Mapping[str, Any], number: int) -> str:
    """The thought before an answer; empty if it has none."""
    for key in THOUGHT:
        thought = message.get(key)
        if isinstance(thought, str) and thought.strip():
            check_characters(thought, f"message {number}, {key}")
            return thought
    return ""


def read_weight(message: Mapping[str, Any], number: int) -> bool:
    """Whether an answer is learned: true unless its `weight` is 0, its `train` is false, or the like.

    Raises:
        RowError: it is something between.
    """
    for key in WEIGHTS:
        weight = message.get(key)
        if weight is None:
            continue
        text = str(weight).strip().lower()
        if text not in _LEARNED and key in _MEASURED:
            continue
        if text not in _LEARNED:
            raise RowError(f"message {number} has the {key} {weight!r}; an answer is learned (1) or not (0)")
        if not _LEARNED[text]:
            return False
    return True


_LEARNED = {"1": True, "1.0": True, "true": True, "0": False, "0.0": False, "false": False}


def read_role(message: Mapping[str, Any], number: int, roles: Mapping[str, str] = NO_ROLES) -> str:
    """The role: `system`, `user`, `assistant`, `tool` or `function_call`.

    Raises:
        RowError: the role is missing or unknown.
    """
    role_name = message.get("role")
    if role_name is None:
        role_name = message.get("from")
    if role_name is None:
        raise RowError(f"message {number} has no `role`")
    role = find_role(role_name, roles) if isinstance(role_name, str) else None
    if role is None:
        raise RowError(
            f"message {number} has the unknown role `{role_name}`; to say what it means: "
            f"`--set 'data.roles.{role_name}=assistant'`, or user, system or tool"
        )
    return role


def find_role(name: str, roles: Mapping[str, str]) -> str | None:
    """What a role in a file means: by the user's map, else by its usual name, whatever its case; None if unknown."""
    if name in roles:
        return roles[name]
    plain = name.strip().rstrip(":").strip().lower().replace("-", "_").replace(" ", "_")
    known = ROLES.get(plain)
    if known is None and ROLES.get(_VERSION.sub("", plain)) == "assistant":
        return "assistant"  # a model with its version
    return known


def read_content(content: Any, number: int) -> tuple[str | None, str, list[Any]]:
    """(text, reasoning, tool calls) of a message's content; text parts of a list are joined.

    Raises:
        RowError: a part has an unknown type.
    """
    if isinstance(content, dict) and is_part(content):
        content = [content]
    if isinstance(content, dict) and isinstance(content.get("parts"), list):
        content = content["parts"]  # as in the export of a chat: {"content_type": "text", "parts": [...]}
    if not isinstance(content, list):
        return as_text(content, f"message {number}"), "", []
    texts: list[str] = []
    thoughts: list[str] = []
    calls: list[Any] = []
    for part in content:
        kind = part_kind(part)
        if kind in IMAGES:
            raise RowError(f"message {number} has `{kind}`: images and audio are not supported by this task")
        if kind not in PARTS:
            raise RowError(f"message {number} has a part of type `{kind}`; this task supports {', '.join(PARTS)}")
        value = part
        if isinstance(part, dict):
            keys = (str(part.get("type")), kind, "text", "value")
            value = next((part[key] for key in keys if part.get(key) is not None), None)
        if kind == "tool_call":
            calls.append(parse_json_text(value, f"the tool call of message {number}"))
        else:
            (texts if kind == "text" else thoughts).append(as_text(value, f"message {number}") or "")
    return "".join(texts), "".join(thoughts), calls


def is_part(content: Mapping[str, Any]) -> bool:
    """Whether an object is one part of a message rather than an answer in JSON."""
    kind = content.get("type")
    known = (*PARTS, *TEXTS, *IMAGES)
    return kind in known and any(content.get(key) is not None for key in (str(kind), "text", "value"))


def part_kind(part: Any) -> Any:
    """The type of a part of a message: one of `PARTS` or `IMAGES` if it is known."""
    if not isinstance(part, dict):
        return "text"
    kind = part.get("type")
    if kind in TEXTS or (kind is None and isinstance(part.get("text"), str)):
        return "text"
    return kind


def unused_keys(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> tuple[str, ...]:
    """Keys inside the messages of all rows that nothing uses, sorted.

    Args:
        rows: values by column.
        columns: those that may hold messages.
    """
    messages = (message for values in rows for column in columns for message in _messages_in(values.get(column)))
    return tuple(sorted({str(key) for message in messages for key in message if _is_unused(message, key)}))


def _is_unused(message: Mapping[str, Any], key: str) -> bool:
    if message[key] is None or (key in _USED and key not in _MEASURED):
        return False
    return key not in _MEASURED or str(message[key]).strip().lower() not in _LEARNED


def ask_about_marks(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], shape: str) -> None:
    """Raises DataError where a key inside messages seems to say which answers are learned, but not how.

    Args:
        rows: values by column.
        columns: those that may hold messages.
        shape: name of the shape, for the command that learns every answer.
    """
    values: dict[str, set[str]] = {}
    for row in rows:
        for message in (message for column in columns for message in _messages_in(row.get(column))):
            for key, value in message.items():
                if key not in _USED and value is not None and not _MARKS.isdisjoint(re.split(r"[\W_]+", key.lower())):
                    values.setdefault(key, set()).add(str(value).strip().lower())
    for key, found in values.items():
        if len(found) > 1 and found.issubset(_LEARNED):
            raise DataError(
                f"`{key}` inside messages seems to say which answers are learned, but not which of its values does",
                f"Its values are {quoted(sorted(found))}. Learning every answer might teach wrong ones.",
                f"Rename it to `train`, with true where an answer is learned. To learn every answer: "
                f"`--set data.shape={shape}`",
            )


def _messages_in(cell: Any) -> Iterator[Mapping[str, Any]]:
    """The messages in a cell, which may be JSON text; none if it holds something else."""
    if isinstance(cell, str) and _OBJECTS.match(cell):
        try:
            cell = parse_json(cell)
        except (ValueError, RecursionError):
            return
    for message in cell if isinstance(cell, (list, tuple)) else [cell]:
        if isinstance(message, dict) and ("role" in message or "from" in message):
            yield message


def read_calls(value: Any, number: int) -> list[dict[str, Any]]:
    """Tool calls in OpenAI's form, from the same form, from `{"name", "arguments"}`, or from either as JSON text.

    Raises:
        RowError: a call has no name, or its arguments are not an object.
    """
    value = parse_json_text(value, f"the tool call of message {number}")
    calls = value if isinstance(value, list) else [value]
    return [read_call(call, number) for call in calls]


def read_call(call: Any, number: int) -> dict[str, Any]:
    """One tool call in OpenAI's form. Raises RowError as `read_calls` does."""
    function = call.get("function") or call if isinstance(call, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("name"), str) or not function["name"]:
        raise RowError(f"the tool call of message {number} has no function name")
    arguments = parse_json_text(function.get("arguments"), f"the tool call's arguments in message {number}")
    if not isinstance(arguments, dict) and arguments is not None:
        raise RowError(f"the tool call's arguments in message {number} are not an object")
    as_json(call, f"the tool call of message {number}")
    read = {"type": "function", "function": {"name": function["name"], "arguments": arguments or {}}}
    return {"id": call["id"], **read} if isinstance(call.get("id"), str) else read


def read_tools(value: Any) -> tuple[dict[str, Any], ...] | None:
    """Tool descriptions in OpenAI's form, from a list, one object, or either as JSON text; None if there are none.

    Raises:
        RowError: a tool has no name.
    """
    value = parse_json_text(value, "tools")
    if not value:
        return None
    tools = []
    for tool in value if isinstance(value, list) else [value]:
        function = tool.get("function") or tool if isinstance(tool, dict) else None
        if not isinstance(function, dict) or not function.get("name"):
            raise RowError("a tool in `tools` has no name")
        as_json(tool, "tools")
        tools.append(tool if "function" in tool else {"type": "function", "function": tool})
    return tuple(tools)


def tools_of(values: Mapping[str, Any]) -> tuple[dict[str, Any], ...] | None:
    """The tools of a row, from `tools` or, as they were once called, `functions`. Raises RowError as `read_tools`."""
    return read_tools(pick(values, TOOLS)[1])


def parse_json_text(value: Any, what: str) -> Any:
    """Parses a value that may be JSON text; blank text and NaN become None.

    Raises:
        RowError: the text is not JSON.
    """
    if value != value:
        return None
    if not isinstance(value, str):
        return value
    if not value.strip():
        return None
    try:
        return parse_json(value)
    except (ValueError, RecursionError) as error:
        raise RowError(f"{what}: not JSON ({error})") from error


def conversation_record(pattern: Pattern, values: Mapping[str, Any], place: str) -> ChatRecord:
    """The record of a row with a list of messages. Raises RowError if it cannot be trained on."""
    name, value = pick(values, pattern.required[0])
    messages = with_system(values, read_messages(value, name, pattern.roles))
    return ChatRecord(messages, tools_of(values), place)


def answer_record(pattern: Pattern, values: Mapping[str, Any], place: str) -> ChatRecord:
    """The record of a row with a question and an answer in separate columns. Raises RowError if one is missing."""
    (ask_name, ask), (answer_name, answer) = (pick(values, field) for field in pattern.required)
    if is_message_list(ask) or is_message_list(answer):
        return prompted_conversation(pattern, values, ask, answer, place)
    question, text = as_text(ask, ask_name), as_text(answer, answer_name)
    if text is None:
        raise RowError(f"the answer is missing (column `{answer_name}`)")
    if not text.strip():
        raise RowError(f"the answer is empty (column `{answer_name}`)")
    if question is None:
        raise RowError(f"the question is missing (column `{ask_name}`)")
    if pattern.addition:
        name, value = pick(values, pattern.addition)
        addition = as_text(value, name)
        if addition and addition.strip():
            question = f"{question}\n\n{addition}" if question.strip() else addition
    reply: Message = {"role": "assistant", "content": text}
    name, value = pick(values, THOUGHT)
    if THOUGHT in pattern.optional and (thought := as_text(value, name)) and thought.strip():
        reply["reasoning_content"] = thought
    messages = ({"role": "user", "content": question}, reply)
    tools = tools_of(values) if "tools" in pattern.names else None
    return ChatRecord(with_system(values, messages), tools, place)


def prompted_conversation(pattern: Pattern, values: Mapping[str, Any], ask: Any, answer: Any, place: str) -> ChatRecord:
    """The record of a prompt or completion that is a list of messages. Raises RowError like `read_messages`."""
    parts = [
        part if is_message_list(part) else [{"role": role, "content": part}]
        for role, part in (("user", ask), ("assistant", answer))
    ]
    turns = enumerate(parts[0] + parts[1], start=1)
    messages = [read_message(message, number, pattern.roles) for number, message in turns]
    through = through_last_answer(messages, "completion")
    if len(through) <= len(parts[0]):
        raise RowError("the answer is empty: no assistant message in the completion has content or tool calls")
    return ChatRecord(with_system(values, through), tools_of(values), place)


def is_message_list(value: Any) -> bool:
    """Whether a cell is a list of messages."""
    return isinstance(value, list) and bool(value) and isinstance(value[0], dict) and "role" in value[0]


def with_system(values: Mapping[str, Any], messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """The messages, with the row's `system` column in front unless they already start with a system message."""
    system = as_text(values.get("system"), "system")
    if not system or not system.strip() or messages[0]["role"] == "system":
        return messages
    return ({"role": "system", "content": system}, *messages)
