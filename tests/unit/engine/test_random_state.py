"""Every generator, saved and set."""

from __future__ import annotations

import json
import random

import numpy
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
