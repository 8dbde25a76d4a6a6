"""Estimates beside what a simulated step takes at the same positions, and where there is none."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from burnish.studio.estimate import ESTIMATED, Estimate, estimate
from burnish.studio.inspection import plan_run
from burnish.studio.pages.plan_page import SLIDERS
from tests.tiny_data import write_rows

_PLANNED: dict[str, Any] = {"model.name": "one", "data.context": 100, "batch.tokens": 600}
_FOUND: dict[str, Any] = {
    "memory": {"weights": 1000, "gradients": 40, "optimizer": 80, "activations": 6000, "batch": 60, "libraries": 500},
    "memory_sources": {"libraries": "measured"},
    "room": 100_000,
    "trained_parameters": 10,
    "trained_in_blocks": 8,
    "step_tokens": 600,
    "choices": [{"option": "lora.rank", "value": 8}],
    "micro_batch": {
        "context": 100,
        "rows": 3,
        "width": 100,
        "is_packed": True,
        "most_tokens": 300,
        "epoch_tokens": 10_000,
        "trained_share": 0.5,
        "lengths": [40, 50, 60],
    },
}
"""A step of two micro-batches, of three full rows each."""


def made(move: Mapping[str, Any], start: Mapping[str, Any] = _PLANNED, **changes: Any) -> Estimate:
    """The estimate after a move; `changes` are to the plan, those of its micro-batch among them."""
    batch = {name: changes.pop(name) for name in [*changes] if name in _FOUND["micro_batch"]}
    found = {**_FOUND, **changes, "micro_batch": {**_FOUND["micro_batch"], **batch}}
    there = estimate({**start, **move}, start, found)
    assert there is not None
    return there


def test_what_is_trained_in_the_blocks_is_proportional_to_the_rank() -> None:
    """Of ten weights eight; each takes four bytes, its gradient as many, its moments twice as many."""
    memory = made({"lora.rank": 16}).memory
    assert memory == {**_FOUND["memory"], "weights": 1032, "gradients": 72, "optimizer": 144}


def test_other_optimizers_keep_their_share() -> None:
    assert made({"lora.rank": 16}, memory={**_FOUND["memory"], "optimizer": 20}).memory["optimizer"] == 36


@pytest.mark.parametrize(
    ("move", "changes", "activations"),
    [
        ({"batch.tokens": 200}, {}, 4000),  # a step of two rows
        ({"batch.tokens": 5000}, {}, 6000),  # more are no faster
        ({"batch.tokens": 5000}, {"most_tokens": None, "rows": 6}, 50_000),  # a GPU takes the whole step
        ({"batch.tokens": 5000}, {"most_tokens": None, "rows": 2}, 6000),  # where memory had room for two rows
        ({"data.context": 30}, {}, 6000),  # ten rows of 30 tokens
        ({"data.context": 200}, {}, 4000),  # one row of 200
        ({"data.context": 200}, {"is_packed": False, "width": 60}, 3600),  # three texts of 60, in a row of the context
        ({"data.context": 30}, {"is_packed": False, "width": 60}, 6000),  # ten of 30, where five of 60 were planned
        ({"data.context": 200}, {"is_packed": False}, 4000),  # the longest was cut, and may be as long
        ({"data.context": 200}, {"epoch_tokens": 150}, 6000),  # all there is, before and after
        ({"lora.rank": 16}, {}, 6000),
    ],
)
def test_activations_grow_with_the_tokens_of_a_micro_batch(
    move: dict[str, Any], changes: dict[str, Any], activations: int
) -> None:
    assert made(move, room=10**9, **changes).memory["activations"] == activations


def test_rows_that_were_asked_for_stay() -> None:
    start = {**_PLANNED, "batch.rows": 3}
    assert made({"data.context": 200}, start).memory["activations"] == 12_000
    assert made({"batch.tokens": 100}, start).memory["activations"] == 6_000
    assert not made({"data.context": 200}, start, room=9_000).fits


def test_gradients_of_earlier_micro_batches_are_kept_beside_the_activations() -> None:
    assert made({"batch.tokens": 900}).memory["gradients"] == 40
    assert "gradients" not in made({"batch.tokens": 300}).memory
    few = made({"batch.tokens": 300}, memory={**_FOUND["memory"], "activations": 10})
    assert few.memory["gradients"] == 30, "the update needs all of them, when the activations are gone"


def test_a_step_that_burnish_chose_is_a_share_of_what_a_shorter_context_leaves() -> None:
    """At 45, of rows of 40, 50 and 60 tokens 40, 45 and 45 are left; at 25, of two not even what is learned."""
    start = {"model.name": "one", "data.context": 100}
    changes = {"step_tokens": 6000, "epoch_tokens": 240_000, "most_tokens": None, "rows": 60, "room": 10**9}
    assert made({"data.context": 45}, start, **changes).memory["activations"] == round(6000 * 45 * 116 / 6000)
    assert made({"data.context": 25}, start, **changes).memory["activations"] == 1000


def test_rows_are_halved_where_memory_is_short_as_the_plan_does() -> None:
    there = made({"data.context": 50}, room=5_000)
    assert there.fits and there.memory["activations"] == 3_000
    assert not made({"data.context": 50}, room=2_000).fits


def test_the_allocator_takes_its_share() -> None:
    memory = {**_FOUND["memory"], "allocator": 359}
    assert made({"batch.tokens": 200}, memory=memory).memory["allocator"] == 256  # 5 % of 5,120


@pytest.mark.parametrize(
    ("planned", "found", "move"),
    [
        (_PLANNED, {"error": {"what": "it was refused"}}, {"lora.rank": 16}),
        (_PLANNED, _FOUND, {"model.name": "another"}),
        (_PLANNED, _FOUND, {"lora.rank": 16, "method": "full"}),
        (_PLANNED, _FOUND, {"lora.rank": "auto"}),
        (_PLANNED, {**_FOUND, "choices": []}, {"lora.rank": 16}),
        ({**_PLANNED, "train.optimizer": "muon"}, _FOUND, {"train.optimizer": "adamw"}),
    ],
)
def test_what_does_not_follow_is_not_estimated(
    planned: dict[str, Any], found: dict[str, Any], move: dict[str, Any]
) -> None:
    assert estimate({**planned, **move}, planned, found) is None


def test_every_slider_is_estimated() -> None:
    assert set(SLIDERS) == set(ESTIMATED)


def test_the_process_of_the_pages_needs_no_torch_for_it() -> None:
    code = (
        "import json, sys\nfrom burnish.studio.pages import plan_page\nfrom burnish.studio.estimate import estimate\n"
        "planned, found = json.load(sys.stdin)\nmade = estimate({**planned, 'lora.rank': 16}, planned, found)\n"
        "print(made.peak, [name for name in ('torch', 'transformers', 'numpy') if name in sys.modules])"
    )
    given = json.dumps([_PLANNED, _FOUND])
    done = subprocess.run([sys.executable, "-c", code], input=given, capture_output=True, text=True, check=True)
    assert done.stdout.split(maxsplit=1) == [str(made({"lora.rank": 16}).peak), "[]\n"]


RANK_APART, APART = 0.15, 0.3
"""By which shares of all tensors an estimate and the simulation may differ: at another rank, where what LoRA adds to
activations is not estimated, and at another context or step. The libraries are not counted: of a real run they make the
difference smaller."""


def is_near(options: dict[str, Any], move: dict[str, Any], share: float) -> bool:
    """Whether the estimate after a move is as near to what `plan_run` finds there; weights and optimizer, to exact."""
    planned, exact = plan_run(options, False), plan_run(options | move, False)
    there = estimate(options | move, options, planned)
    assert there is not None and there.room == planned["room"]
    assert there.memory["weights"] == pytest.approx(exact["memory"]["weights"], rel=0.002)
    if options.get("train.optimizer") != "adafactor":  # its state has a part that does not grow with the rank
        assert there.memory["optimizer"] == pytest.approx(exact["memory"]["optimizer"], rel=0.002)
    ours, simulated = (
        sum(size for name, size in memory.items() if name not in exact["memory_sources"])
        for memory in (there.memory, exact["memory"])
    )
    return abs(ours / simulated - 1) <= share


@pytest.fixture(scope="module")
def tiny(tiny_model: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A run of many short rows on a model of 64 positions."""
    rows = write_rows(tmp_path_factory.mktemp("rows") / "rows.jsonl", 200)
    model = str(tiny_model("llama"))
    return {"data.path": str(rows), "model.name": model, "method": "lora", "data.context": 64, "batch.tokens": 256}


