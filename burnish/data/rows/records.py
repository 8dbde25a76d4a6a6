"""Records: the meaning of rows, independent of their file format."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, fields
from functools import cache
from typing import Any

from burnish.data.images.images import Picture

Messages = tuple[dict[str, Any], ...]
"""Turns in OpenAI's form: `role`, `content` (a string), and optionally `tool_calls` with parsed arguments."""


class _Hashed:
    """Caches the content hash of a record."""

    __slots__ = ("_hash",)
    _hash: str


@dataclass(frozen=True, slots=True)
class TextRecord(_Hashed):
    """Text that is trained on completely."""

    text: str
    ends: bool
    """Whether the document ends here, so that EOS is trained on."""
    place: str


@dataclass(frozen=True, slots=True)
class ChatRecord(_Hashed):
    """A conversation whose assistant turns are trained on. The last message is always the assistant's."""

    messages: Messages
    tools: tuple[dict[str, Any], ...] | None
    """Functions that the assistant may call, in OpenAI's form."""
    place: str


@dataclass(frozen=True, slots=True)
class PreferenceRecord(_Hashed):
    """A better and a worse answer to the same prompt."""

    prompt: Messages
    """Common beginning of both conversations."""
    chosen: Messages
    """The better answer: one or more messages, the last one from the assistant."""
    rejected: Messages
    tools: tuple[dict[str, Any], ...] | None
    place: str


@dataclass(frozen=True, slots=True)
class RatedRecord(_Hashed):
    """An answer rated good or bad."""

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
    """Whether a row can have several labels, or none."""
    place: str


@dataclass(frozen=True, slots=True)
class TaggedRecord(_Hashed):
    """Words with a tag each."""

    tokens: tuple[str, ...]
    tags: tuple[str, ...]
    place: str


@dataclass(frozen=True, slots=True)
class SpanRecord(_Hashed):
    """A question about a text, answered by spans of it."""

    context: str
    question: str
    answers: tuple[tuple[int, str], ...]
    """First character and text of each accepted answer; empty if the text has no answer."""
    place: str


@dataclass(frozen=True, slots=True)
class PictureRecord(_Hashed):
    """A conversation with images, whose assistant turns are trained on."""

    messages: tuple[dict[str, Any], ...]
    """Each `content` is a list of parts: `{"type": "text", "text": ...}` or `{"type": "image"}`."""
    images: tuple[Picture, ...]
    """The images, in the order of the image parts."""
    digests: tuple[str, ...]
    """SHA-256 (hex) of each image's bytes, independent of the location of its file."""
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
_NOT_CONTENT = ("place", "ends", "is_multi", "images")


def content_hash(record: Record) -> str:
    """SHA-256 (hex) of a record's content without its location: equal for duplicates only.

    Whether a text ends does not matter: the same text with and without an end is a duplicate.
    """
    try:
        return record._hash
    except AttributeError:  # not computed yet
        content = [getattr(record, name) for name in _names_of_content(type(record))]
        hashed = content[0] if isinstance(record, TextRecord) else content
        made = hashlib.sha256(CANONICAL.encode(hashed).encode("ascii")).hexdigest()
        object.__setattr__(record, "_hash", made)
        return made


@cache
def _names_of_content(kind: type[Record]) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind) if field.name not in _NOT_CONTENT)
