"""The table of architectures, methods and tasks in the documentation: made by training, and checked by training.

    python -m tests.architecture_table          writes docs/architectures.md

Each cell is one training step of a tiny random model, from a data file to a result folder that is loaded again.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from burnish.errors import InputError
from burnish.inference.session import open_session
from burnish.methods import method_names
from burnish.workflows.train import train
from tests.tiny_architectures import ARCHITECTURES, DECODERS, ENCODERS, save_architecture
from tests.tiny_data import make_recipe, write_rows

PAGE = Path("docs/architectures.md")
TRAINED, REFUSED = "yes", "no"
TASKS = ("text", "chat", "text-to-text", "preference", "reward", "classify", "score", "tag", "span", "fill-mask")
PAIRED = ("Llama", "BERT")
_NAMES = ("Anna", "Otto", "Ida", "Emil", "Rosa", "Hugo", "Lena", "Karl", "Mona", "Nils", "Olga", "Paul")
_INTRODUCTION = """\
# Architectures

What was actually trained, one step each, on tiny random models: from a data file, through `burnish train`, to a result
that is loaded again. `python -m tests.architecture_table` writes this page, and every run of the tests trains each cell
again and compares. Layers for adapters are found by inspecting a model, so most architectures that are not listed here
work, too.

A `no` is an error with a reason, before a run folder is created; the reasons are below the tables.
"""


def main_task(architecture: str) -> str:
    """The task that the methods are tried on."""
    if architecture in DECODERS:
        return "chat"
    return "classify" if architecture in ENCODERS else "text-to-text"


def task_cells() -> list[tuple[str, str, str]]:
    """(architecture, method, task) of the first table."""
    return [(architecture, "lora", task) for architecture in ARCHITECTURES for task in TASKS]


def method_cells() -> list[tuple[str, str, str]]:
    """(architecture, method, task) of the second table."""
    return [
        (architecture, method, main_task(architecture)) for architecture in ARCHITECTURES for method in method_names()
    ]


def pair_cells() -> list[tuple[str, str, str]]:
    """(architecture, method, task) of the tables of every method with every task, on one decoder and one encoder."""
    return [(architecture, method, task) for architecture in PAIRED for method in method_names() for task in TASKS]


def all_cells() -> list[tuple[str, str, str]]:
    """Every cell of the page, once."""
    return list(dict.fromkeys([*task_cells(), *method_cells(), *pair_cells()]))


def usual_cells() -> list[tuple[str, str, str]]:
    """Cells that hold every method with every task once, on Llama or BERT, and every architecture with some method:
    what is trained when there is no time for all of them."""
    pairs = [(PAIRED[_is_reading(task)], method, task) for method in method_names() for task in TASKS]
    others = [name for name in ARCHITECTURES if name not in PAIRED]
    methods = tuple(method_names())
    by_method = [(name, methods[number % len(methods)], main_task(name)) for number, name in enumerate(others)]
    return list(dict.fromkeys([*pairs, *by_method]))


def _is_reading(task: str) -> bool:
    return task in ("classify", "score", "tag", "span", "fill-mask")


def _write(path: Path, make: Callable[[int, str], dict[str, Any]]) -> Path:
    rows = [json.dumps(make(number, name)) for number, name in enumerate(_NAMES)]
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


def rows_for(task: str, folder: Path) -> Path:
    """A small data file for a task."""
    path = folder / f"{task}.jsonl"
    makers: dict[str, Callable[[int, str], dict[str, Any]]] = {
        "text": lambda number, name: {"text": f"{name} has {number} red hats and lives by the river."},
        "preference": lambda number, name: {
            "prompt": f"Who has {number} hats?",
            "chosen": f"{name} has {number}.",
            "rejected": "I do not know.",
        },
        "classify": lambda number, name: {
            "text": f"{name} has a {'red' if number % 2 else 'green'} hat.",
            "label": "red" if number % 2 else "green",
        },
        "score": lambda number, name: {"text": f"{name} has {number} red hats.", "score": number / 2},
        "tag": lambda number, name: {
            "tokens": [name, "lives", "in", "Rome", str(number)],
            "tags": ["B-PER", "O", "O", "B-LOC", "O"],
        },
        "span": lambda number, name: {
            "context": f"{name} has {number} hats.",
            "question": "Who has hats?",
            "answers": {"text": [name], "answer_start": [0]},
        },
    }
    if task in ("chat", "text-to-text"):
        return write_rows(path, len(_NAMES))
    return _write(path, makers[{"fill-mask": "text", "reward": "preference"}.get(task, task)])


def attempt(architecture: str, method: str, task: str, folder: Path) -> str:
    """Trains one step. Returns nothing where that worked, else the reason why the triple is refused."""
    model = folder / architecture
    if not model.exists():
        save_architecture(architecture, model)
    data = rows_for(task, folder)
    options = {"method": method, "task": task, "train__max_steps": 1, "data__context": 64, "evaluate__answers": 0}
    options["evaluate__general"] = "none"
    try:
        run = train(make_recipe(data, model, folder / "runs", **options))
    except InputError as error:
        return error.why
    evaluation = run.evaluation
    assert evaluation is not None
    assert evaluation["figures"][0]["tuned"]["value"] is not None, "the loss is NaN"
    open_session(str(run.path))
    return ""


def page() -> str:
    """The page, made by training every cell."""
    reasons: dict[str, list[str]] = {}
    with tempfile.TemporaryDirectory() as name:
        cells = {}
        for cell in all_cells():
            reason = attempt(*cell, Path(name))
            cells[cell] = REFUSED if reason else TRAINED
            if reason:
                reasons.setdefault(reason, []).append(" ".join(cell))
    parts = [_INTRODUCTION, "## Tasks, by LoRA\n", _table(ARCHITECTURES, TASKS, lambda one, t: cells[one, "lora", t])]
    methods = tuple(method_names())
    parts += [
        "## Methods\n\nOn `chat` for decoders, `text-to-text` for T5 and `classify` for encoders.\n",
        _table(ARCHITECTURES, methods, lambda one, method: cells[one, method, main_task(one)]),
    ]
    for architecture in PAIRED:
        pairs = _table(methods, TASKS, lambda method, task, one=architecture: cells[one, method, task])
        parts += [f"## Every method with every task: {architecture}\n", pairs]
    return "\n".join([*parts, "## Reasons\n", *(f"- {reason}" for reason in sorted(reasons)), ""])


def _table(rows: tuple[str, ...], columns: tuple[str, ...], cell: Callable[[str, str], str]) -> str:
    lines = ["| | " + " | ".join(columns) + " |", "|---|" + "---|" * len(columns)]
    lines += [f"| {row} | " + " | ".join(cell(row, column) for column in columns) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def reported_cells(text: str) -> dict[tuple[str, str, str], str]:
    """What a page says of each cell."""
    result: dict[tuple[str, str, str], str] = {}
    columns: list[str] = []
    architecture = ""
    for line in text.splitlines():
        if line.startswith("## "):
            architecture = line.partition(": ")[2]
        if not line.startswith("| "):
            continue
        first, *cells = [part.strip() for part in line.strip("|").split("|")]
        if not first:
            columns = cells
            continue
        for column, cell in zip(columns, cells, strict=True):
            if architecture:
                result[architecture, first, column] = cell
            elif column in TASKS:
                result[first, "lora", column] = cell
            else:
                result[first, column, main_task(first)] = cell
    return result


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
