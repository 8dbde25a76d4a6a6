"""The commands that the README and the documentation show: each is one that the command line takes."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer

from burnish.cli.command import UsageError
from burnish.cli.console import Console, Output
from burnish.cli.main import app
from burnish.errors import InputError
from burnish.recipe.load import RECIPE_SUFFIXES, load_recipe

ROOT = Path(__file__).parents[2]
FEWEST = 8


def shell_blocks(text: str) -> list[str]:
    """The content of the ```bash blocks of a page, with continued lines joined."""
    return [block.replace("\\\n", " ") for block in re.findall(r"^```bash\n(.*?)^```", text, re.MULTILINE | re.DOTALL)]


def burnish_commands(page: Path) -> list[str]:
    """Every line of the blocks that calls `burnish`, without a prompt before it; of the README, its tables too."""
    text = page.read_text(encoding="utf-8")
    lines = [line.strip().removeprefix("$ ") for block in shell_blocks(text) for line in block.splitlines()]
    if page == README:
        lines += [code for row in re.findall(r"^\|.*\|$", text, re.MULTILINE) for code in re.findall(r"`([^`]+)`", row)]
    return [line for line in lines if re.match(r"(\S*/)?burnish\s", line)]


README = ROOT / "README.md"
PAGES = [README, ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def test_the_readme_shows_enough_commands() -> None:
    assert len(burnish_commands(README)) >= FEWEST


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_command_line_takes_what_the_page_types(page: Path) -> None:
    for line in burnish_commands(page):
        try:
            parse(line)
        except (UsageError, InputError) as error:
            pytest.fail(f"{page.name}: `{line}`: {error}")


@pytest.mark.parametrize(
    "line",
    [
        "burnish trian rows.jsonl",
        "burnish resume",
        "burnish train a --modle b",
        "burnish generate run",
        "burnish show a b",
    ],
)
def test_a_wrong_command_would_be_found(line: str) -> None:
    with pytest.raises(UsageError):
        parse(line)


def test_a_wrong_option_would_be_found() -> None:
    with pytest.raises(InputError, match="is not an option"):
        parse("burnish train rows.jsonl --set train.lerning_rate=1")


def parse(line: str) -> None:
    """Reads the words as the command line would, and the options of a recipe too, without running anything."""
    words = shlex.split(line, comments=True)[1:]
    group = typer.main.get_command(app)
    console = Console(Output())
    with group.make_context("burnish", list(words), obj=console, resilient_parsing=False) as context:
        name, command, rest = group.resolve_command(context, list(words))  # type: ignore[attr-defined]
        with command.make_context(name, rest, parent=context) as inner:
            given = inner.params
    data = given.get("data") or None
    if name == "train" and not (data and data[0].endswith(RECIPE_SUFFIXES)):
        load_recipe(data, {}, given.get("set") or [], needs_data=given.get("resume_from") is None)


def test_the_makefile_has_the_targets_that_the_readme_names() -> None:
    readme = README.read_text(encoding="utf-8")
    named = {word for block in shell_blocks(readme) for word in re.findall(r"^make (\w+)", block, re.MULTILINE)}
    made = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert {"quickstart", "test"} <= named <= made
