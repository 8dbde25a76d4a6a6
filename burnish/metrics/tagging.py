"""Metrics of tags: by entity as in the CoNLL script, or by token."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy

from burnish.metrics.classification import class_counts, macro_f1, per_class_table
from burnish.metrics.measure import Measure, MetricTable, f1, quotient, ratio

Entity = tuple[str, int, int]
"""Type, first token, token after the last."""

_BEGINS = frozenset([("B", "B"), ("I", "B"), ("O", "B"), ("O", "I"), ("E", "E"), ("E", "I"), ("O", "E")])
"""Marks of the previous and the current token between which an entity begins, whatever the types."""
_ENDS = frozenset([("B", "B"), ("B", "O"), ("I", "B"), ("I", "O"), ("E", "E"), ("E", "I"), ("E", "O")])
"""Marks of the previous and the current token between which an entity ends, whatever the types."""
_OUTSIDE = ("O", ".")
_ALONE = ("[", "]")
"""The script's marks for an entity of one token in the bracket notations."""
_MARKS = frozenset("BIES")
_OTHER_LETTERS = {"L": "E", "U": "S", "M": "I"}
"""Letters of BILOU and BMES and their marks in BIOES."""


def detect_scheme(tag_sequences: Iterable[Sequence[str]]) -> str:
    """Detects the tagging scheme: IOB1, IOB2, BIOES, or plain for tags without entities, such as parts of speech.

    Tags are plain unless most of those besides O are a mark (B, I, E, S), with or without a type. Data with E- or S- is
    BIOES, also if it writes L-, U- or M- for E-, S- or I-; IOE1 and IOE2 are treated as BIOES and parsed correctly. The
    rest is IOB1 if more entities begin with I- than with a B- that IOB1 would not use; both IOB schemes are parsed
    alike.
    """
    marked = other = inside_first = begin_first = 0
    has_ends = False
    for tags in tag_sequences:
        before = ("O", "")
        for mark, kind in (_split(tag, "BIOES") for tag in tags):
            marked += mark in _MARKS
            other += mark not in _MARKS and mark != "O"
            has_ends = has_ends or mark in ("E", "S")
            is_first = before[0] not in _MARKS or before[1] != kind
            inside_first += is_first and mark == "I"
            begin_first += is_first and mark == "B"
            before = (mark, kind)
    if marked <= other:
        return "plain"
    if has_ends:
        return "BIOES"
    return "IOB1" if inside_first > begin_first else "IOB2"


def entities(tags: Sequence[str], scheme: str) -> set[Entity]:
    """The entities in the tags of one row; in the plain scheme every token except O is one (`conlleval -r`).

    A tag is split at its first hyphen, so types may have hyphens; a bare B or I has the type "". An unknown prefix is
    treated as in the script: it continues an entity of its type, and begins one otherwise.
    """
    if scheme == "plain":
        return {(tag, place, place + 1) for place, tag in enumerate(tags) if tag != "O"}
    found: set[Entity] = set()
    begin: int | None = None
    before = ("O", "")
    for place, tag in enumerate(tags):
        now = _split(tag, scheme)
        is_begin = _is_begin(before, now, scheme)
        if begin is not None and (is_begin or _is_end(before, now, scheme)):
            found.add((before[1], begin, place))
            begin = None
        if is_begin:
            begin = place
        before = now
    return found if begin is None else found | {(before[1], begin, len(tags))}


def _split(tag: str, scheme: str) -> tuple[str, str]:
    """Mark and type: `B-LOC-GPE` is B and LOC-GPE, `B` is B without a type."""
    mark, hyphen, kind = tag.partition("-")
    if hyphen and scheme == "BIOES":
        mark = _OTHER_LETTERS.get(mark, mark)
    return mark, kind


def _is_begin(before: tuple[str, str], now: tuple[str, str], scheme: str) -> bool:
    """Whether an entity begins with `now`; both are a mark and a type."""
    if scheme == "BIOES" and (now[0] in ("B", "S") or (before[0] == "S" and now[0] in ("I", "E"))):
        return True
    is_other = now[0] not in _OUTSIDE and before[1] != now[1]
    return (before[0], now[0]) in _BEGINS or is_other or now[0] in _ALONE


def _is_end(before: tuple[str, str], now: tuple[str, str], scheme: str) -> bool:
    """Whether an entity ends with `before` although none begins with `now`."""
    if scheme == "BIOES" and before[0] in ("E", "S"):
        return True
    is_other = before[0] not in _OUTSIDE and before[1] != now[1]
    return (before[0], now[0]) in _ENDS or is_other or before[0] in _ALONE


Rows = Sequence[Sequence[str]]
"""The tags of each row."""


def tag_measures(gold: Rows, predicted: Rows, scheme: str) -> list[Measure]:
    """Entity F1, precision and recall over all types (`conlleval`'s FB1 line); for plain tags accuracy and macro-F1.

    An entity is correct if its type, first token and last token are.

    Args:
        gold: tags of each row.
        predicted: likewise, with the same number of tags in each row.
        scheme: scheme of the gold tags, from `detect_scheme`.

    Raises:
        ValueError: the numbers of rows or tags differ.
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
        ValueError: the numbers of rows or tags differ.
    """
    _check_lengths(gold, predicted)
    if scheme == "plain":
        names = _names(gold, predicted)
        return [per_class_table(_tag_counts(gold, predicted, names), names, counted="tokens")]
    hits, given, present = Counter[str](), Counter[str](), Counter[str]()
    for gold_tags, predicted_tags in zip(gold, predicted, strict=True):
        expected, found = entities(gold_tags, scheme), entities(predicted_tags, scheme)
        hits.update(kind for kind, _, _ in expected & found)
        given.update(kind for kind, _, _ in found)
        present.update(kind for kind, _, _ in expected)
    sums = {kind: numpy.array([hits[kind], given[kind], present[kind]]) for kind in sorted(given | present)}
    rows = tuple((k, float(_precision(s)), float(_recall(s)), float(_f1(s)), int(s[2])) for k, s in sums.items())
    return [MetricTable("per type", ("type", "precision", "recall", "F1", "entities"), rows)]


def _check_lengths(gold: Rows, predicted: Rows) -> None:
    if [len(tags) for tags in gold] != [len(tags) for tags in predicted]:
        raise ValueError("the numbers of gold and predicted tags differ")


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
