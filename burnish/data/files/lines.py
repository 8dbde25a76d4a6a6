"""Reads text files as numbered lines of UTF-8, and splits `.txt` and `.md` documents into chunks."""

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
# Other kinds of files, by their first bytes.
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
    """Opens a data file for reading, through gzip if the name ends in `.gz`.

    Raises:
        DataError: the file cannot be opened, or its gzip stream is corrupt or truncated.
    """
    try:
        with gzip.open(path, "rb") if path.suffix.lower() == ".gz" else path.open("rb") as file:
            yield cast(BinaryIO, file)
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise DataError(
            f"`{path}` is not a complete gzip file",
            str(error),
            "Compress or download it again, or remove `.gz` from its name if it is not compressed",
        ) from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise DataError(f"`{path}` cannot be read", reason, "Check the file's name and permissions") from error


def byte_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yields (1-based line number, bytes with the line end), without a byte order mark.

    Raises:
        DataError: the file is empty or not text.
    """
    with open_binary(path) as file:
        head = file.read(HEAD_BYTES)
        check_is_text(path, head)
        file.seek(len(BYTE_ORDER_MARK) if head.startswith(BYTE_ORDER_MARK) else 0)
        yield from enumerate(file, start=1)


def check_is_text(path: Path, head: bytes) -> None:
    """Checks a file's first bytes.

    Raises:
        DataError: there are none, or they are not those of UTF-8 text.
    """
    if not head:
        raise DataError(f"`{path}` is empty", "It has 0 bytes.", "Add at least two rows")
    for start, kind in OTHER_KINDS:
        if head.startswith(start):
            raise DataError(
                f"`{path}` is {kind}, although its name does not say so",
                "The suffix of the name determines how a file is parsed.",
                "Rename it, or save it as UTF-8 text",
            )
    if b"\0" in head:
        line = head.count(b"\n", 0, head.index(b"\0")) + 1
        raise DataError(
            f"`{path}` is not a text file: there is a NUL byte in line {line}",
            "It contains binary data, or text in an encoding other than UTF-8.",
            "Save it as UTF-8 text",
        )


def text_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yields (1-based line number, text with its line end as `\\n`).

    Raises:
        DataError: the file is empty, not text, or not UTF-8, with the line number.
    """
    for number, line in byte_lines(path):
        if b"\0" in line:
            raise DataError(
                f"{path}:{number}: there is a NUL byte", "This is not a text file.", "Save it as UTF-8 text"
            )
        try:
            text = line.decode("utf-8")
        except UnicodeDecodeError as error:
            raise DataError(
                f"{path}:{number}: {describe_decode_error(error)}",
                "Text has to be UTF-8.",
                "Save it as UTF-8, for example: `iconv -f latin1 -t utf-8 IN > OUT`",
            ) from error
        yield number, text[:-2] + "\n" if text.endswith("\r\n") else text


def describe_decode_error(error: UnicodeDecodeError) -> str:
    """The byte that is not UTF-8 and its 1-based position in the line."""
    return f"byte 0x{error.object[error.start]:02x} at position {error.start + 1} is not UTF-8"


MAX_CHUNK = 2000
"""Longest chunk in characters."""
MIN_CHUNK = MAX_CHUNK // 2
"""No chunk is shorter, so that a heading is not a chunk of its own."""

# Where to split, best first: after a blank line, a line, a sentence, a word.
PAUSES = (
    re.compile(r"\n[ \t]*\n[ \t\n]*"),
    re.compile(r"\n"),
    re.compile(r"[.!?]['\")\]]*\s+|[。！？]"),
    re.compile(r"\s+"),
)


def read_text(path: Path) -> Iterator[Row]:
    """Chunks of a document as `text` rows. Concatenated, they are exactly the file's text (line ends as `\\n`).

    `ends` is true only for the last chunk, where the text really ends. `line` is where the chunk begins.
    """
    file = str(path)
    held, line = "", 1
    for chunk in cut_chunks(line for _, line in text_lines(path)):
        # A chunk of only whitespace is joined with its neighbor.
        if held.strip() and chunk.strip():
            yield Row({"text": held, "ends": False}, file, line)
            line += held.count("\n")
            held = chunk
        else:
            held += chunk
    if held.strip():
        yield Row({"text": held, "ends": True}, file, line)


def cut_chunks(lines: Iterator[str]) -> Iterator[str]:
    """Splits a stream of lines into chunks of at most `MAX_CHUNK` characters, keeping every character."""
    pending: list[str] = []
    length = 0
    for line in lines:
        pending.append(line)
        length += len(line)
        if length <= MAX_CHUNK:
            continue
        text, start = "".join(pending), 0
        while len(text) - start > MAX_CHUNK:
            end = find_cut(text, start)
            yield text[start:end]
            start = end
        pending, length = [text[start:]], len(text) - start
    if length:
        yield "".join(pending)


def find_cut(text: str, start: int) -> int:
    """The end of the chunk that begins at `start`: the last of the best kind of break within its maximum length."""
    for pause in PAUSES:
        ends = [match.end() for match in pause.finditer(text, start + MIN_CHUNK, start + MAX_CHUNK)]
        if ends:
            return ends[-1]
    return start + MAX_CHUNK
