"""Batches: examples packed into rows and laid side by side, and the plan of which batch is when."""

from __future__ import annotations

import copy
import heapq
from array import array
from bisect import bisect_left, insort
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, overload

import numpy
import torch

from burnish.data.rows.row import IGNORED, Example
from burnish.data.tokens.tokens import token_counts

if TYPE_CHECKING:
    from typing_extensions import Self


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
    draw: int | None = None
    """Seed of what is drawn while it is computed, such as dropout; None continues with what was drawn before it."""
    is_spare: bool = False
    """Whether it is computed only because other processes compute one at the same time, and counts nothing."""
    places: torch.Tensor = field(init=False)
    """`[trained]` int64: where targets are trained on, as indices into their elements; empty for targets that are no
    integers. Found here, on the host: asked of a GPU, it would have to finish all earlier work first."""

    def __post_init__(self) -> None:
        is_trained = self.targets != IGNORED if not self.targets.is_floating_point() else torch.zeros(0)
        object.__setattr__(self, "places", is_trained.flatten().nonzero()[:, 0])

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
        return [*self.inputs.values(), self.targets, self.places, *self.extras.values()]

    def to(self, device: torch.device) -> Batch:
        """The same batch with its tensors on `device`, except `owners`, which is not used in computations.

        A GPU copies when its earlier work is done, and the CPU goes on meanwhile: see `pinned`.
        """
        return self._each(lambda tensor: tensor.to(device, non_blocking=device.type == "cuda"))

    def pinned(self) -> Batch:
        """The same batch in memory that a GPU can read while the CPU goes on."""
        return self._each(torch.Tensor.pin_memory)

    def _each(self, change: Callable[[torch.Tensor], torch.Tensor]) -> Batch:
        return self.changed(
            inputs={name: change(tensor) for name, tensor in self.inputs.items()},
            targets=change(self.targets),
            places=change(self.places),
            extras={name: change(tensor) for name, tensor in self.extras.items()},
        )

    def spare(self) -> Self:
        """The same batch as one that counts nothing."""
        return self.changed(is_spare=True, owners=self.owners[:0], num_tokens=0)

    def changed(self, **fields: Any) -> Self:
        """A copy with other fields, whose `places` are not found again: on a device, that would have to wait for it."""
        made = copy.copy(self)
        for name, value in fields.items():
            object.__setattr__(made, name, value)
        return made


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


Collate = Callable[[Sequence[Any], Sequence[Sequence[int]], bool, int | None], Batch]
"""Arguments: all examples, the rows of one batch, whether they are packed, and the epoch (None in evaluation)."""
_STEPS_SORTED_TOGETHER = 8
_PART = 1 << 16
"""Rows whose numbers are Python's at the same time."""


class Rows(Sequence[list[int]]):
    """Rows of indices: a list is made when its row is asked for.

    Args:
        ends: `[rows]` int64: the number of indices in this row and all before it.
        indices: `[indices]` int64: those of all rows, one after the other.
    """

    def __init__(self, ends: numpy.ndarray, indices: numpy.ndarray) -> None:
        self.ends, self.indices = ends, indices

    @classmethod
    def single(cls, number: int) -> Rows:
        """So many rows of one index each."""
        return cls(numpy.arange(1, number + 1), numpy.arange(number))

    def __len__(self) -> int:
        return len(self.ends)

    @overload
    def __getitem__(self, index: int) -> list[int]: ...
    @overload
    def __getitem__(self, index: slice) -> list[list[int]]: ...
    def __getitem__(self, index: int | slice) -> list[int] | list[list[int]]:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        number = range(len(self))[index]
        begin = self.ends[number - 1] if number else 0
        return self.indices[begin : self.ends[number]].tolist()

    def __iter__(self) -> Iterator[list[int]]:
        return (self[number] for number in range(len(self)))

    def sums(self, values: numpy.ndarray) -> numpy.ndarray:
        """`[rows]` int64: for each row, the sum of the values of its indices."""
        sums = numpy.concatenate([[0], numpy.cumsum(values[self.indices])])[numpy.concatenate([[0], self.ends])]
        return numpy.diff(sums)


