"""Base against tuned: figures and verdict."""

from __future__ import annotations

import json
import math

import numpy
import pytest

from burnish.evaluate.comparison import Comparison, GeneralText, SideBySide, make_figures
from burnish.evaluate.figure import Figure
from burnish.metrics.intervals import Estimate, difference, proportion
from burnish.metrics.measure import Measure, MetricTable, mean, ratio


def loss_of(*sums: float) -> Measure:
    """Loss of rows of two and four tokens."""
    return ratio("loss", sums, (2, 4)[: len(sums)], higher_is_better=False, is_share=False)


def test_figures_of_both_models_by_hand() -> None:
    base = [loss_of(4.0, 8.0), mean("accuracy", [0, 1])]
    tuned = [loss_of(2.0, 4.0), mean("accuracy", [1, 1])]
    loss, accuracy = make_figures(base, tuned)
    assert (loss.name, loss.base.value, loss.tuned.value) == ("loss", 2.0, 1.0)
    assert loss.difference == Estimate(-1.0, -1.0, -1.0)
    assert (loss.lower_is_better, loss.is_share, loss.rows) == (True, False, 2)
    assert (accuracy.name, accuracy.base, accuracy.tuned) == ("accuracy", proportion(1, 2), proportion(2, 2))
    assert accuracy.difference == difference(base[1], tuned[1])
    assert (accuracy.difference.value, accuracy.difference.high) == (0.5, 1.0)
    assert (accuracy.lower_is_better, accuracy.is_share, accuracy.rows) == (False, True, 2)


def test_models_with_different_figures_are_not_compared() -> None:
    with pytest.raises(ValueError, match="shorter"):
        make_figures([loss_of(4.0, 8.0), mean("accuracy", [0, 1])], [loss_of(2.0, 4.0)])


def evaluated_by(gain: Estimate, lower_is_better: bool, is_share: bool, rows: int = 9) -> Comparison:
    """A comparison with one significant metric, after another that says the opposite."""
    opposite = Estimate(-gain.value, -gain.high, -gain.low)
    here = Estimate(0.0, 0.0, 0.0)
    figures = [
        Figure("other", here, here, opposite, lower_is_better, is_share, rows),
        Figure("F1" if is_share else "loss", here, here, gain, lower_is_better, is_share, rows),
    ]
    return Comparison(rows, 100, "held out", headline=figures[1].name, figures=figures, split="test")


@pytest.mark.parametrize(
    ("gain", "lower_is_better", "is_share", "said"),
    [
        (Estimate(-0.5, -0.7, -0.3), True, False, "better than the base on 9 test rows: the loss fell by 0.500."),
        (Estimate(0.5, 0.3, 0.7), True, False, "worse than the base on 9 test rows: the loss rose by 0.500."),
        (
            Estimate(0.123, 0.1, 0.2),
            False,
            True,
            "better than the base on 9 test rows: F1 rose by 12.3 points.",
        ),
        (
            Estimate(-0.2, -0.3, -0.1),
            False,
            True,
            "worse than the base on 9 test rows: F1 fell by 20.0 points.",
        ),
        (
            Estimate(-0.02, -0.05, 0.02),
            False,
            True,
            "Base and tuned model do not differ significantly on 9 test",
        ),
        (Estimate(-0.5, -1.2, 0.2), True, False, "9 test rows are too few to show a difference"),
        (Estimate(0.5, 0.0, 0.7), False, True, "9 test rows are too few to show a difference"),
        (Estimate(-0.5, -math.inf, math.inf), True, False, "9 test rows are too few to show a difference"),
    ],
    ids=str,
)
def test_the_verdict_claims_only_what_the_interval_shows(
    gain: Estimate, lower_is_better: bool, is_share: bool, said: str
) -> None:
    assert said in evaluated_by(gain, lower_is_better, is_share).verdict


def test_without_its_figure_there_is_no_verdict() -> None:
    assert Comparison(0, 0, "held out").verdict == "There are no test or validation rows to evaluate on."
    comparison = evaluated_by(Estimate(-0.5, -0.7, -0.3), True, False)
    comparison.headline = "entity F1"
    assert comparison.verdict == "There are no test or validation rows to evaluate on."


def test_one_row_is_one_row() -> None:
    verdict = evaluated_by(Estimate(-0.5, -math.inf, math.inf), True, False, rows=1).verdict
    assert verdict.startswith("1 test row is too few to show a difference")
    assert verdict.endswith("the loss changed by -0.500.")


def test_the_dictionary_is_json_with_the_verdict_and_without_infinities() -> None:
    comparison = Comparison(1, 9, "held out", split="test", figures=make_figures([loss_of(4.0)], [loss_of(2.0)]))
    comparison.tables = [MetricTable("Each label", ("label", "F1"), (("red", 0.5), ("blue", math.nan)))]
    comparison.answers = [SideBySide("Is it?", "yes", "no", "yes", "made.jsonl:1")]
    result = json.loads(json.dumps(comparison.to_dict(), allow_nan=False))
    assert result["verdict"] == comparison.verdict
    assert result["headline"] == "loss"
    assert result["figures"][0]["difference"] == {"value": -1.0, "low": None, "high": None}
    assert result["figures"][0]["base"]["value"] == 2.0
    assert result["tables"] == [
        {"title": "Each label", "columns": ["label", "F1"], "rows": [["red", 0.5], ["blue", None]]}
    ]
    assert result["answers"][0]["tuned"] == "yes"


