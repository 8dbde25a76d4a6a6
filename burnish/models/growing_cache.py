"""Keys and values of texts that grow by few tokens at a time, which are written into room that was allocated before."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from transformers.cache_utils import Cache, DynamicLayer

from burnish.kernels.few_tokens_attention import Hidden

T = TypeVar("T")

_STEP = 64
"""Columns by which the room of a layer grows, so that it is copied once in so many tokens."""


@dataclass(frozen=True, slots=True)
class Room:
    """Keys and values of a layer with the room for more, which products read faster than the part that is filled: it
    is contiguous, and its shape is the same for many steps."""

    keys: torch.Tensor
    """`[rows, key heads, room, size]`; finite where nothing is written yet."""
    values: torch.Tensor
    """The same, perhaps of another size."""
    hidden: Hidden
    """What is not attended to."""


class GrowingLayer(DynamicLayer):
    """A layer that writes new tokens into room it has, rather than copying all it holds for each of them."""

    stored: tuple[torch.Tensor, torch.Tensor] | None = None
    """`[rows, heads, room, size]` each, of which `keys` and `values` are views; zero where nothing was written yet."""

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        """Begins without columns."""
        self.dtype, self.device = key_states.dtype, key_states.device
        self.keys, self.values = key_states[:, :, :0], value_states[:, :, :0]
        self.stored = None
        self.is_initialized = True

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Appends `[rows, heads, new, size]` each; returns all columns."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        held: Any = self.keys
        begin = held.shape[-2]
        end = begin + key_states.shape[-2]
        if self.stored is None or end > self.stored[0].shape[-2]:
            values: Any = self.values
            self.stored = _widened(held, key_states, end), _widened(values, value_states, end)
        keys, values = self.stored
        keys.narrow(2, begin, end - begin).copy_(key_states)
        values.narrow(2, begin, end - begin).copy_(value_states)
        found = keys.narrow(2, 0, end), values.narrow(2, 0, end)
        self.keys, self.values = found
        return found

    def take_back(self, columns: int) -> None:
        """Forgets the last columns."""
        keys: Any = self.keys
        values: Any = self.values
        self.keys, self.values = keys[:, :, :-columns], values[:, :, :-columns]

    @classmethod
    def holding(cls, keys: torch.Tensor, values: torch.Tensor) -> GrowingLayer:
        """A layer with these columns, and no room for more until it is given some."""
        layer = cls()
        layer.lazy_initialization(keys, values)
        layer.keys, layer.values = keys, values
        return layer

    @classmethod
    def of(cls, parts: Sequence[tuple[torch.Tensor, torch.Tensor]], width: int) -> GrowingLayer:
        """A layer of rows `[rows, heads, columns, size]` each, aligned at the end of `width` columns, with room for
        more."""
        layer = cls()
        layer.lazy_initialization(*parts[0])
        layer.stored = _aligned([keys for keys, _ in parts], width), _aligned([values for _, values in parts], width)
        layer.keys, layer.values = (stored[:, :, :width] for stored in layer.stored)
        return layer


class GrowingCache(Cache):
    """Growing layers, as many as are asked for."""

    def __init__(self) -> None:
        super().__init__(layer_class_to_replicate=GrowingLayer)
        self._hidden: tuple[Any, int, Hidden] | None = None
        """A mask, its columns, and what it hides of the room: the same for all layers of a step."""
        self._made: tuple[object, Any] | None = None
        """What a step's layers are all given, and what was made of it."""

    def made_once(self, given: object, make: Callable[[], T]) -> T:
        """What is made of something that all layers of a step are given, made by the first of them."""
        if self._made is None or self._made[0] is not given:
            self._made = given, make()
        return self._made[1]

    def room(self, layer: int, mask: torch.Tensor | None) -> Room | None:
        """What a layer holds with its room, after an update.

        Args:
            layer: its number.
            mask: bool, true where a token of the columns is attended to, `[rows, 1, new tokens, columns]`; None for
                all.
        """
        found: Any = self.layers[layer]
        if found.stored is None or (mask is not None and mask.dtype != torch.bool):
            return None
        keys, values = found.stored
        columns, width = found.keys.shape[2], keys.shape[2]
        known = self._hidden
        if known is None or known[0] is not mask or known[1] != columns or known[2].mask.shape[-1] != width:
            shape = (1, 1, 1) if mask is None else tuple(mask.shape[:3])
            hidden = torch.ones(*shape, width, dtype=torch.bool, device=keys.device)
            hidden[..., :columns] = False if mask is None else ~mask
            self._hidden = known = mask, columns, Hidden(hidden)
        return Room(keys, values, known[2])


def _room(columns: int) -> int:
    return -(-columns // _STEP) * _STEP


def _widened(held: torch.Tensor, new: torch.Tensor, columns: int) -> torch.Tensor:
    """What is held, with room for at least so many columns."""
    stored = new.new_zeros(*new.shape[:2], _room(columns), new.shape[3])
    stored[:, :, : held.shape[-2]] = held
    return stored


def _aligned(parts: Sequence[torch.Tensor], width: int) -> torch.Tensor:
    """All rows in one tensor, each copied once."""
    first = parts[0]
    stored = first.new_zeros(sum(map(len, parts)), first.shape[1], _room(width + 1), first.shape[3])
    row = 0
    for part in parts:
        stored[row : row + len(part), :, width - part.shape[-2] : width] = part
        row += len(part)
    return stored
