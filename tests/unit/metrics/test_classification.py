"""Label figures; the expected numbers are those of scikit-learn 1.9 (`f1_score`, `precision_recall_fscore_support`)."""

from __future__ import annotations

import warnings

import numpy
import pytest
from scipy.stats import entropy

from burnish.metrics.classification import (
    chance_loss,
    class_counts,
    confusion_table,
    label_counts,
    macro_f1,
    multi_label_measures,
    per_class_table,
    single_label_measures,
)
from burnish.metrics.measure import Measure, value
from tests.unit.metrics.redraws import check

GOLD = numpy.array([0, 0, 0, 1, 1, 2, 2, 2, 2, 4])
PREDICTED = numpy.array([0, 0, 1, 1, 2, 2, 2, 0, 5, 4])
"""Of seven classes 3 and 6 are nowhere, and 5 is only predicted."""
GOLD_SETS = numpy.array([[1, 0, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0], [0, 1, 1, 0]], dtype=bool)
PREDICTED_SETS = numpy.array([[1, 0, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0], [1, 1, 0, 0]], dtype=bool)
"""The last of four labels is nowhere."""


def figures(measures: list[Measure]) -> dict[str, float]:
    return {measure.name: value(measure) for measure in measures}


def test_single_label() -> None:
    found = figures(single_label_measures(GOLD, PREDICTED, 7))
    assert found == {"accuracy": 0.6, "macro-F1": pytest.approx(0.5476190476190477)}


@pytest.mark.parametrize(
    ("gold", "predicted", "expected"),
    [([0, 0, 1, 1, 1], [0, 1, 1, 1, 0], 0.5833333333333333), ([1, 1], [1, 1], 1.0), ([0, 0], [1, 1], 0.0)],
)
def test_macro_f1_of_two_classes(gold: list[int], predicted: list[int], expected: float) -> None:
    found = figures(single_label_measures(numpy.array(gold), numpy.array(predicted), 2))
    assert found["macro-F1"] == pytest.approx(expected)


def test_multi_label() -> None:
    """Macro-F1 is scikit-learn's with the three labels that occur; with all four it would be 0.3667."""
    assert figures(multi_label_measures(GOLD_SETS, PREDICTED_SETS)) == {
        "micro-F1": pytest.approx(0.6666666666666666),
        "macro-F1": pytest.approx(0.48888888888888893),
        "exact match": 0.5,
    }


def test_every_measure_of_labels_is_a_share_of_which_more_is_better() -> None:
    measures = [*single_label_measures(GOLD, PREDICTED, 7), *multi_label_measures(GOLD_SETS, PREDICTED_SETS)]
    assert [(one.higher_is_better, one.is_share) for one in measures] == [(True, True)] * 5


def test_rows_without_any_label_are_right_when_none_is_predicted() -> None:
    nothing = numpy.zeros((2, 3), dtype=bool)
    assert figures(multi_label_measures(nothing, nothing)) == {"micro-F1": 0.0, "macro-F1": 0.0, "exact match": 1.0}


def test_no_rows() -> None:
    none = numpy.array([], dtype=int)
    assert figures(single_label_measures(none, none, 3)) == {"accuracy": 0.0, "macro-F1": 0.0}


@pytest.mark.parametrize("wrong", [[-1, 0], [0, 2]])
def test_indices_out_of_range(wrong: list[int]) -> None:
    with pytest.raises(ValueError, match="from 0 to 1"):
        class_counts(numpy.array([0, 1]), numpy.array(wrong), 2)


def test_items_of_a_row_are_counted_together() -> None:
    """Three rows of two, no and one items: hits, predicted, gold of two classes each."""
    counts = class_counts(numpy.array([0, 1, 1]), numpy.array([0, 0, 1]), 2, lengths=[2, 0, 1])
    assert counts.tolist() == [[1, 0, 2, 0, 1, 1], [0, 0, 0, 0, 0, 0], [0, 1, 0, 1, 0, 1]]


def test_redrawn_rows() -> None:
    """Also the mean over classes is over those of the draw: 12 rare classes, of which every draw misses some."""
    source = numpy.random.default_rng(1)
    gold = source.integers(0, 12, 15)
    predicted = numpy.where(source.random(15) < 0.5, gold, source.integers(0, 12, 15))
    for number, measure in enumerate(single_label_measures(gold, predicted, 12)):
        check(measure, lambda rows, n=number: single_label_measures(gold[rows], predicted[rows], 12)[n])
    sets = source.random((15, 6)) < 0.3
    guessed = sets ^ (source.random((15, 6)) < 0.2)
    for number, measure in enumerate(multi_label_measures(sets, guessed)):
        check(measure, lambda rows, n=number: multi_label_measures(sets[rows], guessed[rows])[n])
    lengths = [3, 0, 5, 1, 6]
    counts = class_counts(gold, predicted, 12, lengths)
    check(macro_f1(counts), lambda rows: macro_f1(counts[rows]))


