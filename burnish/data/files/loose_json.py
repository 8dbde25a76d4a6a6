"""JSON with what JSON does not have: comments, commas before closing brackets, keys without quotes, text in single
quotes, and Python's words. It is recognized, to say what is wrong, and never read.
"""

from __future__ import annotations

import ast
import json
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from burnish.errors import DataError
from burnish.system.shell import quoted as shell_quoted

_TOKEN = re.compile(
    r"(?P<space>\s+)|(?P<comment>//[^\n]*|/\*.*?\*/|\#[^\n]*)"
    r"""|(?P<text>"(?:[^"\\\n]|\\.)*")|(?P<single>'(?:[^'\\\n]|\\.)*')|(?P<tick>`[^`]*`)"""
    r"|(?P<number>[+-]?(?:0[xX][\da-fA-F]+|(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)(?![\w.]))"
    r"|(?P<name>[^\W\d][\w$]*|\$[\w$]*)|(?P<mark>[\[\]{}:,])",
    re.DOTALL,
)
_ENDS = re.compile(r"(?:\s|//[^\n]*(?:\n|\Z)|/\*.*?\*/|\#[^\n]*(?:\n|\Z))*\Z", re.DOTALL)
_WORDS = {"true", "false", "null"}
_OF_PYTHON = {"True", "False", "None"}
_OF_JAVASCRIPT = {"undefined", "NaN", "Infinity"}
COMMENT, HASH = "a comment", "a comment after `#`"
COMMA, KEY = "a comma before a closing bracket", "a key without quotes"
SINGLE, TICK, PYTHON = "text in single quotes", "text in backticks", "Python's words `True`, `False` or `None`"
WORD = "JavaScript's word `undefined`, `NaN` or `Infinity`"
JSON5 = "pip install json5 && python -m json5 --as-json {path}"
"""The command that writes a file of JSON5 as JSON."""
_CLOSING = {"[": "]", "{": "}"}


@dataclass(frozen=True, slots=True)
class Loose:
    """A list or an object that could be read as JSON but for what it has besides."""

    start: int
    end: int
    """Where it ends in the text."""
    extras: tuple[str, ...]
    """What of it JSON does not have, in order."""


def loose_value(text: str, start: int) -> Loose | None:
    """The list or object that begins at `start`, whatever follows it; None if there is none.

    No values are made: this takes little memory for a text of any depth.
    """
    extras: dict[str, None] = {}
    brackets: list[str] = []
    expected, before, place = "value", "", start
    while match := _TOKEN.match(text, place):
        kind, token, place = str(match.lastgroup), match[0], match.end()
        if kind in ("space", "comment"):
            extras |= {HASH if token.startswith("#") else COMMENT: None} if kind == "comment" else {}
            continue
        if kind == "mark":
            following = _after_mark(token, expected, before, brackets)
            extras |= {COMMA: None} if token in ("]", "}") and before == "," else {}
        else:
            extra = _extra(kind, token, expected)
            extras |= {extra: None} if extra else {}
            following = None if extra is None else {"key": "colon", "value": "after"}.get(expected)
        if following is None or not brackets:
            return Loose(start, place, tuple(extras)) if following == "after" and kind == "mark" else None
        expected, before = following, token if kind == "mark" else ""
    return None


def _after_mark(token: str, expected: str, before: str, brackets: list[str]) -> str | None:
    """What has to follow a mark, and the open brackets changed by it; None where it may not be there.

    Args:
        token: the mark.
        expected: `key`, `colon`, `value`, or `after` for what follows a value.
        before: the mark right before it; empty for none.
        brackets: those that are open.
    """
    if token in _CLOSING and expected == "value":
        brackets.append(token)
        return "key" if token == "{" else "value"
    if token in ("]", "}") and (expected == "after" or before in ("[", "{", ",")):
        return "after" if brackets and _CLOSING[brackets.pop()] == token else None
    if token == "," and expected == "after":
        return "key" if brackets[-1] == "{" else "value"
    return "value" if token == ":" and expected == "colon" else None


def _extra(kind: str, token: str, expected: str) -> str | None:
    """What a key or a value has that JSON has not; empty for nothing, None if it is neither."""
    is_key = expected == "key"
    if kind in ("single", "tick"):
        return SINGLE if kind == "single" else TICK
    if kind == "name" and not is_key:
        known = ((_WORDS, ""), (_OF_PYTHON, PYTHON), (_OF_JAVASCRIPT, WORD))
        return next((extra for words, extra in known if token in words), None)
    return KEY if is_key and kind != "text" else ""


def of_python(text: str) -> bool:
    """Whether Python reads a list or an object as JavaScript does: it has no `true`, and no `\\/`, for example."""
    if "\\/" in text:
        return False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of escapes that mean nothing
            return isinstance(ast.literal_eval(text), (list, dict))
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
        return False


def by_json5(extras: Sequence[str]) -> bool:
    """Whether the package `json5` reads a value that has such things."""
    return set(extras) <= {COMMENT, COMMA, KEY, SINGLE}


def conversion(path: Path, text: str, extras: Sequence[str]) -> str:
    """What to type to make JSON of a file, all of which is such a value; empty where there is no command for it."""
    made = shell_quoted(str(path.with_name(f"{path.stem}-strict.json")))
    if of_python(text.strip()):
        script = (
            f'import ast, json; text = open({json.dumps(str(path))}, encoding="utf-8-sig").read().strip(); '
            "print(json.dumps(ast.literal_eval(text), default=list))"
        )
        return f"`python -c {shell_quoted(script)} > {made}`"
    return f"`{JSON5.format(path=shell_quoted(str(path)))} > {made}`" if by_json5(extras) else ""


def explained(error: DataError, path: Path, text: str) -> DataError:
    """The error for a document that is no JSON: if it only has more than JSON has, what that is and how to convert it.

    Args:
        error: says where.
        path: of the file.
        text: all of it.
    """
    found = loose_value(text, 0)
    if found is None or not found.extras or not _ENDS.match(text, found.end):
        return error
    why = f"It has {listed(found.extras)}, which JSON does not have. {error.why}"
    command = conversion(path, text, found.extras)
    return DataError(error.what, why, f"Write it as strict JSON, and give that: {command}" if command else error.fix)


def listed(extras: Sequence[str]) -> str:
    """What a value has that JSON has not, as a phrase."""
    *others, last = extras
    return f"{', '.join(others)} and {last}" if others else last
