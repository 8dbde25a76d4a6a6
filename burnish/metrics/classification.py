"""Metrics of classification, with one label per row or any number of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy

from burnish.metrics.measure import Measure, MetricTable, f1, mean, quotient

_MOST_CLASSES = 20
"""With more classes, the most confused pairs are listed instead of a confusion matrix."""


def single_label_measures(gold: numpy.ndarray, predicted: numpy.ndarray, num_classes: int) -> list[Measure]:
    """Accuracy and macro-F1 for one label per row.

    Args:
        gold: `[rows]`, label indices from 0 to `num_classes - 1`.
        predicted: `[rows]`, likewise.
        num_classes: number of labels.

    Raises:
        ValueError: an index is out of range.
    """
    counts = class_counts(gold, predicted, num_classes)
    return [mean("accuracy", numpy.asarray(gold) == numpy.asarray(predicted)), macro_f1(counts)]


def multi_label_measures(gold: numpy.ndarray, predicted: numpy.ndarray) -> list[Measure]:
    """Micro-F1, macro-F1 and the share of rows with exactly the right labels (subset accuracy).

    Args:
        gold: `[rows, labels]`, boolean.
        predicted: `[rows, labels]`, boolean.
    """
    counts = label_counts(gold, predicted)
    exact = (numpy.asarray(gold, dtype=bool) == numpy.asarray(predicted, dtype=bool)).all(axis=1)
    micro = Measure("micro-F1", counts, _micro_f1, higher_is_better=True, is_share=True)
    return [micro, macro_f1(counts), mean("exact match", exact)]


def macro_f1(counts: numpy.ndarray) -> Measure:
    """Unweighted mean of per-class F1 over the classes that occur in gold or predicted.

    This is scikit-learn's `f1_score(average="macro")` with `labels` set to the union of both: a class in neither is
    left out; one that is never predicted, or never correctly, counts as 0. Without some row the classes are those of
    the other rows.

    Args:
        counts: `[rows, 3 * classes]`, from `class_counts` or `label_counts`.
    """
    return Measure("macro-F1", counts, _macro_f1, higher_is_better=True, is_share=True)


def class_counts(
    gold: numpy.ndarray, predicted: numpy.ndarray, num_classes: int, lengths: Sequence[int] | None = None
) -> numpy.ndarray:
    """`[rows, 3 * classes]`: hits per class, then how often each class is predicted, then how often it is gold.

    Args:
        gold: `[items]`, label indices.
        predicted: `[items]`, likewise.
        num_classes: number of labels.
        lengths: `[rows]`, number of items per row, for items in row order; by default each item is a row.

    Raises:
        ValueError: an index is out of range.
    """
    gold, predicted = numpy.asarray(gold, dtype=numpy.int64), numpy.asarray(predicted, dtype=numpy.int64)
    for indices in (gold, predicted):
        if indices.size and not (indices.min() >= 0 and indices.max() < num_classes):
            raise ValueError(f"label indices must be from 0 to {num_classes - 1}")
    num_rows = len(gold) if lengths is None else len(lengths)
    rows = numpy.repeat(numpy.arange(num_rows), 1 if lengths is None else lengths)
    width = 3 * num_classes
    cells = [predicted[gold == predicted], num_classes + predicted, 2 * num_classes + gold]
    row_of = [rows[gold == predicted], rows, rows]
    flat = numpy.concatenate([width * row + cell for row, cell in zip(row_of, cells, strict=True)])
    return numpy.bincount(flat, minlength=num_rows * width).reshape(num_rows, width).astype(numpy.float64)


def label_counts(gold: numpy.ndarray, predicted: numpy.ndarray) -> numpy.ndarray:
    """The columns of `class_counts` from boolean matrices `[rows, labels]`."""
    gold, predicted = numpy.asarray(gold, dtype=bool), numpy.asarray(predicted, dtype=bool)
    return numpy.concatenate([gold & predicted, predicted, gold], axis=1).astype(numpy.float64)


def per_class_table(counts: numpy.ndarray, labels: Sequence[str], counted: str = "rows") -> MetricTable:
    """Precision, recall and F1 of every label, and how often it is gold.

    Args:
        counts: `[rows, 3 * classes]`.
        labels: label names by index.
        counted: what the last column counts.
    """
    hits, predicted, gold = _by_class(counts.sum(0))
    scores = zip(labels, quotient(hits, predicted), quotient(hits, gold), f1(hits, predicted, gold), gold, strict=True)
    rows = tuple((name, float(p), float(r), float(f), int(n)) for name, p, r, f, n in scores)
    return MetricTable("per class", ("label", "precision", "recall", "F1", counted), rows)


def confusion_table(gold: numpy.ndarray, predicted: numpy.ndarray, labels: Sequence[str]) -> MetricTable:
    """Number of rows per gold label (down) and predicted label (across); for more than 20 labels, the most confused
    pairs.

    Args:
        gold: `[rows]`, label indices.
        predicted: `[rows]`, likewise.
        labels: label names by index.
    """
    num_classes = len(labels)
    pairs = numpy.asarray(gold, dtype=numpy.int64) * num_classes + numpy.asarray(predicted, dtype=numpy.int64)
    matrix = numpy.bincount(pairs, minlength=num_classes**2).reshape(num_classes, num_classes)
    if num_classes > _MOST_CLASSES:
        return _most_confused(matrix, labels)
    rows = tuple((name, *map(int, line)) for name, line in zip(labels, matrix, strict=True))
    return MetricTable("confusion matrix", ("gold \\ predicted", *labels), rows)


def _most_confused(matrix: numpy.ndarray, labels: Sequence[str]) -> MetricTable:
    wrong = matrix - numpy.diag(numpy.diag(matrix))
    order = numpy.argsort(-wrong, axis=None, kind="stable")[:_MOST_CLASSES]
    pairs = [(int(place) // len(labels), int(place) % len(labels)) for place in order]
    rows = tuple((labels[g], labels[p], int(wrong[g, p])) for g, p in pairs if wrong[g, p])
    return MetricTable("most confused pairs", ("gold", "predicted", "rows"), rows)


def _by_class(sums: numpy.ndarray) -> tuple[numpy.ndarray, numpy.ndarray, numpy.ndarray]:
    """Hits, predicted and gold, each `[..., classes]`, from sums `[..., 3 * classes]`."""
    hits, predicted, gold = numpy.split(sums, 3, axis=-1)
    return hits, predicted, gold


def _macro_f1(sums: numpy.ndarray) -> numpy.ndarray:
    hits, predicted, gold = _by_class(sums)
    return quotient(f1(hits, predicted, gold).sum(-1), (predicted + gold > 0).sum(-1))


def _micro_f1(sums: numpy.ndarray) -> numpy.ndarray:
    return f1(*(part.sum(-1) for part in _by_class(sums)))


def chance_loss(gold: numpy.ndarray, is_multi: bool) -> Measure:
    """The cross-entropy of each row if the label frequencies of these rows are predicted for all of them.

    No other constant prediction has a lower mean, which is the entropy of the frequencies (Gibbs' inequality): a model
    that does better has learned something from the inputs.

    Args:
        gold: `[rows, labels]` bool.
        is_multi: whether rows can have several labels; the loss is then the mean over them.
    """
    shares = numpy.broadcast_to(quotient(gold.sum(axis=0), len(gold)), gold.shape)
    given = numpy.where(gold, shares, 1 - shares if is_multi else 1.0)
    nats = -numpy.log(given)
    return mean("loss", nats.mean(axis=1) if is_multi else nats.sum(axis=1), higher_is_better=False, is_share=False)
