"""Text files whose lines are rows: `__label__NAME text`, words joined with tags, or texts with marked entities."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from burnish.data.files.lines import describe_encoding, text_lines
from burnish.data.rows.row import Row, note_on
from burnish.data.tags.inline import marked_form

_MARK = "__label__"
_MARKED = re.compile(rf"(?:{_MARK}\S+[ \t,]+)+(?=\S)")
_JOINED = re.compile(r"\S+\|[^\s|]+\|(O|[BIESLU]-[^\s|]+)")
"""A word with its part of speech and its entity, as in WikiNER."""
_SLASHED = re.compile(r"\S+/([^\s/\d][^\s/]*)")
"""A word with its tag, as in the Brown corpus."""
_FEWEST_WORDS = 3
"""Words of a line with tags after slashes, on average; a list of paths has one."""
_WORDS_PER_TAG = 2
_SAMPLE_LINES, _FEWEST_LINES, _NEARLY_ALL = 200, 2, 0.95


def read_marked(path: Path) -> Iterator[Row] | None:
    """The rows of a text file whose lines have labels, tags or marked entities; None if it is running text.

    Raises:
        DataError: the file is empty or not text.
    """
    sample = [line.strip() for _, line in islice(text_lines(path, longest=-1), _SAMPLE_LINES) if line.strip()]
    if len(sample) < _FEWEST_LINES:
        return None
    if _share(_MARKED.match(line) is not None for line in sample):
        are_lists = any(len(_labels(line)) > 1 for line in sample)
        said = "has fastText's labels, `__label__NAME`, at the beginnings of its lines, and each line is a row"
        return _rows(path, said, lambda line: _labelled(line, are_lists))
    if _share(all(map(_JOINED.fullmatch, line.split())) for line in sample):
        said = "has words with their tags, joined by `|`: each line is a sentence, and the last part of a word its tag"
        return _rows(path, said, _tagged)
    if _are_slashed(sample):
        said = "has words with their tags, joined by `/`: each line is a sentence, and the last part of a word its tag"
        return _rows(path, said, _slashed)
    if marked_form(sample) is not None:
        said = "has entities marked within its lines, and each line is a row"
        return _rows(path, said, lambda line: {"text": line})
    return None


def _are_slashed(lines: list[str]) -> bool:
    """Whether nearly all lines have a tag after a slash in each word, and few different ones."""
    tags = [match and match[1] for line in lines for match in map(_SLASHED.fullmatch, line.split())]
    is_enough = len(tags) >= _FEWEST_WORDS * len(lines) and _WORDS_PER_TAG * len(set(tags)) <= len(tags)
    return is_enough and _share(all(map(_SLASHED.fullmatch, line.split())) for line in lines)


def _share(found: Iterator[bool]) -> bool:
    hits = list(found)
    return sum(hits) >= _NEARLY_ALL * len(hits)


def _rows(path: Path, said: str, values: Any) -> Iterator[Row]:
    note = note_on(path.name, [describe_encoding(path), said])
    for number, line in text_lines(path):
        if line.strip():
            yield Row(values(line.strip()), str(path), number, note)


def _labels(line: str) -> list[str]:
    match = _MARKED.match(line)
    words = re.split(r"[ \t,]+", match[0].strip(" \t,")) if match else []
    return [word.removeprefix(_MARK) for word in words]


def _labelled(line: str, are_lists: bool) -> dict[str, Any]:
    labels = _labels(line)
    text = _MARKED.sub("", line, count=1)
    return {"text": text, "label": labels if are_lists or len(labels) > 1 else next(iter(labels), None)}


def _tagged(line: str) -> dict[str, Any]:
    parts = [word.rpartition("|") for word in line.split()]
    return {
        "tokens": [before.rpartition("|")[0] or before for before, _, _ in parts],
        "tags": [tag for *_, tag in parts],
    }


def _slashed(line: str) -> dict[str, Any]:
    parts = [word.rpartition("/") for word in line.split()]
    return {"tokens": [before or tag for before, _, tag in parts], "tags": [tag for *_, tag in parts]}
