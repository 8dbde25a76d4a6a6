"""The curves of a run: losses with the checkpoint that was kept, and small ones for rate, gradient and figures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from markupsafe import Markup

from burnish.report.charts import (
    Frame,
    LogScale,
    Point,
    Scale,
    drawing,
    is_lopsided,
    joined,
    label,
    line,
    thinned,
    width_of,
)
from burnish.report.figures import number
from burnish.report.record import RunRecord, finite

_WIDTH, _HEIGHT = 760, 330
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 640, 40, 286
_SMALL_WIDTH, _SMALL_HEIGHT = 250, 170
_MOST_DOTS, _MOST_CORNERS = 500, 400
_WINDOWS = 25
"""The running mean is taken over a 25th of the run."""
_OUTER = 0.02
"""Share of the steps at each end that may lie beyond the frame, so that one spike does not flatten all others."""
_LABEL_HEIGHT = 15


@dataclass(frozen=True, slots=True)
class Losses:
    """Everything that the loss chart shows. Losses that are not finite are left out."""

    training: list[Point]
    held_out: list[Point]
    band: list[tuple[float, float, float]]
    """(step, low, high): the 95 % interval of the validation loss's difference from the base, laid around the base."""
    spikes: set[int]
    kept: int | None
    total_steps: int

    @classmethod
    def of(cls, record: RunRecord) -> Losses:
        """Those of a run."""
        return cls(
            training=finite([(step["step"], step["loss"]) for step in record.steps]),
            held_out=finite([(line["step"], line["loss"]) for line in record.validations]),
            band=_band(record.validations),
            spikes={event["step"] for event in record.all("Spiked")},
            kept=record.best_step,
            total_steps=record.total_steps,
        )

    @property
    def window(self) -> int:
        """Steps that the running mean is taken over."""
        return max(1, round(len(self.training) / _WINDOWS))

    @property
    def mean(self) -> list[Point]:
        """The training loss as the mean of the last `window` steps."""
        sums = [0.0, *accumulate(loss for _, loss in self.training)]
        means = []
        for count, (step, _) in enumerate(self.training, 1):
            first = max(0, count - self.window)
            means.append((step, (sums[count] - sums[first]) / (count - first)))
        return means

    def description(self) -> str:
        """The chart in words."""
        parts = [f"Losses over {self.total_steps:,} steps."]
        if self.training:
            first, last = self.mean[0][1], self.mean[-1][1]
            parts.append(f"The training loss goes from {number(first)} to {number(last)}.")
        if self.held_out:
            (begin, first), (end, last) = self.held_out[0], self.held_out[-1]
            parts.append(f"The validation loss is {number(first)} at step {begin:.0f} and {number(last)} at {end:.0f}.")
        if self.kept is not None:
            parts.append(f"The weights of step {self.kept:,} were kept.")
        return " ".join(parts)


def loss_chart(losses: Losses) -> Markup:
    """Training loss as light points with their running mean, validation loss as a line, and the checkpoint kept.

    Empty where no loss is known.
    """
    if not losses.training and not losses.held_out:
        return Markup("")
    mean = losses.mean
    values = [loss for _, loss in [*_inner(losses.training), *losses.held_out]]
    values += [bound for _, *bounds in losses.band for bound in bounds]
    last = max(losses.total_steps, *(int(step) for step, _ in [*losses.training, *losses.held_out]))
    is_log = is_lopsided(values)
    beside = (
        LogScale(min(values) / 1.1, 1.1 * max(values), _BOTTOM, _TOP) if is_log else Scale.around(values, _BOTTOM, _TOP)
    )
    frame = Frame(Scale(0, last or 1, _LEFT, _RIGHT), beside)
    dots = [(step, loss, f"step {step:.0f}: loss {number(loss)}") for step, loss in losses.training]
    spikes = [dot for dot in dots if dot[0] in losses.spikes]
    parts = [
        frame.axes(("optimizer steps", "loss, nats (log scale)" if is_log else "loss, nats"), lift=24),
        frame.band(losses.band, "band") if len(losses.band) > 1 else "",
        frame.dots([dot for dot in _thinned(dots) if dot[0] not in losses.spikes], "dot", 2),
        frame.path(thinned(mean, _MOST_CORNERS), "mean"),
        _kept(frame, losses.kept),
        frame.path(losses.held_out, "held"),
        frame.dots([(*point, f"validation, step {point[0]:.0f}: {number(point[1])}") for point in losses.held_out],
                   "heldpoint", 3.5),
        frame.dots([(step, loss, f"outlier at {words}") for step, loss, words in spikes], "spike", 4.5),
        _names(frame, mean, losses.held_out),
    ]  # fmt: skip
    return drawing(_WIDTH, _HEIGHT, parts, losses.description())


