"""Guesses of the next tokens."""

from __future__ import annotations

from burnish.decoding.lookup import Lookup


def test_what_followed_the_same_tokens_is_guessed() -> None:
    lookup = Lookup([1, 2, 3, 4, 5, 6, 1, 2])
    assert lookup.guess(10) == [3, 4, 5]
    assert lookup.guess(2) == [3, 4]
    assert lookup.guess(0) == []
    lookup.add([9])
    assert lookup.guess(10) == [], "nothing followed 2, 9 yet"


def test_more_tokens_that_are_the_same_come_first() -> None:
    lookup = Lookup([1, 2, 3, 10, 7, 2, 3, 20, 8, 1, 2, 3])
    assert lookup.guess(1) == [10], "after 1, 2, 3; not what followed 2, 3 the last time"
    assert Lookup([1, 2, 3, 10, 7, 2, 3, 20, 8, 2, 3]).guess(1) == [20], "the last time"


def test_the_end_of_the_text_is_guessed_from_itself() -> None:
    assert Lookup([5, 5, 5, 5]).guess(10) == [5, 5, 5]
    assert Lookup([1, 2, 1, 2, 1]).guess(10) == [2, 1, 2]


def test_guesses_adapt() -> None:
    text = [*range(40), *range(4)]
    lookup = Lookup(text)
    for number in (3, 6, 12, 15, 15):
        assert len(lookup.guess(100)) == number
        lookup.learn(number, number)
    lookup.learn(15, 4)
    assert len(lookup.guess(100)) == 5
    for pause in (1, 2, 4, 8, 16, 32, 32):
        assert lookup.guess(100)
        lookup.learn(3, 0)
        assert [lookup.guess(100) for _ in range(pause)] == [[]] * pause
    assert len(lookup.guess(100)) == 3
    lookup.learn(3, 3)
    assert len(lookup.guess(100)) == 6


def test_a_text_of_one_token_has_no_guess() -> None:
    assert Lookup([3]).guess(5) == []
    assert Lookup([]).guess(5) == []
