"""Base against tuned: figures and verdict."""

from __future__ import annotations

import json
import math

import numpy
import pytest

from burnish.evaluate.answers import Answer
from burnish.evaluate.comparison import Comparison, exact_match, loss_figures, side_by_side
from burnish.evaluate.intervals import Estimate


def answers(*given: str) -> list[Answer]:
    """Answers to questions whose answer is `yes`."""
    return [Answer("Is it?", "yes", text, f"made.jsonl:{number}") for number, text in enumerate(given, 1)]


def test_exact_is_exact_up_to_white_space_at_the_ends() -> None:
    judged = answers("yes", " yes\n", "Yes", "yes.", "ye s", "")
    assert [answer.is_exact for answer in judged] == [True, True, False, False, False, False]


def test_exact_match_counts_both_models() -> None:
    figure = exact_match(answers("no", "no", "yes", "no"), answers("yes", "yes", "yes", "no"))
    assert (figure.name, figure.base.value, figure.tuned.value) == ("exact match", 0.25, 0.75)
    assert not figure.lower_is_better
    assert figure.rows == 4


def test_loss_and_perplexity_by_hand() -> None:
    base, tuned, counts = numpy.array([4.0, 8.0]), numpy.array([2.0, 4.0]), numpy.array([2, 4])
    (loss, perplexity), difference = loss_figures(base, tuned, counts)
    assert (loss.name, loss.base.value, loss.tuned.value) == ("loss", 2.0, 1.0)
    assert (perplexity.base.value, perplexity.tuned.value) == pytest.approx((math.e**2, math.e))
    assert loss.lower_is_better
    assert perplexity.lower_is_better
    assert difference == Estimate(-1.0, -1.0, -1.0)


@pytest.mark.parametrize(
    ("difference", "said"),
    [
        (Estimate(-0.5, -0.7, -0.3), "better than the base on 9 held-out rows: the loss fell by 0.500"),
        (Estimate(0.5, 0.3, 0.7), "worse than the base on 9 held-out rows: the loss rose by 0.500"),
        (Estimate(-0.5, -1.2, 0.2), "No difference between base and tuned model is shown"),
        (Estimate(-0.5, -math.inf, math.inf), "No difference between base and tuned model is shown"),
        (None, "no held-out rows to judge by"),
    ],
    ids=str,
)
def test_the_verdict_claims_only_what_the_interval_shows(difference: Estimate | None, said: str) -> None:
    assert said in Comparison(9, 100, "held out", loss_difference=difference).verdict


def test_one_row_is_one_row() -> None:
    verdict = Comparison(1, 9, "held out", loss_difference=Estimate(-0.5, -math.inf, math.inf)).verdict
    assert verdict.endswith("on 1 held-out row.")


def test_side_by_side_keeps_the_order() -> None:
    first, second = side_by_side(answers("a", "b"), answers("c", "d"))
    assert (first.base, first.tuned, first.expected, first.prompt) == ("a", "c", "yes", "Is it?")
    assert (second.base, second.tuned, second.place) == ("b", "d", "made.jsonl:2")


def test_the_dictionary_is_json_with_the_verdict_and_without_infinities() -> None:
    comparison = Comparison(1, 9, "held out", loss_difference=Estimate(-0.5, -math.inf, math.inf))
    comparison.figures, _ = loss_figures(numpy.array([4.0]), numpy.array([2.0]), numpy.array([2]))
    told = json.loads(json.dumps(comparison.to_dict(), allow_nan=False))
    assert told["verdict"] == comparison.verdict
    assert told["loss_difference"] == {"value": -0.5, "low": None, "high": None}
    assert told["figures"][0]["base"]["value"] == 2.0
