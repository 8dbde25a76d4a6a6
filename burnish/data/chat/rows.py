"""Reads conversations in OpenAI's and ShareGPT's form, and questions with answers, into one form; and the tools that a
row describes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from burnish.data.chat.messages import (
    NO_ROLES,
    THOUGHT,
    Message,
    are_named,
    are_turns,
    as_message_list,
    as_messages,
    by_role,
    cell_text,
    is_learned,
    is_message_list,
    read_message,
    with_results,
    with_thoughts,
)
from burnish.data.rows.pattern import Pattern
from burnish.data.rows.patterns import CONTEXT, DIALOGUES, HISTORY, SYSTEM, TOOLS
from burnish.data.rows.records import ChatRecord
from burnish.data.rows.row import RowError, as_json, as_text, parse_json_text, pick

MOST_MESSAGES = 4096
"""Each answer is found in what the template writes of all messages before it, so the time grows with their square."""
NO_ADDITION = ("<noinput>", "<no input>", "nan")
"""What Alpaca's makers, and pandas, write where a question has no input."""
_SCHEMAS = ("input_schema", "inputSchema", "schema")
"""Keys that other interfaces have for what OpenAI calls `parameters`."""
_LISTS = ("functionDeclarations", "function_declarations")
"""Keys under which Gemini lists the functions of a tool."""
_DESCRIBED = {"parameters", "description", *_SCHEMAS}
_DESCRIBING = ("system", "developer")


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
    return through_last_answer(with_thoughts(read_turns(value, roles)), column)


def read_turns(turns: Sequence[Any], roles: Mapping[str, str] = NO_ROLES) -> list[Message]:
    """The messages of a list, with each result of a tool as a message of its own. Raises RowError for one that is none.

    Args:
        turns: as in the file.
        roles: the user's names of roles.
    """
    each = ((number, one) for number, turn in enumerate(turns, start=1) for one in by_role(turn))
    numbered = ((number, part) for number, turn in each for part in with_results(turn))
    return [read_message(part, number, roles) for number, part in numbered]


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


def conversation_record(pattern: Pattern, values: Mapping[str, Any], place: str) -> ChatRecord:
    """The record of a row with a list of messages. Raises RowError if it cannot be trained on."""
    name, value = pick(values, pattern.required[0])
    messages = with_system(values, read_messages(as_messages(value, pattern.roles), name, pattern.roles))
    return ChatRecord(messages, tools_of(values) or tools_inside(value), place)


