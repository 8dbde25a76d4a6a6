"""One message of a conversation, in any of the forms that files have for it: its role, what it says, and whether its
answer is learned.

Also of bare lists of texts, which user and assistant say in turn:

["Hi.", "Hello.", "How are you?", "Fine."]        [["Hi.", "Hello."], ["How are you?", "Fine."]]
["User: Hi.", "Bot: Hello."]                      with the role before each
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from burnish.data.rows.printed import as_list
from burnish.data.rows.row import RowError, as_json, as_text, check_characters, parse_json_text
from burnish.visible import parse_json

Message = dict[str, Any]

_ARGUMENTS = ("arguments", "parameters", "input", "args", "kwargs")
"""Keys that hold the arguments of a call: OpenAI's, Llama's, Anthropic's and others."""
_OBJECTS = re.compile(r"\s*\[\s*\{")
"""How a list of objects begins as JSON text."""
TEXTS = ("text", "input_text", "output_text", "refusal")
PARTS = ("text", "reasoning", "thinking", "tool_call")
WEIGHTS = (
    "weight", "train", "training", "trainable", "train_on_turn", "loss", "loss_weight", "is_train", "is_trainable",
    "should_train", "train_on", "compute_loss", "calculate_loss",
)  # fmt: skip
"""Keys that say whether an answer is learned."""
MEASURED = ("loss", "loss_weight")
"""Of these, keys that may as well hold something measured, which says nothing."""
KEPT = ("name", "tool_call_id")
CONTENTS = ("content", "value", "text", "message", "refusal", "parts")
"""Keys that hold what a message says."""
THOUGHT = (
    "reasoning_content", "reasoning", "thinking", "thought", "thoughts", "thinking_content", "chain_of_thought", "cot",
    "complex_cot", "thinking_trajectory", "reasoning_text",
    "tool_plan",
)  # fmt: skip
"""The thought before an answer: keys of a message, or columns beside the answer. A record's message has it under the
first."""
USED = frozenset(
    ("role", "from", "speaker", "sender", "author", "channel", "tool_calls", "function_call", "reasoning_details")
    + (*CONTENTS, *KEPT, *THOUGHT, *WEIGHTS)
)
LEARNED = {"1": True, "1.0": True, "true": True, "0": False, "0.0": False, "false": False}
"""What these keys hold, as text in lower case, and whether it means that the answer is learned."""
IMAGES = ("image", "image_url", "input_image", "video", "audio", "input_audio")
_ROLES = {
    "system": "system developer sys system_prompt système sistema система 系统",
    "user": "user human prompter customer client question input query prompt usr nutzer benutzer kunde frage "
    "utilisateur usuario usuário utente пользователь 用户 ユーザー",
    "assistant": "assistant gpt chatgpt bing bard claude gemini llama mistral mixtral qwen deepseek gemma phi grok "
    "command_r model ai bot chatbot agent answer output response completion llm ai_assistant assistent assistante "
    "asistente assistente ассистент 助手 アシスタント",
    "thought": "thought thinking reasoning analysis think",
    "function_call": "function_call tool_call",
    "tool": "tool function observation tool_response tool_result function_response function_result ipython",
}
ROLES = {name: role for role, names in _ROLES.items() for name in names.split()}
"""The usual names of roles, in lower case, by what they mean."""
_VERSION = re.compile(r"[-_. ]?v?\d[\w.:-]*\Z")
"""What follows the name of a model, as in `gpt-4` and `claude-3-opus`."""
NO_ROLES: Mapping[str, str] = {}
_KEYS = ("role", "from", "speaker", "sender")
_INNER_CHANNEL = "analysis"
"""The channel of gpt-oss that has thoughts."""
_SPEAKERS = ("user", "assistant")
_ROLE = re.compile(r"\W{0,3}(\w[\w ]{0,20}?)\W{0,2}:\s*(.*)", re.DOTALL)
"""A text with the role of its speaker before it."""


