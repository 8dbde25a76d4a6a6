"""What a row means, apart from how its file spells it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, fields
from functools import cache
from typing import Any

from burnish.data.images.images import Picture

Messages = tuple[dict[str, Any], ...]
"""Turns in OpenAI's form: `role`, `content` (a string), and where there are any `tool_calls` with parsed arguments."""


class _Hashed:
    """Keeps the hash of what a record says, once somebody has asked for it."""

    __slots__ = ("_hash",)
    _hash: str


@dataclass(frozen=True, slots=True)
class TextRecord(_Hashed):
    """Text of which every token is learned."""

    text: str
    ends: bool
    """Whether the document ends here, so that the end of the text is learned too."""
    place: str


@dataclass(frozen=True, slots=True)
class ChatRecord(_Hashed):
    """A conversation of which the assistant's turns are learned. The last message is always the assistant's."""

    messages: Messages
    tools: tuple[dict[str, Any], ...] | None
    """Functions that the assistant may call, in OpenAI's form."""
    place: str


@dataclass(frozen=True, slots=True)
class PreferenceRecord(_Hashed):
    """Two answers to the same prompt, of which one is better."""

    prompt: Messages
    """May be empty where the two dialogues share no beginning."""
    chosen: Messages
    """The better answer: one message or more, the last of them the assistant's."""
    rejected: Messages
    tools: tuple[dict[str, Any], ...] | None
    place: str


@dataclass(frozen=True, slots=True)
class RatedRecord(_Hashed):
    """An answer that somebody found good or bad."""

    prompt: Messages
    completion: Messages
    good: bool
    tools: tuple[dict[str, Any], ...] | None
    place: str


@dataclass(frozen=True, slots=True)
class LabelledRecord(_Hashed):
    """A text, or a pair of texts, with its label or labels."""

    texts: tuple[str, ...]
    labels: tuple[str, ...]
    is_multi: bool
    """Whether several labels, or none, are possible."""
    place: str


@dataclass(frozen=True, slots=True)
class TaggedRecord(_Hashed):
    """Words with a tag each."""

    tokens: tuple[str, ...]
    tags: tuple[str, ...]
    place: str


@dataclass(frozen=True, slots=True)
class SpanRecord(_Hashed):
    """A question about a text, answered by pieces of it."""

    context: str
    question: str
    answers: tuple[tuple[int, str], ...]
    """First character and text of each accepted answer; empty where the text does not hold one."""
    place: str


@dataclass(frozen=True, slots=True)
class PictureRecord(_Hashed):
    """A conversation with pictures, of which the assistant's turns are learned."""

    messages: tuple[dict[str, Any], ...]
    """Each `content` is a list of parts: `{"type": "text", "text": ...}` or `{"type": "image"}`."""
    images: tuple[Picture, ...]
    """The pictures, in the order of the image parts."""
    digests: tuple[str, ...]
    """SHA-256 (hex) of each picture's bytes: what it shows, wherever its file lies."""
    place: str


Record = (
    TextRecord
    | ChatRecord
    | PreferenceRecord
    | RatedRecord
    | LabelledRecord
    | TaggedRecord
    | SpanRecord
    | PictureRecord
)
CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"))
_BESIDE_THE_CONTENT = ("place", "ends", "is_multi", "images")


def content_hash(record: Record) -> str:
    """SHA-256 (hex) of what a record says, wherever it stands: equal for duplicates, and for them only.

    Whether a text ends counts for nothing: the same words with and without an end are the same words.
    """
    try:
        return record._hash
    except AttributeError:  # asked for the first time
        content = [getattr(record, name) for name in _names_of_content(type(record))]
        told = content[0] if isinstance(record, TextRecord) else content
        made = hashlib.sha256(CANONICAL.encode(told).encode("ascii")).hexdigest()
        object.__setattr__(record, "_hash", made)
        return made


@cache
def _names_of_content(kind: type[Record]) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind) if field.name not in _BESIDE_THE_CONTENT)
