"""Batches and the plan that says which examples make up which step."""

from __future__ import annotations

from collections import Counter

import pytest
import torch

from burnish.data.batches import Batch, BatchPlan, collate
from burnish.data.row import IGNORED, Example
from tests.tiny_data import random_examples

PAD = 0


def example(ids: list[int], prompt: int = 0) -> Example:
    """An example whose first `prompt` tokens are not trained on."""
    return Example(ids, [IGNORED] * prompt + ids[prompt:], "made.jsonl:1")


def plan_of(count: int = 40, **changes: object) -> BatchPlan:
    """A plan over random examples."""
    options = {"context": 32, "packing": True, "step_tokens": 100, "micro_rows": 2, "pad_id": PAD, "seed": 3}
    return BatchPlan(random_examples(count, 3, 30), **{**options, **changes})  # type: ignore[arg-type]


def test_a_packed_batch_by_hand() -> None:
    examples = [example([11, 12, 13], prompt=1), example([21, 22]), example([31, 32, 33, 34], prompt=3)]
    batch = collate(examples, [[0, 1], [2]], PAD, packed=True)
    assert batch.input_ids.tolist() == [[11, 12, 13, 21, 22], [31, 32, 33, 34, PAD]]
    assert batch.targets.tolist() == [
        [12, 13, IGNORED, 22, IGNORED],
        [IGNORED, IGNORED, 34, IGNORED, IGNORED],
    ]
    assert batch.position_ids is not None
    assert batch.position_ids.tolist() == [[0, 1, 2, 0, 1], [0, 1, 2, 3, 0]]
    assert batch.examples == (0, 1, 2)
    assert batch.spans == ((0, 0, 3), (0, 3, 5), (1, 0, 4))
    assert batch.num_tokens == 9
    assert batch.num_trained == 4
    assert batch.input_ids.dtype == batch.targets.dtype == torch.int64


def test_a_padded_batch_by_hand() -> None:
    batch = collate([example([11, 12, 13]), example([21, 22])], [[1], [0]], PAD, packed=False)
    assert batch.input_ids.tolist() == [[21, 22, PAD], [11, 12, 13]]
    assert batch.targets.tolist() == [[22, IGNORED, IGNORED], [12, 13, IGNORED]]
    assert batch.position_ids is None
    assert batch.num_tokens == 5


def test_the_last_token_of_an_example_never_predicts_the_next_example() -> None:
    batch = collate([example([11, 12]), example([21, 22])], [[0, 1]], PAD, packed=True)
    assert batch.targets[0, 1] == IGNORED


def test_the_end_is_learned_even_where_it_pads_too() -> None:
    """A tokenizer without a pad token of its own: padding with EOS takes no label from the EOS that ends a text."""
    end = 2
    batch = collate([example([11, 12, end]), example([21, 22, 23, 24, end])], [[0], [1]], pad_id=end, packed=False)
    assert batch.targets[0].tolist() == [12, end, IGNORED, IGNORED, IGNORED]
    assert batch.num_trained == 6


def test_counts_trained_tokens_as_the_examples_do() -> None:
    plan = plan_of()
    for packed in (True, False):
        batch = collate(plan.examples, [[index] for index in range(40)], PAD, packed)
        assert batch.num_trained == sum(one.num_trained for one in plan.examples)


def test_to_moves_the_tensors_and_nothing_else() -> None:
    batch = collate([example([11, 12])], [[0]], PAD, packed=True)
    moved = batch.to(torch.device("meta"))
    assert isinstance(moved, Batch)
    assert moved.input_ids.is_meta
    assert moved.targets.is_meta
    assert moved.position_ids is not None
    assert moved.position_ids.is_meta
    assert (moved.examples, moved.spans, moved.num_tokens, moved.num_trained) == (
        batch.examples,
        batch.spans,
        batch.num_tokens,
        batch.num_trained,
    )


@pytest.mark.parametrize("packing", [True, False])
def test_an_epoch_reads_every_example_once(packing: bool) -> None:
    plan = plan_of(packing=packing)
    steps = plan.steps_per_epoch
    assert steps > 3
    for epoch in range(3):
        batches = [batch for step in range(epoch * steps, (epoch + 1) * steps) for batch in plan.step_batches(step)]
        assert Counter(index for batch in batches for index in batch.examples) == Counter(range(40))
        assert sum(batch.num_tokens for batch in batches) == plan.num_tokens


def test_a_step_depends_on_seed_and_number_alone() -> None:
    """Another plan, asked in another order, gives the very same batches: that is what a resumed run does."""
    steps = [7, 0, 23, 7]
    plan = plan_of()
    first = {step: plan.step_batches(step) for step in steps}
    torch.manual_seed(99)
    again = plan_of()
    for step in reversed(steps):
        for one, other in zip(first[step], again.step_batches(step), strict=True):
            assert one.examples == other.examples
            assert torch.equal(one.input_ids, other.input_ids)
            assert torch.equal(one.targets, other.targets)


def test_epochs_and_seeds_have_orders_of_their_own() -> None:
    plan = plan_of()
    orders = [tuple(plan.epoch_order(epoch)) for epoch in range(4)] + [tuple(plan_of(seed=4).epoch_order(0))]
    assert len(set(orders)) == 5
    assert all(sorted(order) == list(range(len(plan.rows))) for order in orders)


@pytest.mark.parametrize("packing", [True, False])
def test_a_step_has_about_the_tokens_asked_for(packing: bool) -> None:
    plan = plan_of(count=400, step_tokens=300, packing=packing)
    tokens = [sum(batch.num_tokens for batch in plan.step_batches(step)) for step in range(plan.steps_per_epoch - 1)]
    assert 270 <= sum(tokens) / len(tokens) <= 330


@pytest.mark.parametrize(("micro_rows", "expected"), [(1, [1, 1, 1, 1, 1]), (2, [2, 2, 1]), (5, [5]), (9, [5])])
def test_micro_batches_hold_at_most_so_many_rows(micro_rows: int, expected: list[int]) -> None:
    plan = plan_of(packing=False, micro_rows=micro_rows)
    plan.rows_per_step = 5
    batches = plan.step_batches(0)
    assert [len(batch.input_ids) for batch in batches] == expected
    whole = plan_of(packing=False, micro_rows=100)
    whole.rows_per_step = 5
    assert [index for batch in batches for index in batch.examples] == list(whole.step_batches(0)[0].examples)


def test_a_step_is_never_larger_than_the_data() -> None:
    plan = plan_of(step_tokens=10**9)
    assert plan.steps_per_epoch == 1
    assert plan.rows_per_step == len(plan.rows)


def test_a_step_has_at_least_one_row() -> None:
    assert plan_of(step_tokens=1).rows_per_step == 1


@pytest.mark.parametrize("packing", [True, False])
def test_evaluation_reads_every_example_once(packing: bool) -> None:
    batches = plan_of(packing=packing, micro_rows=3).all_batches()
    assert Counter(index for batch in batches for index in batch.examples) == Counter(range(40))
    assert max(len(batch.input_ids) for batch in batches) == 3


def test_evaluation_puts_rows_of_like_length_together() -> None:
    """So that little is padded."""
    batches = plan_of(packing=False, micro_rows=5).all_batches()
    widths = [batch.input_ids.shape[1] for batch in batches]
    assert widths == sorted(widths, reverse=True)
    padding = sum(batch.input_ids.numel() - batch.num_tokens for batch in batches)
    assert padding < 0.15 * sum(batch.num_tokens for batch in batches)
