"""`.json` documents: a list of objects, or one object with such a list inside, with the line where each row begins."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from burnish.data.json_text import Document
from burnish.data.row import Rejected, Row
from burnish.data.squad import is_nested, questions
from burnish.errors import DataError

# An object that has one of these keys is itself a row, not a wrapper around a list of rows.
ROW_KEYS = {"messages", "conversations", "prompt"}


def read_json(path: Path) -> Iterator[Row | Rejected]:
    """Rows of a JSON document; `line` is where the object begins. In SQuAD's layout each question is a row.

    Raises:
        DataError: the document is broken (file, line and column are named), or holds no list of rows.
    """
    document = Document(path)
    start = document.skip_space(0)
    if start == len(document.text):
        raise DataError(f"`{path}` is empty", "It holds only blank space", "Put at least two rows in it")
    opening = document.expect("[{", start)
    value, end = document.value(start)
    document.expect_end(end)
    if opening == "[":
        found = found_in_list(document, start)
    elif is_nested(value):
        found = questions(document, start, value)
    else:
        inner = find_list(document, value, start)
        found = iter([(start, value)]) if inner is None else found_in_list(document, inner)
    yield from with_lines(document, found)


def find_list(document: Document, value: dict[str, Any], start: int) -> int | None:
    """Where the one list of objects inside an object begins, or None where the object is itself a row."""
    if ROW_KEYS & value.keys():
        return None
    lists = {key: at for key, at, member, _ in document.members(start) if is_list_of_objects(member)}
    if len(lists) > 1:
        names = ", ".join(f"`{key}`" for key in lists)
        raise DataError(
            f"`{document.file}` holds {len(lists)} lists of rows: {names}",
            "A .json file is a list of objects, or an object with one such list",
            "Save each list as a file of its own: train.json and valid.json in one folder are both used",
        )
    return next(iter(lists.values()), None)


def is_list_of_objects(value: Any) -> bool:
    """Whether a value could be a list of rows."""
    return isinstance(value, list) and any(isinstance(item, dict) for item in value)


def found_in_list(document: Document, start: int) -> Iterator[tuple[int, dict[str, Any] | str]]:
    """Position and row of each item of the list that begins at `start`; of what is no object, what is wrong."""
    for at, value, _ in document.items(start):
        if is_nested(value):
            yield from questions(document, at, value)
        elif isinstance(value, dict):
            yield at, value
        else:
            yield at, f"a JSON object is expected, not `{json.dumps(value)[:40]}`"


def with_lines(document: Document, found: Iterator[tuple[int, dict[str, Any] | str]]) -> Iterator[Row | Rejected]:
    """Rows with their lines, from positions in the order of the text."""
    line, counted = 1, 0
    for at, value in found:
        line += document.text.count("\n", counted, at)
        counted = at
        if isinstance(value, dict):
            yield Row(value, document.file, line)
        else:
            yield Rejected(document.file, line, value)
