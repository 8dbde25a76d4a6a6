"""Runs all checks block by block over the rows, in any number of processes."""

from __future__ import annotations

from array import array
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import numpy

from burnish.check.contents import LanguageMix, SpecialTokens, odd_characters, private_strings
from burnish.check.finding import Finding, Tally, kind_of
from burnish.check.labels import LabelCounts, odd_turns
from burnish.check.rows import SeenRows, answer_of, dialogues_of, texts_of
from burnish.check.token_view import TokenStatistics, TokenView, view_tokens
from burnish.data.files.readers import JsonLines
from burnish.data.rows.dataset import keep_good, make_records
from burnish.data.rows.records import LabelledRecord, Record, TaggedRecord
from burnish.data.rows.row import Rejected, Row, RowError
from burnish.data.rows.shapes import Shape
from burnish.tasks.task import Task


@dataclass(frozen=True, slots=True)
class Block:
    """Consecutive rows as they were read."""

    split: str
    rows: Sequence[Row] | JsonLines
    """Either rows, or the raw lines, which are cheaper to send to another process."""
    rejected: Sequence[Rejected] = ()
    """Lines among them that could not be read."""
    shown: int = 0
    """Number of rows to show token by token."""


@dataclass(frozen=True, slots=True)
class Examiner:
    """Encodes and checks blocks of rows; stateless, so that it can be sent to other processes."""

    shape: Shape
    task: Task
    tokenizer: Any
    context: int
    labels: Sequence[str]
    special: SpecialTokens

    def begin(self) -> Examination:
        """An examination without rows."""
        return Examination(self.special, self.task.stop_ids if self.task.generates else ())

    def look(self, block: Block) -> tuple[Examination, list[TokenView]]:
        """The examination of a block, and its first rows as the model sees them."""
        examination, rejected, views = self.begin(), list(block.rejected), list[TokenView]()
        kept: list[Record] = []
        rows = list(keep_good(block.rows.rows(), rejected)) if isinstance(block.rows, JsonLines) else block.rows
        records = make_records(rows, self.shape, rejected)
        for record, row in zip(records, self.task.encode_all(records, self.context), strict=True):
            if isinstance(row, RowError):
                file, _, line = record.place.rpartition(":")
                rejected.append(Rejected(file, int(line), str(row)))
                continue
            kept.append(record)
            examination.figures.add(record, row, examination.tally)
            if len(views) < block.shown:
                views.append(view_tokens(row.examples[0], self.tokenizer, self.labels))
        examination.reject(rejected)
        examination.add(block.split, kept)
        return examination, views


_MAX_REJECTED_SHARE = 1 / 3
_MAX_ANSWER_SHARE = 0.5
_MIN_ANSWERS = 20
_NO_ANSWER = 0


class Examination:
    """Checks the rows of a dataset, one block at a time, and keeps a few hundred bytes per row."""

    def __init__(self, special: SpecialTokens, stop_ids: Collection[int] = ()) -> None:
        """Starts without rows.

        Args:
            special: finds the model's special tokens in texts.
            stop_ids: stop tokens, one of which each row should learn; empty if the task does not generate text.
        """
        self.figures = TokenStatistics(stop_ids)
        self.tally = Tally()
        self.rows = SeenRows()
        self.labels = LabelCounts()
        self.languages = LanguageMix()
        self.rejected = 0
        self.removable: dict[str, str] = {}
        """Locations of rows that can be removed without loss, and why; complete once all rows have been checked."""
        self._special = special
        self._answers = array("Q")
        """Hash of each row's answer."""
        self._is_single = True

    def add(self, split: str, records: Sequence[Record]) -> None:
        """Checks some rows.

        Args:
            split: the split they belong to; the training split must come first.
            records: the rows.
        """
        self.rows.add(split, records)
        for record in records:
            for kind, seen in self._defects_in(record).items():
                self.tally.add(kind, record.place, seen)
            self._add_to_totals(record)

    def reject(self, rejected: Iterable[Rejected]) -> None:
        """Counts rows that cannot be used."""
        for row in rejected:
            self.rejected += 1
            self.removable[row.place] = row.reason
            self.tally.add(kind_of(row.reason), row.place, row.reason)

    def _defects_in(self, record: Record) -> dict[str, str]:
        """The first example of each kind of defect."""
        found: dict[str, str] = {}
        for text in texts_of(record):
            for check in (odd_characters, private_strings, self._special.found_in):
                for kind, seen in check(text):
                    found.setdefault(kind, seen)
        for dialogue in dialogues_of(record):
            for kind, seen in odd_turns(dialogue):
                found.setdefault(kind, seen)
        return found

    def _add_to_totals(self, record: Record) -> None:
        """Updates the statistics over all rows."""
        if isinstance(record, LabelledRecord):
            self.labels.add(record.labels, record.place)
            self._is_single = self._is_single and not record.is_multi
        elif isinstance(record, TaggedRecord):
            self.labels.add(record.tags, record.place)
            self._is_single = False
        self._answers.append(_answer_hash(answer_of(record)))
        self.languages.add(record.place, "\n".join(texts_of(record)))

    def join(self, later: Examination) -> None:
        """Merges the examination of the rows that come after these."""
        self.figures.join(later.figures)
        self.tally.join(later.tally)
        self.rows.join(later.rows)
        self.labels.join(later.labels)
        self.languages.join(later.languages)
        self.rejected += later.rejected
        self.removable |= later.removable
        self._answers.extend(later._answers)
        self._is_single = self._is_single and later._is_single

    def conclude(self) -> list[Finding]:
        """All findings. Called once, at the end."""
        self.labels.tally(self.tally, self._is_single)
        self._tally_answers()
        for kind, count, examples in self.rows.repeated():
            if kind == "repeated":
                examples = list(examples)
                self.removable |= {place: f"has the same text {seen}" for place, seen in examples}
            self.tally.add_many(kind, count, examples)
        total = len(self.rows) + self.rejected
        if self.rejected > _MAX_REJECTED_SHARE * total:
            self.tally.add("many-left-out", f"{self.rejected:,} of {total:,} rows")
        return self.tally.findings()

    def _tally_answers(self) -> None:
        """Adds a finding if most answers are identical."""
        hashes = numpy.array(self._answers)
        rows = numpy.flatnonzero(hashes != _NO_ANSWER)
        if len(rows) < _MIN_ANSWERS:
            return
        _, first, counts = numpy.unique(hashes[rows], return_index=True, return_counts=True)
        most = counts.argmax()
        if counts[most] > _MAX_ANSWER_SHARE * len(rows):
            example = f"{counts[most]:,} of {len(rows):,} answers"
            self.tally.add("one-answer", self.rows.place(int(rows[first[most]])), example)


def _answer_hash(answer: str | None) -> int:
    """64-bit hash of an answer; `_NO_ANSWER` if there is none."""
    if answer is None:
        return _NO_ANSWER
    digest = blake2b(answer.strip().encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big")
