"""Bars: base against tuned with their intervals, and planned memory beside what was measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from burnish.machine import memory_size
from burnish.report.charts import Scale, box, drawing, label, line
from burnish.report.markup import Html, join
from burnish.report.numbers import number, with_interval
from burnish.report.record import finite

_WIDTH = 760
_LEFT, _RIGHT = 170, 560
_BAR, _GAP, _GROUP = 15, 3, 20
_SIDES = ("base", "tuned")
_MOST_CHARACTERS = 24
"""Of the name of a figure, which stands left of its bars."""
PART_COLOURS = 6
"""Colours that parts of the memory have, in turn."""


def comparison_bars(figures: Sequence[Mapping[str, Any]]) -> Html:
    """Two bars a figure, base above tuned, with whiskers for the 95 % intervals.

    All bars begin at 0. Shares have one scale, from 0 to 100 %; any other figure has a scale of its own. Empty where
    there is no figure.

    Args:
        figures: as `evaluation.json` holds them.
    """
    if not figures:
        return Html("")
    parts: list[Html] = []
    top = 10.0
    for one in figures:
        parts.append(_group(one, top))
        top += 2 * _BAR + _GAP + _GROUP
    bottom = top - _GROUP + 6
    if any(one["is_share"] for one in figures):
        parts.append(_percent_axis(bottom))
    told = "; ".join(
        f"{one['name']}: base {with_interval(one['base'], one['is_share'])}, "
        f"tuned {with_interval(one['tuned'], one['is_share'])}"
        for one in figures
    )
    return drawing(_WIDTH, round(bottom + 26), parts, f"Base against tuned, with 95 % intervals. {told}.")


def memory_bars(planned: Mapping[str, int], measured: int | None, room: int) -> Html:
    """The planned peak as a bar of its parts, above what was measured; a line where the room ends, if it is near.

    Args:
        planned: bytes by part, in their order; those of 0 bytes are left out.
        measured: bytes at the peak; None where nobody measured.
        room: bytes that the run may take.
    """
    sizes = {name: size for name, size in planned.items() if size > 0}
    total = sum(sizes.values())
    if not total:
        return Html("")
    most = max(total, measured or 0)
    has_room = most < room <= 2 * most
    scale = Scale(0, 1.02 * (room if has_room else most), _LEFT - 60, _RIGHT + 30)
    parts: list[Html] = [label((_LEFT - 68, 27), "planned", "name", "end")]
    begin = 0
    for place, (name, size) in enumerate(sizes.items()):
        left, right = scale.at(begin), scale.at(begin + size)
        told = f"{name}: {memory_size(size)}"
        parts.append(box((left, 12), right - left - 1, 22, f"part part{place % PART_COLOURS}", told))
        begin += size
    parts.append(label((scale.at(total) + 8, 28), memory_size(total), "value"))
    if measured:
        parts.append(label((_LEFT - 68, 61), "measured", "name", "end"))
        parts.append(box((scale.start, 46), scale.at(measured) - scale.start, 22, "measured", memory_size(measured)))
        parts.append(label((scale.at(measured) + 8, 62), memory_size(measured), "value"))
    if has_room:
        parts.append(line((scale.at(room), 6), (scale.at(room), 74), "kept"))
        parts.append(label((scale.at(room), 88), f"may use {memory_size(room)}", "keptname", "end"))
    listed = ", ".join(f"{name} {memory_size(size)}" for name, size in sizes.items())
    beside = f" Measured: {memory_size(measured)}." if measured else ""
    told = f"Memory at the peak. Planned: {memory_size(total)}, of {listed}.{beside}"
    return drawing(_WIDTH, 92 if has_room else 76, parts, told)


def _group(one: Mapping[str, Any], top: float) -> Html:
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
    return join(parts)


def _bar(estimate: Mapping[str, Any], scale: Scale, top: float, side: str, is_share: bool) -> Html:
    value = estimate["value"]
    if not finite([(0, value)]):
        return label((scale.end + 14, top + _BAR - 3), f"{side} ?", "value")
    ends = sorted((scale.at(0), scale.at(value)))
    told = f"{side}: {with_interval(estimate, is_share)}"
    parts = [box((ends[0], top), max(1.5, ends[1] - ends[0]), _BAR, side, told)]
    bounds = finite([(0, estimate["low"]), (0, estimate["high"])])
    if len(bounds) == 2:
        middle = top + _BAR / 2
        left, right = (scale.at(bound) for _, bound in bounds)
        parts.append(line((left, middle), (right, middle), "whisker"))
        parts += [line((end, middle - 4), (end, middle + 4), "whisker") for end in (left, right)]
    parts.append(label((scale.end + 14, top + _BAR - 3), f"{side} {number(value, is_share)}", f"value {side}name"))
    return join(parts)


def _percent_axis(top: float) -> Html:
    scale = Scale(0, 100, _LEFT, _RIGHT)
    parts = [line((_LEFT, top), (_RIGHT, top), "axis")]
    for value in (0, 25, 50, 75, 100):
        parts.append(line((scale.at(value), top), (scale.at(value), top + 4), "axis"))
        parts.append(label((scale.at(value), top + 17), f"{value} %", "tick", "middle"))
    return join(parts)