@pytest.mark.parametrize(
    ("start", "move", "share"),
    [
        ({}, {"lora.rank": 8}, RANK_APART),
        ({}, {"lora.rank": 32}, RANK_APART),
        ({"train.optimizer": "adafactor"}, {"lora.rank": 32}, RANK_APART),
        ({}, {"batch.tokens": 64}, APART),
        ({}, {"batch.tokens": 1024}, APART),
        ({}, {"data.context": 32}, APART),
        ({"data.packing": False}, {"data.context": 32}, APART),
        ({"batch.rows": 2}, {"data.context": 32}, APART),
        ({"method": "full"}, {"batch.tokens": 64}, APART),
    ],
)
def test_an_estimate_is_near_what_is_simulated(
    start: dict[str, Any], move: dict[str, Any], share: float, tiny: dict[str, Any]
) -> None:
    assert is_near(tiny | start, move, share)


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A run of rows of many lengths on the bundled model, which has 512 positions."""
    source, path = random.Random(0), tmp_path_factory.mktemp("rows") / "rows.jsonl"
    words = ("parcel", "late", "order", "where", "monday", "refund")
    texts = [" ".join(source.choices(words, k=source.randint(5, 120))) for _ in range(400)]
    path.write_text("".join(json.dumps({"prompt": one, "completion": one[:60]}) + "\n" for one in texts))
    return {"data.path": str(path), "model.name": "seedling", "method": "lora"}


_MOVES = [{option: number} for option, (_, positions, _) in SLIDERS.items() for number in positions]


@pytest.mark.slow
@pytest.mark.parametrize("start", [{}, {"data.context": 256, "batch.tokens": 2048}])
@pytest.mark.parametrize("move", [one for one in _MOVES if one.get("data.context", 0) <= 512])
def test_every_position_is_near_what_is_simulated(
    start: dict[str, Any], move: dict[str, Any], packed: dict[str, Any]
) -> None:
    assert is_near(packed | start, move, RANK_APART if "lora.rank" in move else APART)