def small_curves(record: RunRecord) -> list[Markup]:
    """Learning rate, gradient norm and the headline figure, each over the steps in a small frame of its own."""
    headline = str(record.evaluation.get("headline", ""))
    rates = [(step["step"], step["learning_rate"]) for step in record.steps]
    norms = [(step["step"], step["gradient_norm"]) for step in record.steps]
    figures = [(one["step"], one["figures"].get(headline)) for one in record.validations]
    drawn = [
        _small("learning rate", finite(rates), record.total_steps),
        _small("gradient norm", finite(norms), record.total_steps),
        _small(f"validation {headline}", finite(figures), record.total_steps, has_dots=True),
    ]
    return [chart for chart in drawn if chart]


def _small(title: str, points: list[Point], total_steps: int, has_dots: bool = False) -> Markup:
    """One small chart, empty where there is nothing to draw.

    Its scale begins at 0, for none of these is ever below; it is logarithmic where that would show little.
    """
    if not points:
        return Markup("")
    high = max(value for _, value in points)
    last = max(total_steps, int(points[-1][0]), 1)
    # a value below 0 would still be drawn, at the edge
    values = [value for _, value in points]
    is_log = is_lopsided(values)
    beside = (
        LogScale(min(values) / 1.2, 1.2 * high, 132, 26)
        if is_log
        else Scale(0, 1.06 * high if high > 0 else 1.0, 132, 26)
    )
    frame = Frame(Scale(0, last, 44, _SMALL_WIDTH - 24), beside)
    dots = [(*point, f"step {point[0]:.0f}: {point[1]:.3g}") for point in points]
    description = f"{title[:1].upper()}{title[1:]} over the steps: from {points[0][1]:.3g} to {points[-1][1]:.3g}."
    parts = [
        frame.axes(("steps", f"{title}, log scale" if is_log else title), x_ticks=4, y_ticks=4),
        frame.path(thinned(points, _MOST_CORNERS), "small"),
        frame.dots(dots if has_dots else [], "smallpoint", 2.5),
    ]
    return drawing(_SMALL_WIDTH, _SMALL_HEIGHT, parts, description)


def _band(validations: Sequence[dict[str, Any]]) -> list[tuple[float, float, float]]:
    """The 95 % interval of the eval loss around that of the base, step by step."""
    if not validations or validations[0]["step"] != 0:
        return []
    losses = [loss for _, loss in finite([(0, one["loss"]) for one in validations])]
    base = validations[0]["loss"]
    if not finite([(0, base)]):
        return []
    found = [(0.0, base, base)]
    lowest = 0.0 if min(losses) >= 0 else -math.inf  # most losses are never below 0
    for one in validations[1:]:
        bounds = one.get("changes", {}).get("base")
        if bounds and len(finite([(0, bound) for bound in bounds])) == len(bounds):
            found.append((float(one["step"]), max(lowest, base + bounds[1]), base + bounds[2]))
    return found if len(found) > 1 else []


def _inner(points: list[Point]) -> list[Point]:
    """Points without the outermost, which need not fit into the frame."""
    beyond = int(_OUTER * len(points))
    ranked = sorted(points, key=lambda point: point[1])
    return ranked[beyond : len(ranked) - beyond]


def _thinned(dots: list[tuple[float, float, str]]) -> list[tuple[float, float, str]]:
    every = -(-len(dots) // _MOST_DOTS) or 1
    return dots[::every]


def _kept(frame: Frame, step: int | None) -> Markup:
    """A line at the step whose weights are the result, with its name on the side where there is room."""
    if step is None:
        return Markup("")
    at = frame.x.at(step)
    name = f"kept: step {step:,}"
    anchor = "end" if at + width_of(name) > frame.x.end else "start"
    upright = line((at, frame.y.start), (at, frame.y.end - 6), "kept")
    return joined([upright, label((at + (-5 if anchor == "end" else 5), frame.y.end - 2), name, "keptname", anchor)])


def _names(frame: Frame, mean: list[Point], held_out: list[Point]) -> Markup:
    """What the lines are, at their right ends and clear of each other."""
    ends = [(points[-1], name, kind) for points, name, kind in
            ((mean, "training", "meanname"), (held_out, "validation", "heldname")) if points]  # fmt: skip
    ends.sort(key=lambda end: -end[0][1])
    names, lowest = [], frame.y.end - _LABEL_HEIGHT
    for point, name, kind in ends:
        lowest = max(frame.y.at(point[1]) + 4, lowest + _LABEL_HEIGHT)
        names.append(label((frame.x.at(point[0]) + 9, lowest), f"{name} {number(point[1])}", kind))
    return joined(names)
