"""Base models that are on this machine already: those in the cache of the hub."""

from __future__ import annotations

import os
from pathlib import Path

_MOST = 40


def cached_models() -> list[str]:
    """The hub names of models in the cache that have weights, in alphabetical order; at most some dozens."""
    found = []
    folder = _cache()
    if not folder.is_dir():
        return []
    for path in sorted(folder.glob("models--*")):
        snapshots = path / "snapshots"
        if any(snapshots.glob("*/config.json")) and any(snapshots.glob("*/*.safetensors")):
            found.append(path.name.removeprefix("models--").replace("--", "/"))
    return found[:_MOST]


def _cache() -> Path:
    """Where the hub keeps what was downloaded: as its library decides it, which takes a second to load."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    hub = os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE")
    return Path(hub or Path(os.environ.get("HF_HOME") or home / "huggingface") / "hub").expanduser()
