"""Roles in conversations: the names that files have for them, and what they mean."""

from __future__ import annotations

import re
from collections.abc import Mapping
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