def test_figures_keep_their_order_and_rows() -> None:
    names = ["loss", "accuracy", "exact match"]
    sizes = [4, 4, 2]
    measures = [mean(name, numpy.zeros(size)) for name, size in zip(names, sizes, strict=True)]
    figures = make_figures(measures, measures)
    assert [(figure.name, figure.rows) for figure in figures] == list(zip(names, sizes, strict=True))


def loss_figure(base: float, change: Estimate, rows: int = 9) -> Figure:
    """A loss of both models."""
    tuned = base + change.value
    return Figure("loss", Estimate(base, base, base), Estimate(tuned, tuned, tuned), change, True, False, rows)


@pytest.mark.parametrize(
    ("rise", "is_reported"),
    [
        (Estimate(0.40, 0.30, 0.50), True),
        (Estimate(0.21, 0.20, 0.22), True),
        (Estimate(0.19, 0.18, 0.20), False),  # sure, but less than a twentieth of 4.0
        (Estimate(0.40, -0.1, 0.90), False),  # large, but not sure
        (Estimate(-0.5, -0.6, -0.4), False),
    ],
    ids=str,
)
def test_forgetting_is_a_sure_rise_of_a_part_that_matters(rise: Estimate, is_reported: bool) -> None:
    comparison = evaluated_by(Estimate(-0.5, -0.7, -0.3), True, False)
    better = comparison.verdict
    comparison.general = GeneralText("other texts", 8000, loss_figure(4.0, rise))
    assert bool(comparison.forgotten) == is_reported
    assert comparison.verdict == f"{better} {comparison.forgotten}".strip()
    if rise.value == 0.40 and is_reported:
        assert comparison.forgotten.endswith("the loss rose from 4.000 to 4.400 (+10 %).")
        assert comparison.to_dict()["forgotten"] == comparison.forgotten
        assert comparison.to_dict()["general"]["loss"]["difference"]["low"] == 0.30


HELD = 3.0
"""Loss of the base on held-out rows."""


@pytest.mark.parametrize(
    ("training", "on_held_out", "gap", "said"),
    [
        (
            (3.0, 0.5),
            1.5,
            Estimate(-1.0, -1.3, -0.7),
            "by 2.500, to 0.500, on training rows and fell by 1.500, to 1.500",
        ),
        (
            (3.0, 1.0),
            3.3,
            Estimate(-2.3, -2.6, -2.0),
            "by 2.000, to 1.000, on training rows and rose by 0.300, to 3.300",
        ),
        ((3.0, 2.5), 3.3, Estimate(-0.8, -1.0, -0.6), "rose by 0.300"),
        ((3.0, 1.0), 1.3, Estimate(-0.3, -0.4, -0.2), ""),  # sure, but less than a fifth of the gain
        ((3.0, 1.0), 2.5, Estimate(-1.5, -3.2, 0.2), ""),  # large, but not sure
        ((3.0, 2.5), 1.0, Estimate(1.5, 1.2, 1.8), ""),
        ((3.0, 3.1), 3.6, Estimate(-0.5, -0.6, -0.4), ""),  # nothing was gained, by heart or otherwise
        ((4.0, 2.0), 1.6, Estimate(-0.6, -0.8, -0.4), ""),  # a move into the domain: half of either loss is left
        (
            (3.0, 1.9),
            2.3,
            Estimate(-0.4, -0.5, -0.3),
            "",
        ),  # likewise: a third of the gain is missing, but little is left
        ((4.0, 0.5), 1.5, Estimate(-2.0, -2.3, -1.7), "to 0.500, on training rows"),
    ],
    ids=str,
)
def test_learned_by_heart_is_what_is_missing_on_held_out_rows(
    training: tuple[float, float], on_held_out: float, gap: Estimate, said: str
) -> None:
    comparison = by_heart(training, on_held_out, gap)
    assert comparison.to_dict()["by_heart"] == comparison.by_heart
    assert bool(comparison.by_heart) == bool(said)
    assert said in comparison.by_heart
    comparison.findings = {"underfitting": "it still fell"}
    assert comparison.by_heart == ""


def by_heart(training: tuple[float, float], on_held_out: float, gap: Estimate) -> Comparison:
    """A run with these losses on training rows before and after, and on held-out rows after."""
    on_training = Estimate(training[1] - training[0], *(training[1] - training[0] + by for by in (-0.1, 0.1)))
    moved = Estimate(on_held_out - HELD, *(on_held_out - HELD + by for by in (-0.1, 0.1)))
    losses = [loss_figure(HELD, moved)], [loss_figure(training[0], on_training)]
    return Comparison(9, 100, "held out", figures=losses[0], training=losses[1], gap=gap, split="test")


def test_answers_that_got_worse_show_what_was_learned_by_heart() -> None:
    """The held-out loss fell as in a change of domain, but the labels are worse than before."""
    comparison = by_heart((3.0, 1.9), 2.3, Estimate(-0.4, -0.5, -0.3))
    lost = Figure(
        "accuracy", Estimate(0.8, 0.7, 0.9), Estimate(0.5, 0.4, 0.6), Estimate(-0.3, -0.4, -0.2), False, True, 9
    )
    comparison.figures.append(lost)
    assert comparison.by_heart == ""
    comparison.headline = "accuracy"
    assert "Part of the gain is memorization" in comparison.by_heart
    comparison.headline, comparison.deciding = "loss", ["accuracy"]
    assert "More rows or less training narrow the gap." in comparison.by_heart


def test_without_training_rows_nothing_is_said_of_memory() -> None:
    comparison = Comparison(9, 100, "held out", figures=[loss_figure(3.0, Estimate(-0.5, -0.6, -0.4))])
    assert (comparison.by_heart, comparison.forgotten) == ("", "")
