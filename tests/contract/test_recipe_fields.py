"""Every option of the recipe is read somewhere: an option that does nothing is a lie.

A read is an attribute of a section: `recipe.train.epochs`, `train.epochs`, or `section.epochs` where the module says
that `section` is a `TrainSection` or takes it from `recipe.train`.
"""

from __future__ import annotations

import ast
from collections import defaultdict

import pytest

from burnish.recipe.names import options, sections
from tests.contract.sources import modules, tree

_TOP = ""
_SECTION_OF_TYPE = {kind.__name__: name for name, kind in sections().items()} | {"Recipe": _TOP}


def reads_of(source: ast.Module) -> set[str]:
    """The options that a module reads, by dotted name."""
    aliases = aliases_of(source)
    reads = set()
    for node in ast.walk(source):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
            for section in aliases.get(last_name(node.value), set()):
                reads.add(f"{section}.{node.attr}" if section else node.attr)
    return reads & set(options())


def aliases_of(source: ast.Module) -> dict[str, set[str]]:
    """Which names of a module stand for which sections."""
    aliases: dict[str, set[str]] = defaultdict(set)
    aliases["recipe"].add(_TOP)
    for section in sections():
        aliases[section].add(section)
    for node in ast.walk(source):
        if isinstance(node, ast.arg) and node.annotation is not None:
            aliases[node.arg] |= annotated_sections(node.annotation)
        elif isinstance(node, ast.AnnAssign):
            aliases[last_name(node.target)] |= annotated_sections(node.annotation)
        elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Attribute) and node.value.attr in sections():
            for target in node.targets:
                aliases[last_name(target)].add(node.value.attr)
    return aliases


def annotated_sections(annotation: ast.expr) -> set[str]:
    """The sections that an annotation names."""
    names = {node.id for node in ast.walk(annotation) if isinstance(node, ast.Name)}
    return {_SECTION_OF_TYPE[name] for name in names & set(_SECTION_OF_TYPE)}


def last_name(node: ast.expr) -> str:
    """`recipe.train` ends in `train`, and so does `train`."""
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


@pytest.fixture(scope="module")
def read_anywhere() -> set[str]:
    outside = [path for name, path in modules().items() if not name.startswith("burnish.recipe")]
    return set().union(*(reads_of(tree(path)) for path in outside))


@pytest.mark.parametrize("option", list(options()))
def test_option_is_read_outside_the_recipe(option: str, read_anywhere: set[str]) -> None:
    assert option in read_anywhere


@pytest.mark.parametrize(
    ("code", "reads"),
    [
        ("steps = recipe.train.epochs", {"train.epochs"}),
        ("def f(section: LoraSection): return section.rank", {"lora.rank"}),
        ("mine = self.recipe.batch\nuse(mine.rows)", {"batch.rows"}),
        ("recipe.train.epochs = 3", set()),
        ("other.epochs", set()),
        ("recipe.seed", {"seed"}),
    ],
)
def test_reads_are_recognized(code: str, reads: set[str]) -> None:
    assert reads_of(ast.parse(code)) == reads
