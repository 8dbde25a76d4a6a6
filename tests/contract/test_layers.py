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
    ("decoding",),
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


def test_imports_only_from_layers_below() -> None:
    assert len(modules()) > 300
    wrong = [
        f"{module}, line {found.line}: {found.target} ({reason})"
        for module in modules()
        for found in imports_of(module)
        if found.target.split(".")[0] == "burnish" and (reason := forbidden_import(module, found.target))
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


def test_light_modules_load_nothing_heavy() -> None:
    light = [module for module in modules() if part_of(module) in LIGHT]
    assert len(light) > 100
    heavy = {
        f"{module}: {name}": " -> ".join(way)
        for module in light
        for name, way in loaded_with(module).items()
        if name.split(".")[0] in HEAVY
    }
    assert heavy == {}


def test_heavy_modules_are_seen_as_heavy() -> None:
    assert "torch" in loaded_with("burnish.workflows.train")


def test_only_the_console_prints() -> None:
    printing = {module for module, path in modules().items() if any(map(is_printing, ast.walk(tree(path))))}
    assert printing == {"burnish.cli.console"}


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


def test_files_are_short_and_say_what_they_are_for() -> None:
    lines = {module: len(path.read_text(encoding="utf-8").splitlines()) for module, path in modules().items()}
    assert {module: number for module, number in lines.items() if number > MOST_LINES} == {}
    assert [module for module, path in modules().items() if not ast.get_docstring(tree(path))] == []
