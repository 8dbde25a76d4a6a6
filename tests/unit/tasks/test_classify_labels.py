"""Task `classify`: labels as numbers and as words, where one is the most likely and where there can be several."""

from __future__ import annotations

from typing import Any

import numpy
import pytest
import torch
from torch.nn import functional

from burnish.data.batching.batches import Batch
from burnish.data.rows.records import LabelledRecord
from burnish.data.rows.row import IGNORED
from burnish.metrics.measure import value
from burnish.models.heads import Head
from burnish.recipe.schema import ClassifySection, DataSection, Recipe
from burnish.tasks.classify import CLASSIFY, LabelledExample, Labels
from burnish.tasks.evaluated import EvaluatedExamples
from burnish.tasks.task import Task
from tests.tiny_classifiers import word_pieces

NAMES = ["a", "b", "c"]


def task_of(labels: Any = NAMES, is_multi: Any = False) -> Task:
    """A task whose options are filled in."""
    recipe = Recipe(data=DataSection(labels=labels, context=64), classify=ClassifySection(multi_label=is_multi))
    return CLASSIFY.make(word_pieces(), recipe)


def record(*labels: str) -> LabelledRecord:
    """A row with these labels."""
    return LabelledRecord(("x",), labels, len(labels) != 1, "a.jsonl:1")


def examples_of(task: Task, *rows: tuple[str, ...]) -> list[Any]:
    """The example of each row of labels."""
    return [task.encoder.encode(record(*labels), 64).examples[0] for labels in rows]


def evaluated(examples: list[Any], outputs: list[Any]) -> EvaluatedExamples:
    """Examples with these outputs."""
    ones = numpy.ones(len(examples))
    return EvaluatedExamples(examples, range(len(examples)), outputs, ones, ones.astype(int))


def test_probabilities_are_shares_of_one_or_each_on_its_own() -> None:
    logits = torch.tensor([[0.0, 1.0, 2.0], [3.0, 0.0, 0.0]])
    single, several = (Labels(NAMES, is_multi).probabilities(logits) for is_multi in (False, True))
    numpy.testing.assert_allclose(single, logits.softmax(-1), rtol=1e-6)
    numpy.testing.assert_allclose(single.sum(1), [1.0, 1.0], rtol=1e-6)
    numpy.testing.assert_allclose(several, logits.sigmoid(), rtol=1e-6)


def test_a_label_is_named_however_unlikely_and_several_only_above_a_half() -> None:
    unsure, equal = numpy.array([0.3, 0.4, 0.3]), numpy.array([0.25, 0.375, 0.375])
    single, several = Labels(NAMES, False), Labels(NAMES, True)
    assert single.in_words(unsure) == "b (0.40)"
    assert single.in_words(equal) == "b (0.38)", "of equal ones the first"
    assert several.in_words(unsure) == "no label (nearest: b 0.40)"
    assert several.in_words(numpy.array([0.6, 0.2, 0.7])) == "c (0.70), a (0.60)"


def test_gold_labels_as_a_matrix() -> None:
    labels = Labels(NAMES, True)
    rows = [
        LabelledExample([], None, (0, 2), ("x",), ""),
        LabelledExample([], None, (), ("x",), "", ("new", "e")),
        LabelledExample([], None, (1,), ("x",), "", ("new",)),
    ]
    assert labels.gold(rows).tolist() == [[True, False, True], [False] * 3, [False, True, False]]
    names = labels.with_unseen(rows)
    assert names == ["a", "b", "c", "e", "new"]
    assert labels.gold(rows, names).tolist() == [
        [True, False, True, False, False],
        [False, False, False, True, True],
        [False, True, False, False, True],
    ]
    assert labels.gold([]).shape == (0, 3)


def test_only_a_row_whose_single_label_is_unseen_is_no_term_of_the_loss() -> None:
    assert [one.num_trained for one in examples_of(task_of(), ("a",), ("new",))] == [1, 0]
    several = task_of(is_multi=True)
    assert [one.num_trained for one in examples_of(several, ("a", "new"), ("new",), ())] == [1, 1, 1]
    row = several.encoder.encode(record("a", "new"), 64)
    assert (row.examples[0].labels, row.examples[0].unseen) == ((0,), ("new",))
    assert row.unlearned == "the label `new` is in no training row, so it cannot be learned"
    assert several.encoder.encode(record("a", "b"), 64).unlearned == ""


def test_five_unseen_labels_are_named_the_most_frequent_first() -> None:
    rows = [record(name) for number, name in enumerate("uvwxyz") for _ in range(7 - number)]
    (remark,) = task_of().encoder.held_out_remarks([*rows, record("a")])
    assert remark.startswith(
        "27 of 28 held-out rows have a label that is in no training row: `u` (7), `v` (6), `w` (5), `x` (4), `y` (3). "
    )


