"""What every chart is drawn with: scales, ticks, axes and marks, as inline SVG that needs no script.

A chart is described in words for those who cannot see it; its colours come from the page's style, light or dark.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from burnish.report.markup import Html, join, tag

Point = tuple[float, float]

_CHARACTER = 6.2
"""Width of a character of a label in units of the drawing, about."""


@dataclass(frozen=True, slots=True)
class Scale:
    """Where values stand along one side of a drawing."""

    low: float
    high: float
    start: float
    """Place of `low`, in units of the drawing."""
    end: float

    @classmethod
    def around(cls, values: Iterable[float], start: float, end: float, margin: float = 0.06) -> Scale:
        """A scale that shows all values with some room beside them; of equal values, or none, one around them."""
        known = [value for value in values if math.isfinite(value)] or [0.0]
        low, high = min(known), max(known)
        room = margin * (high - low) or margin * abs(high) or 1.0
        return cls(low - room, high + room, start, end)

    def at(self, value: float) -> float:
        """The place of a value; one beyond the scale stands at its end."""
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)

    def shows(self, value: float) -> bool:
        """Whether a value lies within."""
        return self.low <= value <= self.high

    def ticks(self, most: int = 6, least: float = 0.0) -> list[float]:
        """Round values at equal distances of 1, 2 or 5 times a power of ten.

        Args:
            most: how many at most.
            least: the smallest distance.
        """
        rough = (self.high - self.low) / max(1, most)
        power = 10.0 ** math.floor(math.log10(rough))
        step = max(least, next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * (1 - 1e-9)))
        first = math.ceil(self.low / step - 1e-9)
        count = math.floor(self.high / step + 1e-9) - first + 1
        return [(first + number) * step for number in range(count)]


def tick_label(value: float, step: float) -> str:
    """A tick's value with as many decimals as its neighbours differ in; very small and large ones as `2e-4`."""
    if abs(value) < step * 1e-6:
        return "0"
    if not 1e-3 <= step < 1e5:
        power = math.floor(math.log10(abs(value)) + 1e-9)
        return f"{value / 10.0**power:.3g}e{power}"
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    return f"{value:,.{decimals}f}"


@dataclass(frozen=True, slots=True)
class Frame:
    """The rectangle that points are drawn in."""

    x: Scale
    y: Scale
    """Its `start` is the bottom."""

    def place(self, point: Point) -> Point:
        """Where a point stands in the drawing."""
        return self.x.at(point[0]), self.y.at(point[1])

    def axes(self, titles: tuple[str, str], x_ticks: int = 8, y_ticks: int = 6, lift: float = 8) -> Html:
        """Grid lines, ticks with their values, and what the axes mean.

        Args:
            titles: of the horizontal and of the vertical axis.
            x_ticks: most ticks.
            y_ticks: likewise.
            lift: how far above the frame the vertical axis has its title.
        """
        parts: list[Html] = []
        left, right, bottom, top = self.x.start, self.x.end, self.y.start, self.y.end
        levels = self.y.ticks(y_ticks)
        for value in levels:
            at = self.y.at(value)
            parts.append(line((left, at), (right, at), "grid"))
            parts.append(label((left - 7, at + 4), tick_label(value, _distance(levels)), "tick", "end"))
        steps = self.x.ticks(x_ticks, least=1)
        for value in steps:
            at = self.x.at(value)
            parts.append(line((at, bottom), (at, bottom + 4), "axis"))
            parts.append(label((at, bottom + 17), tick_label(value, _distance(steps)), "tick", "middle"))
        parts.append(line((left, bottom), (right, bottom), "axis"))
        parts.append(label((right, bottom + 33), titles[0], "title", "end"))
        parts.append(label((left, top - lift), titles[1], "title", "start"))
        return join(parts)

    def path(self, points: Sequence[Point], kind: str) -> Html:
        """A line through points."""
        told = " ".join(f"{x:.1f},{y:.1f}" for x, y in map(self.place, points))
        return tag("polyline", class_=kind, points=told)

    def band(self, edges: Sequence[tuple[float, float, float]], kind: str) -> Html:
        """The area between (x, low) and (x, high)."""
        outline = [(x, low) for x, low, _ in edges] + [(x, high) for x, _, high in reversed(edges)]
        told = " ".join(f"{x:.1f},{y:.1f}" for x, y in map(self.place, outline))
        return tag("polygon", class_=kind, points=told)

    def dots(self, points: Iterable[tuple[float, float, str]], kind: str, radius: float) -> Html:
        """Points, each with what is told of it; one beyond the frame stands at its edge, hollow."""
        return join(self._dot(*point, kind, radius) for point in points)

    def _dot(self, x: float, y: float, told: str, kind: str, radius: float) -> Html:
        at = self.place((x, y))
        beyond = "" if self.y.shows(y) else " beyond"
        return tag("circle", hint(told), cx=_f(at[0]), cy=_f(at[1]), r=f"{radius:g}", class_=f"{kind}{beyond}")


def drawing(width: int, height: int, parts: Iterable[object], told: str) -> Html:
    """A whole picture.

    Args:
        width: in units of the drawing.
        height: likewise.
        parts: marks, those in front last.
        told: what it shows, for those who cannot see it.
    """
    return tag("svg", join(parts), viewBox=f"0 0 {width} {height}", role="img", aria_label=told, class_="chart")


def line(begin: Point, end: Point, kind: str) -> Html:
    """A straight line."""
    return tag("line", x1=_f(begin[0]), y1=_f(begin[1]), x2=_f(end[0]), y2=_f(end[1]), class_=kind)


def label(at: Point, text: str, kind: str, anchor: str = "start") -> Html:
    """Words; `anchor` is `start`, `middle` or `end`."""
    return tag("text", text, x=_f(at[0]), y=_f(at[1]), class_=kind, text_anchor=anchor)


def box(corner: Point, width: float, height: float, kind: str, told: str = "") -> Html:
    """A rectangle, from its upper left corner."""
    size = {"width": _f(max(0.0, width)), "height": _f(height)}
    return tag("rect", hint(told), x=_f(corner[0]), y=_f(corner[1]), class_=kind, **size)


def hint(told: str) -> Html:
    """What is shown where one points at a mark."""
    return tag("title", told) if told else Html("")


def width_of(text: str) -> float:
    """About how wide a label is, in units of the drawing."""
    return _CHARACTER * len(text)


def thinned(points: Sequence[Point], most: int) -> list[Point]:
    """At most about so many points at equal distances, the last among them."""
    every = max(1, math.ceil(len(points) / most))
    kept = list(points[::every])
    return kept if not points or kept[-1] == points[-1] else [*kept, points[-1]]


def _distance(ticks: Sequence[float]) -> float:
    return ticks[1] - ticks[0] if len(ticks) > 1 else abs(ticks[0]) or 1.0 if ticks else 1.0


def _f(value: float) -> str:
    return f"{value:.1f}"
