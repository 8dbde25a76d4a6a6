"""Public models whose config comes with the package: their names, their terms, and what training them takes."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from burnish.models.config import public_owners

STEPS = "steps.yaml"
"""Written by `python -m burnish.workflows.models`; the other files are kept by hand."""


@dataclass(frozen=True, slots=True)
class PublicModel:
    """A model that can be fetched from the hub."""

    name: str
    """Of the bundled config."""
    owner: str
    licence: str
    is_gated: bool
    """Whether the hub asks for an account and for agreement first."""
    chat: str
    """The same model tuned to follow instructions; empty if there is none."""
    kind: str
    """See `models/config.py`."""
    parameters: int
    width: int
    """Bytes of a weight as published."""
    flops_per_token: float
    """Floating-point operations for each token of a training step with an adapter."""
    tensors: Mapping[str, int]
    """Bytes of tensors at the peak of a step of one row, by method."""

    @property
    def bytes(self) -> int:
        """About what has to be downloaded."""
        return self.parameters * self.width

    def hub_name(self, for_chat: bool) -> str:
        """What `--model` takes."""
        return f"{self.owner}/{self.chat if for_chat and self.chat else self.name}"


@functools.cache
def public_models() -> tuple[PublicModel, ...]:
    """All models of the catalogue, the smallest first."""
    terms, steps = _read("licences.yaml"), _read(STEPS)
    models = [
        PublicModel(
            name,
            public_owners(name)[0],
            terms[name]["licence"],
            terms[name].get("gated", False),
            terms[name].get("chat", ""),
            entry["kind"],
            entry["parameters"],
            terms[name]["width"],
            entry["flops_per_token"],
            entry["tensors"],
        )
        for name, entry in steps.items()
    ]
    return tuple(sorted(models, key=lambda model: model.parameters))


def model_folders(below: Path) -> list[str]:
    """Folders of base models in a folder and in those directly in it, as `--model` takes them."""
    found = [*below.glob("*/config.json"), *below.glob("*/*/config.json")]
    return sorted(f"./{file.parent.relative_to(below).as_posix()}" for file in found)


def cached_models() -> list[str]:
    """Names of the models whose config is in the hub's cache."""
    from huggingface_hub.constants import HF_HUB_CACHE

    cache = Path(HF_HUB_CACHE)
    found = {file.parts[len(cache.parts)] for file in cache.glob("models--*/snapshots/*/config.json")}
    return sorted(name.removeprefix("models--").replace("--", "/", 1) for name in found)


def licence_in(folder: Path) -> str:
    """What the card of a model in a folder says at its top; empty if it says nothing."""
    import yaml

    try:
        head = (folder / "README.md").read_text(encoding="utf-8").split("---")[1]
        return str((yaml.safe_load(head) or {}).get("license") or "")
    except (OSError, ValueError, IndexError, AttributeError, yaml.YAMLError):
        return ""


def steps_file() -> Path:
    """The file of simulated steps."""
    return Path(str(resources.files("burnish"))) / "assets" / "configs" / STEPS


def _read(name: str) -> dict[str, Any]:
    import yaml

    return yaml.safe_load(steps_file().with_name(name).read_text(encoding="utf-8"))
