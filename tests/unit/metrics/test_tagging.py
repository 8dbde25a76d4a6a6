"""Counting entities; the expected counts were made in Perl by the rules of `conlleval.pl` (version 2004-01-26)."""

from __future__ import annotations

import numpy
import pytest

from burnish.metrics.measure import value
from burnish.metrics.tagging import tag_measures, tag_tables
from tests.unit.metrics.redraws import check


@pytest.mark.parametrize(
    ("rows", "right", "found", "there"),
    [
        ([("B-PER I-PER O B-LOC", "B-PER O O B-LOC")], 1, 2, 2),
        ([("O I-PER I-PER", "O B-PER I-PER")], 1, 1, 1),
        ([("B-PER I-LOC", "B-PER B-LOC")], 2, 2, 2),
        ([("B-PER I-PER I-PER", "B-PER B-PER I-PER")], 0, 2, 1),
        ([("I-PER I-LOC I-PER", "I-PER I-PER I-PER")], 0, 1, 3),
        ([("B-PER", "B-PER"), ("I-PER", "I-PER")], 2, 2, 2),
        ([("B-LOC-GPE I-LOC-GPE", "B-LOC-GPE I-LOC")], 0, 2, 1),
        ([("O E-PER E-PER", "O B-PER B-PER")], 2, 2, 2),
        ([("X-PER X-PER O", "B-PER I-PER O")], 1, 1, 1),
        ([("B I O", "B I O")], 1, 1, 1),
        ([("B-PER O O", "B-PER B-PER B-LOC")], 1, 3, 1),
        ([("O O", "O O")], 0, 0, 0),
        ([("B-PER E-PER B-PER E-PER", "B-PER I-PER B-PER I-PER")], 0, 2, 1),
    ],
)
def test_counts(rows: list[tuple[str, str]], right: int, found: int, there: int) -> None:
    gold, predicted = ([row[side].split() for row in rows] for side in (0, 1))
    whole, precision, recall = tag_measures(gold, predicted, "IOB2")
    assert [whole.name, precision.name, recall.name] == ["entity F1", "entity precision", "entity recall"]
    assert whole.table.sum(0).tolist() == [right, found, there]
    assert all(one.higher_is_better and one.is_share for one in (whole, precision, recall))
    assert value(precision) == (right / found if found else 0.0)
    assert value(recall) == (right / there if there else 0.0)
    assert value(whole) == pytest.approx(2 * right / (found + there) if found + there else 0.0)


@pytest.mark.parametrize(
    ("gold", "predicted", "right", "found", "there"),
    [
        ("B-A E-A S-A S-A B-B I-B E-B B-A E-A", "B-A E-A S-A S-A B-B I-B E-B B-A E-A", 5, 5, 5),
        ("S-A S-A O", "B-A E-A O", 0, 1, 2),
        ("B-A E-A", "B-A I-A", 1, 1, 1),
        ("S-A O S-A", "S-A I-A S-A", 2, 3, 2),
        ("B-A I-A E-A", "B-A E-A S-A", 0, 2, 1),
        ("S-A S-B", "S-A E-B", 2, 2, 2),
    ],
)
def test_counts_with_marks_of_the_end(gold: str, predicted: str, right: int, found: int, there: int) -> None:
    whole, *_ = tag_measures([gold.split()], [predicted.split()], "BIOES")
    assert whole.table.sum(0).tolist() == [right, found, there]


def test_per_type() -> None:
    gold = [["B-PER", "I-PER", "O", "B-LOC"], ["B-PER", "O"]]
    predicted = [["B-PER", "O", "O", "B-LOC"], ["B-PER", "B-ORG"]]
    (table,) = tag_tables(gold, predicted, "IOB2")
    assert (table.title, table.columns) == ("per type", ("type", "precision", "recall", "F1", "entities"))
    assert table.rows == (("LOC", 1.0, 1.0, 1.0, 1), ("ORG", 0.0, 0.0, 0.0, 0), ("PER", 0.5, 0.5, 0.5, 2))


def test_plain_tags_are_evaluated_by_token() -> None:
    gold, predicted = [["DT", "NN", "VB"], [], ["NN"]], [["DT", "NN", "NN"], [], ["NN"]]
    accuracy, macro = tag_measures(gold, predicted, "plain")
    assert (accuracy.name, value(accuracy)) == ("token accuracy", 0.75)
    assert (macro.name, value(macro)) == ("macro-F1", pytest.approx((1.0 + 0.8 + 0.0) / 3))
    assert accuracy.table.shape[0] == macro.table.shape[0] == 3
    (table,) = tag_tables(gold, predicted, "plain")
    assert table.columns[-1] == "tokens"
    assert table.rows[1] == ("NN", pytest.approx(2 / 3), 1.0, pytest.approx(0.8), 2)


@pytest.mark.parametrize("scheme", ["IOB2", "plain"])
def test_tags_that_differ_in_number(scheme: str) -> None:
    with pytest.raises(ValueError, match="tags differ"):
        tag_measures([["O", "O"]], [["O"]], scheme)
    with pytest.raises(ValueError, match="tags differ"):
        tag_tables([["O"], ["O"]], [["O"]], scheme)


@pytest.mark.parametrize("scheme", ["IOB1", "BIOES", "plain"])
def test_redrawn_rows(scheme: str) -> None:
    source = numpy.random.default_rng(2)
    tags = ["O", "B-X", "I-X", "B-Y", "I-Y", "S-Y"]
    gold = [source.choice(tags, length).tolist() for length in source.integers(1, 7, 25)]
    predicted = [[tag if source.random() < 0.8 else str(source.choice(tags)) for tag in row] for row in gold]
    for number, measure in enumerate(tag_measures(gold, predicted, scheme)):
        check(
            measure,
            lambda rows, n=number: tag_measures([gold[r] for r in rows], [predicted[r] for r in rows], scheme)[n],
        )
