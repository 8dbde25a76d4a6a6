"""Reads `.json` documents as rows, with the line where each begins; SQuAD's nested layout is flattened."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from burnish.data.files.json_layouts import is_list_of_rows, is_row, lists_within, row_of, table_of
from burnish.data.files.lines import describe_encoding, text_lines
from burnish.data.files.opening import open_binary
from burnish.data.rows.row import Rejected, Row, note_on, quoted
from burnish.errors import DataError
from burnish.visible import RepeatedKey, keyed_once

SPACE = re.compile(r"[ \t\n\r]*")


class Document:
    """The text of a JSON file, and the values that begin at its positions."""

    def __init__(self, path: Path) -> None:
        self.file = str(path)
        self.text = "".join(line for _, line in text_lines(path, longest=-1))
        self.repeated = ""
        """What is wrong with the last value: a key has two values in an object of it; empty if none has."""
        self._decoder = json.JSONDecoder(object_pairs_hook=self._object)

    def _object(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        try:
            return keyed_once(pairs)
        except RepeatedKey as error:  # one row's fault, not the document's
            self.repeated = self.repeated or str(error)
            return dict(pairs)

    def skip_space(self, position: int) -> int:
        """The position of the next character that is not whitespace."""
        match = SPACE.match(self.text, position)
        return match.end() if match else position

    def value(self, position: int) -> tuple[Any, int]:
        """The value that begins at `position`, and where it ends.

        Raises:
            DataError: it is not JSON.
        """
        self.repeated = ""
        try:
            return self._decoder.raw_decode(self.text, position)
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
            error = self.broken("there is text after the end of the document", position)
            if self.text[position] == "{":
                error.fix = (
                    f"If it holds one object after another: `jq -c . {self.file} > {Path(self.file).stem}.jsonl`"
                )
            raise error


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
        if document.repeated:
            yield at, document.repeated
        elif isinstance(question, dict):
            yield at, {**shared, **question}
        else:
            yield at, "expected a question with `question` and `answers`"


def _member(document: Document, start: int, wanted: str) -> int:
    """Where a member of the object at `start` begins; of duplicate names the last one, as in Python's JSON."""
    return [at for key, at, _, _ in document.members(start) if key == wanted][-1]


_PANDAS_SCHEMA = ("schema", "fields")


def read_json(path: Path, key: str = "") -> Iterator[Row | Rejected]:
    """Rows of a JSON document; `line` is where the object begins. In SQuAD's layout each question is a row.

    Args:
        path: file of the document.
        key: the key of the list of rows, or several joined by dots; empty if there is only one list.

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
    remarks, is_table = [describe_encoding(path)], False
    if key:
        found = _found_at(document, _position(document, start, value, key.split(".")))
    elif opening == "[":
        found = found_in_list(document, start)
    else:
        found, remark, is_table = _found_in_object(document, start, value)
        remarks.append(remark)
    is_numbered = is_table or "\n" not in document.text.rstrip()
    yield from with_lines(document, found, note_on(path.name, remarks), is_numbered)


def lists_by_split(path: Path) -> list[str]:
    """The keys of the lists of rows in a JSON document, if it seems to hold lists for several splits.

    Raises:
        DataError: the document is invalid.
    """
    with open_binary(path) as file:
        head = file.read(_HEAD_BYTES)
    if not head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{") or not _TRAIN_KEY.search(head):
        return []
    document = Document(path)
    value, _ = document.value(document.skip_space(0))
    return [key for key, inner in value.items() if is_list_of_rows(inner)] if isinstance(value, dict) else []


_HEAD_BYTES = 1 << 16
_TRAIN_KEY = re.compile(rb'"train(ing)?"\s*:\s*\[', re.IGNORECASE)


def _found_in_object(document: Document, start: int, value: dict[str, Any]) -> tuple[Iterator[Found], str, bool]:
    """The rows of a document that is an object; how they were found, as a phrase after the file's name; and whether
    they have no places of their own."""
    if is_nested(value):
        return questions(document, start, value), "", False
    if is_row(value):
        return iter([(start, document.repeated or value)]), "", False
    table = table_of(value)
    if table is not None:
        rows, remark = table
        return iter([(start, row) for row in rows]), f"is read {remark}", True
    paths = [path for path in lists_within(value) if path != _PANDAS_SCHEMA]
    if not paths:
        return iter([(start, value)]), "", False
    names = [".".join(path) for path in paths]
    if len(paths) > 1:
        raise DataError(
            f"`{document.file}` contains {len(paths)} lists of rows: {quoted(names)}",
            "Which one is meant is not clear.",
            f"Name it: `burnish train '{document.file}:{names[0]}'`",
        )
    position = _position(document, start, value, paths[0])
    return found_in_list(document, position), f"is read from its key `{names[0]}`", False


def _position(document: Document, start: int, value: Any, keys: Sequence[str]) -> int:
    """Where the value begins that keys lead to. Raises DataError if there is none."""
    for number, key in enumerate(keys):
        if not isinstance(value, dict) or key not in value:
            before = ".".join(keys[:number])
            inside = f"`{before}` of `{document.file}`" if before else f"`{document.file}`"
            known = quoted(value) if isinstance(value, dict) else "none"
            raise DataError(
                f"there is no key `{key}` in {inside}", f"The keys are {known}.", "Name the list of rows by its keys"
            )
        value, start = value[key], _member(document, start, key)
    return start


def _found_at(document: Document, start: int) -> Iterator[Found]:
    document.expect("[", start)
    return found_in_list(document, start)


def found_in_list(document: Document, start: int) -> Iterator[Found]:
    """Position and row of each item of the list that begins at `start`, or what is wrong with it."""
    for at, value, _ in document.items(start):
        row = row_of(value)
        if is_nested(value):
            yield from questions(document, at, value)
        elif document.repeated:
            yield at, document.repeated
        elif row is not None:
            yield at, row
        else:
            yield at, f"expected a JSON object, not `{json.dumps(value)[:40]}`"


def with_lines(
    document: Document, found: Iterator[Found], note: str, is_numbered: bool = False
) -> Iterator[Row | Rejected]:
    """Rows with their lines, from positions in the order of the text, or with their numbers."""
    line, counted = 1, 0
    for number, (at, value) in enumerate(found, start=1):
        line = number if is_numbered else line + document.text.count("\n", counted, at)
        counted = at
        if isinstance(value, dict):
            yield Row(value, document.file, line, note)
        else:
            yield Rejected(document.file, line, value)
