"""Who gets a place, who waits, and what becomes of a request that fails."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from burnish.inference.batch import Asked, Batch
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