def test_per_class_table() -> None:
    table = per_class_table(class_counts(GOLD, PREDICTED, 7), list("abcdefg"))
    assert (table.title, table.columns) == ("per class", ("label", "precision", "recall", "F1", "rows"))
    assert table.rows == (
        ("a", pytest.approx(2 / 3), pytest.approx(2 / 3), pytest.approx(2 / 3), 3),
        ("b", 0.5, 0.5, 0.5, 2),
        ("c", pytest.approx(2 / 3), 0.5, pytest.approx(0.57142857), 4),
        ("d", 0.0, 0.0, 0.0, 0),
        ("e", 1.0, 1.0, 1.0, 1),
        ("f", 0.0, 0.0, 0.0, 0),
        ("g", 0.0, 0.0, 0.0, 0),
    )


def test_per_class_table_of_label_sets() -> None:
    table = per_class_table(label_counts(GOLD_SETS, PREDICTED_SETS), list("wxyz"))
    assert [row[4] for row in table.rows] == [2, 2, 1, 0]
    assert [row[1] for row in table.rows] == [pytest.approx(2 / 3), 1.0, 0.0, 0.0]
    assert [row[2] for row in table.rows] == [1.0, 0.5, 0.0, 0.0]


def test_the_twenty_most_confused_pairs_the_most_frequent_first() -> None:
    """Label n is taken for n + 1 as often as n says; 24 pairs are wrong, and 0 is right."""
    labels = [str(number) for number in range(26)]
    gold = numpy.repeat(numpy.arange(25), numpy.arange(25))
    table = confusion_table(numpy.append(gold, 0), numpy.append(gold + 1, 0), labels)
    assert table.rows == tuple((str(number), str(number + 1), number) for number in range(24, 4, -1))


def test_confusion_has_gold_down_and_predicted_across() -> None:
    table = confusion_table(numpy.array([0, 0, 1, 1, 1]), numpy.array([0, 1, 1, 1, 0]), ["no", "yes"])
    assert table.columns == ("gold \\ predicted", "no", "yes")
    assert table.rows == (("no", 1, 1), ("yes", 1, 2))


@pytest.mark.parametrize(("num_labels", "title"), [(20, "confusion matrix"), (21, "most confused pairs")])
def test_a_matrix_up_to_twenty_labels(num_labels: int, title: str) -> None:
    labels = [str(number) for number in range(num_labels)]
    table = confusion_table(numpy.array([3, 3, 3, 7, 7, 5]), numpy.array([4, 4, 3, 2, 7, 5]), labels)
    assert table.title == title
    if num_labels == 21:
        assert table.columns == ("gold", "predicted", "rows")
        assert table.rows == (("3", "4", 2), ("7", "2", 1))
    else:
        assert [len(row) for row in table.rows] == [21] * 20


def test_the_loss_of_guessing_is_the_entropy_of_the_labels() -> None:
    """Labels in shares of 1/2, 1/4 and 1/4: 1.5 bits. Scipy gives the same; no other constant answer does better."""
    gold = numpy.eye(4, dtype=bool)[[0, 0, 1, 2]]
    loss = chance_loss(gold, False)
    assert value(loss) == pytest.approx(1.5 * numpy.log(2)) == pytest.approx(entropy([0.5, 0.25, 0.25]))
    assert (loss.name, loss.higher_is_better, loss.is_share) == ("loss", False, False)
    assert loss.table[:, 0] == pytest.approx(numpy.log([2, 2, 4, 4]))
    for shares in numpy.random.default_rng(0).dirichlet(numpy.ones(4), 100):
        assert -numpy.log(shares[[0, 0, 1, 2]]).mean() > value(loss)


def test_the_loss_of_guessing_where_there_can_be_several_labels_is_the_mean_over_them() -> None:
    gold = numpy.array([[1, 0], [1, 1], [1, 0], [1, 0]], dtype=bool)
    assert value(chance_loss(gold, True)) == pytest.approx((0 + entropy([0.25, 0.75])) / 2)
    assert value(chance_loss(gold[:1], True)) == 0.0, "one row is what it is, always"


@pytest.mark.parametrize("is_multi", [False, True])
def test_no_rows_to_guess(is_multi: bool) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert value(chance_loss(numpy.zeros((0, 3), dtype=bool), is_multi)) == 0.0
