"""Records of a task as examples, and what was left out of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from burnish.data.row import Rejected, RowError
from burnish.tasks.task import Task


@dataclass(slots=True)
class Encoded:
    """Records as examples, with what did not make it."""

    examples: list[Any]
    owners: list[int]
    """For each example, the index of its record."""
    rejected: list[Rejected]
    truncated_rows: int = 0
    truncated_tokens: int = 0

    @property
    def num_tokens(self) -> int:
        """Tokens of all examples."""
        return sum(example.num_tokens for example in self.examples)

    @property
    def num_trained(self) -> int:
        """Terms of the loss."""
        return sum(example.num_trained for example in self.examples)


def encode_records(task: Task, records: Sequence[Any], context: int) -> Encoded:
    """Encodes every record; one that nothing can be learned from is named in `rejected`, never dropped silently."""
    encoded = Encoded([], [], [])
    for index, record in enumerate(records):
        try:
            row = task.encode(record, context)
            if not any(example.num_trained for example in row.examples):
                raise RowError("no token of it is trained on")
        except RowError as error:
            file, _, line = record.place.rpartition(":")
            encoded.rejected.append(Rejected(file, int(line), str(error)))
            continue
        encoded.examples += row.examples
        encoded.owners += [index] * len(row.examples)
        encoded.truncated_rows += row.truncated_tokens > 0
        encoded.truncated_tokens += row.truncated_tokens
    return encoded
