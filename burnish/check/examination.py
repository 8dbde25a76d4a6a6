"""All data checks, run block by block over the rows, in any number of processes."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import chain
from typing import Any

import numpy

from burnish.check.contents import LanguageMix, SpecialTokens, odd_characters, private_strings
from burnish.check.finding import Finding, Tally, kind_of, kinds
from burnish.check.labels import LabelCounts, odd_turns
from burnish.check.rows import TRAIN, SeenRows
from burnish.check.token_view import TokenStatistics, TokenView, view_row
from burnish.data.chat.probe import message_keys
from burnish.data.files.json_lines import JsonLines
from burnish.data.files.splits import CALLED, rows_by_split
from burnish.data.rows.reading import keep_good
from burnish.data.rows.records import Record
from burnish.data.rows.row import Rejected, Row, RowError
from burnish.data.rows.shapes import Shape
from burnish.tasks.task import Task


@dataclass(frozen=True, slots=True)
class Block:
    """Consecutive rows, as read."""

    split: str
    rows: Sequence[Row] | JsonLines
    """Or the lines that hold them, which are cheaper to pass to another process."""
    rejected: Sequence[Rejected] = ()
    """Rows among them that could not be read."""
    shown: int = 0
    """Number of rows to show token by token."""


@dataclass(frozen=True, slots=True)
class Examiner:
    """Checks blocks of rows; keeps no state between them."""

    shape: Shape
    task: Task
    tokenizer: Any
    context: int
    special: SpecialTokens
    columns: tuple[str, ...] = ()
    """The columns that name the split of each training row."""
    skipped: frozenset[str] = frozenset()
    """Splits whose rows by those columns are not used."""

    def begin(self) -> Examination:
        """An empty examination."""
        return Examination(self.special, self.task.predictor.stop_ids if self.task.generates else ())

    def examine(self, block: Block) -> tuple[Examination, list[TokenView]]:
        """The results for a block, and its first rows as the model sees them."""
        examination, rejected, views = self.begin(), list(block.rejected), list[TokenView]()
        rows = list(keep_good(block.rows.rows(), rejected)) if isinstance(block.rows, JsonLines) else block.rows
        for split, part in self._parts(block.split, rows):
            views += self._examine(examination, split, part, rejected, max(0, block.shown - len(views)))
        examination.reject(rejected)
        return examination, views

    def _parts(self, split: str, rows: Sequence[Row]) -> Iterator[tuple[str, Sequence[Row]]]:
        """The rows of each split among some rows."""
        if split != TRAIN or not self.columns:
            yield split, rows
            return
        for found, part in rows_by_split(rows, self.columns).items():
            if part and found not in self.skipped:
                yield CALLED[found], part

    def _examine(
        self, examination: Examination, split: str, rows: Sequence[Row], rejected: list[Rejected], shown: int
    ) -> list[TokenView]:
        """Checks rows of one split; returns the first ones as the model sees them."""
        kept: list[Record] = []
        views: list[TokenView] = []
        records = list(self.shape.to_records(rows, rejected))
        for record, row in zip(records, self.task.encoder.encode_all(records, self.context), strict=True):
            if not isinstance(row, RowError) and row.unlearned and split == TRAIN:
                row = RowError(row.unlearned)
            if isinstance(row, RowError):
                file, _, line = record.place.rpartition(":")
                rejected.append(Rejected(file, int(line), str(row)))
                continue
            kept.append(record)
            for reason in row.refused:
                examination.tally.add("answers-left-out", record.place, reason)
            examination.figures.add(record, row, examination.tally)
            if len(kept) <= shown:
                views.extend(view_row(row, self.task.encoder, self.tokenizer))
        examination.add(split, kept)
        return views


_MANY_LEFT_OUT = 1 / 3
_MOST_ANSWERS = 0.5
_FEWEST_ANSWERS = 20
_NO_ANSWER = 0


class Examination:
    """Results of checking a data set block by block, in a few hundred bytes per row."""

    def __init__(self, special: SpecialTokens, stop_ids: Collection[int] = ()) -> None:
        """Starts empty.

        Args:
            special: finds the model's special tokens in texts.
            stop_ids: stop tokens, one of which each row should train on; empty where nothing is generated.
        """
        self.figures = TokenStatistics(stop_ids)
        self.tally = Tally()
        self.rows = SeenRows()
        self.labels = LabelCounts()
        self.languages = LanguageMix()
        self.rejected = 0
        self.message_keys = Counter[str]()
        """Keys of messages that a chat template may not write."""
        self._rejected: dict[str, str] = {}
        """Places of rows that cannot be used, and why."""
        self._chosen = 0
        """How many of them were left out by whoever made the data."""
        self._special = special
        self._answers = array("Q")
        """A 64-bit hash of each row's answer."""
        self._is_single = True

    def add(self, split: str, records: Sequence[Record]) -> None:
        """Checks some rows.

        Args:
            split: of these rows.
            records: the rows.
        """
        self.rows.add(split, records)
        for record in records:
            for kind, seen in self._seen_in(record).items():
                self.tally.add(kind, record.place, seen)
            self._take_in(record, split)

    def reject(self, rejected: Iterable[Rejected]) -> None:
        """Counts rows that cannot be used."""
        for row in rejected:
            self.rejected += 1
            self._rejected[row.place] = row.reason
            kind = kind_of(row.reason)
            self._chosen += kinds()[kind].is_chosen
            self.tally.add(kind, row.place, row.reason)

    def _seen_in(self, record: Record) -> dict[str, str]:
        """The first instance of each kind of defect in a row."""
        found: dict[str, str] = {}
        for text in record.all_texts():
            for scan in (odd_characters, private_strings, self._special.found_in):
                for kind, seen in scan(text):
                    found.setdefault(kind, seen)
        for dialogue in record.dialogues():
            self.message_keys.update(message_keys(dialogue))
            for kind, seen in odd_turns(dialogue):
                found.setdefault(kind, seen)
        return found

    def _take_in(self, record: Record, split: str) -> None:
        """Counts what is evaluated over all rows together."""
        labels = record.label_names()
        if labels is not None:
            self.labels.add(labels, record.place, split)
            self._is_single = self._is_single and record.has_one_label()
        self._answers.append(_answer_hash(record.answer()))
        self.languages.add(record.place, "\n".join(record.all_texts()))

    @property
    def removable(self) -> Mapping[str, str]:
        """Places of rows that can be removed without loss, and why; complete after `conclude`."""
        return _Either(self._rejected, self.rows.same)

    def join(self, later: Examination) -> None:
        """Adds the results of later rows."""
        self.figures.join(later.figures)
        self.tally.join(later.tally)
        self.rows.join(later.rows)
        self.labels.join(later.labels)
        self.languages.join(later.languages)
        self.rejected += later.rejected
        self.message_keys.update(later.message_keys)
        self._rejected |= later._rejected
        self._chosen += later._chosen
        self._answers.extend(later._answers)
        self._is_single = self._is_single and later._is_single

    def conclude(self) -> list[Finding]:
        """The findings over all rows. Call once, at the end."""
        self.labels.tally(self.tally, self._is_single)
        self._tally_answers()
        for kind, count, instances in self.rows.repeated():
            self.tally.add_many(kind, count, instances)
        unusable = self.rejected - self._chosen
        everything = len(self.rows) + unusable
        if unusable > _MANY_LEFT_OUT * everything:
            self.tally.add("many-left-out", f"{unusable:,} of {everything:,} rows")
        return self.tally.findings()

    def _tally_answers(self) -> None:
        """Adds a finding if most of the answers are the same."""
        hashes = numpy.array(self._answers)
        rows = numpy.flatnonzero(hashes != _NO_ANSWER)
        if len(rows) < _FEWEST_ANSWERS:
            return
        _, first, counts = numpy.unique(hashes[rows], return_index=True, return_counts=True)
        most = counts.argmax()
        if counts[most] > _MOST_ANSWERS * len(rows):
            seen = f"{counts[most]:,} of {len(rows):,} answers"
            self.tally.add("one-answer", self.rows.place(int(rows[first[most]])), seen)


class _Either(Mapping[str, str]):
    """What two mappings with different keys hold, as one."""

    def __init__(self, first: Mapping[str, str], second: Mapping[str, str]) -> None:
        self._parts = (first, second)

    def __getitem__(self, key: str) -> str:
        first, second = self._parts
        return first[key] if key in first else second[key]

    def __len__(self) -> int:
        return sum(map(len, self._parts))

    def __iter__(self) -> Iterator[str]:
        return chain(*self._parts)


def _answer_hash(answer: str | None) -> int:
    """64-bit hash of an answer; `_NO_ANSWER` if there is none."""
    if answer is None:
        return _NO_ANSWER
    digest = blake2b(answer.strip().encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big")
