"""Held-out rows: how many, which, and never one that is trained on."""

from __future__ import annotations

import random

import pytest

from burnish.data.rows.dataset import assert_disjoint, split_held_out
from burnish.data.rows.records import SpanRecord, TextRecord, content_hash
from burnish.errors import DataError


def records_of(texts):
    return [TextRecord(str(text), True, f"a.txt:{line}") for line, text in enumerate(texts, start=1)]


def texts_of(records):
    return [record.text for record in records]


@pytest.mark.parametrize(
    ("num_rows", "fraction", "most", "held"),
    [
        (0, 0.1, 1000, 0),
        (1, 0.1, 1000, 0),
        (2, 0.1, 1000, 1),
        (2, 0.89, 1000, 1),
        (5, 0.1, 1000, 1),
        (100, 0.1, 1000, 10),
        (100, 0.1, 3, 3),
        (999, 0.1, 1000, 100),
        (12_000, 0.1, 1000, 1000),
    ],
)
def test_how_many_are_held_out(num_rows, fraction, most, held):
    train, valid = split_held_out(records_of(range(num_rows)), fraction, most, seed=0)
    assert (len(train), len(valid)) == (num_rows - held, held)


def test_the_order_of_the_file_is_kept_and_nothing_is_lost():
    records = records_of(range(200))
    train, valid = split_held_out(records, 0.2, 1000, seed=3)
    numbers = [[int(record.text) for record in part] for part in (train, valid)]
    assert numbers == [sorted(part) for part in numbers]
    assert sorted(numbers[0] + numbers[1]) == list(range(200))


@pytest.mark.parametrize("seed", range(5))
def test_duplicates_never_straddle(seed):
    chance = random.Random(seed)
    records = records_of(chance.choice(range(40)) for _ in range(300))
    train, valid = split_held_out(records, 0.25, 1000, seed)
    assert not set(texts_of(train)) & set(texts_of(valid))
    assert len(set(texts_of(valid))) == round(0.25 * len(set(texts_of(records))))
    assert len(train) + len(valid) == 300
    assert_disjoint(train, valid)


def test_the_side_depends_on_content_and_seed_not_on_order():
    texts = [str(number) for number in range(100)]
    held = {seed: set(texts_of(split_held_out(records_of(texts), 0.1, 1000, seed)[1])) for seed in (0, 1)}
    shuffled = random.Random(7).sample(texts, 100)
    assert set(texts_of(split_held_out(records_of(shuffled), 0.1, 1000, 0)[1])) == held[0]
    assert held[0] != held[1]


def test_at_most_so_many_rows_even_with_many_duplicates():
    texts = ["same"] * 500 + [str(number) for number in range(20)]
    for seed in range(10):
        train, valid = split_held_out(records_of(texts), 0.2, 5, seed)
        assert 1 <= len(valid) <= 5 and "same" not in texts_of(valid)


def test_where_every_record_has_too_many_duplicates_the_fewest_are_held_out():
    train, valid = split_held_out(records_of(["a"] * 5 + ["b"] * 4), 0.5, 2, seed=0)
    assert (set(texts_of(train)), set(texts_of(valid))) == ({"a"}, {"b"})


def test_shared_rows_are_named():
    train, valid = records_of(["a", "b"]), [TextRecord("b", True, "v.txt:9")]
    with pytest.raises(DataError) as caught:
        assert_disjoint(train, valid)
    assert caught.value.what == "v.txt:9 is in the validation data and, at a.txt:2, in the training data"
    assert_disjoint(train[:1], valid)
    assert content_hash(train[1]) == content_hash(valid[0])


def questions_about(texts, each):
    return [
        SpanRecord(text, f"{text} {number}?", (), f"{text}:{number}") for text in texts for number in range(1, each + 1)
    ]


@pytest.mark.parametrize("seed", range(3))
def test_questions_about_one_text_stay_on_one_side(seed):
    records = questions_about([f"text {number}" for number in range(30)], 4)
    train, valid = split_held_out(records, 0.1, 1000, seed)
    assert len(valid) == 3 * 4
    assert not {record.context for record in train} & {record.context for record in valid}
    assert len(train) + len(valid) == len(records)


def test_questions_about_a_single_text_are_split_one_by_one():
    train, valid = split_held_out(questions_about(["text"], 20), 0.1, 1000, seed=0)
    assert (len(train), len(valid)) == (18, 2)
