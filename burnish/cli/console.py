"""The only file that prints: everything a user sees passes through `Console`.

Results go to stdout; progress, warnings and errors go to stderr. With `--json`, stdout holds one JSON object and
nothing else, and the warnings and notes are in it; with `--json-lines`, each event is a line before it; with `--quiet`,
only the bare result. A terminal gets colors, tables and wrapped lines; a pipe gets plain
lines. Neither gets control characters from a row, a name or a model: they are written as escapes. Only an answer that
is piped stays as it is, because it is data. Color never carries meaning alone, and `NO_COLOR` turns it off.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import io
import json
import os
import sys
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TextIO

from burnish.errors import BurnishError, Interrupted
from burnish.visible import finite, visible, visible_json

if TYPE_CHECKING:
    import rich.console

    from burnish.cli.table import Facts, Table


@dataclass(frozen=True, slots=True)
class Output:
    """How much the user asked to see."""

    json: bool = False
    quiet: bool = False
    verbose: bool = False
    debug: bool = False
    lines: bool = False
    """Whether events are JSON lines before the result; `json` then holds, too."""

    @classmethod
    def of(cls, arguments: Sequence[str]) -> Output:
        """Found in the raw arguments, before they are parsed, so that errors in parsing them are shown the same way."""
        options = arguments[: arguments.index("--")] if "--" in arguments else arguments
        has_lines = "--json-lines" in options
        is_json = has_lines or "--json" in options
        return cls(is_json, "--quiet" in options, "--verbose" in options, "--debug" in options, has_lines)


class Console:
    """Two streams, and how much the user asked to see on them."""

    def __init__(
        self,
        output: Output,
        stdout: TextIO | None = None,
        stderr: TextIO | None = None,
        arguments: Sequence[str] = (),
    ) -> None:
        self.output = output
        self.arguments = tuple(arguments)
        """The words of the command, as typed."""
        self._stdout = stdout or sys.stdout
        self._stderr = stderr or sys.stderr
        self._terminals: dict[int, rich.console.Console] = {}
        self._warnings: list[str] = []
        self._notes: list[str] = []
        for stream in (self._stdout, self._stderr):
            if isinstance(stream, io.TextIOWrapper):
                # A file name need not be valid text; printing one must not raise another error.
                stream.reconfigure(errors="backslashreplace")

    @property
    def is_terminal(self) -> bool:
        """Whether stdout is a terminal rather than a pipe or a file."""
        return self._stdout.isatty()

    @property
    def is_live(self) -> bool:
        """Whether a progress bar can be drawn."""
        return self._stderr.isatty() and not self.is_silent and os.environ.get("TERM") != "dumb"

    @property
    def is_silent(self) -> bool:
        """Whether only the result and errors are shown."""
        return self.output.json or self.output.quiet

    def result(self, text: str) -> None:
        """A line of the result, never wrapped: left out only with `--json`."""
        if not self.output.json:
            self._put(self._stdout, text, wrap=False)

    def say(self, text: str = "", style: str = "") -> None:
        """A line around the result, such as a heading: left out with `--quiet` and `--json`."""
        if not self.is_silent:
            self._put(self._stdout, text, style)

    def command(self, text: str) -> None:
        """A command to type next, indented and never wrapped: left out with `--quiet` and `--json`."""
        if not self.is_silent:
            self._put(self._stdout, f"  {text}", "cyan", wrap=False)

    def note(self, text: str, style: str = "") -> None:
        """A line about progress, on stderr: left out with `--quiet` and `--json`."""
        if not self.is_silent:
            self._put(self._stderr, text, style)

    def warn(self, text: str) -> None:
        """A warning, on stderr; with `--json`, in the object."""
        if not self.output.json:
            self._labelled("warning", text, "bold yellow")
        elif text not in self._warnings:
            self._warnings.append(text)

    def noted(self, text: str) -> None:
        """A sentence of information for the object of `--json`; elsewhere it is a line of the progress."""
        if self.output.json and text not in self._notes:
            self._notes.append(text)

    def pieces(self, label: str, pieces: Sequence[tuple[str, str]]) -> None:
        """A label, and beside it text of pieces with a style each: left out with `--quiet` and `--json`."""
        if self.is_silent:
            return
        label, pieces = visible(label), [(visible(text), style) for text, style in pieces]
        if self.is_terminal:
            from rich.table import Table as RichTable
            from rich.text import Text

            grid = RichTable.grid()
            grid.add_row(Text(label), Text.assemble(*pieces, overflow="fold"))
            self.rich(self._stdout).print(grid)
        else:
            self._put(self._stdout, label + "".join(text for text, _ in pieces))

    def table(self, table: Table) -> None:
        """A table of the result: left out only with `--json`. A cell is one line."""
        if self.output.json:
            return
        table = replace(
            table,
            columns=[visible(column, kept="") for column in table.columns],
            rows=[[visible(cell, kept="") for cell in row] for row in table.rows],
        )
        if self.is_terminal:
            terminal = self.rich(self._stdout)
            terminal.print(table.drawn(terminal.width))
        else:
            self._put(self._stdout, table.plain())

    def facts(self, facts: Facts, is_progress: bool = False) -> None:
        """Names with their values: left out with `--quiet` and `--json`.

        Args:
            facts: to show.
            is_progress: whether they belong to stderr, beside other lines about progress, rather than to the result.
        """
        stream = self._stderr if is_progress else self._stdout
        if self.is_silent or not facts.pairs:
            return
        facts = replace(facts, pairs=[(visible(name, kept=""), visible(value)) for name, value in facts.pairs])
        if stream.isatty():
            terminal = self.rich(stream)
            terminal.print(facts.drawn(terminal.width))
        else:
            self._put(stream, facts.plain())

    def json(self, value: Mapping[str, Any]) -> None:
        """The one JSON object of a command, with its warnings and notes; nothing without `--json`."""
        if self.output.json:
            said = {"warnings": self._warnings, "notes": self._notes}
            whole = {**value, **{name: list(dict.fromkeys([*value.get(name, ()), *said[name]])) for name in said}}
            self._json_line({"event": "Result", "result": whole} if self.output.lines else whole)

    def event(self, event: dict[str, Any]) -> None:
        """One event as a line of JSON, with its time; nothing without `--json-lines`."""
        if self.output.lines:
            self._json_line({**event, "time": round(time.time(), 3)})

    def _json_line(self, value: dict[str, Any]) -> None:
        text = json.dumps(finite(value), ensure_ascii=False, allow_nan=False, default=str)
        print(visible_json(text), file=self._stdout, flush=True)

    def answer(self, text: str) -> None:
        """A whole generated text. In a pipe or a file it is data, and stays as it is, whatever characters it has."""
        self.stream(f"{text}\n")

    def stream(self, piece: str) -> None:
        """A piece of generated text as it comes, with nothing added; a terminal gets escapes, as everywhere."""
        if not self.output.json:
            print(visible(piece) if self.is_terminal else piece, end="", file=self._stdout, flush=True)

    def ask(self, prompt: str) -> str | None:
        """The user's next line; None when there is no more. The prompt is shown only on a terminal."""
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
        """An error in its three parts: what is wrong, why, what to do. An interruption is not labelled as one."""
        if self.output.json:
            parts = {"what": error.what, "why": error.why, "fix": error.fix, "exit_code": error.exit_code}
            failed = {"error": parts, "warnings": self._warnings, "notes": self._notes}
            self._json_line({"event": "Failed", **failed} if self.output.lines else failed)
            return
        if isinstance(error, Interrupted):
            self._put(self._stderr, error.what, "bold")
        else:
            self._labelled("error", error.what, "bold red")
        if error.why or error.fix:
            self._put(self._stderr, "")
        if error.why:
            self._labelled("why", error.why, "bold")
        if error.fix:
            self._labelled("hint", error.fix, "bold cyan")

    def traceback(self, error: BaseException) -> None:
        """Where an error came from, for `--debug`."""
        print(visible("".join(traceback.format_exception(error))), file=self._stderr)

    def abandon_pipe(self) -> None:
        """Called when the reader has closed the pipe (`| head`), or Python fails again when it flushes at exit."""
        os.dup2(os.open(os.devnull, os.O_WRONLY), self._stdout.fileno())

    def live(self) -> rich.console.Console:
        """The terminal that a progress bar is drawn on."""
        return self.rich(self._stderr)

    def rich(self, stream: TextIO) -> rich.console.Console:
        """The rich console of a stream, which prints text as it is: no markup, no emoji codes, no guessed colors.

        One for each stream, so that lines printed while a progress bar is shown go above it.
        """
        from rich.console import Console as RichConsole

        if id(stream) not in self._terminals:
            self._terminals[id(stream)] = RichConsole(file=stream, markup=False, emoji=False, highlight=False)
        return self._terminals[id(stream)]

    def _put(self, stream: TextIO, text: str, style: str = "", wrap: bool = True) -> None:
        """One text; on a terminal it is wrapped between words, or left to the terminal without `wrap`."""
        text = visible(text)
        with self._without_reader(stream):
            if stream.isatty():
                self.rich(stream).print(text, style=style or None, soft_wrap=not wrap)
            else:
                print(text, file=stream, flush=True)

    def _labelled(self, label: str, text: str, style: str) -> None:
        """`label: text` on stderr, the label alone styled; a text of several lines begins below its label."""
        text = visible(text)
        between = "\n" if "\n" in text else " "
        with self._without_reader(self._stderr):
            if self._stderr.isatty():
                from rich.text import Text

                self.rich(self._stderr).print(Text.assemble((f"{label}:", style), between, text))
            else:
                print(f"{label}:{between}{text}", file=self._stderr, flush=True)

    @contextlib.contextmanager
    def _without_reader(self, stream: TextIO) -> Iterator[None]:
        """Lets messages on stderr lead nowhere if no one reads them any more, so that what runs can save its state.

        As with `2>&1 | tee log` in a terminal that is closed. Without a reader of its results a command ends.
        """
        try:
            yield
        except OSError:
            if stream is not self._stderr:
                raise
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
