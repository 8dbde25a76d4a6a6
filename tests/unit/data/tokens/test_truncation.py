"""Over-long conversations: cut from the left, answers whole."""

from __future__ import annotations

import pytest

from burnish.data.rows.row import IGNORED, RowError
from burnish.data.tokens.tokens import fit_answers

BOS = 1


def windows(num: int, answers: list[tuple[int, int]], context: int, lead: bool = False) -> tuple[list, int]:
    """(ids, trained ids) of each example of the sequence 100, 101, ..., and how many tokens are in none."""
    ids = [*([BOS] if lead else []), *range(100, 100 + num)]
    answers = [(start + lead, end + lead) for start, end in answers]
    examples, num_lost = fit_answers(ids, answers, [BOS] if lead else [], context, "x:1")
    assert all(len(example.input_ids) <= context for example in examples)
    return [(e.input_ids, [label for label in e.labels if label != IGNORED]) for e in examples], num_lost


def test_what_fits_is_left_alone() -> None:
    assert windows(6, [(2, 3), (5, 6)], 6) == ([([100, 101, 102, 103, 104, 105], [102, 105])], 0)


def test_the_prompt_is_cut_from_the_left() -> None:
    assert windows(8, [(5, 8)], 5) == ([([103, 104, 105, 106, 107], [105, 106, 107])], 3)


def test_bos_stays_in_front() -> None:
    assert windows(8, [(5, 8)], 5, lead=True) == ([([BOS, 104, 105, 106, 107], [105, 106, 107])], 4)


def test_an_earlier_answer_that_lost_its_question_is_trained_in_an_example_of_its_own() -> None:
    # Questions 0-2, 4-5, 8-9; answers 3, 6-7, 10-11.
    examples, num_lost = windows(12, [(3, 4), (6, 8), (10, 12)], 7)
    assert examples == [
        ([100, 101, 102, 103], [103]),
        ([101, 102, 103, 104, 105, 106, 107], [106, 107]),
        ([105, 106, 107, 108, 109, 110, 111], [110, 111]),
    ]
    assert num_lost == 0


@pytest.mark.parametrize("lead", [False, True])
def test_an_earlier_answer_that_keeps_its_question_is_trained_in_the_same_example(lead: bool) -> None:
    # Questions 0-1, 4-5, 8-11; answers 2-3, 6-7, 12-13. The second question begins where the example does.
    examples, num_lost = windows(14, [(2, 4), (6, 8), (12, 14)], 10 + lead, lead)
    front = [BOS] if lead else []
    assert examples == [
        ([*front, 100, 101, 102, 103], [102, 103]),
        ([*front, *range(104, 114)], [106, 107, 112, 113]),
    ]
    assert num_lost == 0
    examples, _ = windows(14, [(2, 4), (6, 8), (12, 14)], 9 + lead, lead)
    assert [trained for _, trained in examples] == [[102, 103, 106, 107], [112, 113]], "it lost a token of its question"


def test_bos_stands_once_where_an_example_reaches_back_to_the_beginning() -> None:
    examples, num_lost = windows(12, [(3, 4), (10, 12)], 8, lead=True)
    assert examples == [
        ([BOS, 100, 101, 102, 103], [103]),
        ([BOS, 105, 106, 107, 108, 109, 110, 111], [110, 111]),
    ]
    assert num_lost == 1


def test_every_answer_is_trained_once() -> None:
    examples, _ = windows(40, [(3, 5), (9, 12), (20, 21), (25, 29), (36, 40)], 12, lead=True)
    trained = [token for _, labels in examples for token in labels]
    assert sorted(trained) == [*range(103, 105), *range(109, 112), 120, *range(125, 129), *range(136, 140)]


def test_an_earlier_answer_that_fits_nowhere_is_counted_out() -> None:
    examples, num_lost = windows(20, [(2, 12), (14, 16)], 6)
    assert examples == [([110, 111, 112, 113, 114, 115], [114, 115])]
    assert num_lost == 14
    examples, _ = windows(20, [(2, 8), (14, 16)], 6)
    assert len(examples) == 1, "6 tokens fit, but nothing is left that the first is predicted from"
    examples, _ = windows(20, [(2, 7), (14, 16)], 6)
    assert examples[0] == ([101, 102, 103, 104, 105, 106], [102, 103, 104, 105, 106])


@pytest.mark.parametrize(("context", "lead"), [(3, False), (4, True)])
def test_an_answer_longer_than_the_context_is_refused(context: int, lead: bool) -> None:
    with pytest.raises(RowError, match=f"the answer alone is 3 tokens, longer than the context of {context}"):
        windows(8, [(5, 8)], context, lead)
    assert windows(8, [(5, 8)], context + 1, lead)[0][0][1] == [105, 106, 107]
