"""A picture of a real terminal session: runs a `burnish` command in a terminal of its own and writes an SVG.

    python tools/pictures/terminal.py docs/images/quickstart.svg quickstart
    python tools/pictures/terminal.py /tmp/plan.svg --columns 120 --theme light -- plan rows.jsonl --method lora

The picture shows what a reader sees after the command has ended: lines that a progress bar drew over are gone. It loads
nothing, fonts included. POSIX only.
"""

from __future__ import annotations

import argparse
import os
import pty
import re
import shlex
import struct
import sys
import termios
from fcntl import ioctl
from html import escape
from pathlib import Path

from rich.color import Color
from rich.console import Console
from rich.segment import Segment
from rich.style import Style
from rich.terminal_theme import DEFAULT_TERMINAL_THEME, MONOKAI, TerminalTheme
from rich.text import Text

THEMES: dict[str, TerminalTheme] = {"dark": MONOKAI, "light": DEFAULT_TERMINAL_THEME}
_CELL, _LINE, _FONT, _MARGIN = 8.4, 19, 14, 16
"""Pixels: width of a character, height of a line, font size, margin."""
_PLAIN = Console()


def main() -> None:
    """Parses the arguments, runs the command, writes the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--columns", type=int, default=80)
    parser.add_argument("--theme", choices=THEMES, default="dark")
    parser.add_argument("command", nargs="+", help="arguments of `burnish`; after `--` where they hold options")
    given = parser.parse_args()
    output = record([sys.executable, "-m", "burnish", *given.command], given.columns)
    session = f"\x1b[1m$ burnish {shlex.join(given.command)}\x1b[0m\n" + on_screen(output)
    given.picture.parent.mkdir(parents=True, exist_ok=True)
    given.picture.write_text(draw(session, given.columns, THEMES[given.theme]), encoding="utf-8")


def record(command: list[str], columns: int, lines: int = 50) -> str:
    """Everything a command writes to a terminal of so many columns, control sequences included."""
    child, terminal = pty.fork()
    if child == 0:
        os.environ |= {"TERM": "xterm-256color", "COLUMNS": str(columns), "LINES": str(lines)}
        os.environ.pop("NO_COLOR", None)
        os.execvp(command[0], command)
    ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
    written = bytearray()
    while True:
        try:
            part = os.read(terminal, 1 << 16)
        except OSError:  # how Linux reports that the other end is closed
            break
        if not part:
            break
        written += part
    os.waitpid(child, 0)
    return written.decode("utf-8", errors="replace")


def on_screen(output: str) -> str:
    """The lines that are left on the terminal: erased and overwritten ones are gone, colors stay."""
    lines: list[str] = [""]
    row = 0
    for piece in re.split(r"(\x1b\[[0-9;?]*[A-Za-z]|\r\n|\r|\n)", output):
        if piece in ("\n", "\r\n"):
            row += 1
            lines += [""] * (row + 1 - len(lines))
        elif piece == "\r":
            continue  # what follows erases the line, or ends it
        elif piece == "\x1b[2K":
            lines[row] = ""
        elif re.fullmatch(r"\x1b\[\d*A", piece):
            row = max(0, row - int(piece[2:-1] or 1))
        elif not piece.startswith("\x1b") or piece.endswith("m"):
            lines[row] += piece
    return "\n".join(line.rstrip() for line in lines).rstrip() + "\n"


def draw(session: str, columns: int, theme: TerminalTheme) -> str:
    """An SVG of lines with ANSI styles; each stretch of one style is a `text` with its place and width."""
    lines = [Text.from_ansi(line) for line in session.splitlines()]
    lines = [part for line in lines for part in (line.wrap(_PLAIN, columns) if line.cell_len > columns else [line])]
    width = columns * _CELL + 2 * _MARGIN
    height = len(lines) * _LINE + 2 * _MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height}" width="{width:.0f}" '
        f'height="{height}" font-family="ui-monospace, Menlo, Consolas, \'DejaVu Sans Mono\', monospace" '
        f'font-size="{_FONT}">',
        f'<rect width="100%" height="100%" rx="8" fill="{_hex(theme.background_color)}"/>',
    ]
    for number, line in enumerate(lines):
        column, baseline = 0, _MARGIN + number * _LINE + _FONT
        for text, style, _ in line.render(_PLAIN):
            cells = Segment(text).cell_length
            if text.strip():
                place = f'x="{_MARGIN + column * _CELL:.1f}" y="{baseline}" textLength="{cells * _CELL:.1f}"'
                parts.append(f'<text {place} {_paint(style, theme)} xml:space="preserve">{escape(text)}</text>')
            column += cells
    return "\n".join([*parts, "</svg>"]) + "\n"


def _paint(style: Style | str | None, theme: TerminalTheme) -> str:
    """Color, weight and opacity of a style as SVG attributes."""
    style = style if isinstance(style, Style) else Style.null()
    color = (style.color or Color.default()).get_truecolor(theme)
    weight = ' font-weight="bold"' if style.bold else ""
    opacity = ' opacity="0.6"' if style.dim else ""
    return f'fill="{_hex(color)}"{weight}{opacity}'


def _hex(color: tuple[int, int, int]) -> str:
    return "#{:02x}{:02x}{:02x}".format(*color)


if __name__ == "__main__":
    main()