def read_message(message: Any, number: int, roles: Mapping[str, str] = NO_ROLES) -> Message:
    """One message with `role` (or ShareGPT's `from`) and `content` (or `value`).

    An answer that must not be learned keeps `weight: 0`; its thought is under `reasoning_content`. A message that is
    only a thought has the role `thought`, and `with_thoughts` joins it to its answer.

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
    content = next((message[key] for key in CONTENTS if message.get(key) is not None), None)
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


def with_results(message: Any) -> list[Any]:
    """A message as it is; one with results of tools among its parts, as Anthropic and Gemini have them, as a message of
    a tool for each result and one for the rest.
    """
    content = next((message[key] for key in CONTENTS if message.get(key)), None) if isinstance(message, dict) else None
    parts = parts_in(content)
    results = [result for part in parts if (result := _result(part))] if isinstance(parts, list) else []
    if not results:
        return [message]
    rest = [part for part in parts if _result(part) is None]
    bare = {key: value for key, value in message.items() if key not in CONTENTS}
    return [*results, *([{**bare, "content": rest}] if rest else [])]


def _result(part: Any) -> Message | None:
    """What a tool gave back, as a message of its own; None for other parts."""
    if not isinstance(part, dict):
        return None
    if part.get("type") == "tool_result":
        content = part.get("content")
        return {"role": "tool", "tool_call_id": part.get("tool_use_id"), "content": "" if content is None else content}
    of_bedrock = part.get("toolResult")
    if isinstance(of_bedrock, dict):
        parts = of_bedrock.get("content")
        contents = [one.get("json", one) if isinstance(one, dict) else one for one in parts or []]
        content = parts if contents == parts else contents[0] if len(contents) == 1 else contents
        return {"role": "tool", "tool_call_id": of_bedrock.get("toolUseId"), "content": content}
    given = part.get("functionResponse", part.get("function_response"))
    if not isinstance(given, dict):
        return None
    return {"role": "tool", "name": given.get("name"), "content": given.get("response")}


def read_thought(message: Mapping[str, Any], number: int) -> str:
    """The thought before an answer; empty if it has none."""
    for key in THOUGHT:
        thought = message.get(key)
        if isinstance(thought, str) and thought.strip():
            check_characters(thought, f"message {number}, {key}")
            return thought
    details = message.get("reasoning_details")  # OpenRouter's form
    if not isinstance(details, list):
        return ""
    texts = [part.get("text") or part.get("summary") for part in details if isinstance(part, dict)]
    thought = "\n\n".join(text for text in texts if isinstance(text, str) and text.strip())
    check_characters(thought, f"message {number}, reasoning_details")
    return thought


def with_thoughts(messages: Sequence[Message]) -> list[Message]:
    """The messages, with those that are only a thought joined to the answers after them.

    Raises:
        RowError: a thought has no answer after it.
    """
    joined: list[Message] = []
    thoughts: list[str] = []
    for message in messages:
        if message["role"] == "thought":
            thoughts.append(message["content"])
            continue
        if thoughts and message["role"] != "assistant":
            break
        if thoughts:
            own = message.get("reasoning_content")
            message = {**message, "reasoning_content": "\n\n".join([*thoughts, *([own] if own else [])])}
            thoughts = []
        joined.append(message)
    if thoughts:
        raise RowError("there is a thought without an answer after it")
    return joined


def read_content(content: Any, number: int) -> tuple[str | None, str, list[Any]]:
    """(text, reasoning, tool calls) of a message's content; text parts of a list are joined.

    Raises:
        RowError: a part has an unknown type.
    """
    content = parts_in(content)
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
            value = _call(part) if kind == "tool_call" and value is None else value
            if kind == "text" and isinstance(value, dict) and isinstance(value.get("value"), str):
                value = value["value"]  # as OpenAI's threads have it
        if kind == "tool_call":
            calls.append(parse_json_text(value, f"the tool call of message {number}"))
        else:
            (texts if kind == "text" else thoughts).append(as_text(value, f"message {number}") or "")
    return "".join(texts), "".join(thoughts), calls


def _call(part: Mapping[str, Any]) -> Any:
    """The call in a part that is one, as Anthropic and Gemini have it."""
    return part.get("functionCall") or part.get("function_call") or part.get("toolUse") or part


def parts_in(content: Any) -> Any:
    """A single part, or a list of parts as JSON text, as a list of parts; other content unchanged."""
    if isinstance(content, dict) and is_part(content):
        return [content]
    found = _unfolded(content)
    are_parts = all(isinstance(part, dict) and "type" in part and is_part(part) for part in found or [])
    return content if found is None or not are_parts else found


def _unfolded(cell: Any) -> Any:
    """The list of objects that a cell holds as JSON text; None if it does not."""
    if isinstance(cell, str) and _OBJECTS.match(cell):
        with suppress(ValueError, RecursionError):
            return parse_json(cell)
    return None


def cell_text(value: Any, column: str) -> str | None:
    """A cell as text, as `as_text` writes it; one that holds parts of a message is their text.

    Raises:
        RowError: it is no text, or has a part that is none.
    """
    parts = parts_in(value)
    is_list = isinstance(parts, list) and bool(parts)
    if not is_list or not all(isinstance(part, dict) and is_part(part) and part_kind(part) == "text" for part in parts):
        return as_text(value, column)
    return read_content(parts, 1)[0]


def as_message_list(cell: Any) -> Any:
    """A cell that spells a list of messages as that list, as a CSV file has it; any other value unchanged."""
    found = as_list(cell) if isinstance(cell, str) and _OBJECTS.match(cell) else []
    said = [one for one in found if isinstance(one, dict) and {"role", "content"} <= one.keys()]
    are_all = bool(said) and len(said) == len(found) and all(find_role(str(one["role"]), {}) for one in said)
    return found if are_all else cell


def is_message_list(value: Any) -> bool:
    """Whether a cell is a list of messages."""
    return isinstance(value, list) and bool(value) and isinstance(value[0], dict) and "role" in value[0]


def is_part(content: Mapping[str, Any]) -> bool:
    """Whether an object is one part of a message rather than an answer in JSON."""
    kind = content.get("type")
    if set(content) == {"text"}:
        return isinstance(content["text"], str)
    if kind in ("tool_use", "tool_result"):
        return True
    known = (*PARTS, *TEXTS, *IMAGES)
    return kind in known and any(content.get(key) is not None for key in (str(kind), "text", "value"))


def part_kind(part: Any) -> Any:
    """The type of a part of a message: one of `PARTS` or `IMAGES` if it is known."""
    if not isinstance(part, dict):
        return "text"
    kind = part.get("type")
    if kind in TEXTS or (kind is None and isinstance(part.get("text"), str)):
        return "text"
    is_call = kind == "tool_use" or (kind is None and isinstance(_call(part), dict) and _call(part) is not part)
    return "tool_call" if is_call else kind


def is_learned(message: Mapping[str, Any]) -> bool:
    """Whether an answer is learned rather than only part of the conversation."""
    return message.get("weight") != 0


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
        if text not in LEARNED and key in MEASURED:
            continue
        if text not in LEARNED:
            raise RowError(f"message {number} has the {key} {weight!r}; an answer is learned (1) or not (0)")
        if not LEARNED[text]:
            return False
    return True


def messages_in(cell: Any) -> Iterator[Mapping[str, Any]]:
    """The messages in a cell, which may be JSON text; none if it holds something else."""
    found = _unfolded(cell)
    cell = cell if found is None else found
    for message in cell if isinstance(cell, (list, tuple)) else [cell]:
        if isinstance(message, dict) and role_name(message) is not None:
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
    name = next((name for name in _ARGUMENTS if function.get(name) is not None), _ARGUMENTS[0])
    others = [key for key, value in function.items() if key not in (*_ARGUMENTS, "name") and isinstance(value, dict)]
    if others and function.get(name) is None:
        raise RowError(f"the tool call of message {number} has no `{name}`, but `{others[0]}`")
    arguments = parse_json_text(function.get(name), f"the tool call's arguments in message {number}")
    if not isinstance(arguments, dict) and arguments is not None:
        raise RowError(f"the tool call's arguments in message {number} are not an object")
    as_json(call, f"the tool call of message {number}")
    read = {"type": "function", "function": {"name": function["name"], "arguments": arguments or {}}}
    return {"id": call["id"], **read} if isinstance(call.get("id"), str) else read


def role_name(message: Mapping[str, Any]) -> Any:
    """What a message has for its role; None if it has nothing."""
    author = message.get("author")
    named = next((message[key] for key in _KEYS if message.get(key) is not None), None)
    by = author.get("role") if isinstance(author, Mapping) else author  # a text in PaLM's form
    return by if named is None else named


def by_role(turn: Any) -> list[Any]:
    """A turn such as `{"human": "Hi.", "assistant": "Hello."}` as a message for each role; any other as it is."""
    is_one = isinstance(turn, dict) and len(turn) > 1 and role_name(turn) is None
    if not is_one or not all(isinstance(text, str) and find_role(str(name), {}) for name, text in turn.items()):
        return [turn]
    return [{"role": name, "content": text} for name, text in turn.items()]


def read_role(message: Mapping[str, Any], number: int, roles: Mapping[str, str] = NO_ROLES) -> str:
    """The role: `system`, `user`, `assistant`, `thought`, `tool` or `function_call`.

    Raises:
        RowError: the role is missing or unknown.
    """
    name = role_name(message)
    if name is None:
        raise RowError(f"message {number} has no `role`")
    role = find_role(str(name), roles) if isinstance(name, (str, int)) else None
    if role is None:
        raise RowError(
            f"message {number} has the unknown role `{name}`; to say what it means: "
            f"`--set 'data.roles.{name}=assistant'`, or user, system or tool"
        )
    if role == "assistant" and str(message.get("channel")).lower() == _INNER_CHANNEL:
        return "thought"
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


def ends_with_answer(turns: Any, roles: Mapping[str, str] = NO_ROLES) -> bool:
    """Whether the last of some messages is the assistant's."""
    last = turns[-1] if isinstance(turns, (list, tuple)) and turns else None
    message = by_role(last)[-1] if isinstance(last, dict) else None
    return message is not None and find_role(str(role_name(message)), roles) in ("assistant", "function_call")


