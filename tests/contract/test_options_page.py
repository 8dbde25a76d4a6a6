"""The options page of the documentation is the schema's, and the versions that are pinned cover what is needed."""

from __future__ import annotations

import re
from pathlib import Path

from burnish.recipe.names import options, sections
from burnish.recipe.reference import PAGE, main, options_page

ROOT = Path(__file__).parents[2]


def test_the_page_is_current() -> None:
    assert (ROOT / PAGE).read_text(encoding="utf-8") == options_page(), "run `make docs`"


def test_the_page_has_every_option_once() -> None:
    page = options_page()
    assert len(options()) > 40
    for name in options():
        assert page.count(f"\n| `{name}` |") == 1


def test_every_option_says_what_it_does() -> None:
    assert [name for name, field in options().items() if not field.description] == []
    assert [name for name, section in sections().items() if not section.__doc__] == []


def test_sections_stay_small() -> None:
    sizes = {name: len(section.model_fields) for name, section in sections().items()}
    assert sizes.pop("data") <= 18, "it has those of three splits, and where they are kept"
    assert {name: size for name, size in sizes.items() if size > 14} == {}


def test_the_command_writes_the_page(tmp_path: Path) -> None:
    main([str(tmp_path / "docs" / "page.md")])
    assert (tmp_path / "docs" / "page.md").read_text(encoding="utf-8") == options_page()


def test_every_dependency_is_pinned() -> None:
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    lists = re.findall(r"^(?:dependencies|dev) = \[(.*?)\]$", project, flags=re.DOTALL | re.MULTILINE)
    needed = {re.split(r"[><=~\[]", name)[0] for part in lists for name in re.findall(r'"([^"]+)"', part)}
    pinned = {line.split("==")[0] for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()}
    assert len(needed) > 15
    assert {normal(name) for name in needed} <= {normal(name) for name in pinned}


def normal(name: str) -> str:
    """A package's name as the index compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()
