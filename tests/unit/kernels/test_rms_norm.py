"""The norm in one operation is the norm in many."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from burnish.kernels.rms_norm import rms_norm, rms_norm_reference

EPSILON = 1e-5
Norm = Callable[[torch.Tensor, torch.Tensor, float], torch.Tensor]
TYPES = [
    (torch.float32, torch.float32, 1e-6),
    (torch.bfloat16, torch.bfloat16, 0.01),
    (torch.bfloat16, torch.float32, 0.01),
    (torch.float32, torch.bfloat16, 1e-6),
]


def outcome(norm: Norm, inputs: torch.Tensor, weight: torch.Tensor, upstream: torch.Tensor) -> list[torch.Tensor]:
    """Output, and both gradients."""
    inputs, weight = inputs.clone().requires_grad_(), weight.clone().requires_grad_()
    output = norm(inputs, weight, EPSILON)
    return [output.detach(), *torch.autograd.grad(output, [inputs, weight], upstream.to(output.dtype))]


@pytest.mark.parametrize(("of_inputs", "of_weight", "allowed"), TYPES)
@pytest.mark.parametrize("shape", [(2, 5, 48), (7, 16), (3, 2, 4, 8)])
def test_it_is_the_reference(
    of_inputs: torch.dtype, of_weight: torch.dtype, allowed: float, shape: tuple[int, ...]
) -> None:
    torch.manual_seed(0)
    inputs = torch.randn(shape, dtype=of_inputs) * 3
    weight, upstream = torch.randn(shape[-1], dtype=of_weight), torch.randn(shape)
    made = outcome(rms_norm, inputs, weight, upstream)
    expected = outcome(rms_norm_reference, inputs, weight, upstream)
    assert made[0].equal(expected[0]), "the output is the same to the bit"
    for one, other in zip(made, expected, strict=True):
        assert one.dtype == other.dtype and one.shape == other.shape
        assert (one - other).float().norm() <= allowed * other.float().norm()


def test_a_frozen_weight_gets_no_gradient_and_costs_no_memory() -> None:
    inputs, weight = torch.randn(6, 32, requires_grad=True), torch.randn(32)
    kept: list[torch.Size] = []

    def note(tensor: torch.Tensor) -> torch.Tensor:
        kept.append(tensor.shape)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, note):
        output = rms_norm(inputs, weight, EPSILON)
    output.sum().backward()
    assert inputs.grad is not None and weight.grad is None
    assert kept[:3] == [(6, 32), (32,), (6, 1)]


def test_tokens_of_zeros_stay_zeros() -> None:
    inputs = torch.zeros(2, 8, requires_grad=True)
    output = rms_norm(inputs, torch.ones(8), EPSILON)
    output.sum().backward()
    assert inputs.grad is not None and output.eq(0).all() and inputs.grad.isfinite().all()
