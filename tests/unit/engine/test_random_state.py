"""Every generator, saved and set."""

from __future__ import annotations

import json
import random

import numpy
import pytest
import torch

from burnish.engine.random_state import random_tensors, random_values, restore_random, seed_everything


def draws() -> list[float]:
    """Some numbers from every generator, normal ones too: NumPy and Python keep half of each pair for later."""
    return [
        random.random(),
        random.gauss(0, 1),
        float(numpy.random.rand()),
        float(numpy.random.randn()),
        *torch.rand(3).tolist(),
        *torch.randn(3).tolist(),
    ]


def test_a_seed_starts_them_all() -> None:
    seed_everything(7)
    first = draws()
    seed_everything(7)
    assert draws() == first
    seed_everything(8)
    assert not set(draws()) & set(first)


def test_restored_generators_go_on_where_they_were() -> None:
    seed_everything(2**63 - 1)
    draws()
    tensors = {name: tensor.clone() for name, tensor in random_tensors().items()}
    values = json.loads(json.dumps(random_values()))
    first = [*draws(), *draws()]
    seed_everything(0)
    restore_random(tensors, values)
    assert [*draws(), *draws()] == first


def test_a_run_goes_on_where_its_devices_are_missing() -> None:
    """Trained on a machine with eight GPUs, or on a Mac, and resumed here."""
    tensors, values = random_tensors(), random_values()
    expected = torch.rand(3)
    elsewhere = {**tensors, "mps": torch.zeros(16, dtype=torch.uint8)}
    elsewhere |= {f"cuda.{index}": torch.zeros(16, dtype=torch.uint8) for index in range(64, 72)}
    restore_random(elsewhere, values)
    assert torch.equal(torch.rand(3), expected)


def test_every_device_is_saved_and_set_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand-ins for two GPUs and a Mac, each of which holds a number. A GPU without a saved state keeps its own."""
    held = {"cuda.0": 3, "cuda.1": 5, "mps": 7}
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_rng_state_all", lambda: [held["cuda.0"], held["cuda.1"]])
    monkeypatch.setattr(torch.cuda, "set_rng_state", lambda state, index: held.update({f"cuda.{index}": state}))
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(torch.mps, "get_rng_state", lambda: held["mps"])
    monkeypatch.setattr(torch.mps, "set_rng_state", lambda state: held.update(mps=state))
    tensors, values = random_tensors(), random_values()
    assert {name: state for name, state in tensors.items() if name != "cpu"} == held
    held.update({"cuda.0": 0, "cuda.1": 0, "mps": 0})
    del tensors["cuda.1"]
    restore_random(tensors, values)
    assert held == {"cuda.0": 3, "cuda.1": 0, "mps": 7}
    restore_random({"cpu": tensors["cpu"]}, values)
    assert held == {"cuda.0": 3, "cuda.1": 0, "mps": 7}
