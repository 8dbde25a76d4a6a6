"""Ways to write a record down: JSON, key-value lines, rows with bars, dashes and more."""

from __future__ import annotations

import json
import random
from collections.abc import Callable

Pairs = list[tuple[str, str | int]]


def _json(pairs: Pairs) -> str:
    return json.dumps(dict(pairs), ensure_ascii=False)


def _lines(mark: str, start: str = "", end: str = "\n") -> Callable[[Pairs], str]:
    return lambda pairs: end.join(f"{start}{key}{mark}{value}" for key, value in pairs)


LAYOUTS: dict[str, tuple[Callable[[Pairs], str], tuple[str, ...]]] = {
    "json": (_json, ("as JSON", "as a JSON object", "in JSON", "as one JSON record")),
    "colon": (
        _lines(": "),
        ("as key: value lines", "one key: value pair per line", "with one field per line"),
    ),
    "equals": (_lines(" = "), ("as key = value lines", "with an equals sign between key and value")),
    "tight": (
        _lines("=", "", ";"),
        ("as key=value pairs with semicolons", "on one line as key=value;key=value"),
    ),
    "dashes": (_lines(": ", "- "), ("as a list with dashes", "as a dash list of key: value")),
    "stars": (_lines(": ", "* "), ("as a list with stars", "with a star before each key: value")),
    "bars": (
        lambda pairs: " | ".join(str(value) for _, value in pairs),
        ("as one row with bars", "as values with bars between them", "as a | b | c"),
    ),
    "commas": (
        lambda pairs: ", ".join(str(value) for _, value in pairs),
        ("as values with commas between them", "as one line with commas"),
    ),
    "tags": (
        lambda pairs: "".join(f"<{key}>{value}</{key}>" for key, value in pairs),
        ("with tags", "as <key>value</key>"),
    ),
    "arrows": (_lines(" -> "), ("with arrows", "as key -> value lines")),
    "brackets": (
        lambda pairs: " ".join(f"[{key}: {value}]" for key, value in pairs),
        ("in square brackets", "as [key: value] parts"),
    ),
}
NAMES = ("json",) * 7 + tuple(LAYOUTS) + ("colon", "equals", "bars", "dashes")


def styled(rng: random.Random, keys: list[str]) -> list[str]:
    """The keys in one style: as they are, capitalised or in upper case."""
    roll = rng.random()
    if roll < 0.75:
        return keys
    if roll < 0.9:
        return [key[:1].upper() + key[1:].replace("_", " ") for key in keys]
    return [key.upper() for key in keys]


def layout(rng: random.Random) -> tuple[str, Callable[[Pairs], str], str]:
    """A layout: its name, its writer and words for it."""
    name = rng.choice(NAMES)
    writer, words = LAYOUTS[name]
    return name, writer, rng.choice(words)
