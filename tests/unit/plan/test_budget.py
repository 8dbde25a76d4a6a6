"""How much memory a run may use."""

from __future__ import annotations

import resource

import psutil
import pytest
import torch

from burnish.errors import InputError
from burnish.plan.budget import CONTEXT_BYTES, budget_here, budget_of, measured_again
from burnish.plan.devices import custom_device, find_device
from tests.forked import Forked

GIB = 2**30


def test_what_is_free_may_be_used_less_a_tenth() -> None:
    budget = budget_here(torch.device("cpu"), None)
    assert budget.kind == "cpu"
    assert budget.room > 0
    assert budget.tensors == int((budget.room - budget.coming) * 0.9)
    assert budget.taken > 50 * 2**20, "the interpreter and torch are there already"


def test_bf16_takes_more_besides_tensors_than_fp32() -> None:
    """oneDNN compiles a product for every shape."""
    half, full = (budget_here(torch.device("cpu"), None, precision) for precision in ("bf16", "fp32"))
    assert half.coming > full.coming > 0


def test_a_size_that_was_asked_for_counts() -> None:
    budget = budget_here(torch.device("cpu"), "3GB")
    assert budget.room + budget.taken == 3 * GIB, "it is the size of the whole process"
    assert "model.memory" in budget.reason
    assert budget_here(torch.device("cpu"), "10MB").tensors == 0


def test_a_size_without_a_unit_is_refused() -> None:
    with pytest.raises(InputError, match="`12` has no valid unit"):
        budget_here(torch.device("cpu"), "12")


def test_a_device_that_is_not_here_keeps_some_for_its_context_and_allocator() -> None:
    budget = budget_of(find_device("RTX 3090"))
    assert budget.room == 24 * GIB - CONTEXT_BYTES
    assert budget.tensors < budget.room * 0.9
    assert budget_of(find_device("RTX 3090"), 48 * GIB).room == 48 * GIB - CONTEXT_BYTES


def test_memory_shared_with_the_system_is_not_all_for_the_gpu() -> None:
    mac = find_device("M4 Pro")
    assert budget_of(mac).room < mac.memory_bytes
    assert budget_of(custom_device(8 * GIB)).room == 8 * GIB - CONTEXT_BYTES


def test_the_process_is_measured_when_its_libraries_are_there() -> None:
    budget = budget_here(torch.device("cpu"), None)
    kept = torch.ones(50_000_000)
    assert measured_again(budget).overheads[0].bytes > budget.overheads[0].bytes + kept.nbytes * 0.8
    other = budget_of(find_device("T4"))
    assert measured_again(other) == other


def test_a_limit_on_address_space_counts() -> None:
    """As `ulimit -v` sets it; in a process of its own, for it cannot be taken back."""

    def limited() -> int:
        used = psutil.Process().memory_info().vms
        resource.setrlimit(resource.RLIMIT_AS, (used + 2**29, resource.RLIM_INFINITY))
        budget = budget_here(torch.device("cpu"), None)
        assert budget.room <= 2**29, budget
        assert "ulimit" in budget.reason, budget
        return 0

    child = Forked(limited)
    try:
        said = child.communicate(120)
        assert child.returncode == 0, said
    finally:
        child.close()


def test_the_budget_is_that_of_the_gpu_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Played: torch says this of two GPUs, of which the first is in use."""
    free = {0: 1 << 30, 1: 5 << 30}
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free[device.index], 8 << 30))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: (device.index + 1) << 20)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 0)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"Card {device.index}")
    budget = budget_here(torch.device("cuda", 1), None)
    assert (budget.device, budget.room) == ("Card 1", (5 << 30) + (2 << 20))
