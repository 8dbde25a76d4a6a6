"""ROUGE-L; expected values are those of `rouge_score` 0.1.2 with use_stemmer=False."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from burnish.metrics.answers import common_length, rouge_l, rouge_measure, words
from burnish.metrics.measure import value
from tests.unit.metrics.redraws import check


@pytest.mark.parametrize(
    ("expected", "given", "score"),
    [
        ("the cat sat on the mat", "the cat lay on a mat", 0.6666666666666666),
        (
            "The quick brown fox jumps over the lazy dog",
            "The quick brown dog jumps on the log.",
            0.5882352941176471,
        ),
        ("a b c d", "d c b a", 0.25),
        ("Don't stop", "do not STOP!", 0.3333333333333333),
        ("snake_case v1.2", "snake case v1 2", 1.0),
        ("x x x y", "x y x", 0.5714285714285715),
        ("", "x", 0.0),
        ("", "", 0.0),
        ("...", "x", 0.0),
    ],
)
def test_rouge_score(expected: str, given: str, score: float) -> None:
    assert rouge_l(expected, given) == pytest.approx(score, abs=1e-12)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("naïve café_x", ["naïve", "café", "x"]),
        ("cafe\u0301", ["caf\u00e9"]),
        ("Ελλάδα, Київ!", ["ελλάδα", "київ"]),
        ("हिन्दी भाषा", ["हिन्दी", "भाषा"]),
        ("東京は2024年", ["東", "京", "は", "2024", "年"]),
        ("\u212aelvin", ["kelvin"]),
    ],
)
def test_other_letters_are_words_too(text: str, expected: list[str]) -> None:
    """Where `rouge_score` differs: it finds na, ve, caf and x in the first, and nothing in the third."""
    assert words(text) == expected


def plain_common_length(first: Sequence[int], second: Sequence[int]) -> int:
    """The textbook table."""
    row = [0] * (len(second) + 1)
    for left in first:
        above = row[:]
        for place, right in enumerate(second):
            row[place + 1] = above[place] + 1 if left == right else max(above[place + 1], row[place])
    return row[-1]


def test_bit_parallel_equals_the_table() -> None:
    source = random.Random(0)
    for _ in range(300):
        alphabet = source.randint(1, 12)
        texts = [[source.randrange(alphabet) for _ in range(source.randint(0, 90))] for _ in range(2)]
        assert common_length(*texts) == plain_common_length(*texts)


def test_long_texts() -> None:
    """A thousand words each, with a common part that is known."""
    assert common_length(list(range(1000)), [number for number in range(2000) if number % 2]) == 500
    assert common_length(list(range(1000)), list(range(999, -1, -1))) == 1


def test_redrawn_rows() -> None:
    expected = ["a b c", "d e", "f", "g h i j", "k l"] * 4
    given = ["a c", "d e", "x", "g x j", "l k"] * 4
    whole = rouge_measure(expected, given)
    assert (whole.name, value(whole)) == ("ROUGE-L", pytest.approx((0.8 + 1 + 0 + 4 / 7 + 0.5) / 5))
    check(whole, lambda rows: rouge_measure([expected[r] for r in rows], [given[r] for r in rows]))