def are_turns(value: Any) -> bool:
    """Whether a value is a list of texts that are said in turn, or of pairs of these."""
    return len(_texts(value)) > 1


def _texts(value: Any) -> list[str]:
    """What is said, in order; empty for anything else."""
    value = as_list(value) if isinstance(value, str) else value
    if not isinstance(value, (list, tuple)):
        return []
    if all(isinstance(pair, (list, tuple)) and len(pair) == len(_SPEAKERS) for pair in value):
        value = [text for pair in value for text in pair]
    return list(value) if all(isinstance(text, str) for text in value) else []


def has_roles(texts: Sequence[str], roles: Mapping[str, str] = NO_ROLES) -> bool:
    """Whether each text begins with the role of its speaker."""
    found = [_ROLE.fullmatch(text) for text in texts]
    return bool(found) and all(match is not None and find_role(match[1], roles) is not None for match in found)


def as_messages(value: Any, roles: Mapping[str, str] = NO_ROLES) -> Any:
    """A list of texts as messages, each with its role: that before the text if all have one, else user and assistant in
    turn. Any other value unchanged.

    Args:
        value: a cell.
        roles: the user's names of roles.
    """
    texts = _texts(value)
    if not texts:
        return value
    if has_roles(texts, roles):
        named = [match for text in texts if (match := _ROLE.fullmatch(text))]
        return [{"role": match[1], "content": match[2]} for match in named]
    return [{"role": _SPEAKERS[number % 2], "content": text} for number, text in enumerate(texts)]


def are_named(value: Any) -> bool:
    """Whether a value is a list of texts, each with the role of its speaker before it."""
    return has_roles(_texts(value))