def pack_best_fit(lengths: Sequence[int] | numpy.ndarray, capacity: int) -> Rows:
    """Best-fit decreasing bin packing: puts each example, longest first, into the fullest row that still has room, and
    of equally full ones into the first.

    Args:
        lengths: length of each example in tokens.
        capacity: tokens per row; no length may exceed it.

    Returns:
        Rows of indices into `lengths`. Every index is in exactly one row. Uses at most 11/9 of the optimal number of
        rows, plus one (Johnson 1973).

    Raises:
        ValueError: an example is longer than a row.
    """
    lengths = numpy.asarray(lengths, numpy.int64)
    order = numpy.argsort(-lengths, kind="stable")
    if len(order) and lengths[order[0]] > capacity:
        index = int(order[0])
        raise ValueError(f"example {index} has {lengths[index]} tokens, more than a row of {capacity}")
    row_of = numpy.array(_row_of_each(lengths, order, capacity), numpy.int64)
    # within a row, in the order in which they were put there
    indices = order[numpy.argsort(row_of, kind="stable")]
    return Rows(numpy.cumsum(numpy.bincount(row_of)), indices)


def _row_of_each(lengths: numpy.ndarray, order: numpy.ndarray, capacity: int) -> array[int]:
    """`[examples]`: for the examples in this order, the number of its row."""
    row_of, number = array("q"), 0
    rooms: list[int] = []  # in tokens, of rows that are not full; sorted, each once
    rows_with: dict[int, list[int]] = {}  # for each room, the rows that have it, as a heap
    for begin in range(0, len(order), _PART):
        for length in lengths[order[begin : begin + _PART]].tolist():
            at = bisect_left(rooms, length)
            if at == len(rooms):
                row, left, number = number, capacity, number + 1
            else:
                left = rooms[at]
                row = heapq.heappop(rows_with[left])
                if not rows_with[left]:
                    del rows_with[left], rooms[at]
            row_of.append(row)
            if left == length:
                continue
            if left - length not in rows_with:
                rows_with[left - length] = []
                insort(rooms, left - length)
            heapq.heappush(rows_with[left - length], row)
    return row_of


