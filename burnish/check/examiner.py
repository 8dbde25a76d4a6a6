"""What is done with one block of rows: understand, tokenize, look. Any process can do it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from burnish.check.examination import Examination
from burnish.check.special_tokens import SpecialTokens
from burnish.check.token_view import TokenView, view_tokens
from burnish.data.dataset import keep_good, make_records
from burnish.data.readers import JsonLines
from burnish.data.records import Record
from burnish.data.row import Rejected, Row, RowError
from burnish.data.shapes import Shape
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
    labels: Sequence[str]
    special: SpecialTokens

    def begin(self) -> Examination:
        """Of no rows yet."""
        return Examination(self.special, self.task.stop_ids if self.task.generates else ())

    def look(self, block: Block) -> tuple[Examination, list[TokenView]]:
        """What is seen in a block, and its first rows as the model sees them."""
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
