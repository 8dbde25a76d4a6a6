"""Reads `.json` documents as rows, with the line where each begins; SQuAD's nested layout is flattened."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from burnish.data.files.features import Features, converters
from burnish.data.files.json_groups import (
    LABEL,
    TEXT,
    Grouping,
    are_texts_by_label,
    grouping,
    grouping_of_members,
    names_of_members,
)
from burnish.data.files.json_layouts import (
    features_beside,
    is_in_pieces,
    is_list_of_rows,
    is_numbered_list,
    is_row,
    lists_within,
    row_of,
    several_lists,
)
from burnish.data.files.json_lines import RepeatedKey, keyed_once
from burnish.data.files.json_tables import table_of, tables_within
from burnish.data.files.lines import describe_encoding, text_lines
from burnish.data.files.loose_json import explained
from burnish.data.files.opening import open_binary
from burnish.data.files.splits import split_of
from burnish.data.files.unnamed import SAMPLE, Unnamed, is_list_of_cells, unnamed
from burnish.data.rows.row import Rejected, Row, note_on, quoted
from burnish.errors import DataError
from burnish.system.shell import quoted as shell_quoted

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
        error = DataError(
            f"{self.file}:{line}:{column}: invalid JSON: {message}",
            "A .json file is a single document, so one error makes all of it unreadable.",
            "Fix it, or save the rows as .jsonl with one object per line, where a bad line affects only one row",
        )
        return explained(error, Path(self.file), self.text)

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
                error.fix = f"If it holds one object after another: `jq -c . {shell_quoted(self.file)} > OUT.jsonl`"
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


@dataclass(frozen=True, slots=True)
class _Reading:
    """The rows of a document, or of a part of it."""

    found: Iterator[Found]
    remarks: tuple[str, ...] = ()
    """How they were found, as phrases after the name of the file."""
    has_places: bool = True
    """Whether each row has a place of its own in the text."""


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
    document.expect("[{", start)
    value, end = document.value(start)
    document.expect_end(end)
    repeated, keys = document.repeated, key.split(".") if key else []
    start, value = _inside(document, start, value, keys)
    document.expect("[{", start)
    if isinstance(value, dict):
        reading = _found_in_object(document, start, value, repeated)
    else:
        reading = found_in_list(document, start, keys)
    is_numbered = not reading.has_places or "\n" not in document.text.rstrip()
    note = note_on(path.name, [describe_encoding(path), *reading.remarks])
    yield from with_lines(document, reading.found, note, is_numbered)


def parts_by_key(path: Path) -> dict[str, bool]:
    """The keys of the lists of rows in a JSON document, or of tables, if it seems to hold some for several splits; and
    whether each is a list.

    Raises:
        DataError: the document is invalid.
    """
    with open_binary(path) as file:
        head = file.read(_HEAD_BYTES)
    if not head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{") or not _SPLIT_KEY.search(head):
        return {}
    document = Document(path)
    value, _ = document.value(document.skip_space(0))
    if not isinstance(value, dict) or is_row(value):
        return {}
    parts = {
        key: inner for key, inner in value.items() if _holds_rows(inner) or (split_of(key) and _holds_texts(inner))
    }
    return {key: isinstance(inner, list) for key, inner in parts.items()}


_HEAD_BYTES = 1 << 16
_SPLIT_KEY = re.compile(rb'"[^"\s]*(train|val|dev|test|eval)[^"\s]*"\s*:\s*[\[{]', re.IGNORECASE)
"""A list or an object below the name of a split. The one for training may come after the others."""


def _holds_rows(value: Any) -> bool:
    if isinstance(value, dict):
        return is_nested(value) or table_of(value) is not None or bool(_paths_within(value))
    return is_list_of_rows(value) or is_list_of_cells(value)


def _holds_texts(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and unnamed(value[:SAMPLE]) is not None


def _found_in_object(document: Document, start: int, value: dict[str, Any], repeated: str) -> _Reading:
    """The rows of an object.

    Args:
        document: that holds it.
        start: where it begins.
        value: the object.
        repeated: what is wrong with it where a key has two values.
    """
    if is_nested(value):
        return _Reading(questions(document, start, value))
    if is_row(value):
        return _Reading(iter([(start, repeated or value)]))
    if (reading := _by_name(document, start, value)) is not None:
        return reading
    if (table := table_of(value)) is not None:
        (rows, remark), twice = table, [repeated] if repeated else []
        return _Reading(iter([(start, row) for row in (*rows, *twice)]), (f"is read {remark}",), has_places=False)
    if are_texts_by_label(value):
        return _Reading(_of_labels(document, start), ("is read as texts below their labels",))
    if (names := names_of_members(value)) is not None:
        return _Reading(_of_members(document, start, names), (_BY_MEMBER.format(*names),))
    paths = _paths_within(value)
    if not paths:
        return _Reading(iter([(start, repeated or value)]))
    held = [_inside(document, start, value, path) for path in paths]
    if all(isinstance(inner, list) and any(map(is_in_pieces, inner)) for _, inner in held):
        return _of_intents(document, [(at, path) for (at, _), path in zip(held, paths, strict=True)])
    if len(paths) > 1:
        raise several_lists(document.file, paths, [len(inner) for _, inner in held])
    name = ".".join(paths[0])
    ((at, inner),) = held
    if isinstance(inner, dict):
        reading = _found_in_object(document, at, inner, "")
    else:
        reading = _named(found_in_list(document, at, paths[0]), features_beside(value))
    return replace(reading, remarks=(f"is read from its key `{name}`", *reading.remarks))


def _by_name(document: Document, start: int, value: dict[str, Any]) -> _Reading | None:
    """The rows of an object whose keys are the names of intents, or which holds one such object; None for others."""
    held = [((), value), *(((key,), inner) for key, inner in value.items() if isinstance(inner, dict))]
    found = [(keys, groups) for keys, inner in held if (groups := grouping_of_members(inner)) is not None]
    if len(found) != 1:
        return None
    ((keys, groups),) = found
    at, _ = _inside(document, start, value, keys)
    values = ((place, {groups.label: key, **inner}) for key, place, inner, _ in document.members(at))
    said = groups.remark(document.file, f"{_path(keys)}[]").removeprefix("has ")
    remarks = (*(f"is read from its key `{key}`" for key in keys), f"has intents by name, and {said}")
    return _Reading(_of_groups(document, values, groups), remarks)


_BY_MEMBER = "has one object of many keys; each is read as a row: the key as `{}` and its value as `{}`"


def _paths_within(value: dict[str, Any]) -> list[tuple[str, ...]]:
    """The keys that lead to what holds rows inside an object: lists of objects, else lists of cells, else tables."""
    paths = [path for path in lists_within(value) if path != _PANDAS_SCHEMA]
    if len(paths) > 1 and len(numbered := list(lists_within(value, is_numbered_list))) == 1:
        return numbered
    return paths or list(lists_within(value, is_list_of_cells)) or list(tables_within(value))


def _inside(document: Document, start: int, value: Any, keys: Sequence[str]) -> tuple[int, Any]:
    """Where the value begins that keys lead to, and that value. Raises DataError if there is none."""
    for number, key in enumerate(keys):
        if not isinstance(value, dict) or key not in value:
            before = ".".join(keys[:number])
            inside = f"`{before}` of `{document.file}`" if before else f"`{document.file}`"
            known = quoted(value) if isinstance(value, dict) else "none"
            raise DataError(
                f"there is no key `{key}` in {inside}", f"The keys are {known}.", "Name the list of rows by its keys"
            )
        value, start = value[key], _member(document, start, key)
    return start, value


def found_in_list(document: Document, start: int, keys: Sequence[str] = ()) -> _Reading:
    """The rows of the list that begins at `start`: each item, or what is wrong with it.

    Args:
        document: that holds it.
        start: where it begins.
        keys: that lead to it.
    """
    sample = [value for _, value, _ in islice(document.items(start), SAMPLE)]
    if (groups := grouping(sample)) is not None:
        values = ((at, value) for at, value, _ in document.items(start))
        return _Reading(_of_groups(document, values, groups), (groups.remark(document.file, f"{_path(keys)}[]"),))
    form = unnamed(sample, *keys[-1:])
    return _Reading(_of_items(document, start, form), (form.remark,) if form else ())


def _path(keys: Sequence[str]) -> str:
    """Keys as jq has them."""
    return "".join(f".{key if key.isidentifier() else json.dumps(key)}" for key in keys) or "."


def _of_items(document: Document, start: int, form: Unnamed | None) -> Iterator[Found]:
    for number, (at, value, _) in enumerate(document.items(start)):
        row = row_of(value)
        if is_nested(value):
            yield from questions(document, at, value)
        elif document.repeated:
            yield at, document.repeated
        elif row is not None:
            yield at, row
        elif form is None:
            yield at, f"expected a JSON object, not `{json.dumps(value)[:40]}`"
        elif number or not form.has_header:
            yield at, form.row(value)


def _of_groups(document: Document, values: Iterable[tuple[int, Any]], groups: Grouping) -> Iterator[Found]:
    """The rows of objects that hold several each, with the place of each object."""
    for at, value in values:
        texts = document.repeated or groups.texts_of(value)
        if isinstance(texts, str):
            yield at, texts
        elif isinstance(value[groups.texts], str):
            yield from ((at, groups.row(value, text)) for text in texts)
        else:
            for place, text, _ in document.items(_member(document, at, groups.texts)):
                yield place, groups.row(value, text)


def _of_labels(document: Document, start: int) -> Iterator[Found]:
    for label, at, _, _ in document.members(start):
        for place, text, _ in document.items(at):
            yield place, {TEXT: text, LABEL: label}


def _of_members(document: Document, start: int, names: tuple[str, str]) -> Iterator[Found]:
    for key, at, value, _ in document.members(start):
        yield at, dict(zip(names, (key, value), strict=True))


def _of_intents(document: Document, lists: Sequence[tuple[int, Sequence[str]]]) -> _Reading:
    """Texts in pieces, in a list for each intent, as SNIPS has them."""

    def found() -> Iterator[Found]:
        for start, path in lists:
            intent = next((key for key in reversed(path) if key not in ("utterances", "data")), path[-1])
            for at, row in _of_items(document, start, None):
                yield at, {"intent": intent, **row} if isinstance(row, dict) else row

    return _Reading(found(), ("has texts in pieces, which are joined; the key above them is read as their `intent`",))


def _named(reading: _Reading, features: Features) -> _Reading:
    """Rows with the names of labels where the hub's viewer has them beside the rows."""
    convert = converters(features)
    if not convert:
        return reading

    def named(row: Mapping[str, Any]) -> dict[str, Any]:
        return {key: convert[key](cell) if key in convert and cell is not None else cell for key, cell in row.items()}

    found = ((at, named(row) if isinstance(row, dict) else row) for at, row in reading.found)
    return replace(reading, found=found)


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
