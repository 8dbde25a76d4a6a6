"""Batches: examples laid side by side as tensors, in an order that depends on nothing but the seed and the step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy
import torch

from burnish.data.packing import pack_best_fit
from burnish.data.row import IGNORED, Example


@dataclass(frozen=True, slots=True)
class Batch:
    """One micro-batch of packed or padded rows.

    `position_ids` begins again at 0 wherever an example begins; transformers reads the borders of packed examples from
    that, and confines attention to them. Padding stands at the end of a row.
    """

    input_ids: torch.Tensor
    """`[rows, width]` int64."""
    targets: torch.Tensor
    """`[rows, width]` int64: the token that follows within the same example, `IGNORED` where it is not trained on."""
    position_ids: torch.Tensor | None
    """`[rows, width]` int64 in packed rows; None in padded ones, where each row counts from 0 by itself."""
    examples: tuple[int, ...]
    """Which examples, in reading order."""
    spans: tuple[tuple[int, int, int], ...]
    """Row, first column and end column of each example, in the same order."""
    num_tokens: int
    """Tokens without padding."""
    num_trained: int
    """Tokens that add to the loss."""

    def to(self, device: torch.device) -> Batch:
        """The same batch with its tensors on `device`."""
        return Batch(
            self.input_ids.to(device),
            self.targets.to(device),
            None if self.position_ids is None else self.position_ids.to(device),
            self.examples,
            self.spans,
            self.num_tokens,
            self.num_trained,
        )


def collate(examples: Sequence[Example], rows: Sequence[Sequence[int]], pad_id: int, packed: bool) -> Batch:
    """Lays out rows of examples as one batch, as wide as its longest row.

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
    spans = []
    for number, row in enumerate(rows):
        begin = 0
        for index in row:
            example = examples[index]
            end = begin + len(example.input_ids)
            input_ids[number, begin:end] = example.input_ids
            targets[number, begin : end - 1] = example.labels[1:]
            position_ids[number, begin:end] = numpy.arange(end - begin)
            spans.append((number, begin, end))
            begin = end
        position_ids[number, begin:] = numpy.arange(width - begin)
    chosen = tuple(index for row in rows for index in row)
    return Batch(
        torch.from_numpy(input_ids),
        torch.from_numpy(targets),
        torch.from_numpy(position_ids) if packed else None,
        chosen,
        tuple(spans),
        sum(len(examples[index].input_ids) for index in chosen),
        int((targets != IGNORED).sum()),
    )


class BatchPlan:
    """Which examples make up which step: a pure function of the seed, so that a resumed run reads on exactly.

    Args:
        examples: all examples.
        context: tokens of a row.
        packing: several examples to a row, or one.
        step_tokens: tokens aimed at per optimizer step.
        micro_rows: most rows in memory at once.
        pad_id: token that fills rows up.
        seed: decides the order of the rows in each epoch.
    """

    def __init__(
        self,
        examples: Sequence[Example],
        *,
        context: int,
        packing: bool,
        step_tokens: int,
        micro_rows: int,
        pad_id: int,
        seed: int,
    ) -> None:
        self.examples = examples
        self.packing = packing
        self.micro_rows = micro_rows
        self.pad_id = pad_id
        self.seed = seed
        lengths = [len(example.input_ids) for example in examples]
        self.rows = pack_best_fit(lengths, context) if packing else [[index] for index in range(len(lengths))]
        self.num_tokens = sum(lengths)
        mean_row = self.num_tokens / max(1, len(self.rows))
        self.rows_per_step = max(1, min(len(self.rows), round(step_tokens / max(1.0, mean_row))))

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps in one pass over the rows; the last of them may hold fewer rows."""
        return -(-len(self.rows) // self.rows_per_step)

    def epoch_order(self, epoch: int) -> numpy.ndarray:
        """`[rows]`: the order in which an epoch reads the rows."""
        return numpy.random.default_rng([self.seed, epoch]).permutation(len(self.rows))

    def step_batches(self, step: int) -> list[Batch]:
        """The micro-batches of an optimizer step, counted from 0 over all epochs."""
        epoch, position = divmod(step, self.steps_per_epoch)
        order = self.epoch_order(epoch)[position * self.rows_per_step : (position + 1) * self.rows_per_step]
        return self._in_micro_batches([self.rows[index] for index in order])

    def all_batches(self) -> list[Batch]:
        """Every example once, in micro-batches of similar rows: for evaluation."""
        return self._in_micro_batches(sorted(self.rows, key=self._tokens_of, reverse=True))

    def _tokens_of(self, row: Sequence[int]) -> int:
        return sum(len(self.examples[index].input_ids) for index in row)

    def _in_micro_batches(self, rows: list[list[int]]) -> list[Batch]:
        return [
            collate(self.examples, rows[begin : begin + self.micro_rows], self.pad_id, self.packing)
            for begin in range(0, len(rows), self.micro_rows)
        ]
