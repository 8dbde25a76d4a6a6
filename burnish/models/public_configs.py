"""Configurations of well-known public models, bundled so that they can be planned for with no network and no weights.

They hold the facts of each model's own `config.json` that its shape and arithmetic follow from. Nothing is ever loaded
from here for training: there are no weights and no tokenizer.
"""

from __future__ import annotations

import functools
from importlib import resources
from pathlib import Path
from typing import TypedDict


class _Names(TypedDict, total=False):
    """What a configuration is called on the hub."""

    owners: list[str]
    also: list[str]


def public_names() -> list[str]:
    """The bundled configurations by name, in the order of families."""
    return list(_index())


def find_public(name: str) -> Path | None:
    """The bundled `config.json` of a model, or None where there is none.

    Args:
        name: as on the hub, with or without its owner, in upper or lower case: `meta-llama/Meta-Llama-3-70B`,
            `Llama-3-70B`, `gpt2`. With an owner who does not publish the model it could be any model, so none is found.
    """
    owner, _, last = name.strip().lower().rpartition("/")
    for own_name, names in _index().items():
        owners = ["", *(known.lower() for known in names.get("owners", []))]
        if owner in owners and last in [called.lower() for called in (own_name, *names.get("also", []))]:
            return _folder() / f"{own_name}.json"
    return None


def _folder() -> Path:
    return Path(str(resources.files("burnish"))) / "assets" / "configs"


@functools.cache
def _index() -> dict[str, _Names]:
    import yaml

    return yaml.safe_load((_folder() / "names.yaml").read_text(encoding="utf-8"))
