"""How the code is cut: files, functions, the way of one chat row, and the way to the optimizer.

    python bench/house.py

Run beside another checkout with `PYTHONPATH` at its folder, the first four lines are that one's.
"""

from __future__ import annotations

import ast
import json
import statistics
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import burnish

PACKAGE = Path(burnish.__file__).parent
LONG, SHORT = 60, 80


def main() -> None:
    """Prints a figure a line."""
    files = sorted(PACKAGE.rglob("*.py"))
    trees = {file: ast.parse(file.read_text(encoding="utf-8")) for file in files}
    lines = [len(file.read_text(encoding="utf-8").splitlines()) for file in files]
    held = [count for file, count in zip(files, lines, strict=True) if file.name != "__init__.py"]
    print(f"files: {len(files)}, of which {len(files) - len(held)} only introduce a package")
    print(f"lines: {sum(lines):,}; mean {statistics.mean(held):.0f}, median {statistics.median(held):.0f} a file")
    between = sum(150 <= count <= 450 for count in held)
    print(f"files of 150 to 450 lines: {between / len(held):.0%}; under {SHORT}: {sum(n < SHORT for n in held)}")
    print(f"code in functions over {LONG} lines: {share_in_long_functions(trees.values()):.1%}")
    rooms = {file.relative_to(PACKAGE).parts[0] for file, tree in trees.items() if takes_recipe(tree)}
    print(f"rooms that take a whole recipe, not a section of it: {len(rooms - {'recipe'})}")
    inner = imports(trees[PACKAGE / "workflows" / "train.py"], "burnish.")
    print(f"modules of the package that `workflows/train.py` imports: {len(inner)}")
    rooms_of_a_row = files_of_one_row()
    print(f"files that one chat row passes, from its line to its batch: {len(rooms_of_a_row)}")
    for file in rooms_of_a_row:
        print(f"    {file}")


def share_in_long_functions(trees: Any) -> float:
    """Of the lines in functions, those in functions of more than `LONG` lines; a nested one counts once."""
    sizes = [size for tree in trees for size in outer_functions(tree)]
    return sum(size for size in sizes if size > LONG) / sum(sizes)


def outer_functions(node: ast.AST) -> Iterator[int]:
    """Lines of each function that is not inside another."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield (child.end_lineno or child.lineno) - child.lineno + 1
        else:
            yield from outer_functions(child)


def imports(tree: ast.Module, prefix: str) -> set[str]:
    """The modules with this prefix that a module imports."""
    found = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module}
    return {module for module in found if module.startswith(prefix)}


def takes_recipe(tree: ast.Module) -> bool:
    """Whether a module imports the class of the whole recipe, or the functions that load one."""
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names}
    return bool(names & {"Recipe", "load_recipe", "recipe_from_saved"})


def files_of_one_row() -> list[str]:
    """The files whose code runs while one conversation is read, encoded and put into a batch, in the order of calls.

    The second row of a file is traced: what finds and opens the file, and its shape, are known by then.
    """
    from burnish.data.batching.batches import BatchPlan
    from burnish.data.files.readers import read_rows
    from burnish.data.rows.row import Row
    from burnish.data.rows.shapes import detect_shape
    from burnish.models.base import load_tokenizer
    from burnish.models.location import locate_model
    from burnish.prepare.encode import encode_records
    from burnish.recipe.schema import ModelSection, Recipe
    from burnish.tasks import make_task

    section = ModelSection(name="seedling")
    task = make_task("chat", load_tokenizer(locate_model(section), section), Recipe(model=section))
    answer = {"role": "assistant", "content": "A hat."}
    seen: dict[str, None] = {}

    def note(frame: FrameType, event: str, argument: object) -> None:
        name = frame.f_code.co_filename
        if event == "call" and name.startswith(str(PACKAGE)) and frame.f_code.co_name != "<module>":
            seen[str(Path(name).relative_to(PACKAGE))] = None

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "rows.jsonl"
        questions = [{"role": "user", "content": f"What is {number}?"} for number in range(2)]
        file.write_text("".join(json.dumps({"messages": [one, answer]}) + "\n" for one in questions), encoding="utf-8")
        rows = read_rows(file)
        for trace in (None, note):
            sys.setprofile(trace)
            row = next(rows)
            sys.setprofile(None)
            assert isinstance(row, Row)
            shape = detect_shape([row], {}, "auto")
            sys.setprofile(trace)
            records = list(shape.to_records([row], []))
            encoded = encode_records(task.encoder, records, 64)
            options: dict[str, Any] = {"context": 64, "packing": True, "step_tokens": 64, "micro_rows": 1, "seed": 0}
            BatchPlan(encoded.examples, collate=task.encoder.collate, **options).step_batches(0)
            sys.setprofile(None)
    return list(seen)


if __name__ == "__main__":
    main()
