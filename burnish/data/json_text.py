"""A JSON document read value by value, so that the place of each is known."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from burnish.data.lines import text_lines
from burnish.errors import DataError

SPACE = re.compile(r"[ \t\n\r]*")


class Document:
    """The text of a JSON file, and the values that begin at its positions."""

    def __init__(self, path: Path) -> None:
        self.file = str(path)
        self.text = "".join(line for _, line in text_lines(path))
        self.decoder = json.JSONDecoder()

    def skip_space(self, position: int) -> int:
        """The position of the next character that is not white space."""
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
            raise self.broken(str(error) or "nested too deep", position) from error

    def expect(self, characters: str, position: int) -> str:
        """The character at `position`, which must be one of `characters`."""
        found = self.text[position : position + 1]
        if not found or found not in characters:
            wanted = " or ".join(f"`{character}`" for character in characters)
            raise self.broken(f"expected {wanted}" + (f", found `{found}`" if found else ", found the end"), position)
        return found

    def broken(self, message: str, position: int) -> DataError:
        """The error for text that is not JSON, naming line and column."""
        line = self.text.count("\n", 0, position) + 1
        column = position - (self.text.rfind("\n", 0, position) + 1) + 1
        return DataError(
            f"{self.file}:{line}:{column}: broken JSON: {message}",
            "A .json file is one document and is read whole or not at all",
            "Mend that place, or save one object a line as .jsonl, where one bad line costs one row",
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
        """Nothing but white space may follow `position`."""
        position = self.skip_space(position)
        if position < len(self.text):
            raise self.broken("there is more after the end of the document", position)
