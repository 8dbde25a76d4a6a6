"""CoNLL files: one word per line with its tag in the last column, and a blank line between sentences."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from burnish.data.files.lines import open_binary, text_lines
from burnish.data.rows.row import Rejected, Row

Line = tuple[int, str]
"""Its 1-based number and its text."""

_HEAD_BYTES = 1 << 16
_MIN_LINES = 5
_MIN_LINES_WITH_SPACES = 20
_STRAY_LINES = 0.01
"""Share of lines that may be broken in a file that is recognized by its content."""
_BLANKS = re.compile(r"[ \t]+")
_ASSIGNMENT = re.compile(r"#\s*[\w.:-]+\s*=")
_ENTITY_TAG = re.compile(r"O|[BIESLUM](-\S+)?")


def read_conll(path: Path) -> Iterator[Row | Rejected]:
    """Sentences as rows of `tokens` and `tags`, each with the line where it begins.

    The first column is the word and the last its tag; columns are separated by tabs, or by spaces if a sentence has no
    tabs. Lines that begin with `-DOCSTART-` separate sentences like blank ones. A sentence with a line that does not
    have as many columns as the others is rejected, with the number of that line.
    """
    file = str(path)
    for lines in sentences(text_lines(path)):
        by_tabs = is_by_tabs(lines)
        numbered = [(number, split_cells(line, by_tabs)) for number, line in lines]
        broken = find_broken(numbered)
        if broken is not None:
            yield Rejected(file, *broken)
        else:
            values = {"tokens": [cells[0] for _, cells in numbered], "tags": [cells[-1] for _, cells in numbered]}
            yield Row(values, file, lines[0][0])


def sentences(lines: Iterable[Line]) -> Iterator[list[Line]]:
    """The lines between blank ones, without comments."""
    block: list[Line] = []
    for number, line in lines:
        if line.strip() and not line.startswith("-DOCSTART-"):
            block.append((number, line.rstrip("\r\n")))
            continue
        yield from _if_any(without_comments(block))
        block = []
    yield from _if_any(without_comments(block))


def _if_any(block: list[Line]) -> list[list[Line]]:
    return [block] if block else []


def without_comments(block: Sequence[Line]) -> list[Line]:
    """The lines of a sentence without comments: a line that begins with `#` may also be a word, such as a hashtag."""
    words = [line for line in block if not line[1].startswith("#")]
    if len(words) == len(block):
        return list(block)
    by_tabs = is_by_tabs(words or block)
    widths = Counter(len(split_cells(line, by_tabs)) for _, line in words)
    width = widths.most_common(1)[0][0] if widths else 0
    first = words[0][0] if words else 0
    return [
        (n, line) for n, line in block if not (line.startswith("#") and is_comment(line, by_tabs, width, n < first))
    ]


def is_comment(line: str, by_tabs: bool, width: int, is_before_words: bool) -> bool:
    """Whether a line that begins with `#` is a comment and not a word.

    Args:
        line: the line.
        by_tabs: whether the columns of its sentence are separated by tabs.
        width: number of columns of the other lines of its sentence; 0 if there are none.
        is_before_words: whether it comes before the first word of the sentence.
    """
    cells = split_cells(line, by_tabs)
    if "\t" not in line and _ASSIGNMENT.match(line):
        return True
    if len(cells) == width or (width == 0 and len(cells) > 1 and _ENTITY_TAG.fullmatch(cells[-1])):
        return False
    return is_before_words or width == 0 or line.startswith(("# ", "##"))


def is_by_tabs(lines: Sequence[Line]) -> bool:
    """Whether most lines have tabs, so that words may contain spaces."""
    return 2 * sum("\t" in line.rstrip() for _, line in lines) > len(lines)


def split_cells(line: str, by_tabs: bool) -> list[str]:
    """The columns of a line. Other spaces, such as U+00A0, are part of a word."""
    text = line.rstrip(" \t\r\n")
    return [cell.strip(" ") for cell in text.split("\t")] if by_tabs else _BLANKS.split(text.lstrip(" \t"))


def find_broken(numbered: Sequence[tuple[int, list[str]]]) -> tuple[int, str] | None:
    """The first line of a sentence that does not match the others, and why; None if all match."""
    width = Counter(len(cells) for _, cells in numbered).most_common(1)[0][0]
    for number, cells in numbered:
        if len(cells) != width:
            columns = f"{len(cells)} column{'s' if len(cells) != 1 else ''}"
            return number, f"{columns}, but the rest of its sentence has {width}; the sentence is skipped"
        if width == 1:
            return number, "only one column, but a word and its tag are needed"
        if not cells[0]:
            return number, "there is a tag without a word; the sentence is skipped"
    return None


def looks_like_conll(path: Path) -> bool:
    """Whether a file without a CoNLL suffix contains CoNLL data with entities.

    Nearly all lines must have the same number of columns and end in O or in a mark with a type, such as B-PER; with
    columns separated by spaces, all must. Ordinary text does not look like that.

    Raises:
        DataError: the file cannot be opened.
    """
    with open_binary(path) as file:
        head = file.read(_HEAD_BYTES)
    if len(head) == _HEAD_BYTES:
        head = head[: head.rfind(b"\n") + 1]
    try:
        lines = head.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        return False
    shapes = Counter[tuple[int, bool]]()
    tags = Counter[str]()
    for line in lines:
        cells = split_cells(line, "\t" in line.rstrip())
        is_tagged = _ENTITY_TAG.fullmatch(cells[-1]) is not None
        if not line.strip() or line.startswith("-DOCSTART-") or (line.startswith("#") and not is_tagged):
            continue
        shapes[len(cells) if is_tagged else 0, "\t" in line.rstrip()] += 1
        tags[cells[-1]] += 1
    if not any("-" in tag and _ENTITY_TAG.fullmatch(tag) for tag in tags):
        return False
    (width, by_tabs), number = shapes.most_common(1)[0]
    least, strays = (_MIN_LINES, _STRAY_LINES) if by_tabs else (_MIN_LINES_WITH_SPACES, 0.0)
    return width >= 2 and number >= least and number >= (1 - strays) * shapes.total()
