"""What a run answered on the way: the base, and the newest answers of the model that is trained."""

from __future__ import annotations

from typing import Any

from burnish.studio.pages.story import samples_of


def sampled(step: int, given: str) -> dict[str, Any]:
    return {"event": "Sampled", "step": step, "answers": [{"place": "rows:1", "given": given}]}


def test_base_and_newest() -> None:
    events = [sampled(0, "a"), {"event": "Stage", "name": "training"}, sampled(5, "b"), sampled(10, "c")]
    assert samples_of(events) == (events[0], events[3])
    assert samples_of(events[:2]) == (events[0], None)
    assert samples_of([events[1]]) == (None, None)
