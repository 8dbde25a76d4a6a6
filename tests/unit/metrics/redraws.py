"""What every measure must stand: sums of any shape, and rows drawn again."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy
import pytest

from burnish.metrics.measure import Measure, value


def check(measure: Measure, remake: Callable[[Sequence[int]], Measure]) -> None:
    """Hold a measure against a loop over draws, and against itself made again from the drawn rows.

    Args:
        measure: of all rows.
        remake: the same measure of the rows chosen by index, which may repeat.
    """
    rows, width = measure.table.shape
    assert measure.table.dtype == numpy.float64
    weights = numpy.random.default_rng(0).multinomial(rows, numpy.full(rows, 1 / rows), size=5)
    weights[4] = 0
    sums = weights @ measure.table
    with numpy.errstate(all="raise"):
        figures = measure.formula(sums)
        assert figures.shape == (5,)
        assert figures[4] == 0.0
        assert figures.tolist() == [float(measure.formula(one)) for one in sums]
        assert numpy.array_equal(measure.formula(sums.reshape(5, 1, width)), figures[:, None])
    for weight, figure in zip(weights[:4], figures, strict=False):
        drawn = numpy.repeat(numpy.arange(rows), weight).tolist()
        assert value(remake(drawn)) == pytest.approx(figure, abs=1e-12)
    assert len(set(figures[:4].tolist())) > 1, "the draws should differ, or nothing was tested"
