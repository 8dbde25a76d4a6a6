"""Copies of a loaded base model in memory, each as if it had just been loaded."""

from __future__ import annotations

import copy
import types
from dataclasses import replace
from typing import Any

from torch import nn

from burnish.models.base import BaseModel

_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def copied(base: BaseModel) -> BaseModel:
    """A base model with weights of its own: training the copy does not change the original.

    Args:
        base: one for which `why_not_copied` has no reason.
    """
    return replace(base, network=copy.deepcopy(base.network), notes=list(base.notes))


def why_not_copied(network: nn.Module) -> str:
    """Why a copy of a network might still use parts of the original, as a phrase; empty if it would not.

    A function that Python made from within another one keeps what it refers to, and a copy of its owner keeps the
    function. Quantized weights have layouts of their own.
    """
    for name, module in network.named_modules():
        where = f"`{name}`" if name else "the model"
        if any(getattr(module, hooks, None) for hooks in _HOOKS):
            return f"{where} has hooks"
        held = [value for key, value in vars(module).items() if key not in _HOOKS]
        if any(isinstance(value, types.FunctionType) and value.__closure__ for value in held):
            return f"{where} holds a function with values of its own"
        if getattr(module, "quant_state", None) is not None or _is_quantized(module):
            return f"the weights of {where} are quantized"
    return ""


def _is_quantized(module: Any) -> bool:
    return any(type(weight).__module__.startswith("bitsandbytes") for weight in module.parameters(recurse=False))
