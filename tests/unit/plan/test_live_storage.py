"""Live bytes: counted from the operation that makes a storage until the last tensor on it is gone."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from burnish.plan.live_storage import ACTIVATIONS, BATCH, CATEGORIES, GRADIENTS, LOGITS, WEIGHTS, LiveStorage

KIB = 1024


def kib(count: int, last: int = 256) -> torch.Tensor:
    """A new tensor of so many KiB, whose last side has `last` numbers."""
    return torch.zeros(count * 256 // last, last)


def storage_for(outputs: int = 7, **options: Any) -> LiveStorage:
    """A count in its first phase."""
    made = LiveStorage(outputs, **options)
    made.begin_phase("first")
    return made


def test_views_count_once_and_last_as_long_as_any_of_them() -> None:
    storage = storage_for()
    with storage:
        whole = kib(4)
        part = whole[1:].t()
        assert storage.live == 4 * KIB
        del whole
        assert storage.live == 4 * KIB
        del part
        assert storage.live == 0
    assert storage.peak.total == 4 * KIB


def test_writing_in_place_takes_nothing() -> None:
    storage = storage_for()
    with storage:
        whole = kib(4)
        whole.add_(1)
        whole += 1
        assert storage.live == 4 * KIB


def test_the_peak_is_what_was_alive_at_once() -> None:
    storage = storage_for()
    with storage:
        first = kib(3)
        second = first + 1
        del first
        third = second + 1
        del second, third
        last = kib(2)
    assert (storage.peak.total, storage.live) == (6 * KIB, 2 * KIB)
    assert last.numel() * 4 == storage.parts[ACTIVATIONS]


def test_without_numbers_the_count_is_the_same() -> None:
    storage = storage_for()
    with FakeTensorMode(), storage:
        first = kib(4)
        second = first.reshape(-1) * 2
        assert storage.live == 8 * KIB
        del first
        assert storage.live == 4 * KIB
        del second
    assert (storage.live, storage.peak.total) == (0, 8 * KIB)


def test_categories() -> None:
    """What is held belongs where it was said; a tensor with the output's last side is logits; the rest activations."""
    storage = storage_for(outputs=512)
    weight, batch = kib(4), kib(2)
    storage.hold([weight, weight[0]], WEIGHTS)
    storage.hold([batch], BATCH)
    with storage:
        made = weight + 1
        logits = kib(8, last=512)
        flat = torch.zeros(512)
        storage.hold([made], GRADIENTS)
    assert storage.parts == {**dict.fromkeys(CATEGORIES, 0), **{
        WEIGHTS: 4 * KIB, BATCH: 2 * KIB, GRADIENTS: 4 * KIB, LOGITS: 8 * KIB, ACTIVATIONS: 2 * KIB,
    }}  # fmt: skip
    assert storage.live == sum(storage.parts.values()) == 20 * KIB
    assert storage.peak.parts[ACTIVATIONS] == 6 * KIB, "of which 4 became gradients later"
    del made, logits, flat


def test_phases_keep_their_own_peaks() -> None:
    storage = storage_for()
    with storage:
        kept = kib(1)
        more = kib(8)
        del more
        storage.begin_phase("second")
        two = kib(2)
        storage.begin_phase("first")
    peaks = {name: peak.total for name, peak in storage.phases.items()}
    assert peaks == {"first": 9 * KIB, "second": 3 * KIB}
    assert storage.peak.total == 9 * KIB
    storage.forget_phases()
    storage.begin_phase("third")
    assert {name: peak.total for name, peak in storage.phases.items()} == {"third": 3 * KIB}
    del kept, two


def test_what_an_operation_takes_inside_counts_while_it_runs() -> None:
    def inside(function: Any, args: tuple[Any, ...], result: Any) -> int:
        return 5 * KIB if function.name().startswith("aten::mm") else 0

    storage = storage_for(inside=inside)
    with storage:
        left = torch.zeros(16, 16)
        product = left @ left
        assert storage.live == 2 * KIB
    assert storage.peak.total == 7 * KIB
    assert storage.peak.parts[ACTIVATIONS] == 7 * KIB
    del product


def test_every_operation_is_reported() -> None:
    events: list[str] = []
    storage = storage_for(watch=lambda function, args, kwargs, result: events.append(function.name()))
    with storage:
        torch.zeros(2).add(1)
    assert events == ["aten::zeros", "aten::add.Tensor"]


@pytest.mark.parametrize("make", [lambda t: t.sort(), lambda t: t.split(128, dim=1)])
def test_results_of_several_tensors(make: Any) -> None:
    """A sort gives values and int64 places; a split gives views."""
    storage = storage_for()
    tensor = kib(1)
    storage.hold([tensor], WEIGHTS)
    with storage:
        made = make(tensor)
        distinct = {one.untyped_storage().data_ptr(): one.untyped_storage().nbytes() for one in [tensor, *made]}
        assert storage.live == sum(distinct.values())
