"""The plan that says which examples make up which step."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy
import pytest
import torch

from burnish.data.batching.batches import Batch, BatchPlan, Rows, collate_tokens
from tests.tiny_data import random_examples
from tests.tiny_training import token_plan

PAD = 0


def plan_of(count: int = 40, shortest: int = 3, longest: int = 30, **changes: Any) -> BatchPlan:
    """A plan over random examples."""
    options = {"context": 32, "packing": True, "step_tokens": 100, "micro_rows": 2, "pad_id": PAD, "seed": 3}
    return token_plan(random_examples(count, shortest, longest), **{**options, **changes})


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
def test_micro_batches_hold_at_most_so_many_rows_of_the_context_length(micro_rows: int, expected: list[int]) -> None:
    lengths = {"shortest": 32, "longest": 32}
    plan = plan_of(packing=False, micro_rows=micro_rows, **lengths)
    plan.rows_per_step = 5
    batches = plan.step_batches(0)
    assert [len(batch.input_ids) for batch in batches] == expected
    whole = plan_of(packing=False, micro_rows=100, **lengths)
    whole.rows_per_step = 5
    assert [index for batch in batches for index in batch.examples] == list(whole.step_batches(0)[0].examples)


def row_widths(plan: BatchPlan, batch: Batch) -> list[int]:
    """Tokens of each row of a batch, without padding."""
    rows = {row[0]: row for row in plan.rows}
    widths, examples = [], list(batch.examples)
    while examples:
        row = rows[examples[0]]
        widths.append(sum(len(plan.examples[index].input_ids) for index in row))
        examples = examples[len(row) :]
    return widths


@pytest.mark.parametrize("packing", [True, False])
@pytest.mark.parametrize("micro_rows", [1, 2, 3])
def test_short_rows_share_the_memory_of_long_ones(micro_rows: int, packing: bool) -> None:
    """Padding counts: width times rows never exceeds the budget, and no two batches could have been one."""
    budget = micro_rows * 32
    plan = plan_of(packing=packing, micro_rows=micro_rows, step_tokens=300)
    for batches in (plan.all_batches(), *(plan.step_batches(step) for step in range(plan.steps_per_epoch))):
        assert max(batch.input_ids.numel() for batch in batches) <= budget
        for first, second in zip(batches, batches[1:], strict=False):
            width = max(first.input_ids.shape[1], row_widths(plan, second)[0])
            assert (len(first.input_ids) + 1) * width > budget
    widest = max(len(batch.input_ids) for batch in plan.all_batches())
    assert widest == micro_rows if packing else widest > micro_rows


def test_a_step_is_never_larger_than_the_data() -> None:
    plan = plan_of(step_tokens=10**9)
    assert plan.steps_per_epoch == 1
    assert plan.rows_per_step == len(plan.rows)


def test_a_step_has_at_least_one_row() -> None:
    assert plan_of(step_tokens=1).rows_per_step == 1


@pytest.mark.parametrize("packing", [True, False])
def test_evaluation_reads_every_example_once(packing: bool) -> None:
    batches = plan_of(packing=packing, micro_rows=3).all_batches()
    assert len(batches) > 2
    assert Counter(index for batch in batches for index in batch.examples) == Counter(range(40))


def test_evaluation_puts_rows_of_like_length_together() -> None:
    """So that little is padded."""
    batches = plan_of(packing=False, micro_rows=5).all_batches()
    widths = [batch.input_ids.shape[1] for batch in batches]
    assert widths == sorted(widths, reverse=True)
    assert padding_share(batches) < 0.15


def padding_share(batches: list[Batch]) -> float:
    """Padding over tokens."""
    tokens = sum(batch.num_tokens for batch in batches)
    return sum(batch.input_ids.numel() for batch in batches) / tokens - 1


def test_steps_of_single_rows_hold_rows_of_like_length() -> None:
    """A third of the padding that a plain shuffle would give, and still the order is another one in each epoch."""
    plan = plan_of(count=400, packing=False, step_tokens=16 * 16, micro_rows=100)
    steps = [plan.step_batches(step) for step in range(plan.steps_per_epoch)]
    assert all(len(batches) == 1 for batches in steps)
    shuffled = numpy.random.default_rng(0).permutation(400).reshape(-1, 16)
    plain = [collate_tokens(plan.examples, [[index] for index in step], PAD, False) for step in shuffled.tolist()]
    assert padding_share([batches[0] for batches in steps]) < padding_share(plain) / 3
    assert padding_share(plain) > 0.5


def test_the_lengths_of_steps_come_in_no_order() -> None:
    """Long rows first would be a curriculum that nobody asked for."""
    plan = plan_of(count=800, packing=False, step_tokens=10 * 16, micro_rows=100)
    widths = [plan.step_batches(step)[0].input_ids.shape[1] for step in range(plan.steps_per_epoch - 1)]
    assert len(widths) > 40
    assert abs(numpy.corrcoef(widths, range(len(widths)))[0, 1]) < 0.3
    falls = sum(after < before for before, after in zip(widths, widths[1:], strict=False))
    assert 0.3 * len(widths) < falls < 0.7 * len(widths)


def test_rows_change_their_company_from_epoch_to_epoch() -> None:
    plan = plan_of(count=200, packing=False, step_tokens=10 * 16)
    company = [
        {frozenset(index for batch in plan.step_batches(step) for index in batch.examples) for step in steps}
        for steps in (range(plan.steps_per_epoch), range(plan.steps_per_epoch, 2 * plan.steps_per_epoch))
    ]
    assert company[0].isdisjoint(company[1])


def test_the_short_rest_of_an_epoch_stays_its_last_step() -> None:
    plan = plan_of(count=43, packing=False, step_tokens=10**6)
    plan.rows_per_step = 10
    for epoch in range(3):
        steps = range(epoch * plan.steps_per_epoch, (epoch + 1) * plan.steps_per_epoch)
        sizes = [sum(len(batch.examples) for batch in plan.step_batches(step)) for step in steps]
        assert sizes == [10, 10, 10, 10, 3]


def test_a_batch_knows_its_epoch_and_evaluation_has_none() -> None:
    """What is drawn again in each epoch, such as masks, is drawn from that number."""
    asked: list[tuple[bool, int | None]] = []

    def collate(examples: Sequence[Any], rows: Sequence[Sequence[int]], packed: bool, epoch: int | None) -> Batch:
        asked.append((packed, epoch))
        return collate_tokens(examples, rows, PAD, packed)

    options = {"context": 32, "packing": True, "step_tokens": 10**6, "micro_rows": 100, "seed": 0}
    plan = BatchPlan(random_examples(5, 3, 30), collate=collate, **options)  # type: ignore[arg-type]
    plan.step_batches(0)
    plan.step_batches(2)
    plan.all_batches()
    assert asked == [(True, 0), (True, 2), (True, None)]


def test_no_examples_no_batches() -> None:
    assert plan_of(count=0).all_batches() == []
    assert plan_of(count=0, packing=False).all_batches() == []
    assert plan_of(count=0).padded_tokens(None) == 0
    assert not plan_of(count=0).halve_micro_batch(None)


@pytest.mark.parametrize("packing", [True, False])
def test_sizes_are_known_without_making_batches(packing: bool) -> None:
    plan = plan_of(packing=packing, micro_rows=3)
    for step in (None, *range(2 * plan.steps_per_epoch)):
        made = plan.all_batches() if step is None else plan.step_batches(step)
        assert plan.micro_batch_sizes(step) == [tuple(batch.input_ids.shape) for batch in made]
        assert plan.padded_tokens(step) == sum(batch.input_ids.numel() for batch in made)


@pytest.mark.parametrize("packing", [True, False])
def test_halved_micro_batches_hold_the_same_rows_until_they_are_single(packing: bool) -> None:
    plan = plan_of(packing=packing, micro_rows=100, step_tokens=300)
    steps = [None, *range(plan.steps_per_epoch)]
    orders = {step: read_order(plan, step) for step in steps}
    (before,) = plan.micro_batch_sizes(2)
    halvings = 0
    while True:
        largest = max(rows * width for rows, width in plan.micro_batch_sizes(2) if rows > 1)
        assert plan.halve_micro_batch(2)
        halvings += 1
        assert plan.micro_tokens == largest // 2
        assert all(rows == 1 or rows * width <= largest // 2 for rows, width in plan.micro_batch_sizes(2))
        assert {step: read_order(plan, step) for step in steps} == orders
        if all(rows == 1 for rows, _ in plan.micro_batch_sizes(2)):
            break
    assert halvings >= 2
    assert len(plan.micro_batch_sizes(2)) == before[0]
    tokens = plan.micro_tokens
    assert not plan.halve_micro_batch(2)
    assert plan.micro_tokens == tokens, "nothing has changed"


def test_the_first_halving_takes_effect_however_much_was_allowed() -> None:
    plan = plan_of(packing=False, micro_rows=10**6)
    assert len(plan.micro_batch_sizes(None)) == 1
    assert plan.halve_micro_batch(None)
    assert len(plan.micro_batch_sizes(None)) >= 2


def read_order(plan: BatchPlan, step: int | None) -> list[int]:
    """The examples of a step, or of all batches, in reading order."""
    made = plan.all_batches() if step is None else plan.step_batches(step)
    return [index for batch in made for index in batch.examples]


@pytest.mark.parametrize("rows", [[], [[3]], [[0, 4], [2, 1, 3]], [[5], [], [1, 0]]])
def test_rows_are_the_lists_that_they_are_made_of(rows):
    ends = numpy.cumsum([len(row) for row in rows], dtype=int)
    found = Rows(ends, numpy.array([at for row in rows for at in row], int))
    assert list(found) == [found[index] for index in range(len(found))] == found[:] == rows
    assert all(type(index) is int for row in found for index in row)
    assert found[1:] == rows[1:] and found[-1:] == rows[-1:]
    with pytest.raises(IndexError):
        found[len(rows)]


def test_the_largest_batch_is_the_first_of_all():
    for packing in (True, False):
        plan = plan_of(packing=packing)
        assert plan.largest_size() == plan.micro_batch_sizes(None)[0]
