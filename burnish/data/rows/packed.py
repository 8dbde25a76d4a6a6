"""Many rows or records in little memory: serialized in blocks, in memory or on the disk, and made again each time they
are asked for."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any, Generic, TypeVar, overload

import numpy

from burnish.data.rows.disk import Disk, DiskBlocks
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
"""In memory, items larger than that, such as pictures, stay as they are: what surrounds their bytes is not what takes
memory."""
_FEW_ON_DISK, _BLOCK_ON_DISK = 1_000, 32
"""The same of items on the disk, which may be large."""


class Gathering(Generic[Item]):
    """Collects rows or records one by one, and packs them once they are more than a few.

    Args:
        few: number of items up to which nothing is packed.
        disk: where they are kept; None for memory.
    """

    def __init__(self, few: int | None = None, disk: Disk | None = None) -> None:
        self._size, default = (_BLOCK, FEW) if disk is None else (_BLOCK_ON_DISK, _FEW_ON_DISK)
        self._few = self._most = default if few is None else few
        self._light = _LIGHT_BYTES if disk is None else None
        self._blocks: Any = [] if disk is None else DiskBlocks(disk)
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
        if not len(self._blocks):
            return self._last
        number = len(self._blocks) * self._size + len(self._last)
        if self._last:
            self._blocks.append(_serialized(self._last, self._light))
        return Packed(self._blocks, numpy.arange(number), self._size, self._few)

    def _pack_last(self) -> None:
        self._most = self._size - 1  # from now on, each block is packed when it is full
        whole = len(self._last) // self._size * self._size
        for begin in range(0, whole, self._size):
            self._blocks.append(_serialized(self._last[begin : begin + self._size], self._light))
        del self._last[:whole]


def gather(items: Iterable[Item], disk: Disk | None = None) -> Sequence[Item]:
    """All items in order: a list of a few, or many packed."""
    gathering = Gathering[Item](disk=disk)
    gathering.extend(items)
    return gathering.done()


class Packed(Sequence[Item]):
    """Rows or records that are made again on access, each time a new object: cheap in order, slower here and there.

    Args:
        blocks: of equally many items each, serialized or as they are; the last one may have fewer.
        chosen: `[items]` int64: their numbers among those of the blocks.
        size: items of a block.
        few: items up to which `taken` gives a list.
    """

    def __init__(self, blocks: Sequence[bytes | list[Item]], chosen: numpy.ndarray, size: int, few: int) -> None:
        self._blocks = blocks
        self._chosen = chosen
        self._size, self._few = size, few
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
        block, place = divmod(int(self._chosen[index]), self._size)
        return self._items_of(block)[place]

    def __iter__(self) -> Iterator[Item]:
        return self._made(self._chosen)

    def taken(self, numbers: numpy.ndarray) -> Sequence[Item]:
        """Some of the items, by their numbers: a list of a few, or many packed, which share the blocks of these."""
        chosen = self._chosen[numbers]
        is_many = len(chosen) > self._few
        return Packed(self._blocks, chosen, self._size, self._few) if is_many else list(self._made(chosen))

    def _made(self, chosen: numpy.ndarray) -> Iterator[Item]:
        for begin in range(0, len(chosen), _BLOCK):
            blocks, places = numpy.divmod(chosen[begin : begin + _BLOCK], self._size)
            for block, place in zip(blocks.tolist(), places.tolist(), strict=True):
                yield self._items_of(block)[place]

    def _items_of(self, block: int) -> list[Item]:
        number, items = self._open
        if number != block:
            items = _read(self._blocks[block])
            self._open = block, items
        return items


def _serialized(items: list[Item], light: int | None) -> bytes | list[Item]:
    """Items as bytes; as they are, if they are of several kinds, or hold something that cannot be serialized.

    Args:
        items: of a block.
        light: bytes of an item on average from which on they stay as they are, too; None for no such limit.
    """
    kinds = {type(item) for item in items}
    if len(kinds) > 1:
        return list(items)
    (kind,) = kinds
    hashes = [known_hash(item) if isinstance(item, Record) else None for item in items]
    names = _names_of_fields(kind)
    columns = [[getattr(item, name) for item in items] for name in names] if names else items
    try:
        block = pickle.dumps((kind, hashes, columns), pickle.HIGHEST_PROTOCOL)
    except (pickle.PicklingError, TypeError, AttributeError, RecursionError):
        return list(items)
    return block if light is None or len(block) <= light * len(items) else list(items)


@cache
def _names_of_fields(kind: type[Any]) -> tuple[str, ...]:
    """Of a dataclass that is made from all of its fields in order; none for another kind: its items are kept whole."""
    is_plain = is_dataclass(kind) and all(field.init and not field.kw_only for field in fields(kind))
    return tuple(field.name for field in fields(kind)) if is_plain else ()


def _read(block: bytes | list[Item]) -> list[Item]:
    if isinstance(block, list):
        return block
    kind, hashes, columns = pickle.loads(block)  # written by this process, in memory
    items = list(map(kind, *columns)) if _names_of_fields(kind) else columns
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
