"""`.txt` and `.md` files: one document each, cut into consecutive pieces where the text itself pauses."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from burnish.data.lines import text_lines
from burnish.data.row import Row

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
