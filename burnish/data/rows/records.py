"""Records: the meaning of rows, independent of their file format."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cache
from typing import Any, ClassVar, TypeVar, cast

from burnish.data.images.images import Picture

Messages = tuple[dict[str, Any], ...]
"""Turns in OpenAI's form: `role`, `content` (a string), and optionally `tool_calls` with parsed arguments."""


class Record:
    """What every kind of record says of itself. The checks, the split and the comparisons know records by this alone.

    A kind of record is a frozen dataclass.
    """

    __slots__ = ("_hash",)
    place: str
    """`file:line` of the row."""
    _hash: str
    """Kept once it has been asked for."""
    contradiction: ClassVar[str] = "contradicting-labels"
    """The kind of finding where two rows have the same text and another `decision`."""

    def all_texts(self) -> Iterator[str]:
        """Everything in words that a model reads of it."""
        for dialogue in self.dialogues():
            for message in dialogue:
                yield from _words(message)

    def dialogues(self) -> Sequence[Messages]:
        """The conversations that it holds."""
        return ()

    def compared_text(self) -> str:
        """What it says, for finding others that say the same: without what the system says to all alike, and without
        its `decision`."""
        return "\n".join(self.all_texts())

    def decision(self) -> str:
        """What is decided about its text, such as a label; empty where nothing is but the text itself."""
        return ""

    def answer(self) -> str | None:
        """What is learned to be written last; None where no answer is learned."""
        return None

    def label_names(self) -> tuple[str, ...] | None:
        """Its labels or tags; None for a kind of record that has none."""
        return None

    def has_one_label(self) -> bool:
        """Whether a row of its kind has exactly one label."""
        return True

    def strata(self) -> tuple[str, ...]:
        """What every split has in about equal shares: its labels, or whether it has an answer; empty where rows do not
        differ in such a way."""
        return tuple(dict.fromkeys(self.label_names() or ()))

    def amount(self) -> float | None:
        """The number that is learned; None for a kind of record that has none."""
        return None

    def learned_bytes(self) -> int | None:
        """Bytes of UTF-8 of the text that is learned to be written; None where what is learned is no text."""
        return None

    def shared_text(self) -> str | None:
        """The text that other rows may ask about, too, and that must not be in training and validation both."""
        return None

    def without_texts(self) -> Record | None:
        """The same with no more than what options are filled in from; None where that is nothing."""
        return None


@dataclass(frozen=True, slots=True)
class TextRecord(Record):
    """Text of which every token is learned."""

    text: str
    ends: bool
    """Whether the document ends here, so that EOS is trained on."""
    place: str

    def all_texts(self) -> Iterator[str]:
        """The text."""
        yield self.text

    def learned_bytes(self) -> int:
        """All of it."""
        return _num_bytes(self.text)


@dataclass(frozen=True, slots=True)
class ChatRecord(Record):
    """A conversation of which the assistant's turns are learned. The last message is always the assistant's."""

    messages: Messages
    tools: tuple[dict[str, Any], ...] | None
    """Functions that the assistant may call, in OpenAI's form."""
    place: str

    def dialogues(self) -> Sequence[Messages]:
        """The one."""
        return (self.messages,)

    def compared_text(self) -> str:
        """All turns but the system's."""
        return _conversation(self.messages)

    def answer(self) -> str | None:
        """The last turn."""
        return "\n".join(_words(self.messages[-1])) or None

    def learned_bytes(self) -> int:
        """What the assistant says, with the calls of tools that it makes."""
        return _assistant_bytes(self.messages)


@dataclass(frozen=True, slots=True)
class PreferenceRecord(Record):
    """Two answers to the same prompt, of which one is better."""

    prompt: Messages
    """Common beginning of both conversations."""
    chosen: Messages
    """The better answer: one or more messages, the last one from the assistant."""
    rejected: Messages
    tools: tuple[dict[str, Any], ...] | None
    place: str
    contradiction: ClassVar[str] = "contradicting-pairs"

    def all_texts(self) -> Iterator[str]:
        """The prompt once, then both answers."""
        for message in (*self.prompt, *self.chosen, *self.rejected):
            yield from _words(message)

    def dialogues(self) -> Sequence[Messages]:
        """One for each answer."""
        return (*self.prompt, *self.chosen), (*self.prompt, *self.rejected)

    def compared_text(self) -> str:
        """The prompt and both answers, in an order that does not depend on which one is better."""
        answers = sorted((_conversation(self.chosen), _conversation(self.rejected)))
        return "\n".join((_conversation(self.prompt), *answers))

    def decision(self) -> str:
        """Which of the two answers is the better one."""
        return "first" if _conversation(self.chosen) < _conversation(self.rejected) else "second"


@dataclass(frozen=True, slots=True)
class RatedRecord(Record):
    """An answer that is rated good or bad."""

    prompt: Messages
    completion: Messages
    good: bool
    tools: tuple[dict[str, Any], ...] | None
    place: str

    def dialogues(self) -> Sequence[Messages]:
        """The prompt with its answer."""
        return ((*self.prompt, *self.completion),)

    def compared_text(self) -> str:
        """All turns but the system's."""
        return _conversation((*self.prompt, *self.completion))

    def decision(self) -> str:
        """The rating."""
        return "good" if self.good else "bad"

    def strata(self) -> tuple[str, ...]:
        """The rating."""
        return (self.decision(),)

    def without_texts(self) -> RatedRecord:
        """The rating, which decides the loss."""
        return replace(self, prompt=(), completion=())


