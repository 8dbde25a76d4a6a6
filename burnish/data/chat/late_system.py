"""System messages that a chat template takes in some places only: what becomes of them elsewhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from burnish.data.chat.template import ChatTemplate, Message, TemplateFeatures

_LATE = "system.after others"
_FIRST, _SECOND, _QUESTION, _ANSWER = "zqsystemzq", "zqsecondzq", "zqquestionzq", "zqanswerzq"
_TURNS: list[Message] = [
    {"role": "user", "content": _QUESTION},
    {"role": "assistant", "content": _ANSWER},
    {"role": "user", "content": _QUESTION},
]


def _system(text: str) -> Message:
    return {"role": "system", "content": text}


def system_features(template: ChatTemplate, features: TemplateFeatures) -> TemplateFeatures:
    """The features with what the template takes of system messages: none, one alone, or those at the beginning only."""
    asked = _TURNS[:1]
    if not template.writes([_system(_FIRST), *asked], None, [_FIRST, _QUESTION]):
        return replace(features, system=False)
    if not template.writes([_system(_FIRST), _system(_SECOND), *asked], None, [_FIRST, _SECOND, _QUESTION]):
        features = replace(features, joins_system=True)
    first, answer, last = _TURNS
    late = [_system(_FIRST), first, answer, _system(_SECOND), last]
    takes_turns = template.writes([_system(_FIRST), *_TURNS], None, [_FIRST, _ANSWER])
    if takes_turns and not template.writes(late, None, [_FIRST, _SECOND]):
        features = replace(features, moves_system=True)
    return features


def is_late_system(key: str) -> bool:
    """Whether a key is the one that `late_systems` returns."""
    return key == _LATE


def late_systems(messages: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """The number of system messages after other messages, under a key beside those of messages; empty if there are
    none."""
    begun = next((place for place, one in enumerate(messages) if one["role"] != "system"), len(messages))
    number = sum(message["role"] == "system" for message in messages[begun:])
    return {_LATE: number} if number else {}


def notes_on_late_system(features: TemplateFeatures, keys: Counter[str]) -> list[str]:
    """Where system messages are written that the template refuses, as a sentence for the user."""
    number = keys[_LATE]
    if not number or not features.moves_system:
        return []
    later = "later one becomes" if number == 1 else "later ones become"
    return [
        f"the template takes a system message at the beginning only: {number:,} {later} part of the user message after "
        f"{'it' if number == 1 else 'them'}, or of the one before if an answer follows"
    ]
