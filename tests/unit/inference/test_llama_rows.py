"""Answers of llama.cpp for the engine, whenever its tokens come, and whatever else comes."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from typing import Any

import pytest

from burnish.decoding.row import Asked, Row
from burnish.inference.llama_rows import LlamaRows


class FakeStream:
    """An answer of which the test says what comes when."""

    def __init__(self) -> None:
        self.coming: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self.is_cancelled = False

    def events(self) -> Iterator[dict[str, Any]]:
        while (event := self.coming.get()) is not None:
            yield event

    def cancel(self) -> None:
        self.is_cancelled = True
        self.coming.put(None)


class FakeLlama:
    """In place of llama.cpp."""

    def __init__(self) -> None:
        self.streams: list[FakeStream] = []

    def stream(self, ids: list[int], options: dict[str, Any]) -> FakeStream:
        self.streams.append(FakeStream())
        return self.streams[-1]


@pytest.fixture
def begun() -> Iterator[tuple[LlamaRows, list[Row], list[FakeStream]]]:
    llama: Any = FakeLlama()
    rows = [Row(Asked([5, 6], (9,), 4)) for _ in range(2)]
    writer = LlamaRows(llama)
    assert writer.join(rows) == [None, None]
    yield writer, rows, llama.streams
    for stream in llama.streams:
        stream.coming.put(None)


def step_until_found(writer: LlamaRows) -> list[tuple[Row, Any]]:
    for _ in range(3000):
        if found := writer.step():
            return found
    raise AssertionError("nothing came")


def test_a_model_may_take_its_time(begun: tuple[LlamaRows, list[Row], list[FakeStream]]) -> None:
    writer, rows, streams = begun
    assert writer.step() == []
    assert list(writer.rows) == rows
    streams[1].coming.put({"tokens": [7]})
    ((row, token),) = step_until_found(writer)
    assert (row, token.id) == (rows[1], 7)
    assert writer.step() == []
    streams[1].coming.put({"tokens": [9]})
    ((row, token),) = step_until_found(writer)
    assert (row, token.id, row.ended) == (rows[1], 9, "stop")
    assert streams[1].is_cancelled
    assert list(writer.rows) == rows[:1]


def test_an_answer_that_llama_cpp_gives_up_ends_with_its_words(
    begun: tuple[LlamaRows, list[Row], list[FakeStream]],
) -> None:
    writer, rows, streams = begun
    streams[0].coming.put({"tokens": [7]})
    step_until_found(writer)
    streams[0].coming.put({"error": {"code": 500, "message": "the input is too large", "type": "server_error"}})
    assert step_until_found(writer) == [(rows[0], None)]
    assert rows[0].ended == "cancelled"
    assert rows[0].error is not None
    assert rows[0].error.why == "the input is too large"
    assert list(writer.rows) == rows[1:]


def test_an_answer_that_ends_without_a_word_is_an_error(
    begun: tuple[LlamaRows, list[Row], list[FakeStream]],
) -> None:
    writer, rows, streams = begun
    streams[0].coming.put(None)
    assert step_until_found(writer) == [(rows[0], None)]
    assert rows[0].error is not None
