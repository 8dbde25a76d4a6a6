"""Compares the outputs of a model before and after a change of its arithmetic, by their error against fp32.

Two ways of computing the same thing in 16 bits differ by the rounding of both, which on real weights is 2 % and more.
So neither is taken as the truth: both are compared with the same weights in fp32, and the changed model must be about
as near to that as the original one is.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

from burnish.models.blocks import block_lists

_LENGTHS = (8, 11, 13)
_FAILURES = (TypeError, ValueError, RuntimeError, IndexError, AttributeError, KeyError)
"""What a forward pass raises if a model does not support its inputs."""
_FP32 = 1e-4
"""In fp32, different orders of rounding differ by about 1e-6 after a dozen layers."""
_MORE, _LEAST = 1.5, 0.002
"""How many times the model's own error is allowed over all tokens, and what is allowed in any case: half a step of
bf16."""
_MORE_PER_TOKEN, _LEAST_PER_TOKEN = 2.0, 0.01
"""The same for the worst single token, which shows an error in few places; a maximum varies more than a mean."""
_VECTOR = 16
"""Numbers that a token needs to count by itself: fewer may all be near zero by chance."""
_WITHOUT_REFERENCE = 0.02
"""Allowed difference in 16 bits of a model that cannot be computed in fp32."""


@dataclass(frozen=True, slots=True)
class _Trial:
    """One forward pass."""

    inputs: dict[str, Any]
    dtype: torch.dtype
    """That is computed in."""
    counted: torch.Tensor | None
    """`[rows, tokens]`: tokens that are not padding; None if there is none."""
    own: torch.Tensor
    """The output of the unchanged model, in fp32."""
    reference: torch.Tensor | None
    """The output of the same weights in fp32; None where they cannot be computed in fp32."""


class Probe:
    """Outputs of a model for a few random texts, padded and packed, as far as the model supports either.

    Args:
        network: a loaded transformers model on its device, unchanged.
    """

    def __init__(self, network: Any) -> None:
        self._trials: list[_Trial] = []
        for inputs, counted in _probe_inputs(network):
            reference = None
            for dtype in probe_dtypes(network.device, network.dtype):
                own = _output(network, inputs, dtype)
                if own is None:
                    continue
                if dtype == torch.float32:
                    reference = own
                elif reference is None:
                    with _in_fp32(network):
                        reference = _output(network, inputs, network.dtype)
                self._trials.append(_Trial(inputs, dtype, counted, own, reference))

    @property
    def is_possible(self) -> bool:
        """Whether the model supports either."""
        return bool(self._trials)

    def errors(self, network: Any) -> list[tuple[float, float]]:
        """For each text form, the error against fp32 of the unchanged model and of the changed one, as shares of the
        output's size; only where the model computes in 16 bits and can be computed in fp32."""
        return [
            (_errors(trial.own, trial.reference, trial.counted)[0], _errors(changed, trial.reference, trial.counted)[0])
            for trial in self._trials
            if trial.reference is not None and trial.dtype != torch.float32
            if (changed := _output(network, trial.inputs, trial.dtype)) is not None
        ]

    def fault(self, network: Any) -> str | None:
        """What is wrong with the outputs of the changed model, in a sentence; None if they are as exact as before."""
        return next((fault for trial in self._trials if (fault := _fault(trial, network)) is not None), None)


def _fault(trial: _Trial, network: Any) -> str | None:
    changed = _output(network, trial.inputs, trial.dtype)
    if changed is None:
        return "The model raises an error with it."
    if changed.shape != trial.own.shape:
        return "Its output has another shape."
    measure = partial(_errors, counted=trial.counted)
    if trial.dtype == torch.float32 or trial.reference is None:
        error, _ = measure(changed, trial.own)
        limit = _FP32 if trial.dtype == torch.float32 else _WITHOUT_REFERENCE
        return (
            None if error <= limit else f"The outputs differ by {error:.2g} of their size; rounding explains {limit:g}."
        )
    error, worst = measure(changed, trial.reference)
    if not math.isfinite(error):
        return "The output has values that are not finite."
    own_error, own_worst = measure(trial.own, trial.reference)
    if error <= _MORE * own_error + _LEAST and worst <= _MORE_PER_TOKEN * own_worst + _LEAST_PER_TOKEN:
        return None
    return (
        f"Against fp32 the error of the output would be {error:.2%} ({worst:.2%} for the worst token); with the "
        f"model's own arithmetic it is {own_error:.2%} ({own_worst:.2%})."
    )


