"""Values and gradients of two ways to compute the same, and how far they are apart."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

TOLERANCES = {torch.float32: 1e-5, torch.bfloat16: 1e-2}
"""Largest distance of two ways that round differently."""


def values_and_gradients(
    function: Callable[..., torch.Tensor],
    inputs: Sequence[torch.Tensor | None],
    upstream: torch.Tensor | None = None,
) -> list[torch.Tensor]:
    """The output, and the gradient of every input that wants one.

    Args:
        function: of the inputs.
        inputs: tensors without a history, or None.
        upstream: gradient of the output; None for the gradients of the output's sum.
    """
    output = function(*inputs)
    wanted = [one for one in inputs if one is not None and one.requires_grad]
    if upstream is None:
        return [output.detach(), *torch.autograd.grad(output.sum(), wanted)]
    return [output.detach(), *torch.autograd.grad(output, wanted, upstream.to(output.dtype))]


def distance(measured: torch.Tensor, expected: torch.Tensor) -> float:
    """Norm of the difference over the norm of what is expected."""
    assert measured.shape == expected.shape
    difference = (measured.double() - expected.double()).norm()
    return (difference / expected.double().norm().clamp(min=1e-30)).item()


def assert_near(measured: Sequence[torch.Tensor], expected: Sequence[torch.Tensor], tolerance: float) -> None:
    """Every tensor near its counterpart, and of its type."""
    assert len(measured) == len(expected)
    for index, (one, two) in enumerate(zip(measured, expected, strict=True)):
        assert one.dtype == two.dtype, index
        assert distance(one, two) <= tolerance, index


def assert_as_exact(
    fast: Callable[..., torch.Tensor],
    reference: Callable[..., torch.Tensor],
    inputs: Sequence[torch.Tensor | None],
    upstream: torch.Tensor | None = None,
) -> None:
    """Near what the reference makes in fp32 of the same numbers, and of the types that the reference has in theirs."""
    dtype = next(one.dtype for one in inputs if one is not None)
    made = values_and_gradients(fast, inputs, upstream)
    same = values_and_gradients(reference, inputs, upstream)
    exact = values_and_gradients(reference, [in_fp32(one) for one in inputs], upstream)
    assert_near(made, same, TOLERANCES[dtype])
    for index, (one, two) in enumerate(zip(made, exact, strict=True)):
        assert distance(one, two) <= TOLERANCES[dtype], index


def assert_no_less_exact(
    fast: Callable[..., torch.Tensor],
    reference: Callable[..., torch.Tensor],
    inputs: Sequence[torch.Tensor | None],
    upstream: torch.Tensor | None = None,
) -> None:
    """For a chain of products in 16 bits: about as far from fp32 as the reference is in the same type, or nearer."""
    made, same = (values_and_gradients(one, inputs, upstream) for one in (fast, reference))
    exact = values_and_gradients(reference, [in_fp32(one) for one in inputs], upstream)
    for index, (one, two, three) in enumerate(zip(made, same, exact, strict=True)):
        assert one.dtype == two.dtype, index
        assert distance(one, three) <= 1.5 * distance(two, three) + 0.004, index


def in_fp32(tensor: torch.Tensor | None) -> Any:
    """The same numbers and the same wish for a gradient."""
    return None if tensor is None else tensor.detach().float().requires_grad_(tensor.requires_grad)


def random(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 0, trained: bool = True) -> torch.Tensor:
    """Normally distributed numbers, equal for equal seeds."""
    made = torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)
    return made.requires_grad_(trained)
