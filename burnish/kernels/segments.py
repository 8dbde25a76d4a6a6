"""Where examples begin and end in packed rows, and how their tokens are arranged in batches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch

from burnish.kernels.attention import REGISTER

T = TypeVar("T")
_ALIGNED_FROM = 64
"""Longest sequence that is not padded to whole registers: there, padding would cost more than it gains."""


@dataclass(frozen=True, slots=True)
class Group:
    """A batch of sequences of similar length, padded at the end."""

    begin: int
    """Its first slot; a slot holds a token or padding."""
    sequences: int
    seq: int

    def of(self, laid: torch.Tensor, heads: int) -> torch.Tensor:
        """`[sequences, heads, seq, size]`: its part of the result of `Segments.lay_out`."""
        end = self.begin + self.sequences * self.seq
        return laid[self.begin * heads : end * heads].view(self.sequences, heads, self.seq, -1)


class Segments:
    """The examples of packed rows; it replaces an attention mask.

    Args:
        borders: (first token, one past the last) of every example, counted over all rows, in order; together they cover
            all tokens.
        device: device of the tensors.
        short: longest example that is put into a group, in tokens.
    """

    def __init__(self, borders: Sequence[tuple[int, int]], device: torch.device, short: int) -> None:
        self.borders = list(borders)
        self.long = [(begin, end) for begin, end in borders if end - begin > short]
        self.groups: list[Group] = []
        self._device = device
        self._made: dict[tuple[object, ...], Any] = {}
        takes, insides = [torch.zeros(0, dtype=torch.int64)], [torch.zeros(0, dtype=torch.bool)]
        examples = sorted((end - begin, begin) for begin, end in borders if end - begin <= short)
        while examples:  # each is more than half as long as the longest of its group, which bounds the padding
            seq = examples[-1][0]
            together = [one for one in examples if 2 * one[0] > seq]
            del examples[-len(together) :]
            if seq > _ALIGNED_FROM:
                seq = -(-seq // REGISTER) * REGISTER
            lengths, begins = torch.tensor(together).T[:, :, None]
            places = torch.arange(seq)
            self.groups.append(Group(sum(len(one) for one in takes), len(together), seq))
            takes.append((begins + places.minimum(lengths - 1)).flatten())
            insides.append((places < lengths).flatten())
        self._take, inside = torch.cat(takes), torch.cat(insides)
        """`[slots]`: the token in every slot; for padding, the last token of its example."""
        self._padding = (~inside).nonzero()[:, 0]
        self._place = torch.zeros(self.borders[-1][1], dtype=torch.int64)
        """`[tokens]`: the slot of every token; 0 for those of long examples."""
        self._place[self._take[inside]] = inside.nonzero()[:, 0]

    @property
    def longest(self) -> int:
        """Length of the longest example in tokens."""
        return max(end - begin for begin, end in self.borders)

    def offsets(self) -> torch.Tensor:
        """`[examples + 1]` int32: where each example begins, and the total number of tokens (`cu_seqlens`)."""
        places = [begin for begin, _ in self.borders] + [self.borders[-1][1]]
        return self.once(("offsets",), lambda: torch.tensor(places, dtype=torch.int32).to(self._device))

    def begins(self, rows: int) -> torch.Tensor:
        """`[rows, width]` int32: for each token, where its example begins in its row."""

        def make() -> torch.Tensor:
            width = self.borders[-1][1] // rows
            begin, end = torch.tensor(self.borders, dtype=torch.int32).T
            return (begin % width).repeat_interleave(end - begin).view(rows, width).to(self._device)

        return self.once(("begins", rows), make)

    def dense(self, rows: int) -> torch.Tensor:
        """`[rows, 1, width, width]` bool: the same as an attention mask, True where a token may be attended to."""

        def make() -> torch.Tensor:
            begins = self.begins(rows)
            place = torch.arange(begins.shape[1], dtype=torch.int32, device=self._device)
            return ((place <= place[:, None]) & (place >= begins[:, :, None]))[:, None]

        return self.once(("dense", rows), make)

    def once(self, key: tuple[object, ...], make: Callable[[], T]) -> T:
        """The result of `make`, cached under this key: all layers of a step use the same tensors."""
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]

    def lay_out(self, tensor: torch.Tensor, is_gradient: bool = False) -> torch.Tensor:
        """`[slots x heads, size]`: the tokens group by group, within a group by sequence, head and slot.

        Args:
            tensor: `[rows, heads, width, size]`.
            is_gradient: whether padding is zero; otherwise it repeats a token.
        """
        rows, heads, width, size = tensor.shape
        row, head, place, one = tensor.stride()
        if one != 1 or row != width * place or head % size or place % size:
            tensor = tensor.transpose(1, 2).contiguous().transpose(1, 2)
            head, place = size, heads * size
        # each head of each token is a line of `size` numbers at a fixed stride, so one index_select gathers them
        head, place = head // size, place // size
        lines = tensor.as_strided(((rows * width - 1) * place + (heads - 1) * head + 1, size), (size, 1))

        def taken() -> torch.Tensor:
            index = torch.empty(len(self._take) * heads, dtype=torch.int64)
            index[self._lines(heads)] = self._take[:, None] * place + torch.arange(heads) * head
            return index.to(self._device)

        laid = lines.index_select(0, self.once(("take", heads, place, head), taken))
        if is_gradient and len(self._padding):
            empty = self.once(("empty", heads), lambda: self._lines(heads)[self._padding].flatten().to(self._device))
            laid.index_fill_(0, empty, 0)
        return laid

    def take_back(self, laid: torch.Tensor, shape: torch.Size) -> torch.Tensor:
        """`[rows x width, heads, size]`: the tokens in their original order; undefined for those of long examples.

        Args:
            laid: `[slots x heads, size]`.
            shape: `[rows, heads, width, size]`.
        """
        rows, heads, width, size = shape
        if not self.groups:
            return laid.new_empty((rows * width, heads, size))
        back = self.once(("back", heads), lambda: self._lines(heads)[self._place].flatten().to(self._device))
        return laid.index_select(0, back).view(rows * width, heads, size)

    def _lines(self, heads: int) -> torch.Tensor:
        """`[slots, heads]`: where `lay_out` puts each head of each slot."""
        lines = [torch.zeros((0, heads), dtype=torch.int64)]
        for group in self.groups:
            sequence = torch.arange(group.sequences)[:, None, None]
            head, place = torch.arange(heads), torch.arange(group.seq)[:, None]
            lines.append((group.begin * heads + (sequence * heads + head) * group.seq + place).flatten(0, 1))
        return torch.cat(lines)
