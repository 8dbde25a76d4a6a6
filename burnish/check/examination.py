"""All checks, run block by block over the rows, in any number of processes."""

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
from burnish.check.rows import SeenRows
from burnish.check.token_view import TokenStatistics, TokenView, view_tokens
from burnish.data.files.readers import JsonLines
from burnish.data.rows.dataset import keep_good, make_records
from burnish.data.rows.records import Record
from burnish.data.rows.row import Rejected, Row, RowError
from burnish.data.rows.shapes import Shape
from burnish.tasks.task import Task


@dataclass(frozen=True, slots=True)
class Block:
    """Rows that follow each other, as they were read."""

    split: str
    rows: Sequence[Row] | JsonLines
    """Or the lines that hold them, which is less to hand to another process."""
    rejected: Sequence[Rejected] = ()
    """What could not be read between them."""
    shown: int = 0
    """Of the rows, how many are wanted token by token."""


@dataclass(frozen=True, slots=True)
class Examiner:
    """Knows how rows are read and tokenized, and holds nothing of them."""

    shape: Shape
    task: Task
    tokenizer: Any
    context: int
    special: SpecialTokens

    def begin(self) -> Examination:
        """Of no rows yet."""
        return Examination(self.special, self.task.predictor.stop_ids if self.task.generates else ())

    def look(self, block: Block) -> tuple[Examination, list[TokenView]]:
        """What is seen in a block, and its first rows as the model sees them."""
        examination, rejected, views = self.begin(), list(block.rejected), list[TokenView]()
        kept: list[Record] = []
        rows = list(keep_good(block.rows.rows(), rejected)) if isinstance(block.rows, JsonLines) else block.rows
        records = make_records(rows, self.shape, rejected)
        for record, row in zip(records, self.task.encoder.encode_all(records, self.context), strict=True):
            if isinstance(row, RowError):
                file, _, line = record.place.rpartition(":")
                rejected.append(Rejected(file, int(line), str(row)))
                continue
            kept.append(record)
            examination.figures.add(record, row, examination.tally)
            if len(views) < block.shown:
                views.append(view_tokens(row.examples[0], self.task.encoder, self.tokenizer))
        examination.reject(rejected)
        examination.add(block.split, kept)
        return examination, views


_MANY_LEFT_OUT = 1 / 3
_MOST_ANSWERS = 0.5
_FEWEST_ANSWERS = 20
_NO_ANSWER = 0


class Examination:
    """Looks at the rows of a data set, a block at a time, and keeps a few hundred bytes of each."""

    def __init__(self, special: SpecialTokens, stop_ids: Collection[int] = ()) -> None:
        """Begins at nothing.

        Args:
            special: finds the model's special tokens in texts.
            stop_ids: tokens of which each row should learn one; empty where nothing is generated.
        """
        self.figures = TokenStatistics(stop_ids)
        self.tally = Tally()
        self.rows = SeenRows()
        self.labels = LabelCounts()
        self.languages = LanguageMix()
        self.rejected = 0
        self.removable: dict[str, str] = {}
        """Places of rows that nothing is lost without, and why; known when all rows have been seen."""
        self._special = special
        self._answers = array("Q")
        """Of each row, a print of its answer."""
        self._is_single = True

    def add(self, split: str, records: Sequence[Record]) -> None:
        """Looks at some rows.

        Args:
            split: that they belong to; the one that is trained on comes first.
            records: of them.
        """
        self.rows.add(split, records)
        for record in records:
            for kind, seen in self._seen_in(record).items():
                self.tally.add(kind, record.place, seen)
            self._take_in(record)

    def reject(self, rejected: Iterable[Rejected]) -> None:
        """Takes note of rows that cannot be used."""
        for row in rejected:
            self.rejected += 1
            self.removable[row.place] = row.reason
            self.tally.add(kind_of(row.reason), row.place, row.reason)

    def _seen_in(self, record: Record) -> dict[str, str]:
        """What was seen first of each kind of defect."""
        found: dict[str, str] = {}
        for text in record.all_texts():
            for look in (odd_characters, private_strings, self._special.found_in):
                for kind, seen in look(text):
                    found.setdefault(kind, seen)
        for dialogue in record.dialogues():
            for kind, seen in odd_turns(dialogue):
                found.setdefault(kind, seen)
        return found

    def _take_in(self, record: Record) -> None:
        """Takes note of what is judged over all rows."""
        labels = record.label_names()
        if labels is not None:
            self.labels.add(labels, record.place)
            self._is_single = self._is_single and record.has_one_label()
        self._answers.append(_print_of(record.answer()))
        self.languages.add(record.place, "\n".join(record.all_texts()))

    def join(self, later: Examination) -> None:
        """Takes in what was seen of rows that come after these."""
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
        """What was found in all rows. Called once, at the end."""
        self.labels.tally(self.tally, self._is_single)
        self._tally_answers()
        for kind, count, told in self.rows.repeated():
            if kind == "repeated":
                told = list(told)
                self.removable |= {place: f"says the same {seen}" for place, seen in told}
            self.tally.add_many(kind, count, told)
        everything = len(self.rows) + self.rejected
        if self.rejected > _MANY_LEFT_OUT * everything:
            self.tally.add("many-left-out", f"{self.rejected:,} of {everything:,} rows")
        return self.tally.findings()

    def _tally_answers(self) -> None:
        """Whether most of the answers are one and the same."""
        prints = numpy.array(self._answers)
        rows = numpy.flatnonzero(prints != _NO_ANSWER)
        if len(rows) < _FEWEST_ANSWERS:
            return
        _, first, counts = numpy.unique(prints[rows], return_index=True, return_counts=True)
        most = counts.argmax()
        if counts[most] > _MOST_ANSWERS * len(rows):
            told = f"{counts[most]:,} of {len(rows):,} answers"
            self.tally.add("one-answer", self.rows.place(int(rows[first[most]])), told)


def _print_of(answer: str | None) -> int:
    """Of 64 bits; `_NO_ANSWER` where there is none."""
    if answer is None:
        return _NO_ANSWER
    digest = blake2b(answer.strip().encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big")