class BatchPlan:
    """Assigns examples to steps as a pure function of the seed, so that a resumed run continues with exactly the same
    rows.

    Args:
        examples: all examples; each has `num_tokens`.
        collate: makes a batch from rows of examples.
        context: tokens per row.
        packing: whether to put several examples into a row.
        step_tokens: target number of tokens per optimizer step.
        micro_rows: micro-batch size in rows of `context` tokens, padding included; of shorter rows there can be more.
        seed: determines the order of the rows in each epoch.
    """

    def __init__(
        self,
        examples: Sequence[Any],
        *,
        collate: Collate,
        context: int,
        packing: bool,
        step_tokens: int,
        micro_rows: int,
        seed: int,
    ) -> None:
        self.examples = examples
        self.packing = packing
        self.seed = seed
        self._collate = collate
        self.micro_tokens = micro_rows * context
        """Token limit of a micro-batch of more than one row, padding included. May be changed at any time: the examples
        of a step do not depend on it."""
        lengths = token_counts(examples)
        self.rows = pack_best_fit(lengths, context) if packing else Rows.single(len(lengths))
        self._row_tokens = self.rows.sums(lengths)
        self._ordered: tuple[int, numpy.ndarray] | None = None
        self.num_tokens = int(lengths.sum())
        mean_row = self.num_tokens / max(1, len(self.rows))
        self.rows_per_step = max(1, min(len(self.rows), round(step_tokens / max(1.0, mean_row))))

    @property
    def is_planned(self) -> bool:
        """Every step is known from the start."""
        return True

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps per epoch; the last one may have fewer rows."""
        return -(-len(self.rows) // self.rows_per_step)

    def epoch_order(self, epoch: int) -> numpy.ndarray:
        """`[rows]`: the order of the rows in an epoch.

        Unpacked rows differ much in length. They are shuffled, then the rows of a few steps are sorted by length and
        the steps shuffled again, so that batches have little padding.
        """
        if self._ordered is None or self._ordered[0] != epoch:
            self._ordered = epoch, self._shuffled_order(epoch)
        return self._ordered[1]

    def _shuffled_order(self, epoch: int) -> numpy.ndarray:
        # seeded by epoch, with no state carried over: a resumed run rebuilds any epoch without replaying earlier ones
        generator = numpy.random.default_rng([self.seed, epoch])
        order = generator.permutation(len(self.rows))
        if self.packing:
            return order
        size = self.rows_per_step * _STEPS_SORTED_TOGETHER
        chunks = [order[begin : begin + size] for begin in range(0, len(order), size)]
        by_length = numpy.concatenate([part[numpy.argsort(-self._row_tokens[part], kind="stable")] for part in chunks])
        complete = len(by_length) // self.rows_per_step * self.rows_per_step
        steps = by_length[:complete].reshape(-1, self.rows_per_step)
        return numpy.concatenate([steps[generator.permutation(len(steps))].ravel(), by_length[complete:]])

    def step_batches(self, step: int) -> list[Batch]:
        """The micro-batches of an optimizer step, counted from 0 over all epochs."""
        return list(self._in_micro_batches(self._step_rows(step), step // self.steps_per_epoch))

    def step_examples(self, step: int) -> list[int]:
        """Indices of the examples of a step, in the order of its batches."""
        return [index for number in self._step_rows(step).tolist() for index in self.rows[number]]

    def step_groups(self, step: int) -> list[list[int]]:
        """Numbers of the rows of each micro-batch of a step."""
        return list(self._groups(self._step_rows(step)))

    def size_of(self, group: Sequence[int]) -> tuple[int, int]:
        """Rows and width in tokens of the micro-batch of these rows."""
        return len(group), int(self._row_tokens[group].max())

    def built(self, group: Sequence[int], epoch: int | None) -> Batch:
        """The micro-batch of these rows; `epoch` as for `Collate`."""
        return self._collate(self.examples, [self.rows[number] for number in group], self.packing, epoch)

    def all_batches(self) -> list[Batch]:
        """Every example once, in micro-batches of similar lengths, for evaluation."""
        return list(self.each_batch())

    def each_batch(self) -> Iterator[Batch]:
        """The same, built one by one."""
        return self._in_micro_batches(self._all_rows(), None)

    def all_groups(self) -> list[list[int]]:
        """Numbers of the rows of each batch of `all_batches`."""
        return list(self._groups(self._all_rows()))

    def largest_size(self) -> tuple[int, int]:
        """Rows and width of the first batch of `all_batches`, which has the longest rows."""
        return self.size_of(next(self._groups(self._all_rows())))

    def micro_batch_sizes(self, step: int | None) -> list[tuple[int, int]]:
        """Rows and width in tokens of each micro-batch of a step, or of `all_batches` for None, without building
        them."""
        groups = self._groups(self._all_rows() if step is None else self._step_rows(step))
        return [self.size_of(group) for group in groups]

    def padded_tokens(self, step: int | None) -> int:
        """Tokens through the network in a step, or in `all_batches` for None, padding included."""
        return sum(rows * width for rows, width in self.micro_batch_sizes(step))

    def halve_micro_batch(self, step: int | None) -> bool:
        """Limits micro-batches to half of the largest one of a step, or of `all_batches` for None.

        Steps keep their rows, so the result is the same up to the order of summation.

        Returns:
            False, with nothing changed, if they are single rows already.
        """
        largest = max((rows * width for rows, width in self.micro_batch_sizes(step) if rows > 1), default=0)
        if largest:
            self.micro_tokens = largest // 2
        return largest > 0

    def _step_rows(self, step: int) -> numpy.ndarray:
        epoch, position = divmod(step, self.steps_per_epoch)
        return self.epoch_order(epoch)[position * self.rows_per_step : (position + 1) * self.rows_per_step]

    def _all_rows(self) -> numpy.ndarray:
        return numpy.argsort(-self._row_tokens, kind="stable")

    def _in_micro_batches(self, numbers: numpy.ndarray, epoch: int | None) -> Iterator[Batch]:
        return (self.built(group, epoch) for group in self._groups(numbers))

    def _groups(self, numbers: numpy.ndarray) -> Iterator[list[int]]:
        """Groups consecutive rows into micro-batches within the limit, padded to the widest of them."""
        limit = self.micro_tokens
        group: list[int] = []
        widest = 0
        for begin in range(0, len(numbers), _PART):
            part = numbers[begin : begin + _PART]
            for number, tokens in zip(part.tolist(), self._row_tokens[part].tolist(), strict=True):
                width = max(widest, tokens)
                if group and (len(group) + 1) * width <= limit:
                    group.append(number)
                    widest = width
                    continue
                if group:
                    yield group
                group, widest = [number], tokens
        if group:
            yield group
