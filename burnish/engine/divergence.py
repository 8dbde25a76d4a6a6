"""Whether a training diverges, seen in its losses."""

from __future__ import annotations

import numpy

from burnish.engine.curves import Curves, change, step_between

MATTERS = 0.01
"""Share of the base model's loss that a change must reach to be reported."""
SIGNIFICANT = 3.0
"""Standard deviations. The test is repeated at every validation, so the usual 1.96 would give a false alarm in one of
four runs."""
_CERTAIN = 5.0
"""The same for comparisons with the lowest of many windows."""
FIRST_STEPS = 3
"""Number of first steps that define the initial training loss."""
_EXPLODED, _EXPLODED_STEPS = 2.0, 8
"""A training loss has exploded if its median over so many steps is so many times the base model's loss."""


def diverging(curves: Curves) -> str | None:
    """The training loss has risen far above earlier values, or training and held-out losses are worse than the base
    model's."""
    return _worse_than_base(curves) or _far_above_first(curves) or _climbed(curves)


def _far_above_first(curves: Curves) -> str | None:
    """Every recent step is at least 1.5 times the first one, which is computed with the base model's weights."""
    newest = curves.losses[1:][-curves.window() :]
    if len(newest) < curves.window() or min(newest) <= 1.5 * curves.losses[0]:
        return None
    return (
        f"the training loss rose from {curves.losses[0]:.3f} in the first step to at least {min(newest):.3f} in each "
        f"of the last {len(newest)} steps up to step {curves.step}"
    )


def exploded(curves: Curves) -> str | None:
    """For `_EXPLODED_STEPS` steps, the median of the training loss was far above the base model's loss. It counts
    however far the loss falls afterwards: such steps destroy what the weights were."""
    if curves.base is None or len(curves.losses) <= _EXPLODED_STEPS:
        return None
    start = max(curves.losses[0], curves.base.loss)  # the loss of a single step may be low by chance
    losses = numpy.lib.stride_tricks.sliding_window_view(numpy.array(curves.losses[1:]), _EXPLODED_STEPS)
    medians = numpy.median(losses, axis=1)
    worst = int(medians.argmax())
    if medians[worst] <= _EXPLODED * start:
        return None
    first = curves.steps[worst + 1]
    return (
        f"the training loss rose from {curves.losses[0]:.3f} in the first step to {medians[worst]:.3f}, the median of "
        f"steps {first} to {first + _EXPLODED_STEPS - 1}"
    )


def _climbed(curves: Curves) -> str | None:
    """The mean of recent steps is significantly above the lowest earlier mean, by at least half of the gain.

    The rise must also be a tenth of the first loss: losses near 0 can double without harm.
    """
    width = curves.window()
    if len(curves.losses) < 2 * width:
        return None
    losses = numpy.array(curves.losses)
    means = numpy.convolve(losses[:-width], numpy.ones(width) / width, mode="valid")
    lowest = int(means.argmin())
    rise, z_score = step_between(losses[lowest : lowest + width], losses[-width:])
    start = float(means[0])
    is_large = rise > max(0.1 * start, 0.5 * (start - float(means[lowest])))
    if z_score < _CERTAIN or not is_large:
        return None
    return (
        f"the training loss rose from {means[lowest]:.3f} by step {curves.steps[lowest + width - 1]} to "
        f"{losses[-width:].mean():.3f} by step {curves.step} (means of {width} steps)"
    )


def _worse_than_base(curves: Curves) -> str | None:
    """Held-out loss significantly above the base model's, and training loss not below that of the first step.

    The first step is computed with the base model's weights.
    """
    loss, newest = change(curves.last, "base"), curves.losses[1:][-curves.window() :]
    if loss is None or curves.base is None or curves.last is None or len(newest) < FIRST_STEPS:
        return None
    trained = float(numpy.mean(newest))
    if loss.z_score < SIGNIFICANT or loss.value < MATTERS * curves.base.loss or trained < curves.losses[0]:
        return None
    return (
        f"the held-out loss rose from {curves.base.loss:.3f} to {curves.last.loss:.3f} by step {curves.last.step}, a "
        f"change of {loss} on the same rows, and the training loss from {curves.losses[0]:.3f} to {trained:.3f}"
    )