def test_targets_of_a_batch() -> None:
    task = task_of()
    batch = task.encoder.collate(examples_of(task, ("c",), ("new",), ("b",)), [[2], [1], [0]], False, None)
    assert batch.targets.tolist() == [1, IGNORED, 2]
    assert batch.extras["known"].tolist() == [0, 2]
    assert (batch.examples, batch.owners.tolist()) == ((2, 1, 0), [2, 0])
    batch = task.encoder.collate(examples_of(task, ("c",), ("b",)), [[0], [1]], False, None)
    assert (batch.targets.tolist(), batch.extras) == ([2, 1], {})
    several = task_of(is_multi=True)
    batch = several.encoder.collate(examples_of(several, ("a", "c"), ()), [[0], [1]], False, None)
    assert batch.targets.tolist() == [[1.0, 0.0, 1.0], [0.0, 0.0, 0.0]]
    assert (batch.targets.dtype, batch.owners.tolist(), batch.extras) == (torch.float32, [0, 1], {})


def test_losses_by_hand() -> None:
    logits = torch.tensor([[0.0, 1.0, 2.0], [3.0, 0.0, 1.0]])
    inputs, places = {"input_ids": torch.zeros(2, 1)}, torch.tensor([0, 1])
    single: Any = task_of().objective
    losses = single.losses_of(logits, Batch(inputs, torch.tensor([2, 1]), (0, 1), places, 2))
    torch.testing.assert_close(losses, -logits.log_softmax(-1)[[0, 1], [2, 1]])
    several: Any = task_of(is_multi=True).objective
    targets = torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 0.0]])
    losses = several.losses_of(logits, Batch(inputs, targets, (0, 1), places, 2))
    torch.testing.assert_close(losses, -functional.logsigmoid(logits * (2 * targets - 1)).mean(-1))


@pytest.mark.parametrize(
    ("is_multi", "kind"), [(False, "single_label_classification"), (True, "multi_label_classification")]
)
def test_the_head_has_an_output_for_each_label(is_multi: bool, kind: str) -> None:
    config = {
        "num_labels": 3,
        "id2label": {0: "a", 1: "b", 2: "c"},
        "label2id": {"a": 0, "b": 1, "c": 2},
        "problem_type": kind,
        "ignore_mismatched_sizes": True,
    }
    assert task_of(is_multi=is_multi).objective.head == Head("AutoModelForSequenceClassification", "SEQ_CLS", config)


def test_before_the_rows_are_known_there_are_no_labels_and_each_row_has_one() -> None:
    task = CLASSIFY.make(word_pieces(), Recipe())
    assert task.objective.head.config["num_labels"] == 0
    assert task.scorer.headline == "accuracy"


def test_what_the_frequencies_alone_would_reach() -> None:
    task = task_of()
    seen = evaluated(examples_of(task, ("a",), ("a",), ("b",), ("new",)), [numpy.array([1.0, 0.0, 0.0])] * 4)
    chance = task.scorer.chance_loss(seen)
    assert chance is not None
    expected = -(2 * numpy.log(2 / 3) + numpy.log(1 / 3)) / 3  # of the three rows whose label can be predicted
    assert value(chance) == pytest.approx(expected)
    assert "`a`, would be right for 50.0 %" in task.scorer.remark(seen)
    assert "would be right for 0.0 %" in task.scorer.remark(evaluated(examples_of(task, ("new",)), [None]))
    several = task_of(is_multi=True)
    seen = evaluated(examples_of(several, ("a", "b"), ("b",), ("b",), ()), [numpy.zeros(3)] * 4)
    chance = several.scorer.chance_loss(seen)
    assert chance is not None
    shares = numpy.array([0.25, 0.75])  # and `c`, which no row has
    entropy = -(shares * numpy.log(shares) + (1 - shares) * numpy.log(1 - shares)).sum() / 3
    assert value(chance) == pytest.approx(entropy)
    assert several.scorer.remark(seen) == "The most common label, `b`, is right for 75.0 % of these rows."


def test_an_unseen_label_of_several_has_a_line_of_its_own() -> None:
    task = task_of(is_multi=True)
    seen = evaluated(
        examples_of(task, ("a", "new"), ("b",)), [numpy.array([0.9, 0.2, 0.1]), numpy.array([0.1, 0.8, 0.6])]
    )
    (table,) = task.scorer.tables(seen)
    assert [row[0] for row in table.rows] == ["a", "b", "c", "new"]
    assert task.scorer.describe(seen.examples[0], seen.outputs[0]) == ("x", "a, new", "a (0.90)")
    nothing = evaluated([], [])
    assert {measure.name: value(measure) for measure in task.scorer.measures(nothing)}["exact match"] == 0.0
