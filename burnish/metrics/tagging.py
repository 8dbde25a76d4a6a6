"""How well tags are predicted: by whole entities, or by token where tags mark none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy

from burnish.metrics.classification import class_counts, macro_f1, per_class_table
from burnish.metrics.entities import entities
from burnish.metrics.measure import Measure, f1, quotient, ratio
from burnish.metrics.table import MetricTable

Rows = Sequence[Sequence[str]]
"""The tags of each row."""


def tag_measures(gold: Rows, predicted: Rows, scheme: str) -> list[Measure]:
    """Entity F1, precision and recall over all types (`conlleval`'s FB1 line); for plain tags accuracy and macro-F1.

    An entity is right when its type, its first and its last token are.

    Args:
        gold: tags of each row.
        predicted: likewise, as many in each row.
        scheme: of the gold tags, from `detect_scheme`.

    Raises:
        ValueError: rows or tags differ in number.
    """
    _check_lengths(gold, predicted)
    if scheme == "plain":
        right = [sum(g == p for g, p in zip(*pair, strict=True)) for pair in zip(gold, predicted, strict=True)]
        accuracy = ratio("token accuracy", right, [len(tags) for tags in gold])
        return [accuracy, macro_f1(_tag_counts(gold, predicted, _names(gold, predicted)))]
    pairs = [(entities(g, scheme), entities(p, scheme)) for g, p in zip(gold, predicted, strict=True)]
    counts = numpy.array([[len(g & p), len(p), len(g)] for g, p in pairs], dtype=numpy.float64).reshape(-1, 3)
    formulas = {"entity F1": _f1, "entity precision": _precision, "entity recall": _recall}
    return [Measure(name, counts, formula, True, True) for name, formula in formulas.items()]


def tag_tables(gold: Rows, predicted: Rows, scheme: str) -> list[MetricTable]:
    """Precision, recall and F1 of each entity type, or of each plain tag; arguments as for `tag_measures`.

    Raises:
        ValueError: rows or tags differ in number.
    """
    _check_lengths(gold, predicted)
    if scheme == "plain":
        names = _names(gold, predicted)
        return [per_class_table(_tag_counts(gold, predicted, names), names, counted="tokens")]
    hits, given, there = Counter[str](), Counter[str](), Counter[str]()
    for right, said in zip(gold, predicted, strict=True):
        expected, found = entities(right, scheme), entities(said, scheme)
        hits.update(kind for kind, _, _ in expected & found)
        given.update(kind for kind, _, _ in found)
        there.update(kind for kind, _, _ in expected)
    sums = {kind: numpy.array([hits[kind], given[kind], there[kind]]) for kind in sorted(given | there)}
    rows = tuple((k, float(_precision(s)), float(_recall(s)), float(_f1(s)), int(s[2])) for k, s in sums.items())
    return [MetricTable("per type", ("type", "precision", "recall", "F1", "entities"), rows)]


def _check_lengths(gold: Rows, predicted: Rows) -> None:
    if [len(tags) for tags in gold] != [len(tags) for tags in predicted]:
        raise ValueError("gold and predicted tags differ in number")


def _names(*tagged: Rows) -> list[str]:
    return sorted({tag for rows in tagged for tags in rows for tag in tags})


def _tag_counts(gold: Rows, predicted: Rows, names: Sequence[str]) -> numpy.ndarray:
    """`[rows, 3 * tags]`, see `class_counts`."""
    index = {name: place for place, name in enumerate(names)}
    indices = [numpy.array([index[tag] for tags in rows for tag in tags], dtype=int) for rows in (gold, predicted)]
    return class_counts(indices[0], indices[1], len(names), [len(tags) for tags in gold])


def _f1(sums: numpy.ndarray) -> numpy.ndarray:
    return f1(sums[..., 0], sums[..., 1], sums[..., 2])


def _precision(sums: numpy.ndarray) -> numpy.ndarray:
    return quotient(sums[..., 0], sums[..., 1])


def _recall(sums: numpy.ndarray) -> numpy.ndarray:
    return quotient(sums[..., 0], sums[..., 2])
