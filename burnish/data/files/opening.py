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
from typing import BinaryIO, cast

from burnish.errors import DataError


def _open_zstd(path: Path) -> BinaryIO:
    import pyarrow

    stream = pyarrow.input_stream(str(path), compression="zstd")
    return cast(BinaryIO, io.BufferedReader(cast(io.RawIOBase, stream)))


COMPRESSED: dict[str, tuple[str, Callable[[Path], object]]] = {
    ".gz": ("gzip", gzip.open),
    ".bz2": ("bzip2", bz2.open),
    ".xz": ("xz", lzma.open),
    ".zst": ("zstd", _open_zstd),
}
"""Suffixes of compressed files: the name of the format, and what opens such a file."""


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
        DataError: the file cannot be opened, or its compressed stream is corrupt or truncated.
    """
    called, opener = COMPRESSED.get(path.suffix.lower(), ("", None))
    try:
        with cast(BinaryIO, opener(path)) if opener else path.open("rb") as file:
            yield file
    except (gzip.BadGzipFile, lzma.LZMAError, zlib.error, EOFError) as error:
        raise _not_complete(path, called, error) from error
    except OSError as error:
        # bz2 and pyarrow raise plain OSErrors, without a number, for corrupt streams
        if called and error.errno is None:
            raise _not_complete(path, called, error) from error
        reason = error.strerror or str(error)
        raise DataError(f"`{path}` cannot be read", reason, "Check the file's name and permissions") from error


def _not_complete(path: Path, called: str, error: Exception) -> DataError:
    return DataError(
        f"`{path}` is not a complete {called} file",
        str(error),
        f"Compress or download it again, or remove `{path.suffix}` from its name if it is not compressed",
    )
