"""Best-fit packing."""

from __future__ import annotations

import random
from bisect import bisect_left, insort
from itertools import pairwise

import pytest

from burnish.data.batching.batches import pack_best_fit


def test_packs_by_hand() -> None:
    """Longest first, each into the fullest row that still has room."""
    assert list(pack_best_fit([6, 3, 5, 2, 4], capacity=10)) == [[0, 4], [2, 1, 3]]


def test_takes_the_fullest_row_that_fits_not_the_first() -> None:
    """First-fit would put the 1 beside the 12, where there is more room."""
    assert list(pack_best_fit([12, 10, 9, 1], capacity=20)) == [[0], [1, 2, 3]]


def test_equal_lengths_keep_their_order() -> None:
    assert list(pack_best_fit([4, 4, 4, 4], capacity=8)) == [[0, 1], [2, 3]]


@pytest.mark.parametrize("seed", range(20))
def test_every_example_once_and_no_row_too_long(seed: int) -> None:
    source = random.Random(seed)
    capacity = source.randint(8, 200)
    lengths = [source.randint(1, capacity) for _ in range(source.randint(1, 300))]
    rows = pack_best_fit(lengths, capacity)
    assert sorted(index for row in rows for index in row) == list(range(len(lengths)))
    assert all(sum(lengths[index] for index in row) <= capacity for row in rows)


@pytest.mark.parametrize("seed", range(20))
def test_no_row_could_take_in_another(seed: int) -> None:
    """Else a row was opened although there was room: any two rows hold more than one row can."""
    source = random.Random(seed)
    lengths = [source.randint(1, 64) for _ in range(200)]
    filled = sorted(sum(lengths[index] for index in row) for row in pack_best_fit(lengths, 64))
    assert all(first + second > 64 for first, second in pairwise(filled))


@pytest.mark.parametrize("seed", range(10))
def test_keeps_its_bound_where_the_best_is_known(seed: int) -> None:
    """Full rows are cut to pieces, so the best packing is known; at most 11/9 of it and one more row are used."""
    source = random.Random(seed)
    capacity, best = 100, 60
    lengths: list[int] = []
    for _ in range(best):
        cuts = sorted(source.sample(range(1, capacity), source.randint(1, 5)))
        lengths += [end - begin for begin, end in zip([0, *cuts], [*cuts, capacity], strict=True)]
    source.shuffle(lengths)
    assert best <= len(pack_best_fit(lengths, capacity)) <= 11 / 9 * best + 1


def plainly_packed(lengths: list[int], capacity: int) -> list[list[int]]:
    """The same in a few lines: one sorted list of (tokens left, row)."""
    rows: list[list[int]] = []
    room: list[tuple[int, int]] = []
    for index in sorted(range(len(lengths)), key=lambda index: -lengths[index]):
        at = bisect_left(room, (lengths[index], -1))
        if at == len(room):
            rows.append([])
        left, row = (capacity, len(rows) - 1) if at == len(room) else room.pop(at)
        rows[row].append(index)
        if left > lengths[index]:
            insort(room, (left - lengths[index], row))
    return rows


@pytest.mark.parametrize("seed", range(20))
def test_the_rows_are_those_of_the_plain_algorithm(seed: int) -> None:
    source = random.Random(seed)
    capacity = source.choice([8, 30, 200])
    lengths = [source.randint(1, capacity) for _ in range(source.randint(1, 400))]
    assert list(pack_best_fit(lengths, capacity)) == plainly_packed(lengths, capacity)


def test_nothing_packs_to_nothing() -> None:
    assert list(pack_best_fit([], 8)) == []


def test_a_full_row_is_full() -> None:
    assert list(pack_best_fit([8, 8, 1], capacity=8)) == [[0], [1], [2]]


def test_refuses_an_example_longer_than_a_row() -> None:
    with pytest.raises(ValueError, match="example 1 has 9 tokens, more than a row of 8"):
        pack_best_fit([3, 9], capacity=8)
