"""Memory of intermediate results is used again, and never for two at a time."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

from burnish.kernels.scratch import free_scratch, scratch


@pytest.fixture(autouse=True)
def _free() -> Iterator[None]:
    free_scratch()
    yield
    free_scratch()


LIKE = torch.zeros(0, dtype=torch.bfloat16)


def test_the_same_name_gives_the_same_memory_whatever_the_shape() -> None:
    first = scratch("a", (4, 6), LIKE)
    second = scratch("a", (3, 5), LIKE, torch.float32)
    assert first.shape == (4, 6)
    assert first.dtype == torch.bfloat16
    assert second.dtype == torch.float32
    third = scratch("a", (24,), LIKE)
    assert third.data_ptr() == second.data_ptr()


def test_another_name_gives_other_memory() -> None:
    first, second = scratch("a", (4, 6), LIKE).fill_(1), scratch("b", (4, 6), LIKE).fill_(2)
    assert (first == 1).all()
    assert (second == 2).all()


def test_another_thread_has_its_own() -> None:
    here = scratch("a", (4, 6), LIKE).fill_(1)

    def fill() -> None:
        scratch("a", (4, 6), LIKE).fill_(2)

    thread = threading.Thread(target=fill)
    thread.start()
    thread.join()
    assert (here == 1).all()


def test_a_simulated_step_leaves_nothing_behind() -> None:
    with FakeTensorMode():
        assert isinstance(scratch("a", (4, 6), torch.zeros(1)), FakeTensor)
    assert not isinstance(scratch("a", (4, 6), LIKE), FakeTensor)


def test_it_grows_and_can_be_freed() -> None:
    small = scratch("a", (2,), LIKE)
    large = scratch("a", (2000,), LIKE).fill_(3)
    assert scratch("a", (2,), LIKE).data_ptr() == large.data_ptr()
    free_scratch()
    assert scratch("a", (2,), LIKE).numel() == small.numel()
