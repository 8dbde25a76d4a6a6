"""Installs fast kernels in a loaded model, where a probe on that model shows that its output is the same."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import nn
from transformers.activations import NewGELUActivation

from burnish.kernels.rms_norm import rms_norm
from burnish.kernels.varlen_attention import DENSE, kernels_on
from burnish.models import attention


class FusedRMSNorm(nn.Module):
    """Replaces a norm, with its weight under the same name."""

    def __init__(self, norm: Any) -> None:
        super().__init__()
        epsilon = epsilon_of(norm)
        if epsilon is None:
            raise ValueError(f"{type(norm).__name__} has no epsilon")
        self.weight = norm.weight
        self.variance_epsilon = epsilon
        self.train(norm.training)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """`[..., width]`, normalized."""
        return rms_norm(hidden_states, self.weight, self.variance_epsilon)


def epsilon_of(norm: nn.Module) -> float | None:
    """The number under the root of a norm, under either of its usual names; None where there is none."""
    found = getattr(norm, "variance_epsilon", getattr(norm, "eps", None))
    return found if isinstance(found, float) else None


def computes_rms_norm(module: nn.Module) -> bool:
    """Whether a module gives what `rms_norm` gives with its weight and epsilon: to the bit, in every mix of types.

    It is tried out on a copy with random weights. Inputs of very different size show where epsilon is added; random
    weights show an offset, as Gemma's; a mean that is not zero shows whether it is subtracted; and half precision shows
    where it is rounded. Gradients must agree up to rounding.

    Args:
        module: on any device, with or without numbers in its weights.
    """
    epsilon = epsilon_of(module)
    if epsilon is None or not _has_the_parts_of_a_norm(module):
        return False
    norm: Any = copy.deepcopy(module).to_empty(device="cpu")
    return all(_gives_the_same(norm, epsilon, *types) for types in _NORM_TYPES)


_NORM_TYPES = ((torch.float32, torch.float32), (torch.bfloat16, torch.bfloat16), (torch.bfloat16, torch.float32))
"""Of inputs and weight; the last is what autocast brings about."""
_NORM_SCALES = (1e-4, 1.0, 300.0)
"""The smallest is where epsilons of 1e-5 and 1e-6 count."""
_NORM_ROUNDING = {torch.float32: 1e-5, torch.bfloat16: 0.02}


def _has_the_parts_of_a_norm(module: nn.Module) -> bool:
    """Whether one vector of weights is all that it holds, and one tensor all that it takes."""
    weight = module._parameters.get("weight")
    is_bare = not (module._modules or module._buffers or module._forward_hooks or module._forward_pre_hooks)
    if list(module._parameters) != ["weight"] or weight is None or weight.ndim != 1 or not is_bare:
        return False
    return len(inspect.signature(module.forward).parameters) == 1


def _gives_the_same(norm: Any, epsilon: float, inputs_type: torch.dtype, weight_type: torch.dtype) -> bool:
    """Whether output and gradients are those of `rms_norm` for inputs and weights of these types."""
    source = torch.Generator().manual_seed(0)
    width = norm.weight.numel()
    scales = torch.tensor(_NORM_SCALES)[:, None]
    inputs = (scales * (torch.randn(len(_NORM_SCALES), width, generator=source) + 0.5)).to(inputs_type)
    weight = (0.5 + torch.rand(width, generator=source)).to(weight_type)
    slopes = torch.randn(len(_NORM_SCALES), width, generator=source)
    inputs.requires_grad_()
    norm.weight = nn.Parameter(weight)
    try:
        with torch.enable_grad():
            theirs = norm(inputs)
            if not isinstance(theirs, torch.Tensor) or theirs.shape != inputs.shape:
                return False
            gradients = torch.autograd.grad((theirs * slopes).sum(), [inputs, norm.weight])
            ours = rms_norm(inputs, norm.weight, epsilon)
            expected = torch.autograd.grad((ours * slopes).sum(), [inputs, norm.weight])
    except (TypeError, ValueError, RuntimeError, AttributeError):
        return False
    rounding = _NORM_ROUNDING[inputs_type]
    return (
        ours.dtype == theirs.dtype
        and torch.equal(ours, theirs)
        and all(map(partial(_is_near, rounding), gradients, expected))
    )


def _is_near(rounding: float, found: torch.Tensor, expected: torch.Tensor) -> bool:
    """Row by row, as rows of small inputs have large gradients."""
    far = (found - expected).float().norm(dim=-1) > rounding * expected.float().norm(dim=-1)
    return not bool(far.any())


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


def install_fast_paths(network: Any) -> list[str]:
    """Installs every fast path, and removes them again if the model's output changes.

    Args:
        network: a loaded transformers model on its device.

    Returns:
        Notes for the user, for example if they had to be removed.
    """
    before = _outputs(network)
    replaced = arrange(network, network.device.type)
    if before is not None and _agree(before, _outputs(network)):
        return [_DENSE_MASK] if DENSE in kernels_on(network.device) else []
    for parent, name, module in replaced:
        setattr(parent, name, module)
    if _attention_name(network) in attention.NAMES.values():
        network.set_attn_implementation("sdpa")
    elif not replaced:
        return []
    return [_NOT_INSTALLED]


_NOT_INSTALLED = (
    "This model runs with transformers' own operations: with Burnish's kernels a probe gave a different result, or "
    "could not be run."
)
_DENSE_MASK = (
    "No kernel on this machine supports attention within the examples of packed rows, so a mask over complete rows is "
    "used: slower, with the same result."
)


def _fuse(network: Any) -> Replaced:
    """Puts in activations and norms that are one operation each, where they give the same."""
    children = [(module, name, child) for module in network.modules() for name, child in module.named_children()]
    found: list[tuple[nn.Module, str, nn.Module]] = []
    known: dict[str, bool] = {}
    for module, name, child in children:
        if (fused := _fused(child, known)) is not None:
            setattr(module, name, fused)
            found.append((module, name, child))
    return found


def _fused(module: nn.Module, known: dict[str, bool]) -> nn.Module | None:
    """What computes the same in one operation; None where nothing does. Norms of one kind are tried out once."""
    if type(module) is NewGELUActivation:
        return nn.GELU(approximate="tanh")  # arXiv 1606.08415, section 2: the very formula
    if epsilon_of(module) is None or not _has_the_parts_of_a_norm(module):
        return None
    plain = {name: value for name, value in vars(module).items() if not name.startswith("_")}
    kind = f"{type(module)} {module.weight.shape} {sorted(plain.items())}"
    if kind not in known:
        known[kind] = computes_rms_norm(module)
    return FusedRMSNorm(module) if known[kind] else None


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
