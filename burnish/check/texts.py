"""The texts of a record, whatever its kind."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from typing import Any

from burnish.data.records import (
    ChatRecord,
    LabelledRecord,
    PreferenceRecord,
    RatedRecord,
    Record,
    SpanRecord,
    TaggedRecord,
    TextRecord,
)


def texts_of(record: Record) -> Iterator[str]:
    """Everything in words that a model would read of it."""
    if isinstance(record, TextRecord):
        yield record.text
    elif isinstance(record, LabelledRecord):
        yield from record.texts
    elif isinstance(record, TaggedRecord):
        yield " ".join(record.tokens)
    elif isinstance(record, SpanRecord):
        yield from (record.context, record.question)
    else:
        for message in messages_of(record):
            yield from _said(message)


def messages_of(record: Record) -> Sequence[Mapping[str, Any]]:
    """The turns of a record, one dialogue after the other; none where it is no conversation."""
    if isinstance(record, PreferenceRecord):
        return (*record.prompt, *record.chosen, *record.rejected)
    if isinstance(record, RatedRecord):
        return (*record.prompt, *record.completion)
    return getattr(record, "messages", ())


def dialogues_of(record: Record) -> Iterator[Sequence[Mapping[str, Any]]]:
    """The conversations that a record holds: two for a pair of answers."""
    if isinstance(record, PreferenceRecord):
        yield (*record.prompt, *record.chosen)
        yield (*record.prompt, *record.rejected)
    elif isinstance(record, RatedRecord) or messages_of(record):
        yield messages_of(record)


def compared_text(record: Record) -> str:
    """What a record says, for finding others that say the same: without what the system says to all alike, and without
    what is decided about it: its labels, which of its answers is the better one."""
    if isinstance(record, PreferenceRecord):
        answers = sorted((_told(record.chosen), _told(record.rejected)))
        return "\n".join((_told(record.prompt), *answers))
    if messages_of(record):
        return _told(messages_of(record))
    if isinstance(record, SpanRecord):  # questions about one text share all of it, and are alike by their own words
        about = sha256(record.context.encode("utf-8", "surrogatepass")).hexdigest()[:16]
        return " ".join(f"{word}{about}" for word in record.question.split())
    return "\n".join(texts_of(record))


def decided(record: Record) -> str:
    """What is decided about the text of a record; empty where nothing is but the text itself."""
    if isinstance(record, PreferenceRecord):
        return "first" if _told(record.chosen) < _told(record.rejected) else "second"
    if isinstance(record, RatedRecord):
        return "good" if record.good else "bad"
    if isinstance(record, LabelledRecord):
        return ", ".join(sorted(record.labels)) or "none"
    if isinstance(record, TaggedRecord):
        return " ".join(record.tags)
    if isinstance(record, SpanRecord):
        return ", ".join(sorted(text for _, text in record.answers)) or "none"
    return ""


def answer_of(record: Record) -> str | None:
    """What is learned to be said last; None where no answer is learned."""
    if isinstance(record, ChatRecord):
        return "\n".join(_said(record.messages[-1])) or None
    return None


def _said(message: Mapping[str, Any]) -> Iterator[str]:
    content = message.get("content")
    if isinstance(content, str):
        yield content
    elif content:
        yield from (part["text"] for part in content if "text" in part)
    if message.get("reasoning_content"):
        yield message["reasoning_content"]


def _told(messages: Sequence[Mapping[str, Any]]) -> str:
    return "\n".join(text for message in messages if message["role"] != "system" for text in _said(message))
