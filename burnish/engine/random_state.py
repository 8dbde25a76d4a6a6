"""Saves and restores the state of every random number generator that training can use."""

from __future__ import annotations

import random
from typing import Any

import numpy
import torch

from burnish.models.device import seed_torch


def seed_everything(seed: int) -> None:
    """Seeds every generator."""
    random.seed(seed)
    numpy.random.seed(seed % 2**32)
    seed_torch(seed)


def random_tensors() -> dict[str, torch.Tensor]:
    """States of torch's generators, of the CPU and of each accelerator."""
    tensors = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        tensors |= {f"cuda.{index}": state for index, state in enumerate(torch.cuda.get_rng_state_all())}
    if torch.backends.mps.is_available():
        tensors["mps"] = torch.mps.get_rng_state()
    return tensors


def random_values() -> dict[str, Any]:
    """States of Python's and NumPy's generators as JSON-ready values."""
    version, keys, gauss = random.getstate()
    name, words, position, has_gauss, cached = numpy.random.get_state(legacy=True)
    return {
        "python": [version, list(keys), gauss],
        "numpy": [name, [int(word) for word in words], int(position), int(has_gauss), float(cached)],
    }


def restore_random(tensors: dict[str, torch.Tensor], values: dict[str, Any]) -> None:
    """Sets every generator back to a saved state; those of devices that are not here are left out."""
    torch.set_rng_state(tensors["cpu"])
    for index in range(torch.cuda.device_count()):
        if f"cuda.{index}" in tensors:
            torch.cuda.set_rng_state(tensors[f"cuda.{index}"], index)
    if "mps" in tensors and torch.backends.mps.is_available():
        torch.mps.set_rng_state(tensors["mps"])
    version, keys, gauss = values["python"]
    random.setstate((version, tuple(keys), gauss))
    name, words, position, has_gauss, cached = values["numpy"]
    numpy.random.set_state((name, numpy.array(words, dtype=numpy.uint32), position, has_gauss, cached))
