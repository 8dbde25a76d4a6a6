"""Figures of generated answers."""

from __future__ import annotations

from collections.abc import Sequence

from burnish.evaluate.answers import Answer
from burnish.evaluate.own_metric import OwnMetric
from burnish.metrics.json_validity import json_measures, judge_json
from burnish.metrics.measure import Measure, mean
from burnish.metrics.rouge import rouge_measure


def answer_measures(
    answers: Sequence[Answer], own: tuple[str, OwnMetric] | None = None, is_known: bool = True
) -> list[Measure]:
    """Exact match and ROUGE-L; where every expected answer is JSON, its validity and its value; the user's own figure.

    Args:
        answers: of one model, in the order of their questions.
        own: name and function of the user's own figure.
        is_known: whether only the expected answer is right; otherwise nothing but the user's own figure can judge.
    """
    expected, given = [answer.expected for answer in answers], [answer.given for answer in answers]
    measures: list[Measure] = []
    if is_known:
        measures = [mean("exact match", [answer.is_exact for answer in answers]), rouge_measure(expected, given)]
    if is_known and all(text.strip()[:1] in ("{", "[") and judge_json(text, text).is_valid for text in expected):
        measures += json_measures(given, expected)
    if own is not None:
        name, score = own
        scores = [score(answer.given, answer.expected) for answer in answers]
        measures.append(mean(name, scores, is_share=all(0 <= number <= 1 for number in scores)))
    return measures
