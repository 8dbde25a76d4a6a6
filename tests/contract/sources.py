"""The package's own source, read as syntax trees: who imports whom, and when."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "burnish"


@dataclass(frozen=True)
class Import:
    """One imported module; `is_at_load` when it is imported as soon as the importing module is."""

    target: str
    line: int
    is_at_load: bool


@functools.cache
def modules() -> dict[str, Path]:
    """Every module of the package by its dotted name; a package stands for its `__init__`."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@functools.cache
def tree(path: Path) -> ast.Module:
    """The syntax tree of a file."""
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


@functools.cache
def imports_of(module: str) -> tuple[Import, ...]:
    """Every import of a module, also those inside functions and for type checkers only."""
    return tuple(_imports(tree(modules()[module]), is_at_load=True))


def _imports(node: ast.AST, is_at_load: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (Import(alias.name, child.lineno, is_at_load) for alias in child.names)
        elif isinstance(child, ast.ImportFrom) and child.module:
            yield from (Import(_target(child.module, alias.name), child.lineno, is_at_load) for alias in child.names)
        elif isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            yield from _imports(child, is_at_load=False)
        elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
            yield from (found for part in child.body for found in _imports(ast.Module([part], []), is_at_load=False))
            yield from (found for part in child.orelse for found in _imports(ast.Module([part], []), is_at_load))
        else:
            yield from _imports(child, is_at_load)


def _target(module: str, name: str) -> str:
    """`from a import b` means the module `a.b` where there is one, else `a`."""
    return f"{module}.{name}" if f"{module}.{name}" in modules() else module


def loaded_with(name: str) -> dict[str, tuple[str, ...]]:
    """Everything that importing a module of the package imports, each with the way that leads to it."""
    ways: dict[str, tuple[str, ...]] = {}
    waiting = [(part, (part,)) for part in _with_parents(name)]
    while waiting:
        current, way = waiting.pop()
        if current in ways:
            continue
        ways[current] = way
        if current in modules():
            targets = [found.target for found in imports_of(current) if found.is_at_load]
            waiting += [(part, (*way, part)) for target in targets for part in _with_parents(target)]
    return ways


def _with_parents(name: str) -> list[str]:
    """`a.b.c` as `a`, `a.b`, `a.b.c`: Python imports them all."""
    parts = name.split(".")
    return [".".join(parts[: end + 1]) for end in range(len(parts))]
