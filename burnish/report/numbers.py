"""Numbers as people read them: figures with their intervals, changes, times and errors of a plan."""

from __future__ import annotations

import math
from collections.abc import Mapping


def number(value: float | None, is_share: bool = False) -> str:
    """A figure, or the bound of an interval; a bound that too few rows leave open is `?`."""
    if value is None or not math.isfinite(value):
        return "?"
    if is_share:
        return f"{100 * value:.1f} %"
    return f"{value:.3f}" if abs(value) < 100 else f"{value:,.0f}"


def with_interval(estimate: Mapping[str, float | None], is_share: bool) -> str:
    """A figure with the ends of its 95 % interval, from a map of `value`, `low` and `high`."""
    value, low, high = (number(estimate[name], is_share) for name in ("value", "low", "high"))
    return f"{value} [{low}, {high}]"


def change(base: float | None, tuned: float | None, is_share: bool) -> str:
    """Shares change by points; other figures in their own unit and relative to the base."""
    if base is None or tuned is None:
        return "?"
    difference = tuned - base
    if is_share:
        return f"{100 * difference:+.1f} points"
    relative = f" ({100 * difference / base:+.0f} %)" if base else ""
    return f"{'+' if difference >= 0 else '-'}{number(abs(difference))}{relative}"


def duration(seconds: float) -> str:
    """`42 s`, `3 min 05 s` or `2 h 07 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"


def error_of(predicted: float, measured: float) -> str:
    """By how much a plan was off, in percent of what was measured."""
    return f"{100 * (predicted / measured - 1):+.1f} %" if measured else "?"


def counted(count: int, one: str, several: str = "") -> str:
    """`1 row`, `1,234 rows`."""
    return f"{count:,} {one if count == 1 else several or one + 's'}"