def _errors(found: torch.Tensor, expected: torch.Tensor, counted: torch.Tensor | None) -> tuple[float, float]:
    """The norm of the difference as a share of the expected norm: over everything, and of the worst token.

    The latter is that of everything where a token has few numbers; both are infinite where the output is not finite.
    """
    if counted is not None and found.shape[: counted.ndim] == counted.shape:
        found, expected = found[counted], expected[counted]
    difference = found - expected
    whole = float(difference.norm() / expected.norm())
    worst = whole
    if found.ndim > 1 and found.shape[-1] >= _VECTOR:
        by_token = difference.flatten(0, -2).norm(dim=-1) / expected.flatten(0, -2).norm(dim=-1).clamp_min(1e-30)
        worst = float(by_token.max())
    return (whole, worst) if math.isfinite(whole) and math.isfinite(worst) else (math.inf, math.inf)


@torch.no_grad()
def _output(network: Any, inputs: dict[str, Any], dtype: torch.dtype) -> torch.Tensor | None:
    """The first output in fp32, computed in `dtype`; None if the model does not support such inputs."""
    was_training = network.training
    network.eval()
    try:
        with torch.autocast(network.device.type, dtype, enabled=dtype != network.dtype):
            return network(**inputs)[0].float()
    except _FAILURES:
        return None
    finally:
        network.train(was_training)


@contextmanager
def _in_fp32(network: Any) -> Iterator[None]:
    """A context in which a model with 16-bit weights computes in fp32, with one block in fp32 at a time.

    A copy of the whole model in fp32 would take twice the memory of its weights.
    """
    blocks = [block for name in block_lists(network) for block in network.get_submodule(name)]
    inside = {id(module) for block in blocks for module in block.modules()}
    others = [module for module in network.modules() if module._parameters and id(module) not in inside]
    hooks = []
    for unit in (*blocks, *others):
        kept: list[tuple[Any, torch.Tensor]] = []
        hooks.append(unit.register_forward_pre_hook(partial(_widen, kept)))
        hooks.append(unit.register_forward_hook(partial(_narrow, kept), always_call=True))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _widen(kept: list[tuple[Any, torch.Tensor]], module: nn.Module, inputs: Any) -> None:
    for holder in (*module.parameters(), *module.buffers()):
        if holder.is_floating_point() and holder.dtype != torch.float32:
            kept.append((holder, holder.data))
            holder.data = holder.data.float()


def _narrow(kept: list[tuple[Any, torch.Tensor]], module: nn.Module, inputs: Any, output: Any) -> None:
    while kept:
        holder, data = kept.pop()
        holder.data = data


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


def _probe_inputs(network: Any) -> list[tuple[dict[str, Any], torch.Tensor | None]]:
    """Padded texts `[texts, longest]` with their mask, and the same tokens packed into one row, `[1, texts x longest]`,
    with positions that restart with each text."""
    longest, device = max(_LENGTHS), network.device
    vocabulary = network.get_input_embeddings().num_embeddings
    ids = (torch.arange(len(_LENGTHS) * longest, device=device) * 7919 + 11).remainder(vocabulary)
    ids = ids.view(len(_LENGTHS), longest)
    lengths = torch.tensor(_LENGTHS, device=device)
    mask = (torch.arange(longest, device=device)[None] < lengths[:, None]).long()
    positions = torch.cat([torch.arange(longest, device=device)] * len(_LENGTHS))[None]
    shared: dict[str, Any] = {"decoder_input_ids": ids} if network.config.is_encoder_decoder else {}
    if hasattr(network.config.get_text_config(), "use_cache"):
        shared["use_cache"] = False  # with a cache, transformers does not detect packed examples
    counted = None if network.config.is_encoder_decoder else mask.bool()
    return [
        ({"input_ids": ids, "attention_mask": mask, **shared}, counted),
        ({"input_ids": ids.view(1, -1), "position_ids": positions, **shared}, None),
    ]
