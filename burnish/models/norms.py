"""Norms that are Llama's own arithmetic, whatever family they belong to, with that arithmetic done in one operation."""

from __future__ import annotations

import ast
import functools
import inspect
import textwrap
from typing import Any

import torch
from torch import nn

from burnish.kernels.rms_norm import rms_norm


class FusedRMSNorm(nn.Module):
    """Takes the place of a norm, with its weight under the same name."""

    def __init__(self, norm: Any) -> None:
        super().__init__()
        self.weight = norm.weight
        self.variance_epsilon = norm.variance_epsilon
        self.train(norm.training)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """`[..., width]`, normalized."""
        return rms_norm(hidden_states, self.weight, self.variance_epsilon)


def is_llamas_norm(module: nn.Module) -> bool:
    """Whether a module computes what Llama's norm does: its code is the same, statement by statement.

    Most families of transformers have a copy of that code; Gemma's, for one, adds 1 to the weight.
    """
    kind = type(module)
    return kind.__name__.endswith("RMSNorm") and list(module._parameters) == ["weight"] and _has_llamas_code(kind)


@functools.cache
def _has_llamas_code(kind: type[Any]) -> bool:
    from transformers.models.llama.modeling_llama import LlamaRMSNorm

    return _code(kind) is not None and _code(kind) == _code(LlamaRMSNorm)


def _code(kind: type[Any]) -> str | None:
    """The statements of a module's forward pass; None where they cannot be read."""
    try:
        (function,) = ast.parse(textwrap.dedent(inspect.getsource(kind.forward))).body
    except (OSError, TypeError, SyntaxError, ValueError):
        return None
    return "\n".join(map(ast.dump, function.body)) if isinstance(function, ast.FunctionDef) else None
