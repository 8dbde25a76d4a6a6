"""Runs against each other: what the verdict claims, and what stands in the dictionary."""

from __future__ import annotations

import json

import pytest

from burnish.evaluate.noise import ComparedFigure, RecipePair, TrainingNoise
from burnish.evaluate.run_comparison import ComparedRun, Curve, RunComparison, measured_seeds
from burnish.lineage.recipe_differences import OptionDifference
from burnish.metrics.intervals import Estimate
from burnish.metrics.significance import Change

NO_NOISE = TrainingNoise("none", None, None)


def pair(change: Change, rows_alone: Change | None = None, raised: float | None = None, second: int = 1) -> RecipePair:
    """The first recipe and another."""
    return RecipePair(0, second, change, rows_alone or change, change.chance if raised is None else raised)


def comparison(
    *pairs: RecipePair, recipes: tuple[int, ...] = (0, 1), noise: TrainingNoise = NO_NOISE, is_share: bool = False
) -> RunComparison:
    """Runs `a`, `b` and so on, each of another seed, whose recipes have these numbers."""
    runs = [ComparedRun(chr(97 + run), f"runs/{chr(97 + run)}", run, recipe) for run, recipe in enumerate(recipes)]
    values = [Estimate(0.5 + run / 10, 0.0, 1.0) for run in range(len(runs))]
    name = "accuracy" if is_share else "loss"
    figure = ComparedFigure(name, not is_share, is_share, 50, values, list(pairs), noise)
    options = [OptionDifference("seed", list(range(len(runs))), [False] * len(runs))]
    curves = [Curve("a", [(0, 0, 2.0), (5, 900, float("nan"))])]
    return RunComparison(50, "held out by all of the runs", runs, [figure], options, curves, [])


SHOWN = Change(-0.2, -0.3, -0.1, 0.001)
NOT_SHOWN = Change(-0.02, -0.3, 0.26, 0.8)


def test_a_lower_loss_is_better() -> None:
    verdict = comparison(pair(SHOWN)).verdict
    assert verdict.startswith(
        "`b` is better than `a` on 50 rows: the loss is lower by 0.200 [-0.300, -0.100], beyond the noise of the rows."
    )
    assert "only the noise of the rows is counted: another seed may change the loss as much" in verdict


def test_a_higher_accuracy_is_better_and_a_lower_one_worse() -> None:
    higher = comparison(pair(Change(0.1, 0.05, 0.15, 0.01)), is_share=True).verdict
    assert "`b` is better than `a` on 50 rows: the accuracy is higher by 10.0 points [+5.0, +15.0]" in higher
    assert "`b` is worse than `a`" in comparison(pair(SHOWN), is_share=True).verdict


def test_no_difference_is_said() -> None:
    result = comparison(pair(NOT_SHOWN))
    assert result.verdict.startswith("`a` and `b` do not differ significantly on 50 rows: the loss differs by -0.02")
    assert "do part on such rows" not in result.verdict
    assert not result.is_shown


def test_what_training_makes_is_not_taken_for_the_recipe() -> None:
    noise = TrainingNoise("validations", 0.05, 4.4)
    verdict = comparison(pair(NOT_SHOWN, rows_alone=SHOWN), noise=noise).verdict
    assert verdict.startswith("`a` and `b` do not differ significantly")
    assert "These models do differ on such rows, but not by more than the noise of training." in verdict
    assert (
        "validations: up to 0.05 (standard deviation). Another seed may change the loss by more or by less" in verdict
    )


def test_a_chance_that_was_raised_decides() -> None:
    one = pair(Change(-0.2, -0.39, -0.01, 0.04), raised=0.12)
    result = comparison(one, pair(NOT_SHOWN, second=2), recipes=(0, 1, 2))
    assert not result.is_shown
    assert result.verdict.count("do not differ significantly") == 2
    assert "corrected for 2 comparisons (Holm)" in result.verdict


def test_of_many_pairs_only_those_that_are_shown_are_reported() -> None:
    pairs = [pair(NOT_SHOWN, second=1), pair(SHOWN, second=2), *[pair(NOT_SHOWN, second=3)] * 4]
    verdict = comparison(*pairs, recipes=(0, 1, 2, 3)).verdict
    assert verdict.startswith("`c` is better than `a`")
    assert "No difference between any other two of the 4 recipes is significant on 50 rows." in verdict


def test_seeds_count_together() -> None:
    noise = TrainingNoise("seeds", 0.012, 2.0)
    result = comparison(pair(SHOWN), recipes=(0, 0, 1, 1), noise=noise)
    assert result.labels == ["`a` (2 seeds)", "`c` (2 seeds)"]
    assert "`c` (2 seeds) is better than `a` (2 seeds)" in result.verdict
    assert "beyond the noise of the rows and of training." in result.verdict
    assert "0.012 between seeds (standard deviation, 2 degrees of freedom)" in result.verdict


def test_another_seed_is_no_other_recipe() -> None:
    result = comparison(recipes=(0, 0), noise=TrainingNoise("seeds", 0.07, 1.0))
    assert not result.is_shown
    assert result.verdict.startswith(
        "The runs differ only in the seed. Over 2 seeds the loss varied by 0.100, 20.0 % of it, "
        "on 50 rows. A difference of this size"
    )
    three = comparison(recipes=(0, 0, 0), noise=TrainingNoise("seeds", 0.1, 2.0))
    assert (
        "Over 3 seeds the loss varied by 0.200, 40.0 % of it, on 50 rows (standard deviation 0.100)." in three.verdict
    )


def test_the_same_run_twice_says_nothing_about_seeds() -> None:
    runs = [ComparedRun("a", "x/a", 0, 0), ComparedRun("b", "x/b", 0, 0), ComparedRun("c", "x/c", 1, 0)]
    assert measured_seeds(runs) == [[0, 2]]
    same = comparison(recipes=(0, 0))
    same.runs = runs[:2]
    assert same.verdict == "No difference is shown: the runs have the same recipe and seed."


@pytest.mark.parametrize(("width", "result"), [(0.4, "[-0.200, +0.200]"), (0.0004, "[-0.00020, +0.00020]")])
def test_a_narrow_interval_is_shown_to_the_digits_that_count(width: float, result: str) -> None:
    assert result in comparison(pair(Change(0.0, -width / 2, width / 2, 1.0))).verdict


def test_the_dictionary_is_json() -> None:
    result = json.loads(json.dumps(comparison(pair(SHOWN)).to_dict(), allow_nan=False))
    assert result["recipes"] == [["a"], ["b"]]
    assert result["figures"][0]["pairs"][0]["is_shown"] is True
    assert result["figures"][0]["pairs"][0]["change"] == {"value": -0.2, "low": -0.3, "high": -0.1, "chance": 0.001}
    assert result["options"][0]["option"] == "seed"
    assert result["curves"] == [{"run": "a", "points": [[0, 0, 2.0], [5, 900, None]]}]
    assert result["is_shown"] is True
