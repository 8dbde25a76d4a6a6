"""Batches made ahead are those that the plan makes, whatever happens between two steps."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch

from burnish.data.batching.batches import Batch, BatchPlan
from burnish.engine.source import Prefetch
from tests.tiny_data import random_examples
from tests.tiny_training import token_plan

TOTAL = 6
GPU = torch.device("mps")
"""A device other than the CPU; nothing is computed on it."""


def plan() -> BatchPlan:
    return token_plan(random_examples(30, 20, 48), step_tokens=200, packing=False, context=48, micro_rows=4, seed=0)


def same(first: list[Any], second: list[Any]) -> bool:
    pairs = zip(first, second, strict=True)
    return all(one.input_ids.tolist() == other.input_ids.tolist() for one, other in pairs)


def test_each_step_has_the_plans_batches_in_any_order_of_steps() -> None:
    watched = plan()
    with Prefetch(watched, lambda: TOTAL, GPU) as ahead:
        for step in (0, 1, 1, 2, 4, 3, 5):
            assert same(ahead.take(step), plan().step_batches(step))


def test_two_steps_are_never_made_at_the_same_time() -> None:
    """A step that is taken out of order waits for the one that the thread makes: both read the order of an epoch."""
    source: Any = plan()
    make, began, log = source.step_batches, threading.Event(), list[str]()

    def note(step: int) -> Any:
        log.append(f"begins {step}")
        if step == 1:
            began.set()
            time.sleep(0.05)
        log.append(f"ends {step}")
        return make(step)

    source.step_batches = note
    with Prefetch(source, lambda: 4, GPU) as ahead:
        ahead.take(0)
        assert began.wait(10)
        ahead.take(3)
    assert log == [f"{what} {step}" for step in (0, 1, 3) for what in ("begins", "ends")]


def test_without_memory_for_a_thread_each_step_is_made_when_it_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(ThreadPoolExecutor, "submit", refuse)
    with Prefetch(plan(), lambda: TOTAL, GPU) as ahead:
        for step in range(3):
            assert same(ahead.take(step), plan().step_batches(step))


def test_the_next_step_is_made_before_it_is_asked_for_and_none_beyond_the_last() -> None:
    watched: Any = plan()
    made: list[tuple[int, bool]] = []
    make, done = watched.step_batches, threading.Event()

    def note(step: int) -> Any:
        made.append((step, threading.current_thread() is threading.main_thread()))
        batches = make(step)
        if step == 1:
            done.set()
        return batches

    watched.step_batches = note
    with Prefetch(watched, lambda: 2, GPU) as ahead:
        ahead.take(0)
        assert done.wait(10)
        ahead.take(1)
    assert made == [(0, True), (1, False)]


def test_smaller_micro_batches_are_made_again() -> None:
    watched = plan()
    with Prefetch(watched, lambda: TOTAL, GPU) as ahead:
        ahead.take(0)
        assert watched.halve_micro_batch(1)
        halved = ahead.take(1)
    fresh = plan()
    assert len(halved) > len(fresh.step_batches(1))
    fresh.halve_micro_batch(1)
    assert same(halved, fresh.step_batches(1))


def test_an_error_shows_in_the_step_that_it_belongs_to() -> None:
    watched: Any = plan()
    make = watched.step_batches

    def fail(step: int) -> Any:
        if step == 1:
            raise MemoryError
        return make(step)

    watched.step_batches = fail
    with Prefetch(watched, lambda: TOTAL, GPU) as ahead:
        ahead.take(0)
        with pytest.raises(MemoryError):
            ahead.take(1)
        watched.step_batches = make
        assert same(ahead.take(1), plan().step_batches(1))


class WrittenByTheModel:
    """A source whose batches of a step depend on the steps before it."""

    is_planned = False
    steps_per_epoch = 4
    micro_tokens = 64

    def __init__(self) -> None:
        self.asked: list[int] = []
        self._plan = plan()
        self.examples = self._plan.examples

    def step_batches(self, step: int) -> list[Any]:
        """Remembers what was asked for."""
        self.asked.append(step)
        return self._plan.step_batches(step)

    def padded_tokens(self, step: int) -> int | None:
        """Not known before the step."""
        return None

    def micro_batch_sizes(self, step: int) -> list[tuple[int, int]]:
        """Those of the plan beneath."""
        return self._plan.micro_batch_sizes(step)

    def halve_micro_batch(self, step: int) -> bool:
        """Never."""
        return False


def test_batches_that_are_not_planned_are_not_made_before_their_step() -> None:
    source = WrittenByTheModel()
    with Prefetch(source, lambda: 4, GPU) as prefetch:
        for step in range(3):
            prefetch.take(step)
            assert source.asked == list(range(step + 1))


def test_on_the_cpu_no_batch_is_made_before_its_step() -> None:
    """A thread beside the one that computes would slow it down."""
    source: Any = plan()
    make, asked = source.step_batches, []
    source.step_batches = lambda step: asked.append((step, threading.current_thread())) or make(step)
    with Prefetch(source, lambda: TOTAL, torch.device("cpu")) as prefetch:
        for step in range(3):
            assert same(prefetch.take(step), plan().step_batches(step))
    assert asked == [(step, threading.main_thread()) for step in range(3)]


@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_for_cuda_every_batch_is_pinned(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also the first one, which nothing has made ahead."""
    pinned: list[Any] = []

    def pin(batch: Batch) -> Batch:
        pinned.append(batch)
        return batch

    monkeypatch.setattr(Batch, "pinned", pin)
    with Prefetch(plan(), lambda: 2, torch.device(device)) as ahead:
        batches = [batch for step in range(2) for batch in ahead.take(step)]
    assert len(pinned) == (len(batches) if device == "cuda" else 0)


def test_the_thread_ends_after_the_run_which_does_not_wait_for_it() -> None:
    source: Any = plan()
    make, is_over, seen = source.step_batches, threading.Event(), []
    source.step_batches = lambda step: make(step) if step == 0 else seen.append(is_over.wait(10))
    before = set(threading.enumerate())
    with Prefetch(source, lambda: TOTAL, GPU) as ahead:
        ahead.take(0)
        (thread,) = set(threading.enumerate()) - before
    is_over.set()
    thread.join(10)
    assert not thread.is_alive()
    assert seen == [True]
