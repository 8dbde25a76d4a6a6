"""Reads `.json` documents as rows, with the line where each begins; SQuAD's nested layout is flattened."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from burnish.data.files.lines import text_lines
from burnish.data.rows.row import Rejected, Row
from burnish.errors import DataError

SPACE = re.compile(r"[ \t\n\r]*")


class Document:
    """The text of a JSON file, and the values that begin at its positions."""

    def __init__(self, path: Path) -> None:
        self.file = str(path)
        self.text = "".join(line for _, line in text_lines(path))
        self.decoder = json.JSONDecoder()

    def skip_space(self, position: int) -> int:
        """The position of the next character that is not whitespace."""
        match = SPACE.match(self.text, position)
        return match.end() if match else position

    def value(self, position: int) -> tuple[Any, int]:
        """The value that begins at `position`, and where it ends.

        Raises:
            DataError: it is not JSON.
        """
        try:
            return self.decoder.raw_decode(self.text, position)
        except json.JSONDecodeError as error:
            raise self.broken(error.msg, error.pos) from error
        except (RecursionError, ValueError) as error:
            raise self.broken(str(error) or "nested too deeply", position) from error

    def expect(self, characters: str, position: int) -> str:
        """The character at `position`, which must be one of `characters`."""
        found = self.text[position : position + 1]
        if not found or found not in characters:
            wanted = " or ".join(f"`{character}`" for character in characters)
            raise self.broken(f"expected {wanted}" + (f", found `{found}`" if found else ", found the end"), position)
        return found

    def broken(self, message: str, position: int) -> DataError:
        """The error for invalid JSON, with line and column."""
        line = self.text.count("\n", 0, position) + 1
        column = position - (self.text.rfind("\n", 0, position) + 1) + 1
        return DataError(
            f"{self.file}:{line}:{column}: invalid JSON: {message}",
            "A .json file is a single document, so one error makes all of it unreadable.",
            "Fix it, or save the rows as .jsonl with one object per line, where a bad line affects only one row",
        )

    def items(self, position: int) -> Iterator[tuple[int, Any, int]]:
        """Yield (start, value, end) of each item of the list that begins at `position`."""
        position = self.skip_space(position + 1)
        if self.text[position : position + 1] == "]":
            return
        while True:
            value, end = self.value(position)
            yield position, value, end
            position = self.skip_space(end)
            if self.expect(",]", position) == "]":
                return
            position = self.skip_space(position + 1)

    def members(self, position: int) -> Iterator[tuple[str, int, Any, int]]:
        """Yield (key, start of the value, value, end) of each member of the object that begins at `position`."""
        position = self.skip_space(position + 1)
        if self.text[position : position + 1] == "}":
            return
        while True:
            self.expect('"', position)
            key, end = self.value(position)
            position = self.skip_space(end)
            self.expect(":", position)
            start = self.skip_space(position + 1)
            value, end = self.value(start)
            yield key, start, value, end
            position = self.skip_space(end)
            if self.expect(",}", position) == "}":
                return
            position = self.skip_space(position + 1)

    def expect_end(self, position: int) -> None:
        """Checks that only whitespace follows `position`."""
        position = self.skip_space(position)
        if position < len(self.text):
            raise self.broken("there is text after the end of the document", position)


Found = tuple[int, "dict[str, Any] | str"]
"""Position of a question, and its row or what is wrong with it."""


def is_nested(value: Any) -> bool:
    """Whether a value is an article (with `paragraphs`) or a paragraph (with a text and `qas`)."""
    return _is_paragraph(value) or (
        isinstance(value, dict)
        and isinstance(value.get("paragraphs"), list)
        and any(_is_paragraph(paragraph) for paragraph in value["paragraphs"])
    )


def _is_paragraph(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("qas"), list)


def questions(document: Document, start: int, value: dict[str, Any]) -> Iterator[Found]:
    """The questions of the article or paragraph `value`, which begins at `start` of the document, in order.

    A row has the fields of the question (`question`, `id`, `answers`, `is_impossible`, ...) and the paragraph's
    `context`.
    """
    if _is_paragraph(value):
        yield from _of_paragraph(document, start, value)
        return
    for at, paragraph, _ in document.items(_member(document, start, "paragraphs")):
        if _is_paragraph(paragraph):
            yield from _of_paragraph(document, at, paragraph)
        else:
            yield at, "expected a paragraph with `context` and a list `qas`"


def _of_paragraph(document: Document, start: int, paragraph: dict[str, Any]) -> Iterator[Found]:
    shared = {"context": paragraph["context"]} if "context" in paragraph else {}
    for at, question, _ in document.items(_member(document, start, "qas")):
        if isinstance(question, dict):
            yield at, {**shared, **question}
        else:
            yield at, "expected a question with `question` and `answers`"


def _member(document: Document, start: int, wanted: str) -> int:
    """Where a member of the object at `start` begins; of duplicate names the last one, as in Python's JSON."""
    return [at for key, at, _, _ in document.members(start) if key == wanted][-1]


# An object with one of these keys is itself a row, not a wrapper around a list of rows.
ROW_KEYS = {"messages", "conversations", "prompt"}


def read_json(path: Path) -> Iterator[Row | Rejected]:
    """Rows of a JSON document; `line` is where the object begins. In SQuAD's layout each question is a row.

    Raises:
        DataError: the document is invalid (with file, line and column), or has no list of rows.
    """
    document = Document(path)
    start = document.skip_space(0)
    if start == len(document.text):
        raise DataError(f"`{path}` is empty", "It contains only whitespace.", "Add at least two rows")
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
    """Where the only list of objects inside an object begins, or None if the object is itself a row."""
    if ROW_KEYS & value.keys():
        return None
    lists = {key: at for key, at, member, _ in document.members(start) if is_list_of_objects(member)}
    if len(lists) > 1:
        names = ", ".join(f"`{key}`" for key in lists)
        raise DataError(
            f"`{document.file}` contains {len(lists)} lists of rows: {names}",
            "A .json file has to be a list of objects, or an object with one such list.",
            "Save each list as its own file: with train.json and valid.json in a folder, both are used",
        )
    return next(iter(lists.values()), None)


def is_list_of_objects(value: Any) -> bool:
    """Whether a value could be a list of rows."""
    return isinstance(value, list) and any(isinstance(item, dict) for item in value)


def found_in_list(document: Document, start: int) -> Iterator[tuple[int, dict[str, Any] | str]]:
    """Position and row of each item of the list that begins at `start`, or what is wrong with it."""
    for at, value, _ in document.items(start):
        if is_nested(value):
            yield from questions(document, at, value)
        elif isinstance(value, dict):
            yield at, value
        else:
            yield at, f"expected a JSON object, not `{json.dumps(value)[:40]}`"


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
