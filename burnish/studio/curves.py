"""The curves of a run for a page: read on as the log grows, of a bounded number of points, drawn as SVG."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from burnish.jobs.course import Log
from burnish.report.charts import Frame, Point, Scale, drawing, joined, label
from burnish.report.figures import number
from burnish.report.record import finite
from burnish.runs.folder import RunFolder

TRAINING, VALIDATION, RATE, GRADIENT, SPEED = (
    "training loss",
    "validation loss",
    "learning rate",
    "gradient norm",
    "tokens per second",
)
UNITS = {TRAINING: "nats", VALIDATION: "nats", RATE: "", GRADIENT: "", SPEED: "tokens/s"}
_OF_STEP = {TRAINING: "loss", RATE: "learning_rate", GRADIENT: "gradient_norm"}
"""Curves of steps, with the name of their field."""
_MOST = 400
"""Points of a curve that are drawn."""
_OVERLAID = 6
"""Colours of runs that are drawn above each other."""
_OUTER = 0.02
_WIDTH, _HEIGHT = 760, 320
_LINE = 15


class RunCurves:
    """The metrics of one run; several pages may read them at a time.

    Args:
        run: its folder.
    """

    def __init__(self, run: RunFolder) -> None:
        self._log = Log(run.metrics)
        self._points: dict[str, list[Point]] = {}
        self._guard = threading.Lock()
        self.total_steps = 0

    def read(self) -> dict[str, list[Point]]:
        """Each curve as at most some hundred points of (step, value); those that are not finite are left out."""
        with self._guard:
            if self._log.is_replaced:
                self._log.restart()
                self._points = {}
            for event in self._log.read():
                self._take(event)
            return {name: thinned(points) for name, points in self._points.items()}

    def _take(self, event: Mapping[str, Any]) -> None:
        values: dict[str, Any] = {}
        if event.get("event") == "StepDone":
            self.total_steps = event.get("total_steps") or self.total_steps
            seconds = event.get("seconds") or 0
            values = {name: event.get(of) for name, of in _OF_STEP.items()}
            values[SPEED] = (event.get("tokens") or 0) / seconds if seconds > 0 else None
        elif event.get("event") == "Validated":
            figures = event.get("figures")
            values = {VALIDATION: event.get("loss"), **(figures if isinstance(figures, dict) else {})}
        step = event.get("step")
        if isinstance(step, int):
            for name, value in values.items():
                self._points.setdefault(name, []).extend(finite([(step, value)]))


def thinned(points: Sequence[Point], most: int = _MOST) -> list[Point]:
    """At most about so many points: of each stretch the lowest and the highest, so that no spike is lost."""
    if len(points) <= most:
        return list(points)
    length = -(-2 * len(points) // most)
    kept: list[Point] = [points[0]]
    for begin in range(0, len(points), length):
        part = points[begin : begin + length]
        ends = {min(part, key=lambda point: point[1]), max(part, key=lambda point: point[1])}
        kept += sorted(ends)
    return [*kept, points[-1]]


def loss_chart(curves: Mapping[str, Sequence[Point]], total_steps: int) -> Markup:
    """Training loss as points and validation loss as a line; empty where there is neither."""
    training, held_out = list(curves.get(TRAINING, ())), list(curves.get(VALIDATION, ()))
    if not training and not held_out:
        return Markup("")
    last = max(total_steps, *(int(step) for step, _ in [*training, *held_out]), 1)
    inner = _inner(training)
    frame = Frame(Scale(0, last, 52, 640), Scale.around([value for _, value in [*inner, *held_out]], 270, 36))
    dots = [(*point, f"step {point[0]:,.0f}: loss {number(point[1])}") for point in training]
    held = [(*point, f"validation, step {point[0]:,.0f}: {number(point[1])}") for point in held_out]
    parts = [
        frame.axes(("optimizer steps", "loss, nats"), lift=20),
        frame.dots(dots, "dot", 2),
        frame.path(_mean(training), "mean"),
        frame.path(held_out, "held"),
        frame.dots(held, "heldpoint", 3.5),
        *_names(frame, [(_mean(training), "training", "meanname"), (held_out, "validation", "heldname")]),
    ]
    now = f"The training loss is {number(training[-1][1])} at step {training[-1][0]:,.0f}." if training else ""
    tested = f" The validation loss is {number(held_out[-1][1])}." if held_out else ""
    return drawing(_WIDTH, _HEIGHT - 4, parts, f"Losses over the steps. {now}{tested}")


def small_chart(name: str, points: Sequence[Point], total_steps: int) -> Markup:
    """One small curve from 0 upwards; empty where there is nothing to draw."""
    if not points:
        return Markup("")
    high = max(value for _, value in points)
    frame = Frame(Scale(0, max(total_steps, int(points[-1][0]), 1), 48, 226), Scale(0, 1.06 * high or 1.0, 128, 26))
    last = points[-1]
    parts = [
        frame.axes(("steps", f"{name}{', ' if UNITS.get(name) else ''}{UNITS.get(name, '')}"), x_ticks=3, y_ticks=3),
        frame.path(points, "small"),
        frame.dots([(*last, f"step {last[0]:,.0f}: {last[1]:.3g}")], "smallpoint", 2.5),
    ]
    return drawing(250, 168, parts, f"{name}: {last[1]:.3g} at step {last[0]:,.0f}.")


def overlaid_chart(name: str, runs: Sequence[tuple[str, Sequence[Point]]]) -> Markup:
    """The same curve of several runs above each other, each with its name at its end.

    Args:
        name: of the curve.
        runs: the name and the points of each.
    """
    drawn = [(run, list(points), place % _OVERLAID) for place, (run, points) in enumerate(runs) if points]
    if not drawn:
        return Markup("")
    values = [value for _, points, _ in drawn for _, value in _inner(points)]
    last = max(int(points[-1][0]) for _, points, _ in drawn)
    frame = Frame(Scale(0, max(last, 1), 52, 600), Scale.around(values, 270, 36))
    ends = [(points, shortened(run), f"overname over{place}") for run, points, place in drawn]
    parts = [
        frame.axes(("optimizer steps", f"{name}{', ' if UNITS.get(name) else ''}{UNITS.get(name, '')}"), lift=20),
        *(frame.path(points, f"over over{place}") for _, points, place in drawn),
        *_names(frame, ends),
    ]
    said = "; ".join(f"{run} ends at {number(points[-1][1])}" for run, points, _ in drawn)
    return drawing(_WIDTH, _HEIGHT, parts, f"{name} of {len(drawn)} runs: {said}.")


def shortened(name: str, most: int = 22) -> str:
    """A name that has room in a drawing."""
    return name if len(name) <= most else f"{name[: most - 1]}…"


def histogram(title: str, counts: Sequence[tuple[str, int]]) -> Markup:
    """Bars of counts, each with its name and its number; empty without any.

    Args:
        title: what is counted.
        counts: name and count of each bar.
    """
    if not counts:
        return Markup("")
    most = max(count for _, count in counts) or 1
    bar = Markup(
        '<div class="bar"><span class="bar-name">{}</span><span class="bar-track"><i style="width:{}%"></i></span>'
        '<span class="bar-count">{:,}</span></div>'
    )
    bars = Markup("").join(bar.format(name, round(100 * count / most), count) for name, count in counts)
    return Markup('<div class="bars" role="group" aria-label="{}">{}</div>').format(title, bars)


def _inner(points: Sequence[Point]) -> list[Point]:
    """Points without the outermost, so that one spike does not flatten all others."""
    beyond = int(_OUTER * len(points))
    ranked = sorted(points, key=lambda point: point[1])
    return ranked[beyond : len(ranked) - beyond]


def _mean(points: Sequence[Point]) -> list[Point]:
    """The mean of the points around each."""
    reach = max(1, len(points) // 50)
    around = [points[max(0, place - reach) : place + reach + 1] for place in range(len(points))]
    return [(points[place][0], sum(value for _, value in part) / len(part)) for place, part in enumerate(around)]


def _names(frame: Frame, ends: Sequence[tuple[Sequence[Point], str, str]]) -> list[Markup]:
    """What the lines are, at their right ends and clear of each other."""
    known = sorted([end for end in ends if end[0]], key=lambda end: -end[0][-1][1])
    heights, lowest = [], frame.y.end - _LINE
    for points, _, _ in known:
        lowest = max(frame.y.at(points[-1][1]) + 4, lowest + _LINE)
        heights.append(lowest)
    # those that would be below the axis are placed above it, and push up what is over them
    limit = frame.y.start - 4
    for place in reversed(range(len(heights))):
        heights[place] = min(heights[place], limit)
        limit = heights[place] - _LINE
    names = []
    for (points, name, kind), height in zip(known, heights, strict=True):
        at = min(frame.x.at(points[-1][0]) + 9, frame.x.end + 9)
        names.append(label((at, height), f"{name} {number(points[-1][1])}", kind))
    return [joined(names)]
