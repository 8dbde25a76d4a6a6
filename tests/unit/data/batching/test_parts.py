"""Parts of batches: every row once, whatever the number of processes is, and about equally many tokens for each."""

from __future__ import annotations

import random
from typing import Any

import pytest

from burnish.data.batching.parts import PartOfBatches, draw_of, own_and_spare, share_out
from tests.tiny_data import random_examples
from tests.tiny_training import token_plan


def plan_of(**changed: Any) -> Any:
    options: dict[str, Any] = {
        "context": 32,
        "packing": False,
        "step_tokens": 200,
        "micro_rows": 2,
        "seed": 3,
    }
    return token_plan(random_examples(40, 4, 30), **{**options, **changed})


def test_pieces_are_shared_by_hand() -> None:
    assert share_out([5, 1, 4, 2, 3], 2) == [[0, 1, 3], [2, 4]]
    assert share_out([1, 1], 3) == [[0], [1], []]
    assert share_out([], 2) == [[], []]


@pytest.mark.parametrize("parts", [1, 2, 3, 7])
def test_every_piece_once_and_no_part_far_above_the_mean(parts: int) -> None:
    source = random.Random(parts)
    costs = [source.randint(1, 50) for _ in range(60)]
    shares = share_out(costs, parts)
    assert sorted(piece for share in shares for piece in share) == list(range(60))
    assert max(sum(costs[piece] for piece in share) for share in shares) <= sum(costs) / parts + max(costs)


def test_all_do_equally_many_by_the_cheapest_piece() -> None:
    assert [own_and_spare([9, 1, 2], 2, part) for part in (0, 1)] == [([0], [1]), ([1, 2], [])]
    assert [own_and_spare([5], 3, part) for part in range(3)] == [([0], []), ([], [0]), ([], [0])]
    assert own_and_spare([], 2, 1) == ([], [])


@pytest.mark.parametrize("world", [2, 3, 4])
def test_even_parts_add_only_what_counts_nothing(world: int) -> None:
    plan = plan_of(micro_rows=1)
    spares = 0
    for step in range(plan.steps_per_epoch):
        even = [PartOfBatches(plan, rank, world, is_even=True).step_batches(step) for rank in range(world)]
        usual = [PartOfBatches(plan, rank, world).step_batches(step) for rank in range(world)]
        assert len({len(part) for part in even}) == 1
        for mine, theirs in zip(even, usual, strict=True):
            own = [batch for batch in mine if not batch.is_spare]
            assert [(batch.examples, batch.draw) for batch in own] == [(batch.examples, batch.draw) for batch in theirs]
            spare = [batch for batch in mine if batch.is_spare]
            assert all(batch.num_trained == batch.num_tokens == 0 and len(batch.input_ids) for batch in spare)
            spares += len(spare)
    assert spares


@pytest.mark.parametrize("packing", [False, True])
@pytest.mark.parametrize("world", [1, 2, 3, 4])
def test_the_parts_of_a_step_are_its_rows(world: int, packing: bool) -> None:
    plan = plan_of(packing=packing)
    parts = [PartOfBatches(plan, rank, world) for rank in range(world)]
    for step in range(2 * plan.steps_per_epoch):
        batches = [batch for part in parts for batch in part.step_batches(step)]
        expected = [index for batch in plan.step_batches(step) for index in batch.examples]
        assert sorted(index for batch in batches for index in batch.examples) == sorted(expected)
        assert parts[0].step_examples(step) == plan.step_examples(step) == expected
        tokens = sum(batch.input_ids.numel() for batch in batches)
        assert parts[0].padded_tokens(step) == tokens


def test_micro_batches_and_their_draws_do_not_depend_on_the_number_of_processes() -> None:
    plan = plan_of(micro_rows=1)
    one = {batch.draw: batch.examples for batch in PartOfBatches(plan, 0, 1).step_batches(5)}
    assert len(one) >= 3
    for world in (2, 3):
        several = [batch for rank in range(world) for batch in PartOfBatches(plan, rank, world).step_batches(5)]
        assert {batch.draw: batch.examples for batch in several} == one


def test_draws_differ_by_seed_step_and_micro_batch() -> None:
    draws = {draw_of(seed, step, number) for seed in range(4) for step in range(4) for number in range(4)}
    assert len(draws) == 64
    assert all(0 <= draw < 2**63 for draw in draws)


def test_a_step_of_few_micro_batches_is_split_for_all_processes() -> None:
    plan = plan_of(micro_rows=64, step_tokens=120)
    assert len(plan.step_batches(0)) == 1
    sizes = [[len(batch.examples) for batch in PartOfBatches(plan, rank, 3).step_batches(0)] for rank in range(3)]
    assert all(sizes)
    assert max(map(sum, sizes)) - min(map(sum, sizes)) <= 3


def test_a_process_without_rows_has_no_batches() -> None:
    plan = plan_of(step_tokens=1)
    assert [len(PartOfBatches(plan, rank, 3).step_batches(0)) for rank in range(3)] == [1, 0, 0]


def test_all_processes_halve_alike() -> None:
    plans = [plan_of(micro_rows=4) for _ in range(2)]
    parts = [PartOfBatches(plan, rank, 2) for rank, plan in enumerate(plans)]
    while True:
        halved = [part.halve_micro_batch(1) for part in parts]
        assert halved[0] == halved[1]
        assert parts[0].micro_tokens == parts[1].micro_tokens
        assert parts[0].micro_batch_sizes(1) == parts[1].micro_batch_sizes(1)
        if not halved[0]:
            break
    assert {rows for rows, _ in parts[0].micro_batch_sizes(1)} == {1}
