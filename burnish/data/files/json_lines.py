"""JSON Lines: a file with one object a line, parsed in blocks, and what is wrong with a line that is none."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from burnish.data.files.json_groups import TEXT_KEYS, Grouping, grouping
from burnish.data.files.json_layouts import HITS, NUMBER, row_of
from burnish.data.files.lines import byte_lines, describe_decode_error, describe_encoding
from burnish.data.files.loose_json import listed, loose_value
from burnish.data.files.opening import without_compression
from burnish.data.files.unnamed import Unnamed, unnamed
from burnish.data.rows.row import Rejected, Row, note_on
from burnish.errors import DataError
from burnish.system.shell import quoted as shell_quoted
from burnish.visible import parse_json, visible

_PRINTED = re.compile(rb"\s*\{\s*'")
_BLOCK_LINES = 256
"""Lines parsed at once."""


class RepeatedKey(ValueError):
    """A key has two values in one object: which one is meant is not clear."""


def keyed_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object from its keys and values, for `object_pairs_hook`.

    Raises:
        RepeatedKey: a key has two values; JSON's own readers would take the last without a word.
    """
    found = dict(pairs)
    if len(found) < len(pairs):
        for key, value in pairs:
            if value != found[key]:
                raise RepeatedKey(f"the key `{visible(key, '')}` has two values in one object")
    return found


_DECODER = json.JSONDecoder(object_pairs_hook=keyed_once)


@dataclass(frozen=True, slots=True)
class JsonLines:
    """Consecutive raw lines of a JSON Lines file."""

    file: str
    first: int
    """1-based number of the first line."""
    lines: Sequence[bytes]
    note: str = ""
    """A sentence about how the file was read."""
    form: Unnamed | None = None
    """How lines are read that are no objects."""
    groups: Grouping | None = None
    """How objects are read that hold several rows each."""

    def rows(self) -> Iterator[Row | Rejected]:
        """Parses one JSON object per line; blank lines are skipped."""
        for number, line in enumerate(self.lines, start=self.first):
            if line.isspace():
                continue
            for found in _objects_in(line, self.form):
                for row in [found] if self.groups is None or isinstance(found, str) else self.groups.rows(found):
                    is_row = isinstance(row, dict)
                    yield Row(row, self.file, number, self.note) if is_row else Rejected(self.file, number, row)


def _objects_in(line: bytes, form: Unnamed | None) -> list[dict[str, Any] | str]:
    """What a line holds: one object, or why it is none; several where it is none as a whole and has old line ends
    within, as a file has that was put together of others.
    """
    parsed = parse_line(line, form)
    if isinstance(parsed, dict) or b"\r" not in line.strip():
        return [parsed]
    return [parse_line(part, form) for part in line.split(b"\r") if part and not part.isspace()]


def json_lines(path: Path, count: int) -> Iterator[JsonLines]:
    """The lines of a file in blocks of `count`, not parsed yet, so that another process can parse them.

    Raises:
        DataError: the file cannot be read, or is a JSON document.
    """
    numbered, remarks, form, groups = byte_lines(path), [describe_encoding(path)], None, None
    while block := list(islice(numbered, count)):
        first, line = block[0]
        if first == 1 and line.strip() == b"[":
            raise DataError(
                f"`{path}` is one JSON document, not JSON Lines",
                "Its first line is `[`; a .jsonl file has one object per line.",
                "Rename it to end in .json",
            )
        if first == 1 and line.strip() == b"{" and len(block) > 1:
            raise DataError(
                f"`{path}` has objects over several lines",
                "Its first line is `{`; a .jsonl file has one object per line.",
                f"Write each into one line: `jq -c . {shell_quoted(str(path))} > OUT.jsonl`",
            )
        lines = [line for _, line in block]
        if first == 1:
            _refuse_lists(path, lines)
            _refuse_bulk(path, lines)
        if first == 1 and (form := form_of(lines)) is not None:
            remarks.append(form.remark)
            if form.has_header:
                lines[next(number for number, line in enumerate(lines) if not line.isspace())] = b"\n"
        if first == 1 and (groups := _groups_of(lines)) is not None:
            remarks.append(groups.remark(str(path)))
        yield JsonLines(str(path), first, lines, note_on(path.name, remarks), form, groups)


def _refuse_lists(path: Path, lines: Sequence[bytes]) -> None:
    """Raises DataError where the first line is a list of objects, each of which is a row."""
    first = next((line for line in lines if not line.isspace()), b"")
    if not first.lstrip().startswith(b"[") or b"{" not in first[:_LIST_BYTES]:
        return
    value = _value_of(first)
    if isinstance(value, list) and value and all(isinstance(one, dict) for one in value) and row_of(value) is None:
        is_one = sum(not line.isspace() for line in lines) == 1
        bare = without_compression(path.name)
        renamed = shell_quoted(str(path.with_name(f"{Path(bare).stem}.json{path.name[len(bare) :]}")))
        raise DataError(
            f"`{path}` has a list of {len(value):,} objects in its first line",
            "A .jsonl file has one object per line.",
            f"Rename it to end in .json: `mv {shell_quoted(str(path))} {renamed}`"
            if is_one
            else f"Write each into a line of its own: `jq -c '.[]' {shell_quoted(str(path))} > OUT.jsonl`",
        )


