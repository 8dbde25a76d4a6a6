"""What the studio asks of rows and models: with what it keeps from question to question, the answers are the same."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from burnish.prepare.shared import Shared
from burnish.recipe.load import load_recipe
from burnish.studio.inspection import examine
from burnish.workflows.plan import Place, Plan, plan
from tests.tiny_data import write_rows

_MOVES: tuple[dict[str, Any], ...] = (
    {},
    {"lora.rank": 4},
    {"lora.rank": 4, "data.context": 64},
    {"batch.tokens": 100},
    {"lora.rank": 4},
    {"lora.rank": 4, "train.optimizer": "adafactor"},
    {"data.columns": {"prompt": "completion", "completion": "prompt"}},
    {},
)


def test_sliders_answer_as_the_plain_plan_does(tiny_model: Callable[[str], Path], tmp_path: Path) -> None:
    """Each position is planned with all that earlier ones have left, and alone."""
    start = {
        "data.path": str(write_rows(tmp_path / "rows.jsonl")),
        "model.name": str(tiny_model("llama")),
        "method": "lora",
    }
    shared = Shared(most=3)
    moved = [tensors(start | move, shared) for move in _MOVES]
    alone = {str(move): tensors(start | move, None) for move in _MOVES}
    assert moved == [alone[str(move)] for move in _MOVES]
    assert len({str(one) for one in alone.values()}) == len(_MOVES) - 2, "positions that differ take different memory"


def test_what_a_process_did_since_is_not_of_the_next_run(tiny_model: Callable[[str], Path], tmp_path: Path) -> None:
    start = {"data.path": str(write_rows(tmp_path / "rows.jsonl")), "model.name": str(tiny_model("llama"))}
    shared = Shared()
    before = made(start, shared)
    ballast = bytearray(64 << 20)
    after = made(start | {"lora.rank": 4}, shared)
    assert len(ballast) > 0
    assert after.memory["Python and libraries"] == before.memory["Python and libraries"]


def made(options: dict[str, Any], shared: Shared | None) -> Plan:
    """A plan without measurements."""
    return plan(load_recipe(None, options, []).recipe, Place(), (), shared, is_timed=False)


def tensors(options: dict[str, Any], shared: Shared | None) -> list[Any]:
    """What a plan says of a run, without the libraries of the process that plans it."""
    found = made(options, shared)
    memory = {name: size for name, size in found.memory.items() if name not in found.sources}
    return [memory, found.flops, found.steps, found.step_tokens, found.choices]


def test_all_rows_are_in_the_plots(tmp_path: Path) -> None:
    """Labels and lengths are those of every row, not of the first ones that are shown."""
    labels = ["a"] * 30 + ["b"] * 20 + ["c"] * 10
    rows = [{"text": f"word {number} " + "more " * (number % 7), "label": label} for number, label in enumerate(labels)]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = examine({"data.path": str(path)}, 2)
    assert found["labels"] == [("a", 30), ("b", 20), ("c", 10)]
    assert sum(count for _, _, count in found["lengths"]) == 60
    assert 1 < len(found["lengths"]) <= 10
    ends = [(low, high) for low, high, _ in found["lengths"]]
    assert all(high + 1 == low for (_, high), (low, _) in zip(ends, ends[1:], strict=False))
