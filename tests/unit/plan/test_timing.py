"""Under which key a measured pace is kept: every ingredient of a step's speed is in it, and nothing else."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from burnish.plan import time as timing
from burnish.plan.run_plan import RunPlan, plan_run
from burnish.plan.time import step_key
from burnish.prepare.context import prepare
from burnish.prepare.encode import Encoded
from tests.tiny_contexts import ignore
from tests.tiny_data import make_recipe, write_rows


@dataclass
class Case:
    """A plan; `changed` gives the key of another."""

    plan: RunPlan

    @property
    def training(self) -> Encoded:
        """Its training rows."""
        return self.plan.context.training

    def changed(self, **options: Any) -> str:
        """The key where options of the recipe, by dotted name with `__` for the dot, are others."""
        recipe = self.plan.context.recipe
        for option, value in options.items():
            section, _, name = option.rpartition("__")
            holder = getattr(recipe, section) if section else recipe
            other = holder.model_copy(update={name: value})
            recipe = recipe.model_copy(update={section: other}) if section else other
        return self.of(recipe=recipe)

    def of(self, **parts: Any) -> str:
        """The key where parts of the context are others."""
        return step_key(replace(self.plan, context=replace(self.plan.context, **parts)))


def planned(rows: Path, model: Path) -> Case:
    """A run up to where its key is made."""
    recipe = make_recipe(rows, model, rows.parent / "runs", method="lora", data__context=32)
    return Case(plan_run(prepare(recipe, ignore)))


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory, tiny_model: Callable[[str], Path]) -> Case:
    """LoRA on a tiny llama. Nothing changes it."""
    return planned(write_rows(tmp_path_factory.mktemp("data") / "rows.jsonl", 60), tiny_model("llama"))


@pytest.fixture(scope="module")
def key(case: Case) -> str:
    """Its key."""
    return case.changed()


@pytest.mark.parametrize(
    "options",
    [
        {"method": "full"},
        {"task": "text"},
        {"lora__rank": 4},
        {"lora__dora": True},
        {"lora__targets": ["q_proj"]},
        {"model__precision": "bf16"},
        {"model__device": "cuda"},
        {"batch__rows": 1},
        {"data__context": 48},
        {"data__packing": False},
        {"train__gradient_checkpointing": True},
        {"train__optimizer": "paged-adamw-8bit"},
    ],
    ids=lambda options: next(iter(options)),
)
def test_another_step_has_another_key(options: dict[str, Any], case: Case, key: str) -> None:
    assert case.changed(**options) != key


@pytest.mark.parametrize(
    "options",
    [
        {"name": "other", "runs": "elsewhere", "seed": 7},
        {"train__epochs": 9, "train__max_steps": 4, "train__learning_rate": 0.1},
        {"evaluate__every": 2, "evaluate__answers": 0, "save__every": 2},
        {"data__path": "other.jsonl", "data__validation_rows": 3},
        {"model__name": "./other", "model__memory": "9GB"},
        {"ia3__targets": ["k_proj"], "preference__beta": 0.5},
    ],
    ids=lambda options: next(iter(options)),
)
def test_what_makes_no_step_slower_changes_no_key(options: dict[str, Any], case: Case, key: str) -> None:
    assert case.changed(**options) == key


def test_a_model_goes_by_its_weights(case: Case, key: str, tmp_path: Path) -> None:
    location = case.plan.context.location
    copy = Path(shutil.copytree(location.folder, tmp_path / "copy"))
    moved = replace(location, name="copy", folder=copy)
    assert case.of(location=moved) == key
    weights = bytearray((copy / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (copy / "model.safetensors").write_bytes(weights)
    assert case.of(location=moved) != key


def test_rows_go_by_their_lengths_and_those_roughly(case: Case, key: str) -> None:
    def of_lengths(*lengths: int) -> str:
        ids = [one % 100 for one in range(40)]
        examples = [replace(case.training.examples[0], input_ids=ids[:size], labels=ids[:size]) for size in lengths]
        return case.of(training=Encoded(examples, list(range(len(lengths))), []))

    many = of_lengths(*[26] * 40)
    assert many == of_lengths(*[26] * 50) == of_lengths(*[27] * 40, 28)
    assert many != of_lengths(*[26] * 40, 29), "a longer row"
    assert of_lengths(*[26] * 8) != of_lengths(*[26] * 2), "fewer rows at once"
    assert many != of_lengths(*[26] * 19), "all of them at once, in one micro-batch"
    assert of_lengths(13, 13) != of_lengths(13, 13, 6), "a wider row, of the same longest example"
    assert of_lengths(*[16] * 40) != of_lengths(*[8] * 80), "as many full rows, of shorter examples"


def test_so_does_the_number_of_outputs(case: Case, key: str) -> None:
    facts = replace(case.plan.facts, outputs=2)
    assert step_key(replace(case.plan, facts=facts)) != key


def test_another_machine_has_another_key(case: Case, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    machine, versions = timing.this_machine(), timing.package_versions()
    assert {"burnish", "torch", "transformers", "peft", "bitsandbytes"} <= set(versions)
    with monkeypatch.context() as other:
        other.setattr(timing, "this_machine", lambda: replace(machine, processor="another"))
        assert case.changed() != key
    for package in ("burnish", "torch"):
        with monkeypatch.context() as other:
            other.setattr(timing, "package_versions", lambda package=package: {**versions, package: "9"})
            assert case.changed() != key
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(threads + 1)
        assert case.changed() != key
    finally:
        torch.set_num_threads(threads)
    budget = replace(case.plan.budget, device="another GPU")
    assert step_key(replace(case.plan, budget=budget)) != key
    assert case.changed() == key
