"""Batches: examples packed into rows and laid side by side as tensors."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy
import torch

from burnish.data.rows.row import IGNORED, Example


def pack_best_fit(lengths: Sequence[int], capacity: int) -> list[list[int]]:
    """Best-fit decreasing bin packing: each example goes, longest first, into the fullest row that still has room.

    Args:
        lengths: tokens of each example.
        capacity: tokens of a row; no length may exceed it.

    Returns:
        Rows of indices into `lengths`. Every index stands in exactly one row. Uses at most 11/9 of the rows that
        the best packing needs, plus one (Johnson 1973).

    Raises:
        ValueError: an example is longer than a row.
    """
    order = sorted(range(len(lengths)), key=lambda index: (-lengths[index], index))
    rows: list[list[int]] = []
    room: list[tuple[int, int]] = []  # (tokens left, row), sorted
    for index in order:
        length = lengths[index]
        if length > capacity:
            raise ValueError(f"example {index} has {length} tokens, more than a row of {capacity}")
        at = bisect_left(room, (length, -1))
        if at == len(room):
            row, left = len(rows), capacity
            rows.append([])
        else:
            left, row = room.pop(at)
        rows[row].append(index)
        if left > length:
            insort(room, (left - length, row))
    return rows


@dataclass(frozen=True, slots=True)
class Batch:
    """One micro-batch, whatever the task."""

    inputs: dict[str, torch.Tensor]
    """What the network is called with, by the names of its arguments; `input_ids` `[rows, width]` int64 among them."""
    targets: torch.Tensor
    """What should come out, int64 or float, in the task's own shape; `IGNORED` where nothing is trained."""
    examples: tuple[int, ...]
    """Which examples, in reading order."""
    owners: torch.Tensor
    """`[terms]` int64: for each term of the loss, the example that it belongs to."""
    num_tokens: int
    """Tokens read, without padding."""
    extras: dict[str, torch.Tensor] = field(default_factory=dict)
    """What else the task's loss needs, for example log-probabilities under the reference model."""

    @property
    def num_trained(self) -> int:
        """Terms of the loss: trained tokens, or rows, or pairs."""
        return len(self.owners)

    @property
    def input_ids(self) -> torch.Tensor:
        """`[rows, width]` int64."""
        return self.inputs["input_ids"]

    def tensors(self) -> list[torch.Tensor]:
        """Everything that a step reads of it."""
        return [*self.inputs.values(), self.targets, *self.extras.values()]

    def to(self, device: torch.device) -> Batch:
        """The same batch with its tensors on `device`; `owners` stays, for it is never computed with."""
        return replace(
            self,
            inputs={name: tensor.to(device) for name, tensor in self.inputs.items()},
            targets=self.targets.to(device),
            extras={name: tensor.to(device) for name, tensor in self.extras.items()},
        )


def pad_right(rows: Sequence[Sequence[int] | numpy.ndarray], fill: int) -> torch.Tensor:
    """`[rows, width]` int64: rows filled up at the end to the length of the longest."""
    padded = numpy.full((len(rows), max(map(len, rows))), fill, dtype=numpy.int64)
    for number, row in enumerate(rows):
        padded[number, : len(row)] = row
    return torch.from_numpy(padded)


def collate_tokens(examples: Sequence[Example], rows: Sequence[Sequence[int]], pad_id: int, packed: bool) -> Batch:
    """Lays out rows of next-token examples as one batch, as wide as its longest row.

    `targets` `[rows, width]` holds the token that follows within the same example, `IGNORED` where it is not trained
    on. Packed rows carry `position_ids` that begin again at 0 wherever an example begins; transformers reads the
    borders of packed examples from that, and confines attention to them. Padding stands at the end of a row.

    Args:
        examples: all examples.
        rows: for each row of the batch, which examples it holds.
        pad_id: token that fills rows up; it is never trained on and no real token attends to it.
        packed: whether rows hold several examples, told apart by their positions. Padding then counts as an example
            of its own. In padded rows causality already keeps it from being seen.
    """
    width = max(sum(len(examples[index].input_ids) for index in row) for row in rows)
    input_ids = numpy.full((len(rows), width), pad_id, dtype=numpy.int64)
    targets = numpy.full((len(rows), width), IGNORED, dtype=numpy.int64)
    position_ids = numpy.tile(numpy.arange(width, dtype=numpy.int64), (len(rows), 1))
    chosen, trained = [], []
    for number, row in enumerate(rows):
        begin = 0
        for index in row:
            example = examples[index]
            end = begin + len(example.input_ids)
            input_ids[number, begin:end] = example.input_ids
            targets[number, begin : end - 1] = example.labels[1:]
            position_ids[number, begin:end] = numpy.arange(end - begin)
            chosen.append(index)
            trained.append(example.num_trained)
            begin = end
        position_ids[number, begin:] = numpy.arange(width - begin)
    inputs = {"input_ids": torch.from_numpy(input_ids)}
    if packed:
        inputs["position_ids"] = torch.from_numpy(position_ids)
    return Batch(
        inputs,
        torch.from_numpy(targets),
        tuple(chosen),
        torch.repeat_interleave(torch.tensor(chosen), torch.tensor(trained)),
        sum(len(examples[index].input_ids) for index in chosen),
    )
