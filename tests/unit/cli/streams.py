"""Streams to show things on: one that is piped, one that is a terminal."""

from __future__ import annotations

import io

from burnish.cli.console import Console, Output


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        """Always."""
        return True


class Screen:
    """A console with its two streams at hand."""

    def __init__(self, *words: str, is_terminal: bool = False) -> None:
        kind = Terminal if is_terminal else io.StringIO
        self.stdout, self.stderr = kind(), kind()
        self.console = Console(Output.of(words), self.stdout, self.stderr)

    @property
    def out(self) -> str:
        """What stdout has got."""
        return self.stdout.getvalue()

    @property
    def err(self) -> str:
        """What stderr has got."""
        return self.stderr.getvalue()
