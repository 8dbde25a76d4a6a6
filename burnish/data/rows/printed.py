"""Lists and objects that a program printed into a cell: as JSON, as Python writes them, or as numpy does.

["Anna", "sings"]                                     JSON
['Anna', 'sings']                                     Python
['Anna' 'sings']    [1 0]                             numpy: no commas, and line breaks in long ones
{'text': array(['Anna'], dtype=object), 'at': [0]}    objects that hold these, as pandas writes them into a CSV file

They are parsed, never evaluated.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from burnish.visible import parse_json

_TOKEN = re.compile(
    r"""(?P<space>\s*)(?:(?P<text>[bruBRU]{0,2}(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"))"""
    r"|(?P<number>[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?(?![\w.]))"
    r"|(?P<name>[A-Za-z_][\w.]*)|(?P<mark>[\[\](){}:,=]))",
    re.DOTALL,
)
_TEXTS_IN_TURN = re.compile(r"""['"]\s*[bruBRU]{0,2}['"]""")
"""Texts without a comma between, which Python would take as one text."""
_WORDS = {"None": None, "True": True, "False": False, "nan": None, "null": None, "true": True, "false": False}
_WRAPPERS = re.compile(r"(?:np\.|numpy\.)?(?:array|asarray|str_|bool_|u?int\d*|float\d*)")
"""Names before brackets whose content is the value."""
_CLOSING = {"[": "]", "(": ")", "{": "}"}


def printed(text: str) -> list[Any] | dict[str, Any] | None:
    """The list or the object that a text spells; None if it spells neither.

    A list of which numpy left out the middle (`...`) is none, since its values are lost.
    """
    text = text.strip()
    if text[:1] not in ("[", "{") and not text.startswith("array("):
        return None
    of_python = () if _TEXTS_IN_TURN.search(text) else (ast.literal_eval,)
    for read in (parse_json, *of_python, _read):
        with suppress(ValueError, SyntaxError, RecursionError, MemoryError):
            found = read(text)
            return found if isinstance(found, (list, dict)) else None
    return None


_SHORTENED = re.compile(r"\s*\[.*\s\.\.\.\s.*\]\s*", re.DOTALL)


def is_shortened(value: Any) -> bool:
    """Whether a cell is a list of which numpy left out the middle."""
    return isinstance(value, str) and _SHORTENED.fullmatch(value) is not None and printed(value) is None


def as_list(value: Any) -> Any:
    """A cell that spells a list as that list; any other value unchanged."""
    found = printed(value) if isinstance(value, str) else None
    return found if isinstance(found, list) else value


def as_object(value: Any) -> Any:
    """A cell that spells a list or an object as that; any other value unchanged."""
    found = printed(value) if isinstance(value, str) else None
    return value if found is None else found


def _read(text: str) -> Any:
    return _Parser(text).whole()


class _Parser:
    """Reads one printed value; commas between the items of a list may be missing. Raises ValueError where it cannot."""

    def __init__(self, text: str) -> None:
        self._tokens: list[tuple[str, str]] = []
        self._is_apart: list[bool] = []
        """Whether there is space before each."""
        place = 0
        while place < len(text):
            match = _TOKEN.match(text, place)
            if match is None or match.lastgroup is None:
                raise ValueError("it is no printed value")
            self._tokens.append((match.lastgroup, match[match.lastgroup]))
            self._is_apart.append(bool(match["space"]))
            place = match.end()
        self._next = 0

    def whole(self) -> Any:
        """The value of the whole text."""
        value = self._value()
        if self._next < len(self._tokens):
            raise ValueError("something follows the value")
        return value

    def _peek(self) -> str:
        return self._tokens[self._next][1] if self._next < len(self._tokens) else ""

    def _take(self, mark: str) -> None:
        if self._peek() != mark:
            raise ValueError(f"`{mark}` is missing")
        self._next += 1

    def _value(self) -> Any:
        if self._next >= len(self._tokens):
            raise ValueError("it ends too early")
        kind, token = self._tokens[self._next]
        self._next += 1
        if kind in ("text", "number"):
            found = ast.literal_eval(token)
            if isinstance(found, bytes):
                raise ValueError("bytes are no text")
            return found
        if kind == "name":
            return _WORDS[token] if token in _WORDS else self._wrapped(token)
        if token == "{":
            return dict(self._items("{", self._pair))
        if token in ("[", "("):
            return self._items(token, self._value)
        raise ValueError(f"`{token}` is no value")

    def _items(self, opening: str, read: Callable[[], Any]) -> list[Any]:
        found = []
        while self._peek() != _CLOSING[opening]:
            found.append(read())
            if self._peek() == ",":
                self._next += 1
            elif self._peek() != _CLOSING[opening] and not any(self._is_apart[self._next :][:1]):
                raise ValueError("nothing is between two values")
        self._next += 1
        return found

    def _pair(self) -> tuple[str, Any]:
        key = self._value()
        self._take(":")
        if not isinstance(key, (str, int, float)):
            raise ValueError("a key is no text")
        return str(key), self._value()

    def _wrapped(self, name: str) -> Any:
        """What `array([...], dtype=object)` or `np.int64(3)` holds."""
        if not _WRAPPERS.fullmatch(name):
            raise ValueError(f"`{name}` is no value")
        self._take("(")
        value = self._value()
        while self._peek() == ",":  # `dtype=object`, `shape=(0, 2)`
            self._next += 1
            if self._next + 1 < len(self._tokens) and self._tokens[self._next + 1][1] == "=":
                self._next += 2
                if self._tokens[self._next][0] == "name":
                    self._next += 1
                else:
                    self._value()
        self._take(")")
        return value
