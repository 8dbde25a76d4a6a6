"""The pages that the benches write into: every command that stands there is one, and finds the place of its text."""

from __future__ import annotations

import importlib
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs").glob("*.md"))
PAGE = "before\n<!-- one: begin -->\nold\n<!-- one: end -->\nafter\n<!-- two: begin -->\n"
TWICE = "<!-- four: begin -->\n<!-- four: end -->\n"

Load = Callable[[str], Any]


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Load:
    """Imports a module of the benches as they import each other."""
    monkeypatch.syspath_prepend(str(ROOT / "bench"))
    return importlib.import_module


def commands(page: Path) -> list[list[str]]:
    """The commands that a page names, from `bench/…` on."""
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    return [shlex.split(found) for found in re.findall(r"python (bench/[^`\n]+)", text)]


def places(page: Path) -> list[str]:
    """Names of the texts that are written into a page."""
    return re.findall(r"^<!-- (.+): begin -->$", page.read_text(encoding="utf-8"), re.MULTILINE)


def test_a_text_takes_the_place_of_the_one_before(load: Load, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE, encoding="utf-8")
    load("page").write_between(page, "one", "new")
    assert page.read_text(encoding="utf-8") == PAGE.replace("old", "new")


@pytest.mark.parametrize("name", ["two", "three", "four"])
def test_without_both_markers_once_nothing_is_written(load: Load, tmp_path: Path, name: str) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE + 2 * TWICE, encoding="utf-8")
    with pytest.raises(SystemExit, match=f"no place for `{name}`(.|\n)*Write both lines"):
        load("page").write_between(page, name, "new")
    assert page.read_text(encoding="utf-8") == PAGE + 2 * TWICE


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_markers_come_in_pairs(page: Path) -> None:
    text, names = page.read_text(encoding="utf-8"), places(page)
    assert re.findall(r"^<!-- (.+): end -->$", text, re.MULTILINE) == names
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_commands_name_benches_and_their_options(page: Path) -> None:
    for script, *arguments in commands(page):
        source = (ROOT / script).read_text(encoding="utf-8")
        for option in arguments:
            assert not option.startswith("--") or f'"{option}"' in source, f"{script} has no {option}"


def test_every_comparison_has_its_place(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    peers, page = load("peers"), ROOT / "docs" / "performance.md"
    names = []
    for command in commands(page):
        if command[0] == "bench/peers.py":
            monkeypatch.setattr("sys.argv", command)
            names.append(peers.name_of(peers.read_options()))
    compared = [name for name in places(page) if name.startswith(("smollm2-", "gpt2-", "llama-"))]
    assert names == compared
    assert len(compared) > 5


def test_short_texts_are_cut_reproducibly(load: Load) -> None:
    class Characters:
        """A tokenizer of single characters."""

        def __call__(self, text: str) -> Any:
            return type("Encoded", (), {"input_ids": [ord(letter) for letter in text]})

        def decode(self, ids: list[int]) -> str:
            return "".join(map(chr, ids))

    paragraphs = ["".join(chr(65 + (row + column) % 26) for column in range(400)) for row in range(20)]
    whole = "\n".join([" = A heading that is as long as a line of text would have to be = = = =", "short", *paragraphs])
    cut = load("texts").cut_text
    texts = cut(whole, Characters())
    assert texts == cut(whole, Characters())
    assert sum(map(len, texts)) > 0.9 * 20 * 400
    assert {len(text) for text in texts} <= set(range(8, 121))
    assert all(any(text in paragraph for paragraph in paragraphs) for text in texts)


def test_steps_are_whole(load: Load, tmp_path: Path) -> None:
    settings = load("settings")
    others = {"task": "text", "method": "lora", "device": "cpu", "rank": 8, "targets": ["x"]}
    rows = [{"text": str(number)} for number in range(100)]
    file = settings.write_settings(tmp_path, rows, [40] * 100, 1024, learning_rate=1e-3, context=64, **others)
    result = settings.read_settings(file)
    assert (result.step_rows, result.step_tokens, result.tokens) == (24, 960, 96 * 40)
    assert result.examples() == rows[:96]


def test_a_loss_that_is_off_is_found(load: Load) -> None:
    far_apart = load("peers").far_apart
    assert far_apart({"one": 2.0, "two": 2.1, "three": 2.19}, 3.0, 0.2) == set()
    assert far_apart({"one": 2.0, "two": 2.1, "three": 2.29}, 3.0, 0.2) == {"three"}
    assert far_apart({"one": 2.0, "two": 2.1, "three": float("nan")}, 3.0, 0.2) == {"three"}
