"""Roles in conversations: the names that files have for them, and what they mean.

Also of bare lists of texts, which user and assistant say in turn:

["Hi.", "Hello.", "How are you?", "Fine."]        [["Hi.", "Hello."], ["How are you?", "Fine."]]
["User: Hi.", "Bot: Hello."]                      with the role before each
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from burnish.data.rows.row import RowError

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


def role_name(message: Mapping[str, Any]) -> Any:
    """What a message has for its role; None if it has nothing."""
    author = message.get("author")
    named = next((message[key] for key in _KEYS if message.get(key) is not None), None)
    return author.get("role") if named is None and isinstance(author, Mapping) else named


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


def are_turns(value: Any) -> bool:
    """Whether a value is a list of texts that are said in turn, or of pairs of these."""
    return len(_texts(value)) > 1


def _texts(value: Any) -> list[str]:
    """What is said, in order; empty for anything else."""
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
