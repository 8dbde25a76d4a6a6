"""Flat arrays give back the examples that were put in."""

from __future__ import annotations

import numpy
import pytest

from burnish.data.batching.batches import collate_tokens
from burnish.data.rows.row import IGNORED, Example
from burnish.data.tokens.tokens import COLUMNS, TokenColumns, TokenExamples, token_counts, trained_count
from tests.tiny_data import random_examples

FIRST_TRAINED = Example([5, 6], [5, 6], "b/c:d.txt:70000")


def stored(examples: list[Example]) -> TokenExamples:
    columns = TokenColumns()
    for example in examples:
        columns.add(example)
    return columns.done()


def test_examples_come_back_as_they_were() -> None:
    examples = [*random_examples(20, 4, 30), FIRST_TRAINED]
    back = stored(examples)
    assert len(back) == len(examples)
    for example, one in zip(examples, back, strict=True):
        assert (list(one.input_ids), list(one.labels), one.place) == (example.input_ids, example.labels, example.place)
        assert (one.num_tokens, one.num_trained) == (example.num_tokens, example.num_trained)
    assert [one.place for one in back[-2:]] == [examples[-2].place, FIRST_TRAINED.place]
    assert back[-1].place == FIRST_TRAINED.place
    with pytest.raises(IndexError):
        back[len(examples)]


def test_counts_are_those_of_the_examples() -> None:
    examples = [*random_examples(20, 4, 30), FIRST_TRAINED]
    for given in (examples, stored(examples)):
        assert token_counts(given) == [example.num_tokens for example in examples]
        assert trained_count(given) == sum(sum(label != IGNORED for label in one.labels[1:]) for one in examples)


def test_batches_of_both_are_the_same() -> None:
    examples = random_examples(6, 4, 12)
    rows = [[0, 3], [1, 2], [5, 4]]
    plain, flat = (collate_tokens(given, rows, 0, True) for given in (examples, stored(examples)))
    for one, other in zip(plain.tensors(), flat.tensors(), strict=True):
        assert one.dtype == other.dtype and one.equal(other)
    assert plain.examples == flat.examples and plain.owners.equal(flat.owners)


def test_nothing_at_all_is_no_example() -> None:
    empty = stored([])
    assert (len(empty), empty.num_trained, empty.is_whole) == (0, 0, True)


@pytest.mark.parametrize("name", COLUMNS)
def test_columns_that_do_not_belong_together_show(name: str) -> None:
    whole = stored(random_examples(5, 4, 9))
    assert whole.is_whole
    cut = {**whole.columns, name: whole.columns[name][:-1]}
    assert not TokenExamples(cut, whole.names).is_whole


def test_an_example_of_no_token_and_a_file_without_a_name_show() -> None:
    whole = stored(random_examples(5, 4, 9))
    ends = whole.columns["ends"].copy()
    ends[1] = ends[0]
    assert not TokenExamples({**whole.columns, "ends": ends}, whole.names).is_whole
    assert not TokenExamples(whole.columns, []).is_whole
    assert whole.columns["ids"].dtype == numpy.int32
