"""CoNLL files: one word per line with its tag in the last column, and a blank line between sentences."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from burnish.data.files.lines import describe_encoding, text_lines
from burnish.data.files.opening import open_binary
from burnish.data.rows.row import Rejected, Row, note_on, quoted
from burnish.errors import DataError

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


SUFFIXES = (".conll", ".conllu", ".conllup", ".iob", ".iob2", ".bio", ".bioes")
_NUMBERED = re.compile(r"\d+(?:[-.]\d+)?(?:\t[^\t]*){9}$")
"""A line of CoNLL-U."""
_CONLL_U = ("id", "form", "lemma", "upos", "xpos", "feats", "head", "deprel", "deps", "misc")
_GLOBAL_COLUMNS = re.compile(r"#\s*global\.columns\s*=\s*(.+)")
_SAMPLE_SENTENCES = 100
_EMPTY = "_"
_TOKENS, _TAGS = "tokens", "tags"


@dataclass(frozen=True, slots=True)
class Layout:
    """What the columns of a file are."""

    names: tuple[str, ...] | None = None
    """Of all columns; None where they have none, so that they are numbered from 1."""
    tokens: int = 0
    """Place of the column of words, unless the recipe names another."""
    tags: int = -1
    """Place of the column of tags, unless the recipe names another."""
    is_numbered: bool = False
    """Whether the first column numbers the words, so that `1-2` is a token of several words and `1.1` no word."""
    note: str = ""
    """What was recognized, as a phrase after the name of the file."""


def read_conll(path: Path, columns: Mapping[str, str] | None = None) -> Iterator[Row | Rejected]:
    """Sentences as rows of `tokens` and `tags`, each with the line where it begins; other columns by name or number.

    The first column is the word and the last its tag; in CoNLL-U they are `form` and `upos`. Columns are separated by
    tabs, or by spaces if a sentence has no tabs. Lines that begin with `-DOCSTART-` separate sentences like blank ones.
    A sentence with a line that does not have as many columns as the others is rejected, with the number of that line.

    Args:
        path: file to read.
        columns: which column, by number from 1 or by name, holds `tokens` and `tags`.

    Raises:
        DataError: the first column counts the words or the last is empty, and `columns` does not name others.
    """
    file, columns = str(path), columns or {}
    layout = find_layout(path, columns)
    note = note_on(path.name, [describe_encoding(path), layout.note])
    for lines in sentences(text_lines(path)):
        by_tabs = is_by_tabs(lines)
        numbered = [(number, split_cells(line, by_tabs)) for number, line in lines]
        if layout.is_numbered:
            numbered = [(number, cells) for number, cells in numbered if cells[0].isdecimal() or len(cells) == 1]
        broken = find_broken(numbered, layout) if numbered else None
        if broken is not None:
            yield Rejected(file, *broken)
        elif numbered:
            yield Row(_values(layout, [cells for _, cells in numbered], columns), file, lines[0][0], note)


def _values(layout: Layout, words: Sequence[Sequence[str]], columns: Mapping[str, str]) -> dict[str, list[str]]:
    """The columns of a sentence: those of words and tags under these names unless the recipe names others."""
    width = len(words[0])
    names = list(layout.names or map(str, range(1, width + 1)))
    for field, place in ((_TAGS, layout.tags % width), (_TOKENS, layout.tokens)):
        if field not in columns:
            names[place] = field
    return {name: [cells[place] for cells in words] for place, name in enumerate(names)}


def find_layout(path: Path, columns: Mapping[str, str]) -> Layout:
    """What the columns of a file are, from its first sentences. Raises DataError if that is not clear."""
    lines = list(islice(text_lines(path), _SAMPLE_SENTENCES * 100))
    listed = next((found for _, line in lines[:50] if (found := _GLOBAL_COLUMNS.match(line))), None)
    blocks = list(islice(sentences(lines), _SAMPLE_SENTENCES))
    rows = [[split_cells(line, is_by_tabs(block)) for _, line in block] for block in blocks]
    widths = Counter(len(cells) for row in rows for cells in row)
    width = widths.most_common(1)[0][0] if widths else 0
    longer = [row for row in rows if len(row) > 1]
    is_numbered = bool(longer) and 20 * sum(map(_counts_words, longer)) >= 19 * len(longer) and width > 1
    if listed is not None:
        names = tuple(name.rpartition(":")[2].lower() for name in listed[1].split())
        if len(names) == width and ("upos" in names or "xpos" in names) and "form" in names:
            return _conll_u(path, names, is_numbered, columns, rows)
    if width == len(_CONLL_U) and is_numbered:
        return _conll_u(path, _CONLL_U, is_numbered, columns, rows)
    is_chosen = _TOKENS in columns or _TAGS in columns
    if not is_chosen and width > 1:
        cells = [cells for row in rows for cells in row if len(cells) == width]
        _refuse_unclear(path, cells, is_numbered)
    return Layout(is_numbered=is_numbered)


def _conll_u(
    path: Path,
    names: tuple[str, ...],
    is_numbered: bool,
    columns: Mapping[str, str],
    rows: Sequence[Sequence[Sequence[str]]],
) -> Layout:
    """The layout of CoNLL-U. Raises DataError where its column of tags is empty, and the recipe names no other."""
    tags = "upos" if "upos" in names else "xpos"
    held = {name: {cells[place] for row in rows for cells in row if len(cells) == len(names)}
            for place, name in enumerate(names)}  # fmt: skip
    if _TAGS not in columns and held[tags] <= {_EMPTY}:
        others = [name for name in ("xpos", *names) if name in names and name not in ("id", "form")]
        filled = [name for name in others if not held[name] <= {_EMPTY}]
        raise DataError(
            f"`{path}` is CoNLL-U, and its column `{tags}` is empty: each cell is `{_EMPTY}`",
            f"The filled columns are {quoted(dict.fromkeys(filled))}.",
            f"Name the column to learn: `--set data.columns.tags={filled[0] if filled else 'COLUMN'}`",
        )
    others = [name for name in names if name not in ("id", "form", tags)]
    note = (
        f"is CoNLL-U; its words are read from `form` and their tags from `{tags}` (others with, for example, "
        f"`--set data.columns.tags={'xpos' if 'xpos' in others else others[-1] if others else tags}`)"
    )
    is_chosen = _TOKENS in columns or _TAGS in columns
    return Layout(names, names.index("form"), names.index(tags), is_numbered, "" if is_chosen else note)


def _counts_words(sentence: Sequence[Sequence[str]]) -> bool:
    """Whether the first column of a sentence counts its words, not counting `1-2` and `1.1`."""
    numbers = [cells[0] for cells in sentence if not re.fullmatch(r"\d+[-.]\d+", cells[0])]
    first = int(numbers[0]) if numbers and re.fullmatch(r"\d{1,9}", numbers[0]) else None
    return first is not None and numbers == [str(first + place) for place in range(len(numbers))]


def _refuse_unclear(path: Path, words: Sequence[Sequence[str]], is_numbered: bool) -> None:
    """Raises DataError if the first column counts the words, or the last is empty for all."""
    by_column = list(zip(*words, strict=True))
    is_empty = set(by_column[-1]) <= {_EMPTY, "-", "*"}
    is_constant = len(words) >= _MIN_LINES and len(set(by_column[0])) == 1
    first_has_tags, last_has_tags = (
        any("-" in tag for tag in cells) and all(map(_ENTITY_TAG.fullmatch, cells))
        for cells in (by_column[0], by_column[-1])
    )
    is_swapped = first_has_tags and not last_has_tags
    if not is_numbered and not is_empty and not is_constant and not is_swapped:
        return
    if is_swapped:
        what = "the first column, which would be the words, has tags of entities"
    elif is_numbered:
        what = "the first column only counts the words"
    else:
        column, cell = ("first", by_column[0][0]) if is_constant else ("last", by_column[-1][0])
        what = f"the {column} column is always `{cell}`"
    kinds = [len(set(cells)) for cells in by_column]
    varied = [place for place, cells in enumerate(by_column) if kinds[place] > 1 and not all(map(str.isdecimal, cells))]
    tokens = max(varied or [0], key=lambda place: kinds[place])
    places = [place for place in varied or range(len(by_column)) if place != tokens]
    tagged = [place for place in places if all(map(_ENTITY_TAG.fullmatch, by_column[place]))]
    tags = (tagged or sorted(places, key=lambda place: len(set(by_column[place]))) or [len(by_column) - 1])[0]
    shown = "; ".join(
        f"{place} {quoted(dict.fromkeys(cells), most=4)}" for place, cells in enumerate(by_column, start=1)
    )
    raise DataError(
        f"`{path}` has {len(by_column)} columns, and {what}",
        f"The columns begin with: {shown}.",
        f"Name those of the words and the tags: `--set data.columns.tokens={tokens + 1} "
        f"--set data.columns.tags={tags + 1}`",
    )


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
    has_entities = bool(words) and all(_has_entity_tag(line, by_tabs) for _, line in words)
    return [
        (n, line)
        for n, line in block
        if not (line.startswith("#") and is_comment(line, by_tabs, width, n < first))
        and not (line.startswith("# ") and n < first and has_entities and not _has_entity_tag(line, by_tabs))
    ]


def _has_entity_tag(line: str, by_tabs: bool) -> bool:
    return _ENTITY_TAG.fullmatch(split_cells(line, by_tabs)[-1]) is not None


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


def find_broken(numbered: Sequence[tuple[int, list[str]]], layout: Layout) -> tuple[int, str] | None:
    """The first line of a sentence that does not match the others, and why; None if all match."""
    width = Counter(len(cells) for _, cells in numbered).most_common(1)[0][0]
    width = len(layout.names or ()) or width
    for number, cells in numbered:
        if len(cells) != width:
            columns = f"{len(cells)} column{'s' if len(cells) != 1 else ''}"
            return number, f"{columns}, but the rest of its sentence has {width}; the sentence is skipped"
        if width == 1:
            return number, "only one column, but a word and its tag are needed"
        if not cells[layout.tokens]:
            return number, "there is a tag without a word; the sentence is skipped"
    return None


def begins_with_comment(path: Path) -> bool:
    """Whether a file begins with `# `, as a table does not, and CoNLL may. Raises DataError if it cannot be opened."""
    with open_binary(path) as file:
        return file.read(8).lstrip(b"\xef\xbb\xbf").startswith(b"# ")


def looks_like_conll(path: Path) -> bool:
    """Whether a file without a CoNLL suffix contains CoNLL-U, or CoNLL data with entities.

    CoNLL-U has ten columns, and the first numbers the words. Else nearly all lines must have the same number of columns
    and end in O or in a mark with a type, such as B-PER, or have it in the first column or the one before the last;
    with columns separated by spaces, all must. Ordinary text does not look like that.

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
    words = [line for line in lines if line.strip() and not line.startswith("#")]
    numbered = sum(_NUMBERED.match(line) is not None for line in words)
    if numbered >= _MIN_LINES and numbered >= (1 - _STRAY_LINES) * len(words):
        return True
    return any(_has_tags_at(place, lines) for place in (-1, 0, -2))


def _has_tags_at(place: int, lines: Sequence[str]) -> bool:
    """Whether nearly all lines have as many columns as each other, with the tag of an entity in the one at `place`."""
    shapes = Counter[tuple[int, bool]]()
    tags = Counter[str]()
    for line in lines:
        cells = split_cells(line, "\t" in line.rstrip())
        tag = cells[place] if len(cells) >= abs(place) else ""
        is_tagged = _ENTITY_TAG.fullmatch(tag) is not None
        if not line.strip() or line.startswith("-DOCSTART-") or (line.startswith("#") and not is_tagged):
            continue
        shapes[len(cells) if is_tagged else 0, "\t" in line.rstrip()] += 1
        tags[tag] += 1
    if not any("-" in tag and _ENTITY_TAG.fullmatch(tag) for tag in tags):
        return False
    (width, by_tabs), number = shapes.most_common(1)[0]
    least, strays = (_MIN_LINES, _STRAY_LINES) if by_tabs else (_MIN_LINES_WITH_SPACES, 0.0)
    return width >= 2 and number >= least and number >= (1 - strays) * shapes.total()