@dataclass(frozen=True, slots=True)
class LabelledRecord(Record):
    """A text, or a pair of texts, with its label or labels."""

    texts: tuple[str, ...]
    labels: tuple[str, ...]
    is_multi: bool
    """Whether a row can have several labels, or none."""
    place: str

    def all_texts(self) -> Iterator[str]:
        """One or two."""
        yield from self.texts

    def decision(self) -> str:
        """The labels, in whatever order the row names them."""
        return ", ".join(sorted(self.labels)) or "none"

    def label_names(self) -> tuple[str, ...]:
        """As the row names them."""
        return self.labels

    def has_one_label(self) -> bool:
        """Unless several are possible."""
        return not self.is_multi

    def without_texts(self) -> LabelledRecord:
        """The labels."""
        return replace(self, texts=())


@dataclass(frozen=True, slots=True)
class ScoredRecord(Record):
    """A text, or a pair of texts, with a number."""

    texts: tuple[str, ...]
    score: float
    place: str
    contradiction: ClassVar[str] = "contradicting-scores"

    def all_texts(self) -> Iterator[str]:
        """One or two."""
        yield from self.texts

    def decision(self) -> str:
        """The number."""
        return f"{self.score:.9g}"

    def amount(self) -> float:
        """The score."""
        return self.score

    def without_texts(self) -> ScoredRecord:
        """The number, from which the mean and the spread are computed."""
        return replace(self, texts=())


@dataclass(frozen=True, slots=True)
class TaggedRecord(Record):
    """Words with a tag each."""

    tokens: tuple[str, ...]
    tags: tuple[str, ...]
    place: str

    def all_texts(self) -> Iterator[str]:
        """The sentence."""
        yield " ".join(self.tokens)

    def decision(self) -> str:
        """The tags, word by word."""
        return " ".join(self.tags)

    def label_names(self) -> tuple[str, ...]:
        """One for each word."""
        return self.tags

    def has_one_label(self) -> bool:
        """As many as there are words."""
        return False

    def strata(self) -> tuple[str, ...]:
        """The tags of the words that have one."""
        return tuple(dict.fromkeys(tag for tag in self.tags if tag != "O"))

    def without_texts(self) -> TaggedRecord:
        """The tags."""
        return replace(self, tokens=())


@dataclass(frozen=True, slots=True)
class SpanRecord(Record):
    """A question about a text, answered by pieces of it."""

    context: str
    question: str
    answers: tuple[tuple[int, str], ...]
    """First character and text of each accepted answer; empty if the text has no answer."""
    place: str

    def all_texts(self) -> Iterator[str]:
        """The text and the question."""
        yield from (self.context, self.question)

    def compared_text(self) -> str:
        """The words of the question, each marked with its text: questions about one text share all of it, and are
        alike by their own words."""
        about = hashlib.sha256(self.context.encode("utf-8", "surrogatepass")).hexdigest()[:16]
        return " ".join(f"{word}{about}" for word in self.question.split())

    def decision(self) -> str:
        """The accepted answers."""
        return ", ".join(sorted(text for _, text in self.answers)) or "none"

    def strata(self) -> tuple[str, ...]:
        """Whether the text has an answer."""
        return ("answered" if self.answers else "unanswerable",)

    def shared_text(self) -> str:
        """Whoever knows a text finds the next answer in it more easily."""
        return self.context

    def without_texts(self) -> SpanRecord:
        """The answers."""
        return replace(self, context="", question="")


@dataclass(frozen=True, slots=True)
class PictureRecord(Record):
    """A conversation with pictures, of which the assistant's turns are learned."""

    messages: Messages
    """Each `content` is a list of parts: `{"type": "text", "text": ...}` or `{"type": "image"}`."""
    images: tuple[Picture, ...]
    """The images, in the order of the image parts."""
    digests: tuple[str, ...]
    """SHA-256 (hex) of each image's bytes, independent of the location of its file."""
    place: str

    def dialogues(self) -> Sequence[Messages]:
        """The one."""
        return (self.messages,)

    def compared_text(self) -> str:
        """All turns but the system's."""
        return _conversation(self.messages)

    def learned_bytes(self) -> int:
        """What the assistant says."""
        return _assistant_bytes(self.messages)


def _words(message: Mapping[str, Any]) -> Iterator[str]:
    """The texts of a message, its reasoning last."""
    content = message.get("content")
    if isinstance(content, str):
        yield content
    elif content:
        yield from (part["text"] for part in content if "text" in part)
    if message.get("reasoning_content"):
        yield message["reasoning_content"]


def _conversation(messages: Messages) -> str:
    """All turns but the system's, as one text."""
    return "\n".join(text for message in messages if message["role"] != "system" for text in _words(message))


def _assistant_bytes(messages: Messages) -> int:
    said = [message for message in messages if message["role"] == "assistant" and message.get("weight") != 0]
    return sum(_num_bytes(message.get("content")) + _num_bytes(message.get("tool_calls")) for message in said)


def _num_bytes(content: Any) -> int:
    """Of a text, of the texts among the parts of a message, or of a call as JSON."""
    if isinstance(content, str):
        return len(content.encode("utf-8", "surrogatepass"))
    texts = [part["text"] for part in content or [] if part.get("type") == "text"]
    return sum(map(_num_bytes, texts)) if texts or not content else len(CANONICAL.encode(content))


AnyRecord = TypeVar("AnyRecord", bound=Record)
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


def known_hash(record: Record) -> bytes | None:
    """The content hash of a record if it has been computed; None otherwise."""
    try:
        return bytes.fromhex(record._hash)
    except AttributeError:
        return None


def with_hash(record: AnyRecord, digest: bytes) -> AnyRecord:
    """The record, which then knows its content hash."""
    object.__setattr__(record, "_hash", digest.hex())
    return record


@cache
def _names_of_content(kind: type[Record]) -> tuple[str, ...]:
    return tuple(field.name for field in fields(cast(Any, kind)) if field.name not in _NOT_CONTENT)
