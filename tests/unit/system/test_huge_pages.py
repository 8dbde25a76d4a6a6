"""Memory in huge pages: which of it is asked for, and that what it holds stays."""

from __future__ import annotations

import sys

import pytest
import torch

from burnish.system.huge_pages import _spans, use_huge_pages

HUGE = 2 << 20


def test_whole_pages_of_neighbors_are_asked_for() -> None:
    """Two blocks of one and a half pages each have one whole page if they are apart, and two or three together."""
    length = 3 * HUGE // 2
    assert list(_spans([(0, length)])) == [(0, HUGE)]
    assert list(_spans([(length, length), (0, length)])) == [(0, 3 * HUGE)]
    assert list(_spans([(0, length), (length + 64, length)])) == [(0, 3 * HUGE)]
    assert list(_spans([(0, length), (length + HUGE, length)])) == [(0, HUGE), (3 * HUGE, HUGE)]
    assert list(_spans([(100, HUGE)])) == []
    assert list(_spans([])) == []


def test_what_is_in_memory_stays() -> None:
    numbers = torch.arange(3 * HUGE)
    expected = numbers.clone()
    taken = use_huge_pages([(numbers.data_ptr(), numbers.nbytes)])
    assert taken <= numbers.nbytes
    assert torch.equal(numbers, expected)
    numbers.add_(1)
    assert torch.equal(numbers, expected + 1)


def test_other_systems_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert use_huge_pages([(0, 4 * HUGE)]) == 0
