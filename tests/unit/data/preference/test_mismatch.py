"""Answers to other prompts: never one's own, each used once, the same whatever the batch."""

from __future__ import annotations

import random

import pytest

from burnish.data.preference.format import Answer, RatedExample
from burnish.data.preference.mismatch import OtherAnswers, other_answers


def test_with_one_answer_each_it_is_the_row_before() -> None:
    assert other_answers("abcd") == [3, 0, 1, 2]


def test_of_pairs_it_is_the_pair_before() -> None:
    assert other_answers("aabbcc") == [4, 5, 0, 1, 2, 3]


@pytest.mark.parametrize("seed", range(20))
def test_never_the_own_prompt_and_each_answer_once(seed: int) -> None:
    source = random.Random(seed)
    prompts = [letter for letter in "abcdefg" for _ in range(source.randint(1, 5))]
    source.shuffle(prompts)
    others = other_answers(prompts)
    assert all(prompts[other] != prompt for other, prompt in zip(others, prompts, strict=True) if other is not None)
    assert None not in others
    if 2 * max(prompts.count(letter) for letter in prompts) <= len(prompts):
        assert sorted(others) == list(range(len(prompts)))


@pytest.mark.parametrize("prompts", ["aaab", "abaaa", "aaabb", "baaaab"])
def test_where_one_prompt_has_most_answers_those_of_the_others_repeat(prompts: str) -> None:
    others = other_answers(prompts)
    assert [prompts[other] for other in others] == ["b" if prompt == "a" else "a" for prompt in prompts]


@pytest.mark.parametrize("prompts", ["", "a", "aaa"])
def test_without_another_prompt_there_is_none(prompts: str) -> None:
    assert other_answers(prompts) == [None] * len(prompts)


def test_a_prompt_that_was_cut_for_a_long_answer_is_the_same_prompt() -> None:
    examples = [
        RatedExample([1, 2, 3], Answer([4], [4]), True, "a:1", asked=b"one"),
        RatedExample([2, 3], Answer([5, 6], [5, 6]), False, "a:2", asked=b"one"),
        RatedExample([7], Answer([8], [8]), True, "a:3", asked=b"two"),
        RatedExample([9], Answer([8], [8]), True, "a:4", asked=b"three"),
    ]
    others = OtherAnswers().of(examples)
    assert {others[0], others[1]} == {2, 3}


def test_they_are_found_once_for_a_list() -> None:
    rows = [RatedExample([number], Answer([1], [1]), True, "a:1") for number in range(3)]
    found = OtherAnswers()
    first, second = found.of(rows), found.of(list(rows))
    assert first == second
    assert found.of(rows) is first
