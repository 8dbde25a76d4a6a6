"""Rows as a script reads them: each step holds what the run's batch plan put into it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from burnish.data.batching.batches import BatchPlan
from burnish.data.preference.format import Answer, PairExample
from burnish.data.rows.row import IGNORED
from burnish.export.script import micro_rows, rows_by_step
from tests.tiny_data import random_examples
from tests.tiny_training import token_plan


def make_plan(packing: bool) -> BatchPlan:
    """Every token is learned, the first of a text among them, which nothing predicts."""
    examples = [replace(example, labels=example.input_ids) for example in random_examples(30, 8, 20, seed=2)]
    return token_plan(examples, context=48, packing=packing, step_tokens=120, micro_rows=2, seed=4)


@pytest.mark.parametrize("packing", [True, False])
def test_each_step_reads_the_tokens_of_the_run(packing: bool) -> None:
    plan = make_plan(packing)
    steps = plan.steps_per_epoch + 2
    rows = rows_by_step(plan, steps)
    assert len(rows) == len(plan.rows)
    for step in range(steps):
        batches = plan.step_batches(step)
        theirs = [row for row in rows if step in row["steps"]]
        assert sum(len(row["input_ids"]) for row in theirs) == sum(batch.num_tokens for batch in batches)
        learned = sorted(label for row in theirs for label in row["labels"] if label != IGNORED)
        assert learned == sorted(label for b in batches for label in b.targets.flatten().tolist() if label != IGNORED)
    assert all(len(row["steps"]) == 2 for row in rows), "whole epochs"
    assert all(row["labels"][0] == IGNORED for row in rows)
    assert all(("position_ids" in row) == packing for row in rows)


def test_packed_texts_begin_at_position_0_and_predict_nothing_across_the_border() -> None:
    row = max(rows_by_step(make_plan(True), 1), key=lambda row: row["position_ids"].count(0))
    begins = [place for place, position in enumerate(row["position_ids"]) if position == 0]
    assert len(begins) > 1
    assert all(row["labels"][place] == IGNORED for place in begins)


def make_pairs(number: int) -> list[PairExample]:
    answer = Answer([5, 6, 7], [5, 6, IGNORED])
    return [PairExample([3, 4], answer, Answer([8], [8]), f"a:{index}") for index in range(number)]


def test_pairs_carry_the_mask_of_what_is_learned() -> None:
    (row,) = rows_by_step(pair_plan(1), 1)
    assert row == {
        "chosen_ids": [3, 4, 5, 6, 7],
        "chosen_mask": [0, 0, 1, 1, 0],
        "rejected_ids": [3, 4, 8],
        "rejected_mask": [0, 0, 1],
        "steps": [0],
    }


def pair_plan(number: int) -> BatchPlan:
    def collate(*_: Any) -> Any:
        raise AssertionError("no batch is made")

    return BatchPlan(
        make_pairs(number), collate=collate, context=16, packing=False, step_tokens=48, micro_rows=4, seed=0
    )


def test_micro_batches_divide_every_step() -> None:
    plan = pair_plan(20)
    assert plan.rows_per_step == 8
    assert micro_rows(plan, 6) == 4, "8 and a last step of 4"
    assert micro_rows(plan, 3) == 2
    assert micro_rows(pair_plan(19), 6) == 1, "8 and a last step of 3"
    tokens = make_plan(False)
    assert len(tokens.rows) % tokens.rows_per_step
    assert tokens.rows_per_step % micro_rows(tokens, 5) == 0
    assert micro_rows(tokens, 5) > 1
