"""Pictures of terminal sessions: what is left on the screen, as an SVG that loads nothing."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals are POSIX only")


def terminal():
    """The script, loaded by its path."""
    spec = importlib.util.spec_from_file_location("terminal", ROOT / "tools/pictures/terminal.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_what_a_progress_bar_drew_over_is_gone() -> None:
    drawn = "\x1b[?25l50 %\r\x1b[2Ka \x1b[1mnote\x1b[0m\r\n100 %\x1b[?25h\r\x1b[1A\x1b[2K\x1b[2Kdone\r\n"
    assert terminal().on_screen(drawn) == "done\n100 %\n"
    assert terminal().on_screen("a\r\nb 1 %\r\x1b[2Kb \x1b[1mdone\x1b[0m\r\n") == "a\nb \x1b[1mdone\x1b[0m\n"


def test_a_command_runs_in_a_terminal_of_the_width_asked_for() -> None:
    code = "import os, sys; print(sys.stdout.isatty(), os.get_terminal_size().columns)"
    assert terminal().record([sys.executable, "-c", code], 93).strip() == "True 93"


def test_a_picture_has_every_line_and_loads_nothing() -> None:
    module = terminal()
    picture = module.draw("\x1b[1;33mwarning:\x1b[0m 1 < 2\nnext\n", 80, module.THEMES["dark"])
    texts = [element.text for element in ElementTree.fromstring(picture).iter() if element.tag.endswith("text")]
    assert [text.strip() for text in texts if text] == ["warning:", "1 < 2", "next"]
    assert re.findall(r"https?://\S+?(?=\")", picture) == ["http://www.w3.org/2000/svg"]


def test_the_pictures_of_the_readme_are_there() -> None:
    named = re.findall(r"!\[.*?\]\((.*?)\)", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert named
    for name in named:
        ElementTree.parse(ROOT / name)
