"""Methods: which weights move. One file each; this table is the only place that lists them."""

from __future__ import annotations

import importlib

from burnish.methods.method import Method

METHODS = {"full": "burnish.methods.full:FullMethod", "lora": "burnish.methods.lora:LoraMethod"}


def make_method(name: str) -> Method:
    """The method of that name. `name` is one of `METHODS`; the plan has checked it."""
    module, _, attribute = METHODS[name].partition(":")
    return getattr(importlib.import_module(module), attribute)()
