"""The memory of a plan at other positions of its sliders, worked out ahead of a user who may ask for it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Any

from burnish.studio.estimate import Estimate, estimate
from burnish.studio.inspection import plan_run
from burnish.studio.workbench import Workbench


class WhatIf:
    """What plans of memory alone have found, by their options.

    A simulated step takes about a second, and a slider has few positions. So while nothing else is asked, those nearest
    to the present ones are planned, and a slider that is moved to one of them has its answer at once. One that is moved
    earlier has an estimate at once, from the plan that was shown last.

    Args:
        workbench: the process that plans ahead.
    """

    def __init__(self, workbench: Workbench) -> None:
        self._workbench = workbench
        self._found: dict[str, dict[str, Any]] = {}
        self._last: tuple[Mapping[str, Any], dict[str, Any]] | None = None

    def find(self, options: Mapping[str, Any]) -> dict[str, Any] | None:
        """What was found for exactly these options; None if nothing."""
        return self._found.get(_key(options))

    def keep(self, options: Mapping[str, Any], found: dict[str, Any]) -> None:
        """Keeps what `plan_run` found."""
        self._found[_key(options)] = found

    def shown(self, options: Mapping[str, Any], found: dict[str, Any]) -> None:
        """Keeps the answer that a user sees: estimates follow from it, and from a refusal none."""
        self._last = dict(options), found

    def estimate(self, options: Mapping[str, Any]) -> Estimate | None:
        """What the answer may be, from the one that was shown last; None where it does not follow from that."""
        return None if self._last is None else estimate(options, *self._last)

    async def look_ahead(
        self, options: Mapping[str, Any], sliders: Mapping[str, tuple[int, Sequence[int]]], goes_on: Callable[[], bool]
    ) -> None:
        """Plans the positions around the present ones, the nearest first.

        Args:
            options: the present ones.
            sliders: the present number and all positions of each slider, by option.
            goes_on: False once the answers are not wanted any more.
        """
        for option, value in _nearest_first(sliders):
            moved = {**options, option: value}
            if _key(moved) in self._found:
                continue
            if not goes_on():
                return
            self.keep(moved, await self._workbench.ask(plan_run, moved, False))


def _nearest_first(sliders: Mapping[str, tuple[int, Sequence[int]]]) -> Iterator[tuple[str, int]]:
    """The next position of each slider, then the second next, up and down; the present ones are left out."""
    ordered = []
    for option, (now, positions) in sliders.items():
        others = [one for one in positions if one != now]
        below, above = [one for one in others if one < now][::-1], [one for one in others if one > now]
        ordered.append([(option, one) for pair in zip_longest(above, below) for one in pair if one is not None])
    for round_of in zip_longest(*ordered):
        yield from (one for one in round_of if one is not None)


def _key(options: Mapping[str, Any]) -> str:
    return json.dumps(options, sort_keys=True, default=str)
