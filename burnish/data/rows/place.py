"""Where the rows of a recipe are kept: in memory, or on the disk if they are too large for it."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

from burnish.data.files.hub import HubSplit
from burnish.data.files.opening import is_compressed
from burnish.data.files.readers import data_suffix, is_read_whole
from burnish.data.files.sources import Source, file_name
from burnish.data.rows.disk import Disk
from burnish.errors import DataError, MachineError
from burnish.recipe.schema import AUTO, DataSection
from burnish.system.inventory import free_memory
from burnish.system.machine import cache_folder, container_room, memory_size

TIMES = 4
"""Memory or disk that data takes, as a multiple of the size of its files: its rows, the records made of them, and the
tokens, 5 bytes each, which are written twice."""
_MOST = 0.5
"""Share of the free memory that data may take; the model needs the rest."""
_PACKED_TIMES = 4
"""Size of the content of a compressed file, as a multiple of the file."""
_ROW_BYTES = 16_384
"""Of a row, where `data.rows` limits their number."""


def find_place(section: DataSection, sources: Iterable[Source]) -> Disk | None:
    """Where the rows of a recipe are kept: None for memory.

    Args:
        section: the data section of the recipe.
        sources: of all splits.

    Raises:
        DataError: a file is too large to be read whole, and its format allows nothing else.
        MachineError: the disk has no room for them.
    """
    if section.keep_in_memory is True:
        return None
    sources = list(sources)
    size, room = _expected_bytes(section, sources), _free_memory()
    is_large = TIMES * size > _MOST * room
    if section.keep_in_memory == AUTO and not is_large:
        return None
    for source in sources:
        if TIMES * _bytes_of(source) > _MOST * room:
            _check_format(source, room)
    _check_disk(size)
    if section.keep_in_memory is False:
        return Disk(_folder(), "as asked")
    return Disk(_folder(), f"{memory_size(size)} of data, and {memory_size(room)} of free memory")


def _check_format(source: Source, room: int) -> None:
    if isinstance(source, HubSplit) or not is_read_whole(path := Path(file_name(source))):
        return
    raise DataError(
        f"`{path}` is too large to be read: it has {memory_size(_bytes_of(source))}",
        f"A file of this format is read whole before its first row is known, and {memory_size(room)} of memory are "
        "free.",
        "Save it as JSON Lines, CSV or parquet: these give one row after the other; or try it with "
        "`--set data.keep_in_memory=true`",
    )


def _check_disk(size: int) -> None:
    folder = _folder()
    nearest = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(nearest).free
    if free < TIMES * size:
        raise MachineError(
            f"the disk has no room for these rows: they need about {memory_size(TIMES * size)}",
            f"They are kept in `{folder}`, since they are too large for memory; {memory_size(free)} are free there.",
            "Free some space, name another folder with the environment variable `BURNISH_CACHE`, or use fewer rows "
            "with `--set data.rows=N`",
        )


def _folder() -> Path:
    return cache_folder() / "rows"


def _free_memory() -> int:
    """Bytes of memory that are free; a size that no data has where that is not known."""
    return free_memory(container_room()) or 1 << 62


def _expected_bytes(section: DataSection, sources: Iterable[Source]) -> int:
    """About how many bytes the rows have."""
    size = sum(map(_bytes_of, sources))
    return size if section.rows is None else min(size, section.rows * _ROW_BYTES)


def _bytes_of(source: Source) -> int:
    if isinstance(source, HubSplit):
        return source.num_bytes
    path = Path(file_name(source))
    if path.is_dir():
        return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    is_packed = is_compressed(path) or data_suffix(path.name) == ".parquet"
    return path.stat().st_size * (_PACKED_TIMES if is_packed else 1)
