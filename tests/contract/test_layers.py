"""The house of DESIGN: who may import whom, what stays light, who prints, how files are named and how long they are."""

from __future__ import annotations

import ast

import pytest

from tests.contract.sources import PACKAGE, imports_of, loaded_with, modules, tree

LAYERS = (
    ("burnish", "__main__"),
    ("cli", "api"),
    ("studio", "serve"),
    ("jobs",),
    ("workflows",),
    ("inference", "selftest"),
    ("evaluate", "report", "export"),
    ("plan", "lineage", "check"),
    ("prepare",),
    ("engine",),
    ("tasks", "methods"),
    ("data",),
    ("models",),
    ("kernels", "metrics", "trackers"),
    ("runs",),
    ("recipe",),
    ("system", "glossary", "templates"),
    ("errors", "version"),
    ("visible",),
)
"""From top to bottom. A layer imports only from layers below it; peers on one layer do not see each other."""

LIGHT = {"burnish", "__main__", "cli", "studio", "serve", "api", "jobs", "runs", "recipe"} | set().union(*LAYERS[-3:])
HEAVY = {"torch", "transformers", "datasets", "peft", "accelerate", "trl", "bitsandbytes", "scipy", "pyarrow", "pandas"}
DRAWERS = {"utils", "util", "helpers", "helper", "common", "misc"}
MOST_LINES = 450


def part_of(module: str) -> str:
    """The part of the house that a module belongs to: `burnish.cli.main` is in `cli`."""
    return (module.split(".") + [""])[1] or "burnish"


def layer_of(part: str) -> int:
    """0 for the topmost layer."""
    return next(number for number, parts in enumerate(LAYERS) if part in parts)


def forbidden_import(module: str, target: str) -> str:
    """Why `module` may not import `target`, both of the package; empty where it may."""
    above, below = part_of(module), part_of(target)
    if above == below:
        return ""
    if layer_of(above) == layer_of(below):
        return f"{above} and {below} are peers"
    return f"{below} is above {above}" if layer_of(above) > layer_of(below) else ""


def test_every_module_has_a_place_in_the_house() -> None:
    parts = {part_of(module) for module in modules()}
    assert parts - {part for layer in LAYERS for part in layer} == set()
    assert {"cli", "recipe", "runs", "engine", "workflows"} <= parts


@pytest.mark.parametrize("module", modules())
def test_imports_only_from_layers_below(module: str) -> None:
    inner = [found for found in imports_of(tree(modules()[module])) if found.target.split(".")[0] == "burnish"]
    wrong = [
        f"line {found.line}: {found.target} ({reason})"
        for found in inner
        if (reason := forbidden_import(module, found.target))
    ]
    assert wrong == []


@pytest.mark.parametrize(
    ("module", "target", "is_allowed"),
    [
        ("burnish.cli.main", "burnish.workflows.train", True),
        ("burnish.workflows.train", "burnish.cli.console", False),
        ("burnish.models.base", "burnish.data.rows.row", False),
        ("burnish.data.rows.row", "burnish.data.rows.records", True),
        ("burnish.errors", "burnish.system.machine", False),
        ("burnish.recipe.load", "burnish", False),
    ],
)
def test_the_rule_distinguishes_good_from_bad(module: str, target: str, is_allowed: bool) -> None:
    assert (forbidden_import(module, target) == "") == is_allowed


@pytest.mark.parametrize("module", [module for module in modules() if part_of(module) in LIGHT])
def test_light_modules_load_nothing_heavy(module: str) -> None:
    ways = loaded_with(module)
    assert {name: " -> ".join(way) for name, way in ways.items() if name.split(".")[0] in HEAVY} == {}


def test_heavy_modules_are_seen_as_heavy() -> None:
    assert "torch" in loaded_with("burnish.workflows.train")


@pytest.mark.parametrize("module", modules())
def test_only_the_console_prints(module: str) -> None:
    printing = [node.lineno for node in ast.walk(tree(modules()[module])) if is_printing(node)]
    assert printing == [] or module == "burnish.cli.console"


def is_printing(node: ast.AST) -> bool:
    """Whether a node prints, asks, or reaches for the terminal's streams."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        return node.func.id in {"print", "input", "pprint"}
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        return f"{node.value.id}.{node.attr}" in {"sys.stdout", "sys.stderr", "typer.echo", "rich.print"}
    return False


def test_printing_is_recognized() -> None:
    found = [node for node in ast.walk(ast.parse("print(1)\nsys.stdout.write('x')\nsprint(2)")) if is_printing(node)]
    assert len(found) == 2


def test_no_drawer_modules() -> None:
    names = {name for path in PACKAGE.rglob("*") for name in path.relative_to(PACKAGE).with_suffix("").parts}
    assert names & DRAWERS == set()


@pytest.mark.parametrize("module", modules())
def test_files_are_short_and_say_what_they_are_for(module: str) -> None:
    path = modules()[module]
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MOST_LINES
    assert ast.get_docstring(tree(path)), f"{path} has no docstring"
