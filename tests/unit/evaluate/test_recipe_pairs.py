"""Recipes against each other: how often their intervals hold the truth, and how often a difference is shown that is
none."""

from __future__ import annotations

from collections.abc import Sequence

import numpy
import pytest

from burnish.evaluate.noise import ComparedFigure, compare_recipes
from burnish.metrics.measure import Measure, mean, ratio
from burnish.metrics.significance import Noise, scatter

ROWS = 40


def runs_of(
    source: numpy.random.Generator, effects: Sequence[float], training: float, apart: float = 0.1, own: float = 0.15
) -> list[Measure]:
    """The losses of runs on rows of very different difficulty.

    Args:
        source: of all chance.
        effects: of each run, its recipe's; runs of the same effect share what the recipe does to single rows.
        training: standard deviation of what the seed does to all rows of a run.
        apart: of what it does to each.
        own: of what the recipe does to each row.
    """
    counts = source.integers(1, 31, ROWS)
    difficulty = source.gamma(4, 0.5, ROWS)
    by_recipe = {effect: source.normal(effect, own, ROWS) for effect in dict.fromkeys(effects)}
    losses = []
    for effect in effects:
        seed = source.normal(0, training) + source.normal(0, apart, ROWS)
        losses.append(difficulty + by_recipe[effect] + seed)
    return [ratio("loss", loss * counts, counts, higher_is_better=False, is_share=False) for loss in losses]


def holds(figure: ComparedFigure, truth: float) -> bool:
    """Whether the interval of the only pair holds the truth."""
    change = figure.pairs[0].change
    return change.low <= truth <= change.high


@pytest.mark.parametrize(
    ("training", "trials", "least"),
    [(0.2, 150, 0.92), *(pytest.param(noise, 600, 0.93, marks=pytest.mark.slow) for noise in (0.02, 0.06, 0.2))],
)
def test_with_seeds_the_intervals_hold_the_truth_95_times_in_100(training: float, trials: int, least: float) -> None:
    """Three seeds of each recipe, whose noise is a third of that of the rows, as large, or three times as large."""
    source = numpy.random.default_rng(1)
    groups = [[0, 1, 2], [3, 4, 5]]
    effects = [0.0] * 3 + [-0.1] * 3
    held = [holds(compare_recipes(runs_of(source, effects, training), groups, [None] * 6), -0.1) for _ in range(trials)]
    assert least <= numpy.mean(held) <= 1.9 - least


@pytest.mark.parametrize(("trials", "least"), [(150, 0.92), pytest.param(600, 0.93, marks=pytest.mark.slow)])
def test_without_training_noise_too(trials: int, least: float) -> None:
    """Two models whose weights are what they are: rows alone make noise."""
    source = numpy.random.default_rng(2)
    held = [
        holds(compare_recipes(runs_of(source, [0.0, -0.1], 0.0), [[0], [1]], [None, None]), -0.1) for _ in range(trials)
    ]
    assert least <= numpy.mean(held) <= 1.9 - least


@pytest.mark.parametrize("trials", [100, pytest.param(400, marks=pytest.mark.slow)])
def test_another_seed_is_seldom_taken_for_another_recipe(trials: int) -> None:
    """Rows alone would say so half of the time; the scatter of the validations shows that the training is noisy."""
    source = numpy.random.default_rng(3)
    noisy, rows_alone = [], []
    for _ in range(trials):
        runs = runs_of(source, [0.0, 0.0], training=0.08)
        course = 2 + numpy.exp(-numpy.arange(8) / 2.0)
        scatters = [scatter((course + source.normal(0, 0.08, 8)).tolist()) for _ in runs]
        (pair,) = compare_recipes(runs, [[0], [1]], scatters).pairs
        noisy.append(pair.is_shown)
        rows_alone.append(pair.rows_alone.chance <= 0.05)
    assert numpy.mean(rows_alone) > 0.3
    assert numpy.mean(noisy) <= 0.05


def test_a_true_difference_is_shown() -> None:
    source = numpy.random.default_rng(4)
    runs = runs_of(source, [0.0] * 3 + [-0.5] * 3, training=0.05)
    figure = compare_recipes(runs, [[0, 1, 2], [3, 4, 5]], [None] * 6)
    assert figure.pairs[0].is_shown
    assert figure.pairs[0].change.value == pytest.approx(-0.5, abs=0.15)
    assert figure.noise.source == "seeds"
    assert figure.noise.freedom == 4


def test_what_the_rows_explain_of_the_spread_is_not_counted_twice() -> None:
    """Seeds that part on single rows alone: their spread is noise of the rows, and nothing is added to it."""
    source = numpy.random.default_rng(5)
    widths = []
    for _ in range(60):
        runs = runs_of(source, [0.0] * 4 + [-0.1] * 4, training=0.0, apart=0.3, own=0.0)
        (pair,) = compare_recipes(runs, [[0, 1, 2, 3], [4, 5, 6, 7]], [None] * 8).pairs
        widths.append((pair.change.high - pair.change.low) / (pair.rows_alone.high - pair.rows_alone.low))
    assert 1.0 <= numpy.median(widths) < 1.25


def test_all_pairs_are_compared_and_their_chances_raised() -> None:
    source = numpy.random.default_rng(6)
    figure = compare_recipes(runs_of(source, [0.0, 0.1, 0.2], 0.0), [[0], [1], [2]], [None] * 3)
    assert [(pair.first, pair.second) for pair in figure.pairs] == [(0, 1), (0, 2), (1, 2)]
    chances = sorted(pair.change.chance for pair in figure.pairs)
    raised = sorted(pair.raised_chance for pair in figure.pairs)
    assert raised[0] == pytest.approx(min(1.0, 3 * chances[0]))
    assert figure.noise.source == "none"
    assert [pair.change for pair in figure.pairs] == [pair.rows_alone for pair in figure.pairs]


def test_a_run_without_known_noise_is_as_noisy_as_the_other() -> None:
    source = numpy.random.default_rng(7)
    runs = runs_of(source, [0.0, 0.1], 0.0)
    one, both = (
        compare_recipes(runs, [[0], [1]], scatters).pairs[0].change
        for scatters in ([Noise(0.04, 3), None], [Noise(0.04, 3), Noise(0.04, 3)])
    )
    alone = compare_recipes(runs, [[0], [1]], [None, None]).pairs[0].change
    assert one == both
    assert one.low < alone.low < alone.high < one.high


def test_figures_of_each_run_and_of_recipes() -> None:
    measures = [mean("accuracy", [1, 0] * 10), mean("accuracy", [1, 1] * 10), mean("accuracy", [1, 0, 1, 1] * 5)]
    figure = compare_recipes(measures, [[0], [1, 2]], [None] * 3)
    assert [one.value for one in figure.runs] == [0.5, 1.0, 0.75]
    assert figure.pairs[0].change.value == pytest.approx(0.375)
    assert (figure.name, figure.lower_is_better, figure.is_share, figure.rows) == ("accuracy", False, True, 20)
    result = figure.to_dict()
    assert result["pairs"][0]["is_shown"] == figure.pairs[0].is_shown
    assert result["noise"]["source"] == "seeds"
