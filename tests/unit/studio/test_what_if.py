"""What the studio plans ahead: the positions that are nearest, each once, and only while it is wanted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

from burnish.studio.what_if import WhatIf
from burnish.studio.workbench import Workbench

_PRESENT = {"task": "chat", "lora.rank": 8}
_SLIDERS = {"lora.rank": (8, (4, 8, 16, 32)), "data.context": (64, (64, 128))}


class Counting:
    """Stands in for the process that plans: says which options it was asked for, in their order."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []

    async def ask(self, work: Callable[..., dict[str, Any]], options: dict[str, Any], is_timed: bool) -> dict[str, Any]:
        assert not is_timed
        self.asked.append(options)
        return {"peak": options["lora.rank"]}


def looked_ahead(what_if: WhatIf, goes_on: Callable[[], bool] = lambda: True) -> None:
    asyncio.run(what_if.look_ahead(_PRESENT, _SLIDERS, goes_on))


def test_the_nearest_positions_of_each_slider_come_first() -> None:
    bench = Counting()
    looked_ahead(WhatIf(cast("Workbench", bench)))
    moved = [{name: value for name, value in one.items() if _PRESENT.get(name) != value} for one in bench.asked]
    assert moved == [{"lora.rank": 16}, {"data.context": 128}, {"lora.rank": 4}, {"lora.rank": 32}]


def test_what_was_planned_ahead_is_found_for_its_options_alone() -> None:
    what_if = WhatIf(cast("Workbench", Counting()))
    looked_ahead(what_if)
    assert what_if.find({"lora.rank": 32, "task": "chat"}) == {"peak": 32}
    assert what_if.find({"lora.rank": 32, "task": "classify"}) is None
    assert what_if.find(_PRESENT) is None


def test_nothing_is_planned_twice_or_after_it_is_wanted() -> None:
    bench = Counting()
    what_if = WhatIf(cast("Workbench", bench))
    looked_ahead(what_if, lambda: len(bench.asked) < 2)
    assert len(bench.asked) == 2
    looked_ahead(what_if)
    assert len(bench.asked) == 4
