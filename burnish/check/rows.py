"""Locations and fingerprints of rows, in a few hundred bytes each."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from typing import Any

import numpy

from burnish.check.duplicates import Fingerprints, compute_fingerprints, exact_duplicates, near_duplicates
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
    """All texts of a record that the model would see."""
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
            yield from _texts_of_message(message)


def messages_of(record: Record) -> Sequence[Mapping[str, Any]]:
    """All messages of a record; none if it is not a conversation."""
    if isinstance(record, PreferenceRecord):
        return (*record.prompt, *record.chosen, *record.rejected)
    if isinstance(record, RatedRecord):
        return (*record.prompt, *record.completion)
    return getattr(record, "messages", ())


def dialogues_of(record: Record) -> Iterator[Sequence[Mapping[str, Any]]]:
    """The conversations in a record: two for a pair of answers."""
    if isinstance(record, PreferenceRecord):
        yield (*record.prompt, *record.chosen)
        yield (*record.prompt, *record.rejected)
    elif isinstance(record, RatedRecord) or messages_of(record):
        yield messages_of(record)


def compared_text(record: Record) -> str:
    """The text of a record to compare with others: without the system message, which all rows may share, and without
    its labels or the choice of the better answer, so that contradictory rows are found."""
    if isinstance(record, PreferenceRecord):
        answers = sorted((_conversation(record.chosen), _conversation(record.rejected)))
        return "\n".join((_conversation(record.prompt), *answers))
    if messages_of(record):
        return _conversation(messages_of(record))
    if isinstance(record, SpanRecord):  # all questions about one text share it, so only their own words count
        about = sha256(record.context.encode("utf-8", "surrogatepass")).hexdigest()[:16]
        return " ".join(f"{word}{about}" for word in record.question.split())
    return "\n".join(texts_of(record))


def label_of(record: Record) -> str:
    """The label, choice or answer that a record assigns to its text; empty if it is only text."""
    if isinstance(record, PreferenceRecord):
        return "first" if _conversation(record.chosen) < _conversation(record.rejected) else "second"
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
    """The last answer that is learned; None if no answer is learned."""
    if isinstance(record, ChatRecord):
        return "\n".join(_texts_of_message(record.messages[-1])) or None
    return None


def _texts_of_message(message: Mapping[str, Any]) -> Iterator[str]:
    content = message.get("content")
    if isinstance(content, str):
        yield content
    elif content:
        yield from (part["text"] for part in content if "text" in part)
    if message.get("reasoning_content"):
        yield message["reasoning_content"]


def _conversation(messages: Sequence[Mapping[str, Any]]) -> str:
    return "\n".join(text for message in messages if message["role"] != "system" for text in _texts_of_message(message))


TRAIN = "train"


class SeenRows:
    """The rows of all splits in reading order, the training split first."""

    def __init__(self) -> None:
        self._files: dict[str, int] = {}
        self._splits: dict[str, int] = {}
        self._label_ids: dict[str, int] = {}
        self._file = array("i")
        self._line = array("q")
        self._split = array("b")
        self._label = array("i")
        self._fingerprints: list[Fingerprints] = []
        self._has_pairs = False

    def __len__(self) -> int:
        return len(self._line)

    def add(self, split: str, records: Sequence[Record]) -> None:
        """Adds some rows.

        Args:
            split: the split they belong to.
            records: the rows.
        """
        for record in records:
            file, _, line = record.place.rpartition(":")
            self._file.append(self._files.setdefault(file, len(self._files)))
            self._line.append(int(line))
            self._split.append(self._splits.setdefault(split, len(self._splits)))
            self._label.append(self._label_ids.setdefault(label_of(record), len(self._label_ids)))
            self._has_pairs = self._has_pairs or isinstance(record, PreferenceRecord)
        if records:
            self._fingerprints.append(compute_fingerprints([compared_text(record) for record in records]))

    def join(self, later: SeenRows) -> None:
        """Adds the rows that come after these."""
        self._line.extend(later._line)
        self._file.extend(_renumbered(later._file, later._files, self._files))
        self._split.extend(_renumbered(later._split, later._splits, self._splits))
        self._label.extend(_renumbered(later._label, later._label_ids, self._label_ids))
        self._fingerprints += later._fingerprints
        self._has_pairs = self._has_pairs or later._has_pairs

    def place(self, row: int) -> str:
        """`file:line` of a row."""
        return f"{list(self._files)[self._file[row]]}:{self._line[row]}"

    def repeated(self) -> Iterator[tuple[str, int, Iterator[tuple[str, str]]]]:
        """Duplicates of earlier rows, exact and near: the kind of defect, the number of rows, and lazily for each row
        its location and that of the earlier row."""
        fingerprints = Fingerprints.join(self._fingerprints)
        here = numpy.arange(len(self))
        exact, near = exact_duplicates(fingerprints), near_duplicates(fingerprints)
        is_exact = exact != here
        label = numpy.array(self._label)
        has_same_label = label == label[exact]
        leaks, nearly_leaks = self._are_leaks(exact), self._are_leaks(near)
        is_near = (near != here) & ~is_exact
        against = "contradicting-pairs" if self._has_pairs else "contradicting-labels"
        for kind, has_it, originals, template in (
            ("shared-with-validation", is_exact & leaks, exact, "as {}, a training row"),
            ("repeated", is_exact & ~leaks & has_same_label, exact, "as {}"),
            (against, is_exact & ~leaks & ~has_same_label, exact, "as {}"),
            ("nearly-shared", is_near & nearly_leaks, near, "nearly as {}"),
            ("nearly-repeated", is_near & ~nearly_leaks, near, "nearly as {}"),
        ):
            rows = numpy.flatnonzero(has_it)
            if len(rows):
                yield kind, len(rows), self._describe(rows, originals[rows], template)

    def _describe(self, rows: numpy.ndarray, originals: numpy.ndarray, template: str) -> Iterator[tuple[str, str]]:
        """The location of each row, and a phrase that names the earlier row."""
        for row, original in zip(rows, originals, strict=True):
            yield self.place(row), template.format(self.place(original))

    def _are_leaks(self, originals: numpy.ndarray) -> numpy.ndarray:
        """`[rows]` bool: whether a held-out row duplicates a training row."""
        trained = numpy.array(self._split) == self._splits.get(TRAIN, -1)
        return ~trained & trained[originals]


def _renumbered(numbers: array[int], own: dict[str, int], known: dict[str, int]) -> array[int]:
    """Translates the numbers of names from `own` to `known`; new names are added to `known`."""
    new = {number: known.setdefault(name, len(known)) for name, number in own.items()}
    return array(numbers.typecode, (new[number] for number in numbers))
