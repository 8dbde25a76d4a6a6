"""Texts annotated with brat: `a.txt` holds the text, and `a.ann` beside it entities as places in its characters.

    T1    PER 0 4             Anna
    T2    LOC 9 13;20 25      Rome Italy      a discontinuous entity: several fragments
    R1    Lives Arg1:T1 Arg2:T2

Each line of the text is a row, unless an entity goes on in the next line.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from burnish.data.files.encoding import find_encoding
from burnish.data.files.lines import describe_decode_error, text_lines
from burnish.data.files.opening import COMPRESSED, open_binary, without_compression
from burnish.data.rows.row import Rejected, Row
from burnish.errors import DataError

SUFFIX, TEXT_SUFFIX = ".ann", ".txt"
_ENTITY = re.compile(r"(T\S+)\s+(\S+)\s+(\d+\s+\d+(?:\s*;\s*\d+\s+\d+)*)(?:\t(.*))?")
_LINE_END = re.compile(r"\r\n|\r|\n")
_LINE = re.compile(rf"[^\r\n]*(?:{_LINE_END.pattern}|\Z)")
_OTHERS = {
    "R": "relations",
    "E": "events",
    "A": "attributes",
    "M": "attributes",
    "N": "normalizations",
    "*": "equivalences",
    "#": "notes",
}
"""What lines of other kinds hold, by their first character: the column of a row in which they are."""
_NOTE = (
    "Texts with an `.ann` file are read as annotated with brat: each line of a text is a row, with its entities; a "
    "line with a discontinuous entity is left out, and named."
)


@dataclass(frozen=True, slots=True)
class _Entity:
    """A line that begins with T."""

    name: str
    label: str
    fragments: list[tuple[int, int]]
    """First and one past the last character of each."""
    text: str | None
    line: int

    @property
    def start(self) -> int:
        return min(start for start, _ in self.fragments)

    @property
    def end(self) -> int:
        return max(end for _, end in self.fragments)

    def is_in(self, text: str) -> bool:
        """Whether the text has the characters there that the annotation says."""
        if not all(0 <= start < end <= len(text) for start, end in self.fragments):
            return False
        found = " ".join(text[start:end] for start, end in self.fragments)
        return self.text is None or found.split() == self.text.split()

    def is_discontinuous(self, text: str) -> bool:
        """Whether there are words between its fragments; a line end is none."""
        ordered = sorted(self.fragments)
        return any(text[before[1] : after[0]].strip() for before, after in zip(ordered, ordered[1:], strict=False))


def text_beside(path: Path) -> Path | None:
    """The text that an `.ann` file belongs to, which may be compressed; None if there is none."""
    return _beside(path, TEXT_SUFFIX)


def annotations_beside(path: Path) -> Path | None:
    """The `.ann` file of a text, which may be compressed; None if there is none."""
    is_text = without_compression(path.name).lower().endswith(TEXT_SUFFIX)
    return _beside(path, SUFFIX) if is_text else None


def _beside(path: Path, suffix: str) -> Path | None:
    stem = Path(without_compression(path.name)).stem
    places = (path.with_name(f"{stem}{suffix}{packed}") for packed in ("", *COMPRESSED))
    return next((place for place in places if place.is_file()), None)


def read_brat(path: Path) -> Iterator[Row | Rejected]:
    """The lines of an annotated text as rows of `text` and `entities`; `line` is that of the text.

    A text is skipped as a whole, with the line of its `.ann` file, if an annotation of an entity cannot be parsed or is
    not what the text has there: the words of that entity would be learned as belonging to none. Lines of other kinds
    are in columns of their own (`relations`, `events`, ...), which nothing uses.

    Args:
        path: the `.ann` file.

    Raises:
        DataError: there is no text beside it, or one of the two cannot be read.
    """
    source = text_beside(path)
    if source is None:
        name = Path(without_compression(path.name)).stem + TEXT_SUFFIX
        raise DataError(
            f"`{path}` has annotations of a text, but there is no `{name}` beside it",
            "brat keeps the text and its annotations in two files of the same name.",
            f"Put `{name}` into the same folder",
        )
    text = _text_of(source)
    if not text.strip():
        return
    entities, others, broken = _annotations(path)
    if broken is None and not all(entity.is_in(text) for entity in entities):
        plain = text.replace("\r\n", "\n")  # some tools count the end of a line as one character
        text = plain if all(entity.is_in(plain) for entity in entities) else text
        broken = next((_misplaced(path, entity, text) for entity in entities if not entity.is_in(text)), None)
    if broken is not None:
        yield broken
        return
    yield from _rows(str(source), text, entities, others)


def _text_of(path: Path) -> str:
    """The whole text as it is stored: places are counted in it, so its line ends are kept."""
    with open_binary(path) as file:
        if not file.read(1):
            return ""
    encoding = find_encoding(path)
    with open_binary(path) as file:
        content = file.read()[encoding.mark :]
    try:
        return content.decode(encoding.name)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{path}:{line}: {describe_decode_error(error)} of the file", "Text has to be UTF-8.", "Save it as UTF-8"
        ) from error


def _annotations(path: Path) -> tuple[list[_Entity], dict[str, list[str]], Rejected | None]:
    """The entities, the other lines by the column they belong to, and the first line that is neither."""
    entities: list[_Entity] = []
    others: dict[str, list[str]] = {}
    with open_binary(path) as file:
        if not file.read(1):
            return entities, others, None
    for number, line in text_lines(path):
        written = line.rstrip("\n")
        if not written.strip():
            continue
        if written[0] in _OTHERS:
            others.setdefault(_OTHERS[written[0]], []).append(written)
            continue
        match = _ENTITY.fullmatch(written)
        if match is None:
            reason = "not an annotation as brat writes it (`T1`, a tab, `PER 0 4`, a tab, the text)"
            return entities, others, Rejected(str(path), number, f"{reason}; the text is skipped")
        name, label, places, said = match.groups()
        pairs = [[int(place) for place in part.split()] for part in places.split(";")]
        entities.append(_Entity(name, label, [(start, end) for start, end in pairs], said, number))
    return entities, others, None


def _misplaced(path: Path, entity: _Entity, text: str) -> Rejected:
    if entity.end > len(text) or any(start >= end for start, end in entity.fragments):
        reason = f"{entity.name} is not within the text of {len(text):,} characters"
    else:
        found = " ".join(text[start:end] for start, end in entity.fragments)
        reason = f"the text of {entity.name} at {entity.start} to {entity.end} is {found!r}, not {entity.text!r}"
    return Rejected(str(path), entity.line, f"{reason}; the text is skipped")


def _rows(file: str, text: str, entities: Sequence[_Entity], others: dict[str, list[str]]) -> Iterator[Row | Rejected]:
    line, ordered = 1, sorted(entities, key=lambda entity: entity.start)
    starts = [entity.start for entity in ordered]
    for begin, end in _pieces(text, entities):
        piece = text[begin:end]
        inside = ordered[bisect_left(starts, begin) : bisect_left(starts, end)]
        parted = next((entity for entity in inside if entity.is_discontinuous(text)), None)
        if parted is not None:
            shown = " … ".join(text[start:stop] for start, stop in sorted(parted.fragments))
            reason = f"{parted.name} is discontinuous: `{shown}` ({parted.label}); a word has one tag"
            yield Rejected(file, line, reason)
        elif piece.strip():
            spans: list[dict[str, Any]] = [
                {"start": entity.start - begin, "end": entity.end - begin, "label": entity.label} for entity in inside
            ]
            yield Row({"text": piece.rstrip("\r\n"), "entities": spans, **others}, file, line, _NOTE)
        line += len(_LINE_END.findall(piece))


def _pieces(text: str, entities: Sequence[_Entity]) -> Iterator[tuple[int, int]]:
    """First and one past the last character of each line, or of several where an entity goes on."""
    begin = 0
    going_on = [entity for entity in entities if _LINE_END.search(text, entity.start, entity.end)]
    for match in _LINE.finditer(text):
        end = match.end()
        if end > begin and not any(entity.start < end < entity.end for entity in going_on):
            yield begin, end
            begin = end
