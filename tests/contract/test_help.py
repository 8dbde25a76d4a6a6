"""`--help` of every command as snapshots, and the help of flags that stand for options of the recipe.

`python tests/contract/test_help.py` (in `make docs`) writes the snapshots again.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from burnish.cli.command import name_of
from burnish.cli.main import COMMANDS
from burnish.methods import method_names
from burnish.recipe.flags import RECIPE_FLAGS
from burnish.recipe.names import options
from burnish.tasks import task_names

ROOT = Path(__file__).parents[2]
SNAPSHOTS = Path(__file__).parent / "snapshots"
NAMES = ["burnish", *(name_of(function) for group in COMMANDS.values() for function in group)]


_PRINT = """
import contextlib, io, json, sys
from burnish.cli.main import main
found = {}
for name in sys.argv[1:]:
    with contextlib.redirect_stdout(io.StringIO()) as output:
        assert main([*([] if name == "burnish" else [name]), "--help"]) == 0
    found[name] = output.getvalue()
print(json.dumps(found))
"""


@cache
def all_help() -> dict[str, str]:
    """What `--help` of each command prints, at a fixed width and without colours."""
    plain = {"COLUMNS": "100", "TERMINAL_WIDTH": "100", "NO_COLOR": "1", "TERM": "dumb", "PYTHONIOENCODING": "utf-8"}
    environment = {key: value for key, value in os.environ.items() if "FORCE" not in key and key != "GITHUB_ACTIONS"}
    done = subprocess.run(
        [sys.executable, "-c", _PRINT, *NAMES],
        capture_output=True,
        encoding="utf-8",
        check=True,
        env=environment | plain,
    )
    return {
        name: "".join(f"{line.rstrip()}\n" for line in text.strip().splitlines())
        for name, text in json.loads(done.stdout).items()
    }


def recorded(name: str) -> str:
    """The snapshot of a command's help."""
    return (SNAPSHOTS / f"{name}.txt").read_text(encoding="utf-8")


def test_help_names_every_task_and_method() -> None:
    assert [name for name in task_names() if f"`{name}`" not in RECIPE_FLAGS["task"].help] == []
    assert [name for name in method_names() if f"`{name}`" not in RECIPE_FLAGS["method"].help] == []


@pytest.mark.parametrize("name", NAMES)
def test_help_is_as_recorded(name: str) -> None:
    assert all_help()[name] == recorded(name), "if this is meant: make docs"


def test_the_overview_fits_a_terminal() -> None:
    assert max(map(len, recorded("burnish").splitlines())) <= 80


def test_every_snapshot_has_its_command() -> None:
    assert {path.stem for path in SNAPSHOTS.glob("*.txt")} == set(NAMES)


@pytest.mark.parametrize("name", RECIPE_FLAGS)
def test_a_flag_says_what_its_option_says(name: str) -> None:
    field = options()[RECIPE_FLAGS[name].option]
    assert RECIPE_FLAGS[name].help == " ".join((field.description or "").split())
    assert RECIPE_FLAGS[name].kind.__name__ in expected_kinds(field.annotation)


def expected_kinds(annotation: object) -> str:
    """The types that an option takes, as text."""
    return annotation.__name__ if isinstance(annotation, type) else str(annotation)


def test_every_flag_is_on_a_page() -> None:
    """Flags that set an option of the recipe are on the options page under its name."""
    pages = [*(ROOT / "docs").glob("*.md"), ROOT / "README.md"]
    written = "\n".join(page.read_text(encoding="utf-8") for page in pages)
    recipe = {f"--{name.replace('_', '-')}" for name in RECIPE_FLAGS}
    found = {flag for name in NAMES for flag in re.findall(r"^  (?:-\w, )?(--[\w-]+)", recorded(name), re.MULTILINE)}
    assert len(found) > 30
    needed = found - recipe - {"--help"}
    assert sorted(flag for flag in needed if not re.search(rf"{flag}(?![\w-])", written)) == []


if __name__ == "__main__":
    SNAPSHOTS.mkdir(exist_ok=True)
    for command in NAMES:
        (SNAPSHOTS / f"{command}.txt").write_text(all_help()[command], encoding="utf-8")
