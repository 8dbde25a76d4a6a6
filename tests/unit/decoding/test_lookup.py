"""Guesses of the next tokens."""

from __future__ import annotations

import pytest

from burnish.decoding.lookup import MOST_AHEAD, Lookup, Phrases


def guessed(text: list[int], most: int = 100, phrases: Phrases | None = None) -> list[int]:
    """What is guessed after a prompt."""
    return Lookup(text, phrases or Phrases()).guess(most)[0]


def test_what_followed_the_same_tokens_is_guessed() -> None:
    lookup = Lookup([1, 2, 3, 4, 5, 6, 1, 2], Phrases())
    assert lookup.guess(3)[0] == [3, 4, 5]
    assert lookup.guess(2)[0] == [3, 4]
    assert lookup.guess(0) == ([], [])
    lookup.add([9])
    assert lookup.guess(10) == ([], []), "nothing followed 2, 9 yet"


def test_more_tokens_that_are_the_same_come_first() -> None:
    first = guessed([1, 2, 3, 10, 7, 2, 3, 20, 8, 1, 2, 3], 1)
    assert first == [10], "after 1, 2, 3; not what followed 2, 3 the last time"
    assert guessed([1, 2, 3, 10, 7, 2, 3, 20, 8, 2, 3], 1) == [20], "the last time"


def test_a_text_that_repeats_itself_is_continued_beyond_its_end() -> None:
    assert set(guessed([5, 5, 5, 5])) == {5}
    assert guessed([1, 2, 1, 2, 1], 4) == [2, 1, 2, 1]


def test_chances_are_those_that_all_guesses_so_far_are_right() -> None:
    ids, chances = Lookup([5, 5, 5], Phrases()).guess(100)
    assert len(ids) == len(chances) == 5, "the next one would be right once in 64 times"
    assert chances == pytest.approx([0.5, 0.25, 0.125, 0.0625, 0.03125])


def test_guesses_that_are_right_make_further_ones_likely() -> None:
    lookup = Lookup([1, 2, 3, 4], Phrases())
    lookup.add([1, 2, 3, 4] * 20)
    ids, chances = lookup.guess(100)
    assert ids == [1, 2, 3, 4] * 3 + [1, 2, 3]
    assert len(ids) == MOST_AHEAD
    assert chances[0] > 0.99


def test_guesses_that_are_wrong_make_further_ones_unlikely() -> None:
    lookup = Lookup([7, 7], Phrases())
    for token in range(100, 200):
        lookup.add([7, 7, token])
    assert lookup.guess(100)[1] == [], "of what followed 7, 7 nothing ever came again"


def test_what_followed_in_other_answers_is_guessed_but_not_what_followed_in_prompts() -> None:
    phrases = Phrases()
    Lookup([1, 2, 3, 4], phrases).add([5, 6, 7, 8])
    assert guessed([5, 6], 2, phrases) == [7, 8]
    assert guessed([3, 4], 2, phrases) == [5, 6], "an answer follows its prompt"
    assert guessed([1, 2], 2, phrases) == []
    assert guessed([5, 6, 9, 5, 6], 1, phrases) == [9], "the text itself comes first"
    assert guessed([5, 6, 9, 4, 5, 6], 1, phrases) == [7], "but not before more tokens that are the same"


def test_rates_of_phrases_are_those_of_all_answers() -> None:
    phrases = Phrases()
    for number in range(400):
        Lookup([1, 2, 10_000 + number], phrases).add([5, 6, 7, 8, 9, 10_000 - number])
    by_size = {size: rate.value for size, rate in phrases.rates.items()}
    assert by_size[3] > 0.8, "8 after 5, 6, 7"
    assert by_size[4] < 0.6, "9 after 5, 6, 7, 8, but another token after 6, 7, 8, 9"


def test_the_oldest_phrases_are_let_go() -> None:
    phrases = Phrases(most=20)
    Lookup([0, 1], phrases).add([2, 3])
    assert guessed([0, 1], 1, phrases) == [2]
    for number in range(100, 200, 4):
        Lookup([number, number + 1], phrases).add([number + 2, number + 3])
        assert len(phrases._latest) + len(phrases._older) <= 26
    assert guessed([0, 1], 1, phrases) == []
    assert guessed([196, 197], 1, phrases) == [198]


def test_a_text_of_one_token_has_no_guess() -> None:
    assert guessed([3]) == []
    assert guessed([]) == []
