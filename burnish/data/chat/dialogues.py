"""Conversations as bare lists of texts, which user and assistant say in turn.

["Hi.", "Hello.", "How are you?", "Fine."]        [["Hi.", "Hello."], ["How are you?", "Fine."]]
["User: Hi.", "Bot: Hello."]                      with the role before each
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from burnish.data.chat.roles import NO_ROLES, find_role

_SPEAKERS = ("user", "assistant")
_ROLE = re.compile(r"\W{0,3}(\w[\w ]{0,20}?)\W{0,2}:\s*(.*)", re.DOTALL)
"""A text with the role of its speaker before it."""


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
