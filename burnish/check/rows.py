"""Where rows are and what they contain, in a few hundred bytes each."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from typing import Any

import numpy

from burnish.check.duplicates import Prints, exact_twins, near_twins, take_prints
from burnish.data.rows.records import (
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


TRAIN = "train"


class SeenRows:
    """Rows of all splits, in the order in which they were read: those that are trained on first."""

    def __init__(self) -> None:
        self._files: dict[str, int] = {}
        self._splits: dict[str, int] = {}
        self._decisions: dict[str, int] = {}
        self._file = array("i")
        self._line = array("q")
        self._split = array("b")
        self._decision = array("i")
        self._prints: list[Prints] = []
        self._has_pairs = False

    def __len__(self) -> int:
        return len(self._line)

    def add(self, split: str, records: Sequence[Record]) -> None:
        """Takes note of some rows.

        Args:
            split: that they belong to.
            records: of them.
        """
        for record in records:
            file, _, line = record.place.rpartition(":")
            self._file.append(self._files.setdefault(file, len(self._files)))
            self._line.append(int(line))
            self._split.append(self._splits.setdefault(split, len(self._splits)))
            self._decision.append(self._decisions.setdefault(decided(record), len(self._decisions)))
            self._has_pairs = self._has_pairs or isinstance(record, PreferenceRecord)
        if records:
            self._prints.append(take_prints([compared_text(record) for record in records]))

    def join(self, later: SeenRows) -> None:
        """Takes in rows that come after these."""
        self._line.extend(later._line)
        self._file.extend(_renumbered(later._file, later._files, self._files))
        self._split.extend(_renumbered(later._split, later._splits, self._splits))
        self._decision.extend(_renumbered(later._decision, later._decisions, self._decisions))
        self._prints += later._prints
        self._has_pairs = self._has_pairs or later._has_pairs

    def place(self, row: int) -> str:
        """`file:line` of a row."""
        return f"{list(self._files)[self._file[row]]}:{self._line[row]}"

    def repeated(self) -> Iterator[tuple[str, int, Iterator[tuple[str, str]]]]:
        """Rows that say what an earlier one says, or nearly: kind of defect, how many, and of each where it stands and
        what was seen there, told as it is asked for."""
        prints = Prints.join(self._prints)
        here = numpy.arange(len(self))
        exact, near = exact_twins(prints), near_twins(prints)
        is_exact = exact != here
        decision = numpy.array(self._decision)
        is_decided_alike = decision == decision[exact]
        leaks, nearly_leaks = self._are_leaks(exact), self._are_leaks(near)
        is_near = (near != here) & ~is_exact
        against = "contradicting-pairs" if self._has_pairs else "contradicting-labels"
        for kind, has_it, twins, told in (
            ("shared-with-validation", is_exact & leaks, exact, "as {}, which is trained on"),
            ("repeated", is_exact & ~leaks & is_decided_alike, exact, "as {}"),
            (against, is_exact & ~leaks & ~is_decided_alike, exact, "as {}"),
            ("nearly-shared", is_near & nearly_leaks, near, "nearly as {}"),
            ("nearly-repeated", is_near & ~nearly_leaks, near, "nearly as {}"),
        ):
            rows = numpy.flatnonzero(has_it)
            if len(rows):
                yield kind, len(rows), self._told(rows, twins[rows], told)

    def _told(self, rows: numpy.ndarray, twins: numpy.ndarray, told: str) -> Iterator[tuple[str, str]]:
        """Where each row stands, and what is said of its twin."""
        for row, twin in zip(rows, twins, strict=True):
            yield self.place(row), told.format(self.place(twin))

    def _are_leaks(self, twins: numpy.ndarray) -> numpy.ndarray:
        """`[rows]` bool: whether a row to be judged on has its twin among those trained on."""
        trained = numpy.array(self._split) == self._splits.get(TRAIN, -1)
        return ~trained & trained[twins]


def _renumbered(numbers: array[int], own: dict[str, int], known: dict[str, int]) -> array[int]:
    """Numbers of names as others know them; names that they do not know yet are added to theirs."""
    new = {number: known.setdefault(name, len(known)) for name, number in own.items()}
    return array(numbers.typecode, (new[number] for number in numbers))
