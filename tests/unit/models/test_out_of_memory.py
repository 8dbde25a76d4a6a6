"""Running out of memory is distinguished from other failures by what is really raised."""

from __future__ import annotations

import resource
import weakref
from pathlib import Path

import numpy
import pytest
import torch

from burnish.models.device import RAISED, RowTooLarge, free_memory, ran_out
from tests.forked import Forked


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: …"),
        RuntimeError("MPS backend out of memory (MPS allocated: 9.00 GB, other allocations: 1.00 GB)"),
        RuntimeError("std::bad_alloc"),
    ],
)
def test_what_running_out_looks_like(error: Exception) -> None:
    assert ran_out(error)


@pytest.mark.parametrize(
    "error",
    [RuntimeError("mat1 and mat2 shapes cannot be multiplied"), ValueError("std::bad_alloc"), KeyboardInterrupt()],
)
def test_what_it_does_not_look_like(error: BaseException) -> None:
    assert not ran_out(error)


def test_what_no_machine_has() -> None:
    """Two to the 60 bytes, asked of torch and of NumPy."""
    for ask in (lambda: torch.empty(2**60, dtype=torch.uint8), lambda: numpy.empty(2**60, dtype=numpy.uint8)):
        with pytest.raises((RuntimeError, MemoryError)) as caught:
            ask()
        assert ran_out(caught.value)


def test_a_process_at_its_limit() -> None:
    """RLIMIT_AS, in a process of its own: torch's allocator and Python's."""

    def limited() -> int:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + 100_000_000,) * 2)
        for ask in (lambda: torch.ones(50_000_000), lambda: bytearray(200_000_000)):
            try:
                ask()
            except RAISED as error:
                print(type(error).__name__, ran_out(error))
        free_memory()
        print(torch.ones(10_000_000).sum().item())
        return 0

    child = Forked(limited)
    try:
        output, errors = child.communicate(120)
    finally:
        child.close()
    assert output.split() == ["RuntimeError", "True", "MemoryError", "True", "10000000.0"], errors


def test_freed_is_what_only_a_cycle_held() -> None:
    class Node:
        def __init__(self) -> None:
            self.itself = self

    node = Node()
    watched = weakref.ref(node)
    del node
    assert watched() is not None
    free_memory()
    assert watched() is None


def test_a_row_that_is_too_large_is_reported_in_three_parts() -> None:
    error = RowTooLarge(12345)
    assert (error.exit_code, error.tokens) == (3, 12345)
    assert "12,345 tokens" in error.what
    assert error.why
    assert "burnish resume" in error.fix
    assert "data.context" in error.fix
