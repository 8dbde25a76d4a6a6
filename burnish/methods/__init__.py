"""Methods: which weights move. One file a family; this table is the only place that lists them."""

from __future__ import annotations

import importlib

from burnish.methods.method import Method

METHODS = {
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


def make_method(name: str) -> Method:
    """The method of that name. `name` is one of `METHODS`; the plan has checked it."""
    module, _, attribute = METHODS[name].partition(":")
    return getattr(importlib.import_module(module), attribute)()
