"""Packs examples into rows and collates rows into tensors."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy
import torch

from burnish.data.rows.row import IGNORED, Example


def pack_best_fit(lengths: Sequence[int], capacity: int) -> list[list[int]]:
    """Best-fit decreasing bin packing: puts each example, longest first, into the fullest row that still has room.

    Args:
        lengths: length of each example in tokens.
        capacity: tokens per row; no length may exceed it.

    Returns:
        Rows of indices into `lengths`. Every index is in exactly one row. Uses at most 11/9 of the optimal number of
        rows, plus one (Johnson 1973).

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
    """Keyword arguments of the network, among them `input_ids` `[rows, width]` int64."""
    targets: torch.Tensor
    """Expected outputs, int64 or float, in the task's own shape; `IGNORED` where nothing is trained on."""
    examples: tuple[int, ...]
    """Indices of the examples, in order."""
    owners: torch.Tensor
    """`[terms]` int64: index of the example that each term of the loss belongs to."""
    num_tokens: int
    """Tokens without padding."""
    extras: dict[str, torch.Tensor] = field(default_factory=dict)
    """Further tensors for the task's loss, for example log-probabilities under the reference model."""

    @property
    def num_trained(self) -> int:
        """Terms of the loss: trained tokens, or rows, or pairs."""
        return len(self.owners)

    @property
    def input_ids(self) -> torch.Tensor:
        """`[rows, width]` int64."""
        return self.inputs["input_ids"]

    def tensors(self) -> list[torch.Tensor]:
        """All tensors that a step uses."""
        return [*self.inputs.values(), self.targets, *self.extras.values()]

    def to(self, device: torch.device) -> Batch:
        """The same batch with its tensors on `device`, except `owners`, which is not used in computations."""
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
    """Collates rows of next-token examples into one batch, as wide as its longest row.

    `targets` `[rows, width]` has the next token of the same example, `IGNORED` where it is not trained on. Packed rows
    have `position_ids` that restart at 0 with each example: transformers infers the boundaries of packed examples from
    them and restricts attention to each. Padding is at the end of a row.

    Args:
        examples: all examples.
        rows: indices of the examples in each row of the batch.
        pad_id: padding token; it is never trained on and no real token attends to it.
        packed: whether rows have several examples, distinguished by their positions. Padding then forms an example of
            its own. In padded rows the causal mask already hides it.
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
            # shifted by one within the example: its last token predicts nothing, not the start of the next example
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