_LIST_BYTES = 16
"""Within which the first object of a list begins."""


_ACTIONS = ("create", "delete", "index", "update")
"""What a line of Elasticsearch's bulk files may say is to be done with the document in the next."""


def _refuse_bulk(path: Path, lines: Sequence[bytes]) -> None:
    """Raises DataError where the first line says what Elasticsearch is to do with the document in the next line."""
    if not (filled := [line for line in lines if not line.isspace()][:_BULK_LINES]) or not _is_action(filled[0]):
        return
    left = "select(keys - [{}] != [])".format(", ".join(json.dumps(name) for name in _ACTIONS))
    form = f"{left} | .doc // ." if any(b'"update"' in line for line in filled if _is_action(line)) else left
    made = shell_quoted(f"{Path(without_compression(path.name)).stem}-documents.jsonl")
    raise DataError(
        f"`{path}` is a bulk file of Elasticsearch: before each document, a line says what to do with it",
        "These lines are no rows; a .jsonl file has one row per line.",
        f"Leave them out: `jq -c {shell_quoted(form)} {shell_quoted(str(path))} > {made}`",
    )


_BULK_LINES = 20


def _is_action(line: bytes) -> bool:
    value = _value_of(line)
    if not isinstance(value, dict) or len(value) != 1:
        return False
    ((name, inner),) = value.items()
    is_plain = isinstance(inner, dict) and all(not isinstance(cell, (dict, list)) for cell in inner.values())
    return name in _ACTIONS and is_plain and (not inner or any(key.startswith("_") for key in inner))


def form_of(lines: Sequence[bytes]) -> Unnamed | None:
    """How the lines of a file are read that are no objects, from the first of them; None if these are objects."""
    filled = [line for line in lines if not line.isspace()][:_BLOCK_LINES]
    if not filled or not filled[0].lstrip().startswith((b"[", b'"')):
        return None
    return unnamed([value for line in filled if (value := _value_of(line)) is not None])


def _groups_of(lines: Sequence[bytes]) -> Grouping | None:
    """How the objects of a file are read if each holds several rows, from the first of them."""
    filled = [line for line in lines if not line.isspace()][:_BLOCK_LINES]
    if not filled or not any(name in filled[0] for name in TEXT_KEYS):
        return None
    return grouping([value for line in filled if (value := _value_of(line)) is not None])


def _value_of(line: bytes) -> Any:
    """The value of a line of JSON; None if it is none."""
    try:
        return parse_json(line)
    except ValueError:
        return None


def read_jsonl(path: Path) -> Iterator[Row | Rejected]:
    """The rows of a JSON Lines file."""
    for lines in json_lines(path, _BLOCK_LINES):
        yield from lines.rows()


def _is_plain(value: Mapping[str, Any]) -> bool:
    """Whether `row_of` would leave an object as it is, certainly."""
    if NUMBER in value or "data" in value or HITS[1] in value:
        return False
    return not any(type(cell) is list and cell and type(cell[0]) is list for cell in value.values())


def parse_line(line: bytes, form: Unnamed | None = None) -> dict[str, Any] | str:
    """Parses a line of JSON Lines: its object, or what is wrong with it.

    Args:
        line: as in the file.
        form: how a line is read that is no object.
    """
    try:
        text = line.decode("utf-8").rstrip("\r\n")
        if (bare := text.rstrip()).endswith("},"):  # as a line taken from a list ends
            text = bare[:-1]
        values = _DECODER.decode(text)
    except UnicodeDecodeError as error:
        return describe_decode_error(error)
    except json.JSONDecodeError as error:
        if _PRINTED.match(line):
            return "this is an object as Python prints it; JSON has double quotes, as `json.dumps` writes them"
        loose = loose_value(text, 0)
        more = f"; it has {listed(loose.extras)}, which JSON does not have" if loose and loose.extras else ""
        return f"invalid JSON at column {error.colno}: {error.msg}{more}"
    except RepeatedKey as error:
        return str(error)
    except RecursionError:
        return "the JSON is nested too deeply"
    except ValueError as error:
        return f"invalid JSON: {error}"
    row = values if isinstance(values, dict) and _is_plain(values) else row_of(values)
    if row is None and form is not None:
        return form.row(values)
    return f"expected a JSON object, not {json_kind(values)}" if row is None else row


def json_kind(value: Any) -> str:
    """The JSON type of a value, with its article."""
    kinds = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", type(None): "null"}
    return kinds.get(type(value), "a number")
