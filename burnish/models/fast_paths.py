"""Installs fast kernels in a loaded model, where a probe on that model shows that its output is the same."""

from __future__ import annotations

import ast
import functools
import inspect
import textwrap
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from transformers.activations import NewGELUActivation

from burnish.kernels.rms_norm import rms_norm
from burnish.kernels.varlen_attention import DENSE, ways_on
from burnish.models import attention


class FusedRMSNorm(nn.Module):
    """Replaces a norm, with its weight under the same name."""

    def __init__(self, norm: Any) -> None:
        super().__init__()
        self.weight = norm.weight
        self.variance_epsilon = norm.variance_epsilon
        self.train(norm.training)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """`[..., width]`, normalized."""
        return rms_norm(hidden_states, self.weight, self.variance_epsilon)


def is_llamas_norm(module: nn.Module) -> bool:
    """Whether a module computes Llama's norm: its code has the same statements.

    Most model families in transformers have a copy of that code; Gemma's, for example, adds 1 to the weight.
    """
    kind = type(module)
    return kind.__name__.endswith("RMSNorm") and list(module._parameters) == ["weight"] and _has_llamas_code(kind)


@functools.cache
def _has_llamas_code(kind: type[Any]) -> bool:
    from transformers.models.llama.modeling_llama import LlamaRMSNorm

    return _code(kind) is not None and _code(kind) == _code(LlamaRMSNorm)


def _code(kind: type[Any]) -> str | None:
    """The statements of a module's forward pass; None if the source is not available."""
    try:
        (function,) = ast.parse(textwrap.dedent(inspect.getsource(kind.forward))).body
    except (OSError, TypeError, SyntaxError, ValueError):
        return None
    return "\n".join(map(ast.dump, function.body)) if isinstance(function, ast.FunctionDef) else None


_PROBE_LENGTHS = (8, 11, 13)


Replaced = Sequence[tuple[nn.Module, str, nn.Module]]
"""Parent, name and original of each replaced module."""


def arrange(network: Any, device: str) -> Replaced:
    """Installs every fast path for this device type, without checking the results.

    Args:
        network: a transformers model.
        device: `cpu`, `cuda` …

    Returns:
        The replaced modules.
    """
    if device in attention.NAMES and _attention_name(network) == "sdpa":
        attention.register()
        network.set_attn_implementation(attention.NAMES[device])
    return _fuse(network)


def take_fast_paths(network: Any) -> list[str]:
    """Installs every fast path, and removes them again if the model's output changes.

    Args:
        network: a loaded transformers model on its device.

    Returns:
        Notes for the user, for example if they had to be removed.
    """
    before = _outputs(network)
    replaced = arrange(network, network.device.type)
    if before is not None and _agree(before, _outputs(network)):
        return [_DENSE_MASK] if DENSE in ways_on(network.device) else []
    for parent, name, module in replaced:
        setattr(parent, name, module)
    if _attention_name(network) in attention.NAMES.values():
        network.set_attn_implementation("sdpa")
    elif not replaced:
        return []
    return [_NOT_INSTALLED]


_NOT_INSTALLED = (
    "This model runs with transformers' own operations: with Burnish's kernels a probe gave another result, or could "
    "not be run."
)
_DENSE_MASK = (
    "No kernel on this machine supports attention within the examples of packed rows, so a mask over complete rows is "
    "used: slower, with the same result."
)


def _fuse(network: Any) -> Replaced:
    """Replaces activations and norms by single operations with the same formulas."""
    children = [(module, name, child) for module in network.modules() for name, child in module.named_children()]
    found = []
    for module, name, child in children:
        if (fused := _fused(child)) is not None:
            setattr(module, name, fused)
            found.append((module, name, child))
    return found


def _fused(module: nn.Module) -> nn.Module | None:
    """A single operation that computes the same, or None."""
    if type(module) is NewGELUActivation:
        return nn.GELU(approximate="tanh")  # arXiv 1606.08415, section 2: the same formula
    return FusedRMSNorm(module) if is_llamas_norm(module) else None


def _attention_name(network: Any) -> str | None:
    return getattr(network.config.get_text_config(), "_attn_implementation", None)


@torch.no_grad()
def _outputs(network: Any) -> list[torch.Tensor] | None:
    """Outputs for a few random texts, padded and packed, if the model supports either; else None."""
    was_training = network.training
    network.eval()
    ids, mask, positions = _probe_inputs(network)
    made = []
    shared: dict[str, Any] = {"decoder_input_ids": ids} if network.config.is_encoder_decoder else {}
    if hasattr(network.config.get_text_config(), "use_cache"):
        shared["use_cache"] = False  # with a cache, transformers does not detect packed examples
    for inputs in (
        {"input_ids": ids, "attention_mask": mask, **shared},
        {"input_ids": ids.view(1, -1), "position_ids": positions, **shared},
    ):
        for dtype in probe_dtypes(network.device, network.dtype):
            try:
                with torch.autocast(network.device.type, dtype, enabled=dtype != network.dtype):
                    output = network(**inputs)[0]
            except (TypeError, ValueError, RuntimeError, IndexError, AttributeError, KeyError):
                continue
            made.append(output.to(dtype))
    network.train(was_training)
    return made or None


def probe_dtypes(device: torch.device, held: torch.dtype) -> list[torch.dtype]:
    """Dtypes to probe a model in: that of its weights, and on CUDA the 16-bit format that fp32 weights are trained in.

    On CUDA the attention kernel depends on the dtype.

    Args:
        device: device of the model.
        held: dtype of its weights.
    """
    if device.type != "cuda" or held != torch.float32:
        return [held]
    return [held, torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16]


def _probe_inputs(network: Any) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Ids and mask `[texts, longest]`, and positions that restart with each text, `[1, texts x longest]`."""
    longest, device = max(_PROBE_LENGTHS), network.device
    vocabulary = network.get_input_embeddings().num_embeddings
    ids = (torch.arange(len(_PROBE_LENGTHS) * longest, device=device) * 7919 + 11).remainder(vocabulary)
    lengths = torch.tensor(_PROBE_LENGTHS, device=device)
    mask = (torch.arange(longest, device=device)[None] < lengths[:, None]).long()
    positions = torch.cat([torch.arange(longest, device=device)] * len(_PROBE_LENGTHS))[None]
    return ids.view(len(_PROBE_LENGTHS), longest), mask, positions


def _agree(before: list[torch.Tensor], after: list[torch.Tensor] | None) -> bool:
    """Whether outputs are equal up to rounding."""
    if after is None:
        return False
    return len(before) == len(after) and all(_is_close(one, two) for one, two in zip(before, after, strict=True))


def _is_close(before: torch.Tensor, after: torch.Tensor) -> bool:
    allowed = _ROUNDING if before.dtype == torch.float32 else _ROUNDING_HALF
    return before.shape == after.shape and bool((after - before).float().norm() <= allowed * before.float().norm())


_ROUNDING, _ROUNDING_HALF = 1e-4, 0.02
"""In fp32, different orders of rounding differ by about 1e-6 after a dozen layers, in bf16 by about 0.5 %. A wrong mask
changes more.
"""
