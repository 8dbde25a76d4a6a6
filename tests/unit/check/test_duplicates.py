"""Twins are found among many rows, and what only looks alike is not taken for one."""

from __future__ import annotations

import random

import numpy
import pytest

from burnish.check import duplicates
from burnish.check.duplicates import (
    NEAR_DUPLICATE,
    RUN,
    Fingerprints,
    _words,
    agreement,
    compute_fingerprints,
    exact_duplicates,
    near_duplicates,
)

_WORDS = [f"{first}{second}" for first in ("ba", "co", "di", "fu", "ga", "hel", "ji", "mo") for second in "lmnprstvz"]


def text(number: int, words: int = 60) -> str:
    source = random.Random(number)
    return " ".join(source.choice(_WORDS) for _ in range(words))


def changed(whole: str, count: int, seed: int = 0) -> str:
    """The text with some words replaced."""
    words, source = whole.split(), random.Random(seed)
    for place in source.sample(range(len(words)), count):
        words[place] = f"other{place}"
    return " ".join(words)


def share_of_runs(some: str, other: str) -> float:
    """What `agreement` estimates: runs that both have, of those that either has (Jaccard)."""
    sets = []
    for whole in (some, other):
        words = whole.lower().split()
        sets.append({tuple(words[place : place + RUN]) for place in range(len(words) - RUN + 1)})
    return len(sets[0] & sets[1]) / len(sets[0] | sets[1])


def test_the_same_text_is_a_twin_and_another_is_none() -> None:
    prints = compute_fingerprints(["one two", "three", "one two", "one  two", "", "three", ""])
    assert exact_duplicates(prints).tolist() == [0, 1, 0, 3, 4, 1, 4]


def test_agreement_estimates_the_share_of_runs_in_common() -> None:
    errors = []
    for number in range(60):
        one = text(number, 200)
        other = changed(one, number // 2, seed=number)
        prints = compute_fingerprints([one, other])
        errors.append(agreement(prints.bins[:1], prints.bins[1:])[0] - share_of_runs(one, other))
    assert abs(float(numpy.mean(errors))) < 0.03
    assert float(numpy.std(errors)) < 0.08


@pytest.mark.parametrize("words", [60, 120, 300])
def test_nearly_the_same_is_found_among_many(words: int) -> None:
    rows = [text(number, words) for number in range(400)]
    twins = [changed(rows[number], 1 if words < 100 else words // 100, seed=number) for number in range(50)]
    near = near_duplicates(compute_fingerprints([*rows, *twins]))
    found = sum(int(near[400 + number]) == number for number in range(50))
    alike = sum(share_of_runs(rows[number], twins[number]) >= NEAR_DUPLICATE for number in range(50))
    assert found >= 0.8 * alike
    assert alike >= 40
    assert (near[:400] == numpy.arange(400)).all(), "no other pair is taken for nearly the same"


def test_rows_counted_in_bits_are_alike_where_their_agreement_says_so() -> None:
    bins = compute_fingerprints(
        [changed(text(number % 20, 8 + number), number % 7, seed=number) for number in range(300)]
    ).bins
    some, others = numpy.triu_indices(len(bins), 1)
    counted = duplicates._are_near(bins, duplicates._packed(bins != duplicates.EMPTY), some, others)
    plain = agreement(bins[some], bins[others]) >= NEAR_DUPLICATE
    assert (counted == plain).all()
    assert plain.any()
    assert not plain.all()


def test_capitals_and_marks_do_not_make_rows_differ() -> None:
    one = text(1)
    near = near_duplicates(compute_fingerprints([one, one.upper().replace(" ", ", ")]))
    assert near.tolist() == [0, 0]


@pytest.mark.parametrize(
    ("one", "other"),
    [("abcdefghijklmnop", "ijklmnopabcdefgh"), ("abcdefgh1", "abcdefgh2"), ("abcdefgh", "abcdefgh0"), ("Wört", "Wart")],
)
def test_a_word_is_identified_by_all_its_letters_and_their_order(one: str, other: str) -> None:
    words, ends = _words(f"{one}, {other}\n{other.upper()}\n\n".encode(), _sizes(f"{one}, {other}", other, ""))
    assert ends.tolist() == [2, 3, 3]
    assert words[0] != words[1]
    assert (words[1] == words[2]) == other.isascii()


def _sizes(*rows: str) -> numpy.ndarray:
    return numpy.array([len(row.encode()) + 1 for row in rows])


def test_short_rows_are_compared_whole_only() -> None:
    near = near_duplicates(compute_fingerprints(["what is red", "what is red now", "what is blue"]))
    assert near.tolist() == [0, 1, 2]


def test_blocks_give_what_all_rows_at_once_give() -> None:
    rows = [*(text(number) for number in range(30)), "", "ein Wörtchen", "日本 語"]
    whole = compute_fingerprints(rows)
    joined = Fingerprints.join([compute_fingerprints(rows[:7]), compute_fingerprints(rows[7:])])
    assert (whole.full == joined.full).all()
    assert (whole.bins == joined.bins).all()
    assert len(Fingerprints.join([]).full) == 0
