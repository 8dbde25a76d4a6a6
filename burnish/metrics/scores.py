"""Metrics of predicted numbers: Pearson's and Spearman's correlation, and the mean absolute error."""

from __future__ import annotations

from dataclasses import replace

import numpy
from numpy.typing import ArrayLike

from burnish.metrics.measure import Measure, mean, quotient

_NEARLY_ONE = 1 - 1e-9


def score_measures(gold: ArrayLike, predicted: ArrayLike) -> list[Measure]:
    """MAE, Pearson's r and Spearman's rho.

    Args:
        gold: `[rows]`.
        predicted: `[rows]`.
    """
    expected, given = (numpy.asarray(side, dtype=numpy.float64) for side in (gold, predicted))
    error = mean("MAE", numpy.abs(expected - given), higher_is_better=False, is_share=False)
    return [replace(error, least=0.0), pearson(expected, given), spearman(expected, given)]


def pearson(gold: numpy.ndarray, predicted: numpy.ndarray) -> Measure:
    """Pearson's correlation, 0.0 if either side is constant: a formula of the sums of values, squares and products.

    The values are centered first, which changes no correlation but keeps the digits of numbers far from 0.
    """
    x, y = (_standardized(side) for side in (gold, predicted))
    table = numpy.stack([numpy.ones_like(x), x, y, x * x, y * y, x * y], axis=1)
    return Measure("Pearson r", table, _pearson, higher_is_better=True, is_share=False, least=-1.0, most=1.0)


def spearman(gold: numpy.ndarray, predicted: numpy.ndarray) -> Measure:
    """Spearman's rank correlation, with mean ranks for ties; 0.0 if either side is constant.

    Ranks are no sums over rows, so the table has each row's influence on the correlation instead, on Fisher's scale
    `artanh(rho)`, where it is nearly normal (Hampel 1974 on influence functions). It counts that a row changes the
    ranks of all others; without that, intervals of strong correlations would be too wide. The mean of the influences is
    0, so the value is exactly rho.
    """
    from scipy.stats import rankdata

    x, y = ((rankdata(side) - 0.5) / max(1, len(side)) - 0.5 for side in (gold, predicted))
    products = {name: one * other for name, (one, other) in {"xy": (x, y), "xx": (x, x), "yy": (y, y)}.items()}
    moments = {name: float(quotient(product.sum(), len(x))) for name, product in products.items()}
    scale = float(numpy.sqrt(moments["xx"] * moments["yy"]))
    rho = moments["xy"] / scale if scale > 0 else 0.0
    shift = (
        products["xy"] - moments["xy"] + _rank_shift(x, y) + _rank_shift(y, x),
        products["xx"] - moments["xx"] + 2 * _rank_shift(x, x),
        products["yy"] - moments["yy"] + 2 * _rank_shift(y, y),
    )
    influence = numpy.zeros_like(x)
    if scale > 0:
        influence = shift[0] / scale - rho / 2 * (shift[1] / moments["xx"] + shift[2] / moments["yy"])
    bounded = min(max(rho, -_NEARLY_ONE), _NEARLY_ONE)
    lines = numpy.arctanh(bounded) + influence / (1 - bounded**2)
    table = numpy.stack([lines, numpy.ones_like(lines)], axis=1)
    return Measure("Spearman rho", table, _spearman, higher_is_better=True, is_share=False, least=-1.0, most=1.0)


def mean_loss(gold: ArrayLike, scale: float) -> Measure:
    """The squared error, in units of `scale`, if the mean of these rows is predicted for each of them.

    No other constant has a lower one: a model that does better has learned something from the inputs.

    Args:
        gold: `[rows]`.
        scale: unit of the loss.
    """
    numbers = numpy.asarray(gold, dtype=numpy.float64)
    centered = (numbers - quotient(numbers.sum(), len(numbers))) / scale
    return mean("loss", centered**2, higher_is_better=False, is_share=False)


def _rank_shift(ranked: numpy.ndarray, weights: numpy.ndarray) -> numpy.ndarray:
    """`[rows]`: how much one more row like each changes the mean of `rank x weight` through the ranks of all rows.

    Args:
        ranked: `[rows]`, ranks from -1/2 to 1/2.
        weights: `[rows]`, with a mean of 0.
    """
    if not len(ranked):
        return ranked
    _, group = numpy.unique(ranked, return_inverse=True)
    sums = numpy.bincount(group, weights=weights)
    above = sums[::-1].cumsum()[::-1] - sums
    return (above + sums / 2)[group] / len(ranked) - float((weights * ranked).mean())


def _standardized(values: numpy.ndarray) -> numpy.ndarray:
    if not len(values):
        return values
    centered = values - values.mean()
    return quotient(centered, centered.std())


def _pearson(sums: numpy.ndarray) -> numpy.ndarray:
    rows, x, y, xx, yy, xy = (sums[..., column] for column in range(6))
    spread = numpy.maximum(rows * xx - x * x, 0.0) * numpy.maximum(rows * yy - y * y, 0.0)
    return numpy.clip(quotient(rows * xy - x * y, numpy.sqrt(spread)), -1.0, 1.0)


def _spearman(sums: numpy.ndarray) -> numpy.ndarray:
    return numpy.tanh(quotient(sums[..., 0], sums[..., 1]))
