"""Many rows or records in little memory: serialized in blocks, and made again each time they are asked for."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import fields
from functools import cache
from typing import Any, Generic, TypeVar, overload

import numpy

from burnish.data.rows.records import Record, known_hash, with_hash
from burnish.data.rows.row import Row

Item = TypeVar("Item", bound="Row | Record")
Given = TypeVar("Given")
Other = TypeVar("Other")

FEW = 50_000
"""Up to so many items stay the objects they are, which is faster."""
_BLOCK = 256
"""Items serialized together: one of them is made again with all of its block."""
_LIGHT_BYTES = 16_384
"""Items larger than that, such as pictures, stay as they are: what surrounds their bytes is not what takes memory."""


class Gathering(Generic[Item]):
    """Collects rows or records one by one, and packs them once they are more than a few.

    Args:
        few: number of items up to which nothing is packed.
    """

    def __init__(self, few: int | None = None) -> None:
        self._most = FEW if few is None else few
        self._blocks: list[bytes | list[Item]] = []
        self._last: list[Item] = []

    def add(self, item: Item) -> None:
        """Adds an item at the end."""
        self._last.append(item)
        if len(self._last) > self._most:
            self._pack_last()

    def extend(self, items: Iterable[Item]) -> None:
        """Adds items at the end."""
        for item in items:
            self.add(item)

    def done(self) -> Sequence[Item]:
        """All items in order: a list of a few, or many packed. Call once."""
        if not self._blocks:
            return self._last
        number = len(self._blocks) * _BLOCK + len(self._last)
        return Packed([*self._blocks, *([_serialized(self._last)] if self._last else [])], number)

    def _pack_last(self) -> None:
        self._most = _BLOCK - 1  # from now on, each block is packed when it is full
        whole = len(self._last) // _BLOCK * _BLOCK
        self._blocks += [_serialized(self._last[begin : begin + _BLOCK]) for begin in range(0, whole, _BLOCK)]
        del self._last[:whole]


def gather(items: Iterable[Item]) -> Sequence[Item]:
    """All items in order: a list of a few, or many packed."""
    gathering = Gathering[Item]()
    gathering.extend(items)
    return gathering.done()


class Packed(Sequence[Item]):
    """Rows or records that are made again on access, each time a new object: cheap in order, slower here and there.

    Args:
        blocks: of `_BLOCK` items each, serialized or as they are; the last one may have fewer.
        number: of items in all blocks.
        chosen: `[items]` int64: their numbers among those of the blocks; all of them by default.
    """

    def __init__(self, blocks: Sequence[bytes | list[Item]], number: int, chosen: numpy.ndarray | None = None) -> None:
        self._blocks = blocks
        self._chosen = numpy.arange(number) if chosen is None else chosen
        self._open: tuple[int, list[Item]] = (-1, [])
        """The block that was asked for last, by its number."""

    def __len__(self) -> int:
        return len(self._chosen)

    @overload
    def __getitem__(self, index: int) -> Item: ...
    @overload
    def __getitem__(self, index: slice) -> list[Item]: ...
    def __getitem__(self, index: int | slice) -> Item | list[Item]:
        if isinstance(index, slice):
            return list(self._made(self._chosen[index]))
        block, place = divmod(int(self._chosen[index]), _BLOCK)
        return self._items_of(block)[place]

    def __iter__(self) -> Iterator[Item]:
        return self._made(self._chosen)

    def taken(self, numbers: numpy.ndarray) -> Sequence[Item]:
        """Some of the items, by their numbers: a list of a few, or many packed, which share the blocks of these."""
        chosen = self._chosen[numbers]
        return Packed(self._blocks, 0, chosen) if len(chosen) > FEW else list(self._made(chosen))

    def _made(self, chosen: numpy.ndarray) -> Iterator[Item]:
        for begin in range(0, len(chosen), _BLOCK):
            blocks, places = numpy.divmod(chosen[begin : begin + _BLOCK], _BLOCK)
            for block, place in zip(blocks.tolist(), places.tolist(), strict=True):
                yield self._items_of(block)[place]

    def _items_of(self, block: int) -> list[Item]:
        number, items = self._open
        if number != block:
            items = _read(self._blocks[block])
            self._open = block, items
        return items


def _serialized(items: list[Item]) -> bytes | list[Item]:
    """Items as bytes; as they are, if they are large, of several kinds, or hold something that cannot be serialized."""
    kinds = {type(item) for item in items}
    if len(kinds) > 1:
        return list(items)
    (kind,) = kinds
    hashes = [known_hash(item) if isinstance(item, Record) else None for item in items]
    columns = [[getattr(item, name) for item in items] for name in _names_of_fields(kind)]
    try:
        block = pickle.dumps((kind, hashes, columns), pickle.HIGHEST_PROTOCOL)
    except (pickle.PicklingError, TypeError, AttributeError, RecursionError):
        return list(items)
    return block if len(block) <= _LIGHT_BYTES * len(items) else list(items)


@cache
def _names_of_fields(kind: type[Any]) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind))


def _read(block: bytes | list[Item]) -> list[Item]:
    if isinstance(block, list):
        return block
    kind, hashes, columns = pickle.loads(block)  # written by this process, in memory
    items = list(map(kind, *columns))
    for item, digest in zip(items, hashes, strict=True):
        if digest is not None:
            with_hash(item, digest)
    return items


def mapped(items: Sequence[Given], change: Callable[[Given], Other]) -> Sequence[Other]:
    """What a function makes of each item: a list of a few; of packed ones, made again each time it is asked for.

    Args:
        items: rows or records, or what has been made of them.
        change: gives the same for the same item.
    """
    return _Mapped(items, change) if isinstance(items, (Packed, _Mapped)) else [change(item) for item in items]


class _Mapped(Sequence[Other]):
    """What a function makes of packed items."""

    def __init__(self, items: Sequence[Any], change: Callable[[Any], Other]) -> None:
        self._items, self._change = items, change

    def __len__(self) -> int:
        return len(self._items)

    @overload
    def __getitem__(self, index: int) -> Other: ...
    @overload
    def __getitem__(self, index: slice) -> list[Other]: ...
    def __getitem__(self, index: int | slice) -> Other | list[Other]:
        if isinstance(index, slice):
            return [self._change(item) for item in self._items[index]]
        return self._change(self._items[index])

    def __iter__(self) -> Iterator[Other]:
        return map(self._change, self._items)
