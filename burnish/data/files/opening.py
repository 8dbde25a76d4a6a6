"""Opens data files, through a decompressor if their name says so."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

from burnish.errors import DataError
from burnish.system.shell import quoted
from burnish.system.stand_ins import POINTS, how_to_pull, is_page, is_pointer

_BUFFER_BYTES = 1 << 17
_XZ_BYTES = 256 << 20
"""What unpacking may take; `xz -9` needs 65 MB."""


def _open_zstd(packed: BinaryIO) -> BinaryIO:
    import pyarrow

    stream = pyarrow.CompressedInputStream(pyarrow.PythonFile(packed, "r"), "zstd")
    return cast(BinaryIO, io.BufferedReader(cast(io.RawIOBase, stream)))


def _open_xz(packed: BinaryIO) -> object:
    """Refuses a file whose dictionary would fill the memory: one may have 4 GB, and that of `xz -9` has 64 MB."""
    first = packed.read(_BUFFER_BYTES)
    packed.seek(0)
    try:
        lzma.LZMADecompressor(memlimit=_XZ_BYTES).decompress(first, max_length=1)
    except lzma.LZMAError as error:
        if "limit" not in str(error).lower():
            raise
        raise DataError(
            f"`{packed.name}` needs more than {_XZ_BYTES >> 20} MB of memory to be unpacked",
            "It was packed with a dictionary of unusual size.",
            f"If you trust it, unpack it yourself: `unxz --keep --memlimit=0 {quoted(packed.name)}`",
        ) from error
    return lzma.open(packed)


COMPRESSED: dict[str, tuple[str, Callable[[BinaryIO], object]]] = {
    ".gz": ("gzip", gzip.open),
    ".bz2": ("bzip2", bz2.open),
    ".xz": ("xz", _open_xz),
    ".zst": ("zstd", _open_zstd),
}
"""Suffixes of compressed files: the name of the format, and what opens such a file."""


SMALL_BYTES = 128 << 20
"""Unpacked size up to which nothing is refused."""
MOST_TIMES = 100
"""Larger files may unpack to as many times their own size; text shrinks to a tenth or so."""

MOST_LINE_BYTES = 128 << 20
"""Of files with a row in each line, pictures in base64 included."""


class _Unpacked(io.RawIOBase):
    """An uncompressed stream, which ends with an error once it is far larger than data would be.

    Args:
        stream: uncompressed.
        packed: the compressed file, from which it reads.
        path: of the file.
    """

    def __init__(self, stream: BinaryIO, packed: BinaryIO, path: Path) -> None:
        self._stream, self._packed, self._path = stream, packed, path
        self._size = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        block = self._stream.read(len(buffer))
        buffer[: len(block)] = block
        self._size += len(block)
        if self._size > max(SMALL_BYTES, MOST_TIMES * self._packed.tell()):
            raise DataError(
                f"`{self._path}` unpacks to more than {MOST_TIMES} times its size",
                "That is far more than data can be compressed, so it may have been made to fill the memory.",
                "If you trust it, unpack it yourself and give the unpacked file",
            )
        return len(block)


def without_compression(name: str) -> str:
    """A file's name without the suffix of its compression."""
    suffix = Path(name).suffix
    return name[: -len(suffix)] if suffix.lower() in COMPRESSED else name


def is_compressed(path: Path) -> bool:
    """Whether the name says that the file is compressed."""
    return path.suffix.lower() in COMPRESSED


@contextmanager
def open_binary(path: Path) -> Iterator[BinaryIO]:
    """Opens a data file for reading its uncompressed bytes.

    Raises:
        DataError: the file cannot be opened, or its compressed stream is corrupt, truncated or made to fill memory.
    """
    called, opener = COMPRESSED.get(path.suffix.lower(), ("", None))
    try:
        _refuse_stand_in(path)
        if opener is None:
            with path.open("rb") as file:
                yield file
        else:
            with path.open("rb") as packed, cast(BinaryIO, opener(packed)) as stream:
                yield cast(BinaryIO, io.BufferedReader(_Unpacked(stream, packed, path), _BUFFER_BYTES))
    except (gzip.BadGzipFile, lzma.LZMAError, zlib.error, EOFError) as error:
        raise _not_complete(path, called, error) from error
    except OSError as error:
        # bz2 and pyarrow raise plain OSErrors, without a number, for corrupt streams
        if called and error.errno is None:
            raise _not_complete(path, called, error) from error
        reason = error.strerror or str(error)
        raise DataError(f"`{path}` cannot be read", reason, "Check the file's name and permissions") from error


_PROSE = (".txt", ".md")
"""Suffixes of files whose text may be that of a page."""


def _refuse_stand_in(path: Path) -> None:
    """Raises DataError for a file that holds something else in place of data. Raises OSError where it cannot be read.

    Only regular files are read here: what is read of a pipe is gone.
    """
    if not path.is_file():
        return
    if is_pointer(path):
        raise DataError(f"`{path}` does not hold the data itself", POINTS, how_to_pull(path))
    if Path(without_compression(path.name.lower())).suffix not in _PROSE and is_page(path):
        raise DataError(
            f"`{path}` is a page of a website, not data",
            "It begins as HTML does: a page was saved in place of the file, such as one that asks to sign in.",
            "Download the file itself; on the hub and GitHub, its own address has `/resolve/` or `/raw/` in place of "
            "`/blob/`",
        )


def _not_complete(path: Path, called: str, error: Exception) -> DataError:
    return DataError(
        f"`{path}` is not a complete {called} file",
        str(error),
        f"Compress or download it again, or remove `{path.suffix}` from its name if it is not compressed",
    )
