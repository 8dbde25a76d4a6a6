"""Text files that hold a list of rows rather than running text: a JSON document, or a list as Python code writes it.

TRAIN_DATA = [("Who is Shaka Khan?", {"entities": [(7, 17, "PERSON")]}), ...]      as in the guides of spaCy

The code is parsed, and never run.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from burnish.data.files.code import refuse_code
from burnish.data.files.json_documents import read_json
from burnish.data.files.json_layouts import row_of
from burnish.data.files.lines import describe_encoding, text_lines
from burnish.data.files.unnamed import SAMPLE, Unnamed, unnamed
from burnish.data.rows.row import Rejected, Row, note_on, quoted
from burnish.errors import DataError
from burnish.system.machine import memory_size
from burnish.visible import parse_json

_MAY_BE_CODE = re.compile(
    r"(?:(?:export\s+)?(?:const|let|var)\s+[\w$]+[^=\n]*=|export\s+default\b|[^\W\d][\w$.]*\s*(?::[^=]+)?=)?\s*[\[{]"
)
"""How a file begins that may be code with data in it: with an object or a list, or a name for one."""
_BEGINS = re.compile(r"(?P<name>[^\W\d]\w*\s*(?::[^=]+)?=\s*)?(?P<opening>[\[{])\s*[\[({\"']")
"""How such a file begins, without comments and imports: the name of the list, its bracket, that of its first row."""
_SKIPPED = ("#", "//", "import ", "from ")
_BEGINNING = 200
"""Characters that show how a file begins."""
_MOST_CHARACTERS = 2 << 20
"""Of Python code: its tree takes some 150 times as many bytes."""


def read_listed(path: Path) -> Iterator[Row | Rejected] | None:
    """The rows of a text file that is a JSON document or a list in Python code; None if it is running text.

    Raises:
        DataError: the file is not text; or a list in Python code is too long, or one of several; or it is other code
            with data in it.
    """
    beginning = _beginning(path)
    found = _BEGINS.match(beginning)
    if found is None and not _MAY_BE_CODE.match(beginning):
        return None
    text = "".join(line for _, line in text_lines(path, longest=-1))
    if found is None:
        return refuse_code(path, text)
    if found["name"] is None and _is_json(text):
        note = note_on(path.name, ["is read as a JSON document"])
        return (
            replace(row, note=f"{note} {row.note}".rstrip()) if isinstance(row, Row) else row for row in read_json(path)
        )
    if found["opening"] != "[":
        return refuse_code(path, text)
    if len(text) > _MOST_CHARACTERS:
        raise _too_long(path)
    rows = _list_in(path, text)
    return refuse_code(path, text) if rows is None else _rows(path, rows)


def _beginning(path: Path) -> str:
    """The first lines, without comments and imports."""
    begin = ""
    for _, line in text_lines(path, longest=-1):
        bare = line.strip()
        begin += "" if bare.startswith(_SKIPPED) else bare[:_BEGINNING]
        if len(begin) >= _BEGINNING:
            break
    return begin


def _is_json(text: str) -> bool:
    try:
        return isinstance(parse_json(text), (list, dict))
    except ValueError:
        return False


def _list_in(path: Path, text: str) -> Sequence[ast.expr] | None:
    """The items of the only list of rows in some code; None where it is no code, or has no such list.

    Raises:
        DataError: it has several.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of escapes that mean nothing
            statements = ast.parse(text).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    lists: list[tuple[str, list[ast.expr]]] = []
    for statement in statements:
        if isinstance(statement, (ast.Assign, ast.AnnAssign, ast.Expr)) and isinstance(statement.value, ast.List):
            name = "" if isinstance(statement, ast.Expr) else ast.unparse(_target(statement))
            if statement.value.elts and isinstance(_value_of(statement.value.elts[0]), (dict, list, str)):
                lists.append((name, statement.value.elts))
    if len(lists) > 1:
        raise DataError(
            f"`{path}` is Python code with several lists: {quoted(name or '[...]' for name, _ in lists)}",
            "Which of them holds the rows is not clear.",
            "Keep one list in a file, for example `train.txt` and `test.txt` in one folder, and give the folder",
        )
    for name, items in lists:
        if any(_changes(node, name) for statement in statements for node in ast.walk(statement)):
            raise DataError(
                f"`{path}` is Python code that changes its list `{name}`",
                "The code is not run, so rows that it adds or removes would not be noticed.",
                f"Write the rows as JSON, in that code: `json.dump({name}, open('rows.json', 'w'))`",
            )
        return items
    return None


_CHANGING = ("append", "extend", "insert", "remove", "pop", "clear")


def _changes(node: ast.AST, name: str) -> bool:
    """Whether a piece of code changes the list of this name, by `+=` or a method."""
    if isinstance(node, ast.AugAssign):
        return ast.unparse(node.target) == name
    return isinstance(node, ast.Attribute) and node.attr in _CHANGING and ast.unparse(node.value) == name


def _target(statement: ast.Assign | ast.AnnAssign) -> ast.expr:
    return statement.targets[0] if isinstance(statement, ast.Assign) else statement.target


def _rows(path: Path, items: Sequence[ast.expr]) -> Iterator[Row | Rejected]:
    values = [_value_of(item) for item in items]
    form = unnamed([value for value in values if value is not None][:SAMPLE])
    said = ["is read as a list in Python code, which is not run", *([form.remark] if form is not None else [])]
    note = note_on(path.name, [describe_encoding(path), *said])
    begin = 1 if form is not None and form.has_header else 0
    for item, value in list(zip(items, values, strict=True))[begin:]:
        row = _row_of(value, form)
        is_row = isinstance(row, dict)
        yield Row(row, str(path), item.lineno, note) if is_row else Rejected(str(path), item.lineno, row)


def _row_of(value: Any, form: Unnamed | None) -> dict[str, Any] | str:
    """The row that a value is, or why it is none."""
    if value is None:
        return "this is computed by code, which is not run"
    row = row_of(value)
    if row is not None:
        return row
    return form.row(value) if form is not None else f"expected a row, not `{str(value)[:40]}`"


def _value_of(item: ast.expr) -> Any:
    """The value that an expression spells, with lists in place of tuples and sets; None if it has to be computed.

    A set becomes a sorted list: its own order is another one in each process.
    """
    try:
        return _with_lists(ast.literal_eval(item))
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        return None


def _with_lists(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _with_lists(inner) for key, inner in value.items()}
    if isinstance(value, set):
        value = sorted(value, key=repr)
    return [_with_lists(inner) for inner in value] if isinstance(value, (list, tuple)) else value


def _too_long(path: Path) -> DataError:
    return DataError(
        f"`{path}` is a list in Python code of more than {memory_size(_MOST_CHARACTERS)}",
        "Parsing code takes 150 times as much memory.",
        "Write the rows as JSON, in that code: `json.dump(ROWS, open('rows.json', 'w'))`",
    )
