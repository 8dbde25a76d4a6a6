"""Text files: as numbered lines of UTF-8, and `.txt` and `.md` documents cut into pieces."""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from burnish.data.rows.row import Row
from burnish.errors import DataError

HEAD_BYTES = 8192
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
# What else a file may turn out to be, by its first bytes.
OTHER_KINDS = (
    (b"\xff\xfe", "UTF-16 text"),
    (b"\xfe\xff", "UTF-16 text"),
    (b"PAR1", "a parquet file"),
    (b"PK\x03\x04", "a zip archive (or an Excel or Word file)"),
    (b"\x1f\x8b", "gzip"),
    (b"%PDF", "a PDF"),
)


@contextmanager
def open_binary(path: Path) -> Iterator[BinaryIO]:
    """Open a data file for reading, through gzip where the name ends in `.gz`.

    Raises:
        DataError: the file cannot be opened, or its gzip stream is broken or cut short.
    """
    try:
        with gzip.open(path, "rb") if path.suffix.lower() == ".gz" else path.open("rb") as file:
            yield cast(BinaryIO, file)
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise DataError(
            f"`{path}` is not a whole gzip file",
            str(error),
            "Compress or download it again, or drop `.gz` from its name if it is not compressed",
        ) from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise DataError(f"`{path}` cannot be read", reason, "Check the file's name and permissions") from error


def byte_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield (1-based line number, bytes with the line end), without a byte order mark.

    Raises:
        DataError: the file is empty, or is not text at all.
    """
    with open_binary(path) as file:
        head = file.read(HEAD_BYTES)
        check_is_text(path, head)
        file.seek(len(BYTE_ORDER_MARK) if head.startswith(BYTE_ORDER_MARK) else 0)
        yield from enumerate(file, start=1)


def check_is_text(path: Path, head: bytes) -> None:
    """Look at a file's first bytes.

    Raises:
        DataError: there are none, or they are not those of a UTF-8 text.
    """
    if not head:
        raise DataError(f"`{path}` is empty", "It holds 0 bytes", "Put at least two rows in it")
    for start, kind in OTHER_KINDS:
        if head.startswith(start):
            raise DataError(
                f"`{path}` is {kind}, which its name does not say",
                "The ending of the name decides how a file is read",
                "Rename it, or save it as UTF-8 text",
            )
    if b"\0" in head:
        line = head.count(b"\n", 0, head.index(b"\0")) + 1
        raise DataError(
            f"`{path}` is not a text file: there is a NUL byte in line {line}",
            "Binary data, or text that was not saved as UTF-8",
            "Save it as UTF-8 text",
        )


def text_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield (1-based line number, text with its line end as `\\n`).

    Raises:
        DataError: the file is empty, not text, or not UTF-8; the line is named.
    """
    for number, line in byte_lines(path):
        if b"\0" in line:
            raise DataError(f"{path}:{number}: there is a NUL byte", "This is not a text file", "Save it as UTF-8 text")
        try:
            text = line.decode("utf-8")
        except UnicodeDecodeError as error:
            raise DataError(
                f"{path}:{number}: {describe_decode_error(error)}",
                "Text is read as UTF-8",
                "Save it as UTF-8, for example: `iconv -f latin1 -t utf-8 IN > OUT`",
            ) from error
        yield number, text[:-2] + "\n" if text.endswith("\r\n") else text


def describe_decode_error(error: UnicodeDecodeError) -> str:
    """The byte that is not UTF-8 and its 1-based position in the line."""
    return f"byte 0x{error.object[error.start]:02x} at position {error.start + 1} is not UTF-8"


LONGEST_PIECE = 2000
"""Characters."""
SHORTEST_PIECE = LONGEST_PIECE // 2
"""No cut is sought before this many characters, so that a heading alone is no piece."""

# Where to cut, best first: after a blank line, a line, a sentence, a word.
PAUSES = (
    re.compile(r"\n[ \t]*\n[ \t\n]*"),
    re.compile(r"\n"),
    re.compile(r"[.!?]['\")\]]*\s+|[。！？]"),
    re.compile(r"\s+"),
)


def read_text(path: Path) -> Iterator[Row]:
    """Pieces of a document as `text` rows. Joined, they are the file's text (line ends as `\\n`), nothing lost.

    `ends` is true for the last piece only: there the text really ends. `line` is where the piece begins.
    """
    file = str(path)
    held, line = "", 1
    for piece in cut_pieces(line for _, line in text_lines(path)):
        # A piece that is only white space belongs to its neighbour.
        if held.strip() and piece.strip():
            yield Row({"text": held, "ends": False}, file, line)
            line += held.count("\n")
            held = piece
        else:
            held += piece
    if held.strip():
        yield Row({"text": held, "ends": True}, file, line)


def cut_pieces(lines: Iterator[str]) -> Iterator[str]:
    """Cut a stream of lines into pieces of at most `LONGEST_PIECE` characters, losing nothing."""
    waiting: list[str] = []
    length = 0
    for line in lines:
        waiting.append(line)
        length += len(line)
        if length <= LONGEST_PIECE:
            continue
        text, start = "".join(waiting), 0
        while len(text) - start > LONGEST_PIECE:
            end = find_cut(text, start)
            yield text[start:end]
            start = end
        waiting, length = [text[start:]], len(text) - start
    if length:
        yield "".join(waiting)


def find_cut(text: str, start: int) -> int:
    """Where the piece that begins at `start` ends: the last and best pause within its longest length."""
    for pause in PAUSES:
        ends = [match.end() for match in pause.finditer(text, start + SHORTEST_PIECE, start + LONGEST_PIECE)]
        if ends:
            return ends[-1]
    return start + LONGEST_PIECE
