"""Where everything that a user sees goes through; the only file that prints.

Results go to stdout; errors, and what happens meanwhile, go to stderr. With `--json` stdout holds one JSON object and
nothing else; with `--quiet` only the bare result is left. Rich on a terminal, plain lines when piped.
"""

from __future__ import annotations

import importlib
import importlib.util
import io
import json
import math
import os
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TextIO

from burnish.errors import BurnishError, Interrupted

if TYPE_CHECKING:
    import rich.console

    from burnish.cli.results import Table


@dataclass(frozen=True, slots=True)
class Output:
    """What the user asked to see."""

    json: bool = False
    quiet: bool = False
    debug: bool = False

    @classmethod
    def of(cls, words: Sequence[str]) -> Output:
        """Read from the words of the command line, so that errors in the other words obey it too."""
        words = words[: words.index("--")] if "--" in words else words
        return cls("--json" in words, "--quiet" in words, "--debug" in words)


class Console:
    """Two streams and what the user asked to see on them."""

    def __init__(self, output: Output, stdout: TextIO | None = None, stderr: TextIO | None = None) -> None:
        self.output = output
        self._stdout = stdout or sys.stdout
        self._stderr = stderr or sys.stderr
        self._drawn: dict[int, rich.console.Console] = {}
        for stream in (self._stdout, self._stderr):
            if isinstance(stream, io.TextIOWrapper):
                # A file's name need not be valid text; that must not end in an error about the error.
                stream.reconfigure(errors="backslashreplace")

    @property
    def is_terminal(self) -> bool:
        """Whether results are read by a person rather than piped on."""
        return self._stdout.isatty()

    @property
    def is_live(self) -> bool:
        """Whether a progress bar can be drawn."""
        return self._stderr.isatty() and not self.is_silent and os.environ.get("TERM") != "dumb"

    @property
    def is_silent(self) -> bool:
        """Whether everything but the result and errors is left out."""
        return self.output.json or self.output.quiet

    def result(self, text: str) -> None:
        """A line of the result: left out only with `--json`."""
        if not self.output.json:
            self._put(self._stdout, text)

    def say(self, text: str = "", style: str = "") -> None:
        """A line around the result, such as a heading or what to do next: left out with `--quiet` and `--json`."""
        if not self.is_silent:
            self._put(self._stdout, text, style)

    def note(self, text: str, style: str = "") -> None:
        """A line about what happens meanwhile, on stderr: left out with `--quiet` and `--json`."""
        if not self.is_silent:
            self._put(self._stderr, text, style)

    def warn(self, text: str) -> None:
        """Something to look at, on stderr; left out only with `--json`, where events carry it."""
        if not self.output.json:
            self._put(self._stderr, f"warning: {text}", "yellow")

    def pieces(self, pieces: Sequence[tuple[str, str]]) -> None:
        """A line around the result, of pieces of text with a style each: left out with `--quiet` and `--json`."""
        if self.is_silent:
            return
        if self.is_terminal:
            from rich.text import Text

            self.rich(self._stdout).print(Text.assemble(*pieces), soft_wrap=True)
        else:
            self._put(self._stdout, "".join(text for text, _ in pieces))

    def table(self, table: Table) -> None:
        """A table of the result: drawn on a terminal, aligned columns when piped."""
        if self.output.json:
            return
        if self.is_terminal:
            self.rich(self._stdout).print(table.drawn())
        else:
            self._put(self._stdout, table.plain())

    def json(self, value: Any) -> None:
        """The one JSON object of a command; nothing without `--json`."""
        if self.output.json:
            text = json.dumps(_finite(value), ensure_ascii=False, allow_nan=False, default=str)
            print(text, file=self._stdout, flush=True)

    def stream(self, piece: str) -> None:
        """A piece of generated text as it comes, with nothing added."""
        if not self.output.json:
            print(piece, end="", file=self._stdout, flush=True)

    def ask(self, prompt: str) -> str | None:
        """The user's next line; None when there is no more. The prompt is shown only to a person at a terminal."""
        if not sys.stdin.isatty():
            return sys.stdin.readline() or None
        if importlib.util.find_spec("readline"):
            importlib.import_module("readline")  # gives `input` editing and history
        try:
            return input("" if self.is_silent else prompt)
        except EOFError:
            self.say()
            return None

    def error(self, error: BurnishError) -> None:
        """The three short parts of an error: what is wrong, why, what to do. Stopping is told, but is no error."""
        if self.output.json:
            parts = {"what": error.what, "why": error.why, "fix": error.fix, "exit_code": error.exit_code}
            self.json({"error": parts})
            return
        if isinstance(error, Interrupted):
            self._put(self._stderr, error.what, "bold")
        else:
            self._put(self._stderr, f"error: {error.what}", "bold red")
        if error.why or error.fix:
            self._put(self._stderr, "")
        if error.why:
            self._put(self._stderr, _labelled("why", error.why))
        if error.fix:
            self._put(self._stderr, _labelled("hint", error.fix), "cyan")

    def traceback(self, error: BaseException) -> None:
        """Where an error came from, for `--debug`."""
        print("".join(traceback.format_exception(error)), file=self._stderr)

    def give_up(self) -> None:
        """Called when the reader (`| head`) has gone: else Python complains once more when it flushes at exit."""
        os.dup2(os.open(os.devnull, os.O_WRONLY), self._stdout.fileno())

    def live(self) -> rich.console.Console:
        """The terminal that a progress bar is drawn on."""
        return self.rich(self._stderr)

    def rich(self, stream: TextIO) -> rich.console.Console:
        """The rich console of a stream, which takes text as it is: no markup, no guessed colours.

        One for each stream, so that lines printed while a progress bar is drawn go above it.
        """
        from rich.console import Console as RichConsole

        if id(stream) not in self._drawn:
            self._drawn[id(stream)] = RichConsole(file=stream, markup=False, highlight=False)
        return self._drawn[id(stream)]

    def _put(self, stream: TextIO, text: str, style: str = "") -> None:
        if stream.isatty():
            self.rich(stream).print(text, style=style or None, soft_wrap=True)
        else:
            print(text, file=stream, flush=True)


def _finite(value: Any) -> Any:
    """JSON has no infinity and no NaN: they become null."""
    if isinstance(value, dict):
        return {name: _finite(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _labelled(label: str, text: str) -> str:
    """`label: text`; a list of several lines begins below the label."""
    return f"{label}:\n{text}" if "\n" in text else f"{label}: {text}"
