"""How far values scatter: by hand, and against values whose scatter is known."""

from __future__ import annotations

import math

import numpy
import pytest

from burnish.metrics.significance import Noise, scatter, spread


def test_a_straight_course_does_not_scatter() -> None:
    result = scatter([3.0, 2.5, 2.0, 1.5, 1.0, 0.5])
    assert result is not None
    assert result.variance == pytest.approx(0.0, abs=1e-20)


def test_by_hand() -> None:
    result = scatter([0.0, 1.0, 0.0, 1.0, 0.0])
    assert result is not None
    assert result.variance == pytest.approx(4 / 6)
    assert result.freedom == pytest.approx(18**2 / (36 * 3 + 32 * 2 + 2))


@pytest.mark.parametrize("number", [3, 4, 10])
def test_the_freedom_is_that_of_the_matrix_of_differences(number: int) -> None:
    """trace(D D')^2 / trace((D D')^2), as the docstring has it."""
    matrix = numpy.diff(numpy.eye(number + 2), 2, axis=0)
    square = matrix @ matrix.T
    result = scatter(numpy.arange(number + 2.0) ** 2)
    assert result is not None
    assert result.variance == pytest.approx(2**2 / 6), "the second difference of squares is 2"
    assert result.freedom == pytest.approx(numpy.trace(square) ** 2 / numpy.trace(square @ square))


@pytest.mark.parametrize("values", [[], [1.0], [1.0, 2.0, 1.0, 2.0], [1.0, 2.0, math.nan, 2.0, 1.0]])
def test_too_few_values_show_nothing(values: list[float]) -> None:
    assert scatter(values) is None


@pytest.mark.parametrize("length", [5, 12])
def test_the_estimate_and_its_freedom_are_those_of_known_noise(length: int) -> None:
    """About a straight fall; the freedom of a variance is twice its squared mean over its variance."""
    source = numpy.random.default_rng(0)
    course = numpy.linspace(2, 1, length)
    result = [scatter((course + source.normal(0, 0.1, length)).tolist()) for _ in range(4000)]
    variances = numpy.array([one.variance for one in result if one is not None])
    assert variances.mean() == pytest.approx(0.01, rel=0.05)
    assert result[0] is not None
    assert result[0].freedom == pytest.approx(2 * variances.mean() ** 2 / variances.var(), rel=0.12)


def test_a_bend_makes_it_rather_too_large() -> None:
    result = scatter([math.exp(-step / 3) for step in range(10)])
    assert result is not None
    assert result.variance > 0


def test_the_spread_within_groups_by_hand() -> None:
    assert spread([[1.0, 3.0], [10.0, 10.0, 13.0]]) == Noise(pytest.approx((2 + 6) / 3), 3)
    assert spread([[1.0], [5.0]]) is None
    assert spread([[1.0], [5.0, 6.0]]) == Noise(pytest.approx(0.5), 1)
