"""Reads text files as numbered lines, and splits `.txt` and `.md` documents into chunks."""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, cast

from burnish.data.files.encoding import find_encoding
from burnish.data.files.opening import MOST_LINE_BYTES, open_binary
from burnish.data.rows.row import FIELDS, OTHER_NAMES, Rejected, Row, note_on
from burnish.errors import DataError
from burnish.system.machine import memory_size


def byte_lines(path: Path, longest: int = MOST_LINE_BYTES) -> Iterator[tuple[int, bytes]]:
    """Yields (1-based line number, bytes with the line end), without a byte order mark; other encodings as UTF-8.

    Args:
        path: of the file.
        longest: a line of so many bytes is refused; -1 for none.

    Raises:
        DataError: the file is empty, is not text, is not what its byte order mark says, or has too long a line.
    """
    encoding = find_encoding(path)
    with open_binary(path) as file:
        file.read(encoding.mark)
        if encoding.is_plain:
            for number, line in enumerate(iter(partial(file.readline, longest), b""), start=1):
                if len(line) == longest:
                    raise _too_long(path, number, longest)
                yield number, line
            return
        newline = None if encoding.old_line_ends else "\n"
        # a broken line of UTF-8 stays as it is, so that it is reported like any other
        errors = "surrogateescape" if encoding.name == "utf-8" else "strict"
        text = io.TextIOWrapper(cast(Any, file), encoding.name, errors, newline)
        number = 0
        try:
            for number, line in enumerate(iter(partial(text.readline, longest), ""), start=1):
                if len(line) == longest:
                    raise _too_long(path, number, longest)
                yield number, line.encode("utf-8", errors)
        except UnicodeDecodeError as error:
            raise DataError(
                f"{path}:{number + 1}: this is not {encoding.name.upper()} text: {error.reason}",
                f"The file {encoding.note}.",
                "Save it as UTF-8 text",
            ) from error


def _too_long(path: Path, number: int, longest: int) -> DataError:
    return DataError(
        f"{path}:{number}: this line is longer than {memory_size(longest)}",
        "No row of text is as long, and reading it could fill the memory.",
        "Check how the file was written; each row has a line of its own",
    )


def describe_encoding(path: Path) -> str:
    """What was guessed about the encoding of a text file, as a phrase after its name; empty for UTF-8."""
    return find_encoding(path).note


def text_lines(path: Path, longest: int = MOST_LINE_BYTES) -> Iterator[tuple[int, str]]:
    """Yields (1-based line number, text with its line end as `\\n`).

    Args:
        path: of the file.
        longest: a line of so many bytes is refused; -1 for none.

    Raises:
        DataError: the file is empty, not text, or not UTF-8, or a line is too long, with the line number.
    """
    for number, line in byte_lines(path, longest):
        if b"\0" in line:
            raise DataError(
                f"{path}:{number}: there is a NUL byte", "This is not a text file.", "Save it as UTF-8 text"
            )
        try:
            text = line.decode("utf-8")
        except UnicodeDecodeError as error:
            raise DataError(
                f"{path}:{number}: {describe_decode_error(error)}",
                "Text has to be UTF-8, unless its encoding is clear from the text.",
                "Save it as UTF-8: `iconv -f ENCODING -t utf-8 IN > OUT`, where ENCODING is, for example, cp1251",
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
    file, note = str(path), note_on(path.name, [describe_encoding(path), _describe_table(path)])
    held, line = "", 1
    for chunk in cut_chunks(line for _, line in text_lines(path, longest=-1)):
        # A chunk of only whitespace is joined with its neighbor.
        if held.strip() and chunk.strip():
            yield Row({"text": held, "ends": False}, file, line, note)
            line += held.count("\n")
            held = chunk
        else:
            held += chunk
    if held.strip():
        yield Row({"text": held, "ends": True}, file, line, note)


def read_labelled(path: Path, label: str) -> Row | Rejected:
    """A document as one row with its label, or why it is none."""
    try:
        text = "".join(line for _, line in text_lines(path, longest=-1))
    except DataError as error:
        return Rejected(str(path), 1, error.what)
    return Row({"text": text, "label": label}, str(path), 1, note_on(path.name, [describe_encoding(path)]))


_MOST_FIRST, _ROWS_PER_FIRST = 60, 3
"""First words of lines that may be labels, at most, and lines for each of them, at least."""
_TABLE_LINES = 20
"""Lines with as many tabs, from which on a text is probably a table."""


def _describe_table(path: Path) -> str:
    """That a text has the lines of a table, as a phrase after the name of the file; empty if it has not."""
    first = [line for _, line in islice(text_lines(path), 2 * _TABLE_LINES) if line.strip()]
    tabs = {line.rstrip("\n").count("\t") for line in first}
    if _has_header(first):
        return (
            "is read as running text, although its first line has names of columns: to read it as a table, rename it "
            "to end in .csv"
        )
    if len(first) < _TABLE_LINES or len(tabs) > 1 or tabs == {0}:
        return _describe_first_words(first)
    return (
        f"is read as running text, although each line has {tabs.pop() + 1} columns separated by tabs: to read it as a "
        "table, rename it to end in .tsv"
    )


def _has_header(lines: Sequence[str]) -> bool:
    """Whether the first of some lines has known names of columns, and most others have as many cells."""
    for mark in ",;|":
        names = [name.strip(' "\n').lower() for name in lines[0].split(mark)] if len(lines) > 1 else []
        is_even = 2 * sum(line.count(mark) >= len(names) - 1 for line in lines) > len(lines)
        if len(names) > 1 and is_even and sum(name in FIELDS or name in OTHER_NAMES for name in names) > 1:
            return True
    return False


def _describe_first_words(lines: Sequence[str]) -> str:
    """That lines begin with one of few words, which may be labels, as a phrase after the name of their file; empty if
    they do not.

    Args:
        lines: of a text, without blank ones.
    """
    firsts = Counter(line.split(maxsplit=1)[0] for line in lines)
    is_few = 1 < len(firsts) <= min(_MOST_FIRST, len(lines) // _ROWS_PER_FIRST)
    are_marks = all(re.fullmatch(r"[A-Z]{2,}:\w+|\[\w+\]|[A-Z]{2,}_\w+", first) for first in firsts)
    if len(lines) < _TABLE_LINES or not is_few or not are_marks:
        return ""
    return (
        f"is read as running text, although each line begins with one of {len(firsts)} words such as "
        f"`{firsts.most_common(1)[0][0]}`: to learn these as labels, write each behind its text and a tab, and rename "
        "the file to end in .tsv"
    )


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
