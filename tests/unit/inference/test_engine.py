"""Who gets a place, who waits, and what becomes of a request that fails."""

from __future__ import annotations

import queue
import threading
from typing import Any

import pytest

from burnish.decoding.batch import Batch
from burnish.decoding.row import Asked
from burnish.inference.engine import Answer, Busy, Engine, Limits, Ticket
from tests.tiny_models import make_network


def follow(model: str, ids: list[int], most: int) -> tuple[Ticket, list[int], Any]:
    """A ticket, the tokens that it gets, and a function that waits for its end."""
    tokens, ends, done = list[int](), list[Answer](), threading.Event()

    def end(answer: Answer) -> None:
        ends.append(answer)
        done.set()

    def wait() -> Answer:
        assert done.wait(60)
        return ends[0]

    return Ticket(model, Asked(ids, (), most), lambda token: tokens.append(token.id), end), tokens, wait


@pytest.fixture
def network() -> Any:
    return make_network("llama")


def test_a_long_request_is_not_passed_for_ever(network: Any) -> None:
    """With room for 40 tokens, one of 36 waits for those that are written; what comes later waits behind it."""
    engine = Engine({"one": Batch(network, "fp32")}, Limits(rows=4, tokens=40))
    order: list[str] = []
    tickets = []
    for name, size in (("a", 12), ("b", 12), ("long", 30), ("c", 2)):
        ticket, _, wait = follow("one", list(range(5, 5 + size)), 6)
        inner = ticket.on_end
        ticket.on_end = lambda answer, name=name, inner=inner: (order.append(name), inner(answer))[1]
        tickets.append((ticket, wait))
    for ticket, _ in tickets:
        engine.submit(ticket)
    assert {wait().reason for _, wait in tickets} == {"length"}
    assert order.index("long") < order.index("c")
    engine.close()


def test_what_fails_is_reported_and_the_others_go_on(network: Any) -> None:
    engine = Engine({"one": Batch(network, "fp32")})
    bad, _, wait_bad = follow("one", [100_000], 3)  # no such row of the embedding
    good, tokens, wait_good = follow("one", [5, 6], 3)
    engine.submit(bad)
    engine.submit(good)
    assert isinstance(wait_bad().error, IndexError)
    assert wait_good() == Answer("length")
    assert len(tokens) == 3
    engine.close()


def test_prompts_that_come_together_are_answered_as_each_alone(network: Any) -> None:
    """Read together if they are of similar length; one that fails among them leaves the others as they are."""
    prompts = [list(range(5, 5 + length)) for length in (9, 10, 11, 12, 30, 31, 3)]
    alone = []
    for ids in prompts:
        engine = Engine({"one": Batch(network, "fp32")})
        ticket, tokens, wait = follow("one", ids, 5)
        engine.submit(ticket)
        assert wait() == Answer("length")
        alone.append(tokens)
        engine.close()
    batch = Batch(network, "fp32")
    read = list[int]()
    join = batch.join
    batch.join = lambda rows: (read.append(len(rows)), join(rows))[1]
    engine = Engine({"one": batch})
    broken, _, wait_broken = follow("one", [*range(5, 15), 100_000], 3)
    asked = [follow("one", ids, 5) for ids in prompts]
    with engine._changed:  # so that all are there at the first turn
        for ticket, _, _ in (*asked, (broken, None, None)):
            engine.submit(ticket)
    assert [wait() for _, _, wait in asked] == [Answer("length")] * len(prompts)
    assert isinstance(wait_broken().error, IndexError)
    assert [tokens for _, tokens, _ in asked] == alone
    assert max(read) >= 4, "four to five of similar length"
    engine.close()


def test_a_call_is_made_by_the_thread_of_the_engine(network: Any) -> None:
    engine = Engine({})
    engine.call(lambda: engine.add("one", Batch(network, "fp32")))
    assert engine.call(threading.current_thread).name == "engine"
    with pytest.raises(ZeroDivisionError):
        engine.call(lambda: 1 // 0)
    ticket, tokens, wait = follow("one", [5, 6], 3)
    engine.submit(ticket)
    assert (wait(), len(tokens)) == (Answer("length"), 3)
    engine.close()


def test_closed_and_cancelled(network: Any) -> None:
    engine = Engine({"one": Batch(network, "fp32")})
    ticket, _, wait = follow("one", [5, 6], 10**6)
    engine.submit(ticket)
    ticket.cancel()
    assert wait().reason == "cancelled"
    left, _, wait_left = follow("one", [5, 6], 10**6)
    engine.submit(left)
    engine.close()
    assert wait_left().reason == "cancelled"
    with pytest.raises(Busy):
        engine.submit(follow("one", [5], 1)[0])
    assert (engine.counts.cancelled, engine.counts.refused) == (2, 1)


def test_an_idle_engine_returns_free_memory_once(network: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: queue.Queue[None] = queue.Queue()
    monkeypatch.setattr("burnish.inference.engine._IDLE_SECONDS", 0.01)
    monkeypatch.setattr("burnish.inference.engine.trim_heap", lambda: calls.put(None))
    engine = Engine({"one": Batch(network, "fp32")})
    calls.get(timeout=60)
    for _ in range(3):
        ticket, _, wait = follow("one", [5, 6, 7], 4)
        engine.submit(ticket)
        wait()
        calls.get(timeout=60)
    engine.close()
    assert calls.empty()
