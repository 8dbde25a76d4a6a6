"""The plan of a page while its sliders are moved: an estimate first, then what was simulated, never an older answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

pytest.importorskip("nicegui", reason="the studio is not installed: pip install 'burnish[studio]'")

from nicegui import Client, events, ui
from nicegui.testing.user_simulation import user_simulation

from burnish.studio.drafts import Draft, DraftStore
from burnish.studio.pages.plan_page import PlanPage
from tests.tiny_data import write_rows

ESTIMATE, EXACT, WAITING = "An estimate: about", "It fits: about", "Simulating a step"
_BATCH = {"context": 64, "rows": 2, "width": 64, "is_packed": True, "most_tokens": 4096, "epoch_tokens": 9000}
FOUND: dict[str, Any] = {
    "memory": {"weights": 900 << 20, "optimizer": 100 << 20, "activations": 400 << 20},
    "memory_sources": {},
    "room": 4 << 30,
    "peak": 1400 << 20,
    "trained_parameters": 13_107_200,
    "trained_in_blocks": 13_107_200,
    "micro_batch": {**_BATCH, "trained_share": 0.5, "lengths": [30, 40]},
    "choices": [{"option": "lora.rank", "value": 16, "reason": "enough"}],
    "step_tokens": 128,
    "steps": 9,
    "task": "chat",
    "method": "lora",
    "model": "seedling",
    "parameters": 9,
    "device": "this machine's memory",
    "tokens_per_second": None,
}
REFUSED = {"error": {"what": "it was refused", "why": "It was too long.", "fix": "Use less"}}


class Bench:
    """Stands in for a process that plans: its answers are given by the test. What it plans ahead is never answered.

    Args:
        is_timed: whether the questions with an answer are those for full plans.
    """

    def __init__(self, is_timed: bool) -> None:
        self._is_timed = is_timed
        self.asked: list[tuple[dict[str, Any], asyncio.Future[dict[str, Any]]]] = []

    async def ask(self, work: Any, options: dict[str, Any], is_timed: bool) -> dict[str, Any]:
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        if is_timed == self._is_timed:
            self.asked.append((options, answer))
        return await answer


class Opened:
    """An open page, with what a user sees and does."""

    def __init__(self, client: Client, quick: Bench, full: Bench) -> None:
        self._client, self._quick, self._full = client, quick, full

    @property
    def plan(self) -> str:
        """All text of the plan."""
        (card,) = [one for one in self._client.elements.values() if one.props.get("aria-label") == "The plan"]
        shown = [getattr(one, "text", None) or getattr(one, "content", "") for one in card.descendants()]
        return " ".join(filter(None, shown))

    async def move(self, label: str, place: int) -> None:
        """Lets a slider go at a place."""
        (name,) = [one.props["for"] for one in self._client.elements.values() if getattr(one, "text", "") == label]
        (bar,) = [one for one in self._client.elements.values() if one.props.get("id") == name]
        for listener in bar._event_listeners.values():
            if listener.type == "change":
                assert listener.handler is not None
                given = events.GenericEventArguments(sender=bar, client=self._client, args=str(place))
                events.handle_event(listener.handler, given)
        await settled()

    async def quick(self, number: int, found: dict[str, Any]) -> None:
        """The answer of memory alone to a question, by its number."""
        await answered(self._quick, number, found)

    async def full(self, number: int, found: dict[str, Any]) -> None:
        """The full answer to a question."""
        await answered(self._full, number, found)


async def answered(bench: Bench, number: int, found: dict[str, Any]) -> None:
    future = bench.asked[number][1]
    if not future.done():  # it was cancelled
        future.set_result(found)
    await settled()


async def settled() -> None:
    for _ in range(20):
        await asyncio.sleep(0.005)


def journey(tmp_path: Path, taken: Callable[[Opened], Awaitable[None]]) -> None:
    """Opens the plan of a draft, and goes through it."""

    async def go() -> None:
        drafts = DraftStore(tmp_path / "drafts")
        rows = write_rows(tmp_path / "rows.jsonl")
        draft: Draft = drafts.create("Rows", "rows.jsonl", {"data.path": str(rows), "model.name": "seedling"})
        quick, full = Bench(is_timed=False), Bench(is_timed=True)
        project = SimpleNamespace(
            drafts=drafts, reading=quick, planning=full, entries=lambda: [], named=lambda text, source: text
        )
        async with user_simulation(lambda: None) as user:
            ui.page("/plan")(lambda: PlanPage(cast("Any", project), draft) and None)
            client = await user.open("/plan")
            await settled()
            await taken(Opened(client, quick, full))

    asyncio.run(go())


def test_an_estimate_is_shown_until_the_step_was_simulated(tmp_path: Path) -> None:
    async def taken(page: Opened) -> None:
        assert WAITING in page.plan and ESTIMATE not in page.plan
        await page.full(0, FOUND)
        assert f"{EXACT} 1.4 GB" in page.plan
        await page.move("Rank of the adapter", 4)
        assert f"{ESTIMATE} 1.5 GB of 4.0 GB that are free. Working it out exactly." in page.plan
        assert EXACT not in page.plan and WAITING in page.plan
        await page.quick(1, {**FOUND, "peak": 1600 << 20})
        assert f"{EXACT} 1.6 GB" in page.plan and ESTIMATE not in page.plan
        await page.full(1, {**FOUND, "peak": 1600 << 20})
        assert f"{EXACT} 1.6 GB" in page.plan and "Measuring" not in page.plan

    journey(tmp_path, taken)


def test_moves_in_a_row_are_each_estimated_and_only_the_last_is_answered(tmp_path: Path) -> None:
    async def taken(page: Opened) -> None:
        await page.full(0, FOUND)
        await page.move("Rank of the adapter", 4)
        first = page.plan
        await page.move("Rank of the adapter", 6)
        assert ESTIMATE in page.plan and page.plan != first
        last = page.plan
        await page.quick(1, {**FOUND, "peak": 1600 << 20})
        await page.full(1, {**FOUND, "peak": 1600 << 20})
        assert page.plan == last, "the answer to the first move is not shown"
        await page.full(2, {**FOUND, "peak": 2 << 30})
        assert f"{EXACT} 2.0 GB" in page.plan and ESTIMATE not in page.plan
        await page.quick(2, {**FOUND, "peak": 1700 << 20})
        assert f"{EXACT} 2.0 GB" in page.plan

    journey(tmp_path, taken)


def test_what_may_not_fit_is_said_to_be_checked(tmp_path: Path) -> None:
    async def taken(page: Opened) -> None:
        await page.full(0, {**FOUND, "room": 1420 << 20})
        await page.move("Rank of the adapter", 6)
        assert "so it may not fit. This is being checked." in page.plan and "It does not fit" not in page.plan

    journey(tmp_path, taken)


def test_nothing_is_estimated_from_a_refusal(tmp_path: Path) -> None:
    async def taken(page: Opened) -> None:
        await page.full(0, FOUND)
        await page.move("Context, tokens", 5)
        await page.full(1, REFUSED)
        assert "It was refused" in page.plan and ESTIMATE not in page.plan
        await page.move("Context, tokens", 1)
        assert ESTIMATE not in page.plan

    journey(tmp_path, taken)
