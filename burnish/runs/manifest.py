"""The manifest: what a run was made from, closely enough to make it again."""

from __future__ import annotations

import dataclasses
import platform
from importlib import metadata
from typing import Any

from burnish.machine import this_machine

_PACKAGES = (
    "burnish", "torch", "transformers", "tokenizers", "peft", "accelerate", "safetensors", "datasets", "numpy",
    "bitsandbytes",
)  # fmt: skip


def make_manifest(
    data: dict[str, Any], model: dict[str, Any], seed: int, device: str, precision: str
) -> dict[str, Any]:
    """Versions, hardware, seed, and the hashes of data and base model that the caller measured."""
    return {
        "versions": {"python": platform.python_version(), **package_versions()},
        "machine": dataclasses.asdict(this_machine()),
        "device": device,
        "precision": precision,
        "seed": seed,
        "data": data,
        "model": model,
    }


def package_versions() -> dict[str, str | None]:
    """The versions of everything that takes part in a step; None for what is not installed."""
    return {name: _version(name) for name in _PACKAGES}


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
