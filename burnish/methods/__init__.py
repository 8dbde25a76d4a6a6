"""Methods: which weights move. One file a family; only this module lists them."""

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
AUTO_METHODS = ("full", "lora", "qlora")
"""The methods that `auto` chooses from: the best first, the one that takes least memory last."""
LIKELY_METHOD = "lora"
"""Taken for the method until `auto` has chosen one: like all that it chooses from, it takes no positions."""


def method_names() -> list[str]:
    """Every method, in the order of the table."""
    return list(_METHODS)


def register_method(method: type[Method]) -> Callable[[], None]:
    """Adds a method from outside this package, for this process. Runs by it can then be trained, evaluated and asked.

    Returns:
        Takes the method out again.

    Raises:
        ValueError: there is one of that name already.
    """
    if method.name in _METHODS:
        raise ValueError(f"there is a method `{method.name}` already")
    _METHODS[method.name] = method
    return lambda: _METHODS.__delitem__(method.name)


def make_method(name: str) -> Method:
    """The method of that name, one of `method_names()`."""
    found = _METHODS[name]
    if isinstance(found, str):
        module, _, attribute = found.partition(":")
        found = getattr(importlib.import_module(module), attribute)
    return found()
