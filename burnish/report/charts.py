"""Charts as inline SVG that needs no script: scales, axes, marks and bars."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from burnish.report.figures import number, with_interval
from burnish.report.record import finite
from burnish.system.machine import memory_size

Point = tuple[float, float]


def element(name: str, content: object = "", **attributes: str) -> Markup:
    """An element of SVG. An attribute's trailing underscore is dropped (`class_`), others become hyphens."""
    pairs = [(key.rstrip("_").replace("_", "-"), value) for key, value in attributes.items()]
    written = Markup("").join(Markup(' {}="{}"').format(key, value) for key, value in pairs)
    return Markup("<{0}{1}>{2}</{0}>").format(name, written, content)


def joined(parts: Iterable[object]) -> Markup:
    """Marks one after another, a line each."""
    return Markup("\n").join(part if isinstance(part, str) else str(part) for part in parts)


_CHARACTER = 6.2
"""Width of a character of a label in units of the drawing, about."""


@dataclass(frozen=True, slots=True)
class Scale:
    """Where values are along one side of a drawing."""

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
        """The place of a value; one beyond the scale is put at its end."""
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

    def label(self, value: float, ticks: Sequence[float]) -> str:
        """What is written beside one of the ticks."""
        return tick_label(value, _distance(ticks))


class LogScale(Scale):
    """A scale on which equal factors are equal distances; its values are above 0."""

    __slots__ = ()

    def at(self, value: float) -> float:
        """The place of a value; one beyond the scale is put at its end."""
        share = math.log(min(max(value, self.low), self.high) / self.low) / math.log(self.high / self.low)
        return self.start + share * (self.end - self.start)

    def ticks(self, most: int = 6, least: float = 0.0) -> list[float]:
        """Powers of ten, with 2 and 5 times these where they are few, and only some where they are many."""
        powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        shown: list[float] = []
        for factors in ((1.0,), (1.0, 3.0), (1.0, 2.0, 5.0)):
            found = [factor * 10.0**power for power in powers for factor in factors]
            inside = [value for value in found if self.shows(value)]
            if len(inside) <= most or not shown:
                shown = inside[:: -(-len(inside) // most) or 1]
        return shown

    def label(self, value: float, ticks: Sequence[float]) -> str:
        """With the digits that the value has itself."""
        return tick_label(value, value)


def is_lopsided(values: Sequence[float]) -> bool:
    """Whether a linear axis from 0 would show most of these values at its foot, so that a logarithmic one says more."""
    known = sorted(value for value in values if math.isfinite(value))
    return bool(known) and known[0] > 0 and known[len(known) // 2] < _FOOT * known[-1]


_FOOT = 0.05


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
        """Where a point is in the drawing."""
        return self.x.at(point[0]), self.y.at(point[1])

    def axes(self, titles: tuple[str, str], x_ticks: int = 8, y_ticks: int = 6, lift: float = 8) -> Markup:
        """Grid lines, ticks with their values, and what the axes mean.

        Args:
            titles: of the horizontal and of the vertical axis.
            x_ticks: most ticks.
            y_ticks: likewise.
            lift: how far above the frame the vertical axis has its title.
        """
        parts: list[Markup] = []
        left, right, bottom, top = self.x.start, self.x.end, self.y.start, self.y.end
        levels = self.y.ticks(y_ticks)
        for value in levels:
            at = self.y.at(value)
            parts.append(line((left, at), (right, at), "grid"))
            parts.append(label((left - 7, at + 4), self.y.label(value, levels), "tick", "end"))
        steps = self.x.ticks(x_ticks, least=1)
        for value in steps:
            at = self.x.at(value)
            parts.append(line((at, bottom), (at, bottom + 4), "axis"))
            parts.append(label((at, bottom + 17), tick_label(value, _distance(steps)), "tick", "middle"))
        parts.append(line((left, bottom), (right, bottom), "axis"))
        parts.append(label((right, bottom + 33), titles[0], "title", "end"))
        parts.append(label((left, top - lift), titles[1], "title", "start"))
        return joined(parts)

    def path(self, points: Sequence[Point], kind: str) -> Markup:
        """A line through points."""
        corners = " ".join(f"{x:.1f},{y:.1f}" for x, y in map(self.place, points))
        return element("polyline", class_=kind, points=corners)

    def band(self, edges: Sequence[tuple[float, float, float]], kind: str) -> Markup:
        """The area between (x, low) and (x, high)."""
        outline = [(x, low) for x, low, _ in edges] + [(x, high) for x, _, high in reversed(edges)]
        corners = " ".join(f"{x:.1f},{y:.1f}" for x, y in map(self.place, outline))
        return element("polygon", class_=kind, points=corners)

    def dots(self, points: Iterable[tuple[float, float, str]], kind: str, radius: float) -> Markup:
        """Points, each with its tooltip; one beyond the frame is drawn at its edge, hollow."""
        return joined(self._dot(*point, kind, radius) for point in points)

    def _dot(self, x: float, y: float, tooltip: str, kind: str, radius: float) -> Markup:
        at = self.place((x, y))
        beyond = "" if self.y.shows(y) else " beyond"
        return element("circle", hint(tooltip), cx=_f(at[0]), cy=_f(at[1]), r=f"{radius:g}", class_=f"{kind}{beyond}")


def drawing(width: int, height: int, parts: Iterable[object], description: str) -> Markup:
    """A whole picture.

    Args:
        width: in units of the drawing.
        height: likewise.
        parts: marks, those in front last.
        description: what it shows, for those who cannot see it.
    """
    return element(
        "svg", joined(parts), viewBox=f"0 0 {width} {height}", role="img", aria_label=description, class_="chart"
    )


def line(begin: Point, end: Point, kind: str) -> Markup:
    """A straight line."""
    return element("line", x1=_f(begin[0]), y1=_f(begin[1]), x2=_f(end[0]), y2=_f(end[1]), class_=kind)


def label(at: Point, text: str, kind: str, anchor: str = "start") -> Markup:
    """Words; `anchor` is `start`, `middle` or `end`."""
    return element("text", text, x=_f(at[0]), y=_f(at[1]), class_=kind, text_anchor=anchor)


def box(corner: Point, width: float, height: float, kind: str, tooltip: str = "") -> Markup:
    """A rectangle, from its upper left corner."""
    size = {"width": _f(max(0.0, width)), "height": _f(height)}
    return element("rect", hint(tooltip), x=_f(corner[0]), y=_f(corner[1]), class_=kind, **size)


def hint(tooltip: str) -> Markup:
    """The tooltip of a mark."""
    return element("title", tooltip) if tooltip else Markup("")


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


_WIDTH = 760
_LEFT, _RIGHT = 170, 560
_BAR, _GAP, _GROUP = 15, 3, 20
_SIDES = ("base", "tuned")
_MOST_CHARACTERS = 24
"""Of the name of a metric, left of its bars."""
PART_COLOURS = 6
"""Colours that parts of the memory have, in turn."""


def comparison_bars(figures: Sequence[Mapping[str, Any]]) -> Markup:
    """Two bars a figure, base above tuned, with whiskers for the 95 % intervals.

    All bars begin at 0. Shares have one scale, from 0 to 100 %; any other figure has a scale of its own. Empty where
    there is no figure.

    Args:
        figures: as `evaluation.json` holds them.
    """
    if not figures:
        return Markup("")
    parts: list[Markup] = []
    top = 10.0
    for one in figures:
        parts.append(_group(one, top))
        top += 2 * _BAR + _GAP + _GROUP
    bottom = top - _GROUP + 6
    if any(one["is_share"] for one in figures):
        parts.append(_percent_axis(bottom))
    listed = "; ".join(
        f"{one['name']}: base {with_interval(one['base'], one['is_share'])}, "
        f"tuned {with_interval(one['tuned'], one['is_share'])}"
        for one in figures
    )
    return drawing(_WIDTH, round(bottom + 26), parts, f"Base against tuned, with 95 % intervals. {listed}.")


def memory_bars(planned: Mapping[str, int], measured: int | None, room: int) -> Markup:
    """The planned peak as a bar of its parts, above what was measured; a line where the room ends, if it is near.

    Args:
        planned: bytes by part, in their order; those of 0 bytes are left out.
        measured: bytes at the peak; None where they were not measured.
        room: bytes that the run may take.
    """
    sizes = {name: size for name, size in planned.items() if size > 0}
    total = sum(sizes.values())
    if not total:
        return Markup("")
    most = max(total, measured or 0)
    has_room = most < room <= 2 * most
    scale = Scale(0, 1.02 * (room if has_room else most), _LEFT - 60, _RIGHT + 30)
    parts: list[Markup] = [label((_LEFT - 68, 27), "planned", "name", "end")]
    begin = 0
    for place, (name, size) in enumerate(sizes.items()):
        left, right = scale.at(begin), scale.at(begin + size)
        tooltip = f"{name}: {memory_size(size)}"
        parts.append(box((left, 12), right - left - 1, 22, f"part part{place % PART_COLOURS}", tooltip))
        begin += size
    parts.append(label((scale.at(total) + 8, 28), memory_size(total), "value"))
    if measured:
        parts.append(label((_LEFT - 68, 61), "measured", "name", "end"))
        parts.append(box((scale.start, 46), scale.at(measured) - scale.start, 22, "measured", memory_size(measured)))
        parts.append(label((scale.at(measured) + 8, 62), memory_size(measured), "value"))
    if has_room:
        parts.append(line((scale.at(room), 6), (scale.at(room), 74), "kept"))
        parts.append(label((scale.at(room), 88), f"limit {memory_size(room)}", "keptname", "end"))
    listed = ", ".join(f"{name} {memory_size(size)}" for name, size in sizes.items())
    beside = f" Measured: {memory_size(measured)}." if measured else ""
    description = f"Memory at the peak. Planned: {memory_size(total)}, of {listed}.{beside}"
    return drawing(_WIDTH, 92 if has_room else 76, parts, description)


def _group(one: Mapping[str, Any], top: float) -> Markup:
    """The two bars of a figure."""
    bounds = [one[side][name] for side in _SIDES for name in ("value", "low", "high")]
    known = [value for _, value in finite([(0, bound) for bound in bounds])] or [1.0]
    low, high = (0.0, 1.0) if one["is_share"] else (min(0.0, *known), max(0.0, *known))
    scale = Scale(low, high if high > low else low + 1.0, _LEFT, _RIGHT)
    name = str(one["name"])
    shown = name if len(name) <= _MOST_CHARACTERS else f"{name[: _MOST_CHARACTERS - 1]}…"
    parts = [label((_LEFT - 12, top + _BAR + 5), shown, "name", "end")]
    for place, side in enumerate(_SIDES):
        parts.append(_bar(one[side], scale, top + place * (_BAR + _GAP), side, one["is_share"]))
    zero = scale.at(0)
    parts.append(line((zero, top - 3), (zero, top + 2 * _BAR + _GAP + 3), "axis"))
    return joined(parts)


def _bar(estimate: Mapping[str, Any], scale: Scale, top: float, side: str, is_share: bool) -> Markup:
    value = estimate["value"]
    if not finite([(0, value)]):
        return label((scale.end + 14, top + _BAR - 3), f"{side} ?", "value")
    ends = sorted((scale.at(0), scale.at(value)))
    tooltip = f"{side}: {with_interval(estimate, is_share)}"
    parts = [box((ends[0], top), max(1.5, ends[1] - ends[0]), _BAR, side, tooltip)]
    bounds = finite([(0, estimate["low"]), (0, estimate["high"])])
    if len(bounds) == 2:
        middle = top + _BAR / 2
        left, right = (scale.at(bound) for _, bound in bounds)
        parts.append(line((left, middle), (right, middle), "whisker"))
        parts += [line((end, middle - 4), (end, middle + 4), "whisker") for end in (left, right)]
    parts.append(label((scale.end + 14, top + _BAR - 3), f"{side} {number(value, is_share)}", f"value {side}name"))
    return joined(parts)


def _percent_axis(top: float) -> Markup:
    scale = Scale(0, 100, _LEFT, _RIGHT)
    parts = [line((_LEFT, top), (_RIGHT, top), "axis")]
    for value in (0, 25, 50, 75, 100):
        parts.append(line((scale.at(value), top), (scale.at(value), top + 4), "axis"))
        parts.append(label((scale.at(value), top + 17), f"{value} %", "tick", "middle"))
    return joined(parts)
