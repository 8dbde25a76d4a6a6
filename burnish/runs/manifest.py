"""The manifest: what a run was made from, closely enough to make it again."""

from __future__ import annotations

import dataclasses
import json
import platform
from importlib import metadata
from typing import Any

from burnish.errors import InputError
from burnish.machine import this_machine
from burnish.runs.folder import RunFolder

_PACKAGES = (
    "burnish", "torch", "transformers", "tokenizers", "peft", "accelerate", "safetensors", "datasets", "numpy",
    "bitsandbytes",
)  # fmt: skip


def make_manifest(
    data: dict[str, Any], model: dict[str, Any], seed: int, precision: str, arithmetic: dict[str, Any]
) -> dict[str, Any]:
    """Versions, hardware, seed, and what the caller measured.

    Args:
        data: hashes of the rows and of their files.
        model: hash of the base model.
        seed: of the run.
        precision: number format.
        arithmetic: `device`, and what else of it decides in which order numbers are summed.
    """
    return {
        "versions": all_versions(),
        "machine": dataclasses.asdict(this_machine()),
        **arithmetic,
        "precision": precision,
        "seed": seed,
        "data": data,
        "model": model,
    }


def read_manifest(folder: RunFolder) -> dict[str, Any]:
    """What a run was made from, as it was written when the run began.

    Raises:
        InputError: the run has no manifest, or a broken one.
    """
    try:
        return json.loads(folder.manifest.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"the manifest of the run `{folder.name}` cannot be read",
            f"`{folder.manifest}`: {error}.",
            "Without it nobody knows what the run was made from; train it anew with `burnish train`",
        ) from error


def all_versions() -> dict[str, str | None]:
    """The version of Python, and those of `package_versions`."""
    return {"python": platform.python_version(), **package_versions()}


def package_versions() -> dict[str, str | None]:
    """The versions of everything that takes part in a step; None for what is not installed."""
    return {name: _version(name) for name in _PACKAGES}


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
