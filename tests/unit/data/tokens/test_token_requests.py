"""Rows that are worked on together come out as each alone."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest
from tokenizers import Regex, pre_tokenizers

from burnish.data.rows.row import EncodedRow, RowError
from burnish.data.tokens.tokens import TokenRequests, encode_plainly, run_requests, run_requests_batched
from burnish.errors import ModelError
from burnish.tasks.defaults import EncoderDefaults


class Letters:
    """Gives the codes of letters, and notes each batch."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []

    def encode(self, texts: Any) -> list[list[int]]:
        self.asked.append(list(texts))
        return [[ord(letter) for letter in text] for text in texts]


def work(name: str, rounds: int, fails_after: int | None = None) -> TokenRequests[list[list[int]]]:
    made: list[list[int]] = []
    for number in range(rounds):
        if fails_after == number:
            raise RowError(f"{name} fails")
        made += yield [f"{name}{number}{which}" for which in range(number + 1)]
    return made


def works() -> list[TokenRequests[list[list[int]]]]:
    return [work("a", 2), work("b", 0), work("c", 3, fails_after=1), work("d", 3), work("e", 1, fails_after=0)]


def test_together_is_what_each_is_alone() -> None:
    tokens: Any = Letters()
    together = run_requests_batched(tokens, works())
    for one, alone in zip(together, works(), strict=True):
        if isinstance(one, RowError):
            with pytest.raises(RowError, match=str(one)):
                run_requests(tokens, alone)
        else:
            assert one == run_requests(tokens, alone)
    assert [isinstance(one, RowError) for one in together] == [False, False, True, False, True]


def test_texts_of_many_rows_share_a_batch() -> None:
    tokens: Any = Letters()
    run_requests_batched(tokens, works())
    assert tokens.asked[0] == ["a00", "c00", "d00"]
    assert tokens.asked[1] == ["a10", "a11", "d10", "d11"]


def test_an_error_that_is_no_fault_of_a_row_is_not_swallowed() -> None:
    def broken() -> TokenRequests[int]:
        yield ["x"]
        raise ZeroDivisionError

    tokens: Any = Letters()
    with pytest.raises(ZeroDivisionError):
        run_requests_batched(tokens, [broken()])


class _Held:
    """Something that the work on a row makes on its way."""


class _Refuses(EncoderDefaults):
    def __init__(self, held: list[weakref.ref[_Held]]) -> None:
        self._held = held

    def encode(self, record: Any, context: int) -> EncodedRow:
        made = _Held()
        self._held.append(weakref.ref(made))
        raise RowError("nothing to learn")


@pytest.mark.parametrize("is_together", [True, False])
def test_a_refused_row_keeps_nothing_of_the_work_on_it(is_together: bool) -> None:
    held: list[weakref.ref[_Held]] = []

    def refuse() -> TokenRequests[int]:
        made = _Held()
        held.append(weakref.ref(made))
        yield ["x"]
        raise RowError("nothing to learn")

    tokens: Any = Letters()
    gc.disable()
    try:
        refused: Any = (
            run_requests_batched(tokens, [refuse()]) if is_together else list(_Refuses(held).encode_all([0], 8))
        )
        assert [str(one) for one in refused] == ["nothing to learn"]
        assert [one() for one in held] == [None]
    finally:
        gc.enable()


def test_a_pattern_that_comes_to_no_end_is_reported(tiny_tokenizer: Any) -> None:
    """The library in Rust panics, which no `except Exception` catches."""
    endless = pre_tokenizers.Split(Regex("(a+)+(a+)+$"), "isolated")
    tiny_tokenizer.backend_tokenizer.pre_tokenizer = endless
    with pytest.raises(ModelError, match="the tokenizer fails on these texts") as caught:
        encode_plainly(tiny_tokenizer, ["a" * 60 + "b"])
    assert "retry-limit" in caught.value.why
