"""Records of a task as examples, and what was left out of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from burnish.data.row import Example, Rejected, RowError
from burnish.data.token_examples import TokenColumns, token_counts, trained_count
from burnish.tasks.task import EncodedRow, Task

_BLOCK = 1_024
"""Records that are encoded together: enough for the tokenizer's batches, and few to hold half-made."""


@dataclass(slots=True)
class Encoded:
    """Records as examples, with what did not make it."""

    examples: Sequence[Any]
    owners: Sequence[int]
    """For each example, the index of its record."""
    rejected: list[Rejected]
    truncated_rows: int = 0
    truncated_tokens: int = 0

    @property
    def num_tokens(self) -> int:
        """Tokens of all examples."""
        return sum(token_counts(self.examples))

    @property
    def num_trained(self) -> int:
        """Terms of the loss."""
        return trained_count(self.examples)


def encode_records(task: Task, records: Sequence[Any], context: int) -> Encoded:
    """Encodes every record; one that nothing can be learned from is named in `rejected`, never dropped silently."""
    owners: list[int] = []
    others: list[Any] = []
    columns = TokenColumns()
    encoded = Encoded(others, owners, [])
    for index, row in enumerate(_in_blocks(task, records, context)):
        if not isinstance(row, RowError) and not any(example.num_trained for example in row.examples):
            row = RowError("no token of it is trained on")
        if isinstance(row, RowError):
            file, _, line = records[index].place.rpartition(":")
            encoded.rejected.append(Rejected(file, int(line), str(row)))
            continue
        for example in row.examples:
            if type(example) is Example:
                columns.add(example)
            else:
                others.append(example)
        owners += [index] * len(row.examples)
        encoded.truncated_rows += row.truncated_tokens > 0
        encoded.truncated_tokens += row.truncated_tokens
    if not others:
        encoded.examples = columns.done()
    return encoded


def _in_blocks(task: Task, records: Sequence[Any], context: int) -> Iterator[EncodedRow | RowError]:
    for begin in range(0, len(records), _BLOCK):
        yield from task.encode_all(records[begin : begin + _BLOCK], context)
