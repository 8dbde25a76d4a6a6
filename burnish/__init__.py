"""Burnish fine-tunes language models on the machine you have.

    import burnish

    run = burnish.train("data.jsonl", model="seedling")
    print(run.generate("..."))

Names are loaded when they are first used, so that `import burnish` stays instant.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from burnish.version import __version__

if TYPE_CHECKING:
    from burnish.api import check_data, extend, load_run, resume, sweep, train
    from burnish.errors import BurnishError
    from burnish.recipe.schema import Recipe

_HOMES = {
    "BurnishError": ("burnish.errors", "BurnishError"),
    "Recipe": ("burnish.recipe.schema", "Recipe"),
    "check_data": ("burnish.api", "check_data"),
    "extend": ("burnish.api", "extend"),
    "load_run": ("burnish.api", "load_run"),
    "resume": ("burnish.api", "resume"),
    "sweep": ("burnish.api", "sweep"),
    "train": ("burnish.api", "train"),
}

__all__ = ["BurnishError", "Recipe", "__version__", "check_data", "extend", "load_run", "resume", "sweep", "train"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module `burnish` has no attribute `{name}`")
    module, attribute = _HOMES[name]
    value = getattr(importlib.import_module(module), attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
