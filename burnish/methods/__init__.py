"""Methods: which weights are trained. One file per family; only this module lists them."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from burnish.methods.method import Method

_METHODS: dict[str, str | type[Method]] = {
    "full": "burnish.methods.full:FullMethod",
    "freeze": "burnish.methods.full:FreezeMethod",
    "lora": "burnish.methods.lora:LoraMethod",
    "qlora": "burnish.methods.lora:QLoraMethod",
    "int8-lora": "burnish.methods.lora:Int8LoraMethod",
    "prompt": "burnish.methods.virtual_tokens:PromptMethod",
    "prefix": "burnish.methods.virtual_tokens:PrefixMethod",
    "p-tuning": "burnish.methods.virtual_tokens:PTuningMethod",
    "ia3": "burnish.methods.ia3:Ia3Method",
}
_SECTIONS: dict[str, tuple[str, ...]] = {
    "freeze": ("freeze",),
    "lora": ("lora",),
    "qlora": ("lora",),
    "int8-lora": ("lora",),
    "prompt": ("prompt",),
    "prefix": ("prompt",),
    "p-tuning": ("prompt",),
    "ia3": ("ia3",),
}
"""The `sections` of methods that have any: what does nothing is to be named before any method is loaded."""
_WHOLE_COPIES = {"full": 2, "freeze": 1}
"""Of methods whose result is a whole model: how often all weights are in a run folder, in result and checkpoint."""
_MERGED = ("lora", "qlora", "int8-lora", "ia3")
"""The methods with `can_merge`."""
_QUANTIZED = ("qlora", "int8-lora")
"""The methods with `quantizes`."""
FREE_OPTIONS = ("lora.dropout", "lora.plus_ratio")
"""Options of methods that decide how an adapter is trained, and not which weights it has."""
_SHARDED = ("full", "freeze")
"""The methods with `can_shard`."""
AUTO_METHODS = ("full", "lora", "qlora")
"""The methods that `auto` chooses from: the best first, the one that needs the least memory last."""
LIKELY_METHOD = "lora"
"""The assumed method until `auto` has chosen one: like all of those, it has no virtual tokens."""


def method_names() -> list[str]:
    """All methods, in the order of the table."""
    return list(_METHODS)


def method_sections(name: str) -> tuple[str, ...]:
    """Sections of the recipe that belong to a method; loads nothing."""
    found = _METHODS[name]
    return _SECTIONS.get(name, ()) if isinstance(found, str) else found.sections


def least_copies(name: str) -> int:
    """How often a run folder holds all weights of the base model, at least; loads nothing.

    Args:
        name: of a method, or `auto`.
    """
    found = _METHODS.get(name)
    return int(found.trains_base) if isinstance(found, type) else _WHOLE_COPIES.get(name, 0)


def can_shard(name: str) -> bool:
    """Whether a method's weights may be sharded over several processes; loads nothing.

    Args:
        name: of a method.
    """
    found = _METHODS.get(name)
    return found.can_shard if isinstance(found, type) else name in _SHARDED


def can_merge(name: str) -> bool:
    """Whether what a method trains can be merged into the base model; loads nothing.

    Args:
        name: of a method.
    """
    found = _METHODS.get(name)
    return found.can_merge if isinstance(found, type) else name in _MERGED


def quantizes(name: str) -> bool:
    """Whether a method stores the base model in fewer bits than it computes in; loads nothing.

    Args:
        name: of a method.
    """
    found = _METHODS.get(name)
    return found.quantizes if isinstance(found, type) else name in _QUANTIZED


def register_method(method: type[Method]) -> Callable[[], None]:
    """Adds a method from outside this package, for this process; it can then be used like the built-in ones.

    Returns:
        A function that removes the method again.

    Raises:
        ValueError: the name is taken.
    """
    if method.name in _METHODS:
        raise ValueError(f"there is already a method `{method.name}`")
    _METHODS[method.name] = method
    return lambda: _METHODS.__delitem__(method.name)


def make_method(name: str) -> Method:
    """The method of that name, one of `method_names()`."""
    found = _METHODS[name]
    if isinstance(found, str):
        module, _, attribute = found.partition(":")
        found = getattr(importlib.import_module(module), attribute)
    return found()
