"""The verdict on staged results: its kind, and what it says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy
import pytest

from burnish.evaluate.answers import deciding_metrics
from burnish.evaluate.comparison import Comparison, GeneralText, make_figures
from burnish.metrics.measure import Measure, mean
from tests.snapshots import check_snapshot


def loss_of(level: float, rows: int) -> Measure:
    """A loss of rows that are unequally hard."""
    return mean("loss", level * numpy.linspace(0.8, 1.2, rows), higher_is_better=False, is_share=False)


def hits(name: str, right: int, rows: int, first: int = 0) -> Measure:
    """A share of rows that are right, from row `first` on."""
    places = (numpy.arange(rows) - first) % rows
    return mean(name, (places < right).astype(float))


def staged(rows: int, loss: tuple[float, float], shares: dict[str, tuple[int, int]], **parts: Any) -> Comparison:
    """A comparison by row results.

    Args:
        rows: that were evaluated.
        loss: of base and tuned model.
        shares: how many rows were right before and after, by metric; of the rows that were wrong before, as many as
            there are more now, and two that were right are wrong now.
        parts: of the comparison; `answered`, the rows that were answered, if fewer.
    """
    answered = parts.pop("answered", rows)
    figures = make_figures([loss_of(loss[0], rows)], [loss_of(loss[1], rows)])
    for name, (before, after) in shares.items():
        figures += make_figures([hits(name, before, answered)], [hits(name, after, answered, min(2, before))])
    return Comparison(rows, 100, "held out", figures=figures, **{"split": "test", **parts})


def forgetting(rise: float) -> GeneralText:
    """A loss on other texts that rose."""
    (figure,) = make_figures([loss_of(3.0, 50)], [loss_of(3.0 + rise, 50)])
    return GeneralText("other texts", 8000, figure)


EXACT, JSON = ["exact match"], ["valid JSON", "equal JSON"]
LOST = {"exact match": (12, 42)}
STAGED: dict[str, tuple[Comparison, str]] = {
    "answers improved": (staged(60, (2.0, 0.5), LOST, deciding=EXACT), "better"),
    "labels improved, with too much confidence": (
        staged(200, (0.9, 1.1), {"accuracy": (120, 160)}, headline="accuracy"),
        "better",
    ),
    "JSON that was valid all along and is right now": (
        staged(80, (2.0, 0.5), {"valid JSON": (80, 80), "equal JSON": (0, 60)}, deciding=JSON),
        "better",
    ),
    "some rows were answered": (staged(200, (2.0, 0.5), LOST, deciding=EXACT, answered=60), "better"),
    "answers improved, other texts are forgotten": (
        staged(60, (2.0, 0.5), LOST, deciding=EXACT, general=forgetting(0.6)),
        "better_but_forgot",
    ),
    "the loss alone": (staged(60, (2.0, 0.5), {}, unscored=0), "better"),
    "the loss alone, with a few answers": (staged(60, (2.0, 2.6), {}, unscored=5), "worse"),
    "the loss fell and the answers stayed": (
        staged(200, (2.0, 0.5), {"exact match": (40, 44)}, deciding=EXACT),
        "loss_only",
    ),
    "the loss fell and the labels stayed": (
        staged(300, (2.0, 1.5), {"accuracy": (60, 64)}, headline="accuracy"),
        "loss_only",
    ),
    "valid JSON fell from 20 % to 5 %": (
        staged(200, (2.0, 0.5), {"valid JSON": (40, 10), "equal JSON": (0, 2)}, deciding=JSON),
        "worse_though_loss_fell",
    ),
    "valid JSON fell from 20 % to 5 % on 20 rows": (
        staged(20, (2.0, 0.5), {"valid JSON": (4, 1), "equal JSON": (0, 0)}, deciding=JSON),
        "loss_only",
    ),
    "the user's own metric fell": (
        staged(60, (2.0, 0.5), {**LOST, "polite": (50, 20)}, deciding=["polite"]),
        "worse_though_loss_fell",
    ),
    "labels got worse": (staged(100, (0.9, 1.4), {"accuracy": (80, 50)}, headline="accuracy"), "worse"),
    "nothing moved": (staged(300, (2.0, 2.0), {"accuracy": (240, 240)}, headline="accuracy"), "no_difference"),
    "the loss rose and nothing else": (
        staged(300, (2.0, 2.5), {"accuracy": (240, 240)}, headline="accuracy"),
        "no_difference",
    ),
    "few rows": (staged(12, (2.0, 2.0), {"exact match": (4, 6)}, deciding=EXACT), "too_few_rows"),
    "one row": (staged(1, (2.0, 0.5), {}), "too_few_rows"),
    "no rows": (Comparison(0, 0, "held out"), "no_rows"),
    "no rows, and other texts are forgotten": (Comparison(0, 0, "held out", general=forgetting(0.6)), "no_rows"),
    "a run that diverged after a good step": (
        staged(
            100,
            (2.4, 1.9),
            {"accuracy": (15, 45)},
            headline="accuracy",
            findings={"diverging": "the loss rose from 2.400 to 7.300 by step 7"},
        ),
        "diverged",
    ),
    "labels better than by chance of a new head, and no better than guessing": (
        staged(
            100,
            (2.4, 1.8),
            {"accuracy": (5, 25)},
            headline="accuracy",
            findings={"stuck": "it was never better than guessing"},
        ),
        "stuck",
    ),
}


@pytest.mark.parametrize("name", STAGED)
def test_staged_results(name: str) -> None:
    comparison, kind = STAGED[name]
    found = comparison.to_dict()
    assert (found["verdict_kind"], found["verdict"]) == (kind, comparison.verdict)
    check_snapshot(f"unit/evaluate/test_verdict::{name}", comparison.verdict)


def test_a_share_of_valid_json_that_fell_is_never_better_however_many_rows() -> None:
    for rows in (10, 20, 40, 100, 400):
        valid = {"valid JSON": (rows // 5, rows // 20), "equal JSON": (0, rows // 2)}
        assert "better" not in staged(rows, (2.0, 0.2), valid, deciding=JSON[:1]).conclusion.kind


def test_what_the_rows_are_called_is_said_in_one_place() -> None:
    for split, called in (("test", "test rows"), ("validation", "validation rows"), ("other", "rows")):
        assert f"on 60 {called}" in staged(60, (2.0, 0.5), LOST, deciding=EXACT, split=split).verdict


WORDS = ["exact match", "ROUGE-L"]
LONG = [f"A sentence with number {number} and a few more words." for number in range(10)]


@pytest.mark.parametrize(
    ("names", "expected", "own", "deciding"),
    [
        ([*WORDS, "valid JSON", "equal JSON", "mine"], LONG, "mine", ["mine"]),
        ([*WORDS, "valid JSON", "equal JSON"], ["{}"] * 10, "", JSON),
        (WORDS, ["yes", "no"] * 5, "", EXACT),
        (WORDS, [f"team number {number}" for number in range(10)], "", EXACT),
        (WORDS, LONG, "", ["ROUGE-L"]),
        (WORDS, [*LONG[:9], "short"], "", ["ROUGE-L"]),
        (WORDS, LONG[:5] * 2, "", EXACT),
        ([], LONG, "", []),
        (["mine"], LONG, "other", []),
    ],
)
def test_which_metric_of_answers_decides(
    names: Sequence[str], expected: Sequence[str], own: str, deciding: list[str]
) -> None:
    assert deciding_metrics(names, expected, own) == deciding
