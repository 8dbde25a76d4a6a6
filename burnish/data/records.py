"""What a row means, apart from how its file spells it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class TextRecord:
    """Text of which every token is learned."""

    text: str
    ends: bool
    """Whether the document ends here, so that the end of the text is learned too."""
    place: str


@dataclass(frozen=True, slots=True)
class ChatRecord:
    """A conversation of which the assistant's turns are learned. The last message is always the assistant's."""

    messages: tuple[dict[str, Any], ...]
    """In OpenAI's form: `role`, `content` (a string), and where there are any `tool_calls` with parsed arguments."""
    tools: tuple[dict[str, Any], ...] | None
    """Functions that the assistant may call, in OpenAI's form."""
    place: str


Record = TextRecord | ChatRecord
CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"))


def content_hash(record: Record) -> str:
    """SHA-256 (hex) of what a record says, wherever it stands: equal for duplicates, and for them only.

    Whether a text ends counts for nothing: the same words with and without an end are the same words.
    """
    content = record.text if isinstance(record, TextRecord) else [record.messages, record.tools]
    return hashlib.sha256(CANONICAL.encode(content).encode("ascii")).hexdigest()