def dialogue_notes(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Whose texts are whose, in conversations that are lists of texts."""
    name = next(name for values in rows for name in DIALOGUES if are_turns(values.get(name)))
    if any(map(are_named, (values.get(name) for values in rows))):
        return [f"`{name}` has the role before each text; where one is missing, user and assistant speak in turn."]
    return [f"`{name}` is read as said in turn by user and assistant, the user first; the assistant's part is learned."]


def answer_record(pattern: Pattern, values: Mapping[str, Any], place: str) -> ChatRecord:
    """The record of a row with a question and an answer in separate columns. Raises RowError if one is missing."""
    (ask_name, ask), (answer_name, answer) = (pick(values, field) for field in pattern.required)
    ask, answer = as_message_list(ask), as_message_list(answer)
    if is_message_list(ask) or is_message_list(answer):
        return prompted_conversation(pattern, values, ask, answer, place)
    question, text = cell_text(ask, ask_name), cell_text(answer, answer_name)
    if text is None:
        raise RowError(f"the answer is missing (column `{answer_name}`)")
    if not text.strip():
        raise RowError(f"the answer is empty (column `{answer_name}`)")
    if question is None:
        raise RowError(f"the question is missing (column `{ask_name}`)")
    if pattern.addition:
        name, value = pick(values, pattern.addition)
        addition = as_text(value, name)
        if addition and addition.strip() and addition.strip().lower() not in NO_ADDITION:
            question = f"{question}\n\n{addition}" if question.strip() else addition
    reply: Message = {"role": "assistant", "content": text}
    for field in pattern.optional:
        name, value = pick(values, field)
        if name in THOUGHT and (thought := as_text(value, name)) and thought.strip():
            reply["reasoning_content"] = thought
    messages = (*earlier_turns(pattern, values), {"role": "user", "content": question}, reply)
    tools = tools_of(values) if "tools" in pattern.names else None
    return ChatRecord(with_system(values, messages), tools, place)


def earlier_turns(pattern: Pattern, values: Mapping[str, Any]) -> tuple[Message, ...]:
    """The turns before a row's question. Raises RowError as `read_history`."""
    field = next((field for field in pattern.optional if set(field) <= set(HISTORY)), ())
    return read_history(pick(values, field)[1], pattern.roles) if field else ()


def read_history(value: Any, roles: Mapping[str, str] = NO_ROLES) -> tuple[Message, ...]:
    """The turns before a question: messages, or questions with their answers; none if the cell is empty.

    Raises:
        RowError: it holds something else.
    """
    turns = parse_json_text(value, "history")
    if not turns:
        return ()
    if isinstance(turns, list) and all(isinstance(turn, dict) for turn in turns):
        return tuple(with_thoughts(read_turns(turns, roles)))
    if not isinstance(turns, list) or not all(isinstance(turn, list) and len(turn) == 2 for turn in turns):
        raise RowError("`history` is not a list of questions with their answers")
    texts = [as_text(part, "history") or "" for turn in turns for part in turn]
    return tuple({"role": ("user", "assistant")[place % 2], "content": text} for place, text in enumerate(texts))


def context_notes(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Which column is read as the text that a question is about."""
    name = next((name for name in CONTEXT if any(name in values for values in rows)), "")
    return [f"`{name}` is read as a part of each question, below it."] if name else []


def prompted_conversation(pattern: Pattern, values: Mapping[str, Any], ask: Any, answer: Any, place: str) -> ChatRecord:
    """The record of a prompt or completion that is a list of messages. Raises RowError like `read_messages`."""
    parts = [
        part if is_message_list(part) else [{"role": role, "content": part}]
        for role, part in (("user", ask), ("assistant", answer))
    ]
    earlier = earlier_turns(pattern, values)
    asked, messages = ([*earlier, *read_turns(turns, pattern.roles)] for turns in (parts[0], parts[0] + parts[1]))
    through = through_last_answer(with_thoughts(messages), "completion")
    if len(through) <= len(with_thoughts(asked)):
        raise RowError("the answer is empty: no assistant message in the completion has content or tool calls")
    return ChatRecord(with_system(values, through), tools_of(values), place)


def with_system(values: Mapping[str, Any], messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """The messages, with the row's `system` column in front unless they already start with a system message."""
    name, value = pick(values, SYSTEM)
    system = cell_text(value.get("parts", value) if isinstance(value, Mapping) else value, name)
    if not system or not system.strip() or messages[0]["role"] == "system":
        return messages
    return ({"role": "system", "content": system}, *messages)


def read_tools(value: Any) -> tuple[dict[str, Any], ...] | None:
    """Tool descriptions in OpenAI's form, from a list, one object, or either as JSON text; None if there are none.

    Raises:
        RowError: a tool has no name.
    """
    value = parse_json_text(value, "tools")
    if not value:
        return None
    tools = []
    for tool in _each_tool(value):
        function = tool.get("function") or tool if isinstance(tool, dict) else None
        if not isinstance(function, dict) or not function.get("name"):
            raise RowError("a tool in `tools` has no name")
        as_json(tool, "tools")
        described = _with_parameters(function)
        tools.append({**tool, "function": described} if "function" in tool else _as_function(described))
    return tuple(tools)


def _each_tool(value: Any) -> list[Any]:
    """The tools of a cell one by one: Gemini lists several in one object, and Bedrock has an object around each."""
    found = value.get("tools", value) if isinstance(value, dict) else value
    tools: list[Any] = []
    for tool in found if isinstance(found, list) else [found]:
        if not isinstance(tool, dict):
            tools.append(tool)
            continue
        listed = next((tool[key] for key in _LISTS if isinstance(tool.get(key), list)), None)
        tools += [tool.get("toolSpec", tool)] if listed is None else listed
    return tools


def _as_function(described: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "function", "function": described}


def _with_parameters(function: Mapping[str, Any]) -> Mapping[str, Any]:
    """The description of a function with its parameters as an object under `parameters`, where templates read them."""
    schema = function.get("parameters")
    if isinstance(schema, str):
        return {**function, "parameters": parse_json_text(schema, "the parameters of a tool")}
    other = next((name for name in _SCHEMAS if isinstance(function.get(name), dict)), None)
    if schema is not None or other is None:
        return function
    bare = {("parameters" if name == other else name): value for name, value in function.items()}
    inner = bare["parameters"].get("json")  # as in Bedrock's `{"inputSchema": {"json": ...}}`
    return {**bare, "parameters": inner} if isinstance(inner, dict) else bare


def tools_inside(messages: Any) -> tuple[dict[str, Any], ...] | None:
    """The tools that a system message has under `tools`; None if none has any. Raises RowError as `read_tools`."""
    if not isinstance(messages, (list, tuple)):
        return None
    has = (one for one in messages if isinstance(one, dict) and one.get("role") in _DESCRIBING and one.get("tools"))
    found = next(has, None)
    return read_tools(found["tools"]) if found is not None else None


def are_tools(cell: Any) -> bool:
    """Whether a cell seems to describe tools: objects with a name and what the tool takes or does."""
    try:
        found = parse_json_text(cell, "")
    except RowError:
        return False
    found = found if isinstance(found, list) else [found]
    functions = [tool.get("function") or tool if isinstance(tool, dict) else None for tool in found]
    return bool(functions) and all(
        isinstance(one, dict) and isinstance(one.get("name"), str) and not _DESCRIBED.isdisjoint(one)
        for one in functions
    )


def tools_of(values: Mapping[str, Any]) -> tuple[dict[str, Any], ...] | None:
    """The tools of a row, from `tools` or, as they were once called, `functions`. Raises RowError as `read_tools`."""
    return read_tools(pick(values, TOOLS)[1])
