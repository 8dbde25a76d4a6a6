"""The gated feed-forward layer as one operation computes what the single operations do."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from burnish.kernels.adapted import Adapted
from burnish.kernels.gated_mlp import ACTIVATIONS, gated_mlp, gated_mlp_reference
from tests.unit.kernels.comparison import (
    assert_as_exact,
    assert_near,
    assert_no_less_exact,
    random,
    values_and_gradients,
)

WIDTH, HIDDEN, RANK, SCALE = 16, 24, 3, 0.7
ADAPTED = {"none": (), "gate": (0,), "up": (1,), "down": (2,), "all": (0, 1, 2)}


def made_up(
    shape: tuple[int, ...], dtype: torch.dtype, adapted: tuple[int, ...] = (0, 1, 2), *, bias: bool = False
) -> list[torch.Tensor | None]:
    """Inputs, and four tensors for each of the three layers."""
    made: list[torch.Tensor | None] = [random(*shape, WIDTH, dtype=dtype, seed=1)]
    for index, (inputs, outputs) in enumerate(((WIDTH, HIDDEN), (WIDTH, HIDDEN), (HIDDEN, WIDTH))):
        made.append((random(outputs, inputs, seed=10 + index, trained=False) * inputs**-0.5).to(dtype))
        made.append(random(outputs, dtype=dtype, seed=20 + index, trained=False) if bias else None)
        has_adapter = index in adapted
        made.append(random(RANK, inputs, dtype=dtype, seed=30 + index) if has_adapter else None)
        made.append(random(outputs, RANK, dtype=dtype, seed=40 + index) if has_adapter else None)
    return made


def way(function: Any, activation: str = "silu") -> Any:
    """The function with separate tensors."""

    def run(inputs: torch.Tensor, *tensors: torch.Tensor | None) -> torch.Tensor:
        layers: Any = [Adapted(*tensors[begin : begin + 4], SCALE) for begin in (0, 4, 8)]  # type: ignore[arg-type]
        return function(inputs, *layers, activation=activation)

    return run


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("adapted", ADAPTED.values(), ids=ADAPTED)
@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no-bias"])
@pytest.mark.parametrize("shape", [(5,), (2, 7), (1, 1)], ids=str)
def test_it_is_the_single_operations(
    shape: tuple[int, ...], bias: bool, adapted: tuple[int, ...], dtype: torch.dtype
) -> None:
    inputs = made_up(shape, dtype, adapted, bias=bias)
    upstream = random(*shape, WIDTH, seed=9, trained=False)
    compare = assert_as_exact if dtype == torch.float32 else assert_no_less_exact
    compare(way(gated_mlp), way(gated_mlp_reference), inputs, upstream)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation(activation: str) -> None:
    inputs = made_up((3, 4), torch.float32)
    ways = [values_and_gradients(way(one, activation), inputs) for one in (gated_mlp, gated_mlp_reference)]
    assert_near(*ways, 1e-5)


def test_inputs_that_need_no_gradient() -> None:
    inputs = made_up((3, 4), torch.float32)
    inputs[0] = random(3, 4, WIDTH, seed=1, trained=False)
    ways = [values_and_gradients(way(one), inputs) for one in (gated_mlp, gated_mlp_reference)]
    assert_near(*ways, 1e-5)


def test_two_layers_do_not_share_what_the_first_one_needs_later() -> None:
    """Intermediate results of both use the same memory."""
    inputs = made_up((3, 4), torch.float32)

    def twice(run: Any) -> Any:
        return lambda given, *tensors: run(run(given, *tensors), *tensors)

    ways = [values_and_gradients(twice(way(one)), inputs) for one in (gated_mlp, gated_mlp_reference)]
    assert_near(*ways, 1e-4)


def test_autocast_decides_the_arithmetic_over_weights_in_fp32() -> None:
    inputs = made_up((3, 4), torch.float32)

    def cast(*given: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return way(gated_mlp)(*given)

    output, *gradients = values_and_gradients(cast, inputs)
    assert output.dtype == torch.bfloat16
    expected = values_and_gradients(way(gated_mlp_reference), inputs)
    assert_near([output.float(), *gradients], expected, 3e-2)


def test_frozen_weights_get_no_gradient_and_nothing_is_changed() -> None:
    inputs = made_up((3, 4), torch.float32, bias=True)
    before = [None if one is None else one.detach().clone() for one in inputs]
    way(gated_mlp)(*inputs).sum().backward()
    for one, two in zip(inputs, before, strict=True):
        assert one is not None
        assert two is not None
        assert torch.equal(one, two)
        assert (one.grad is None) == (not one.requires_grad)


def test_it_keeps_two_tensors_as_wide_as_the_hidden_layer() -> None:
    """Of the single operations, autograd keeps three."""
    kept: list[int] = []

    def note(tensor: torch.Tensor) -> torch.Tensor:
        kept.append(tensor.numel())
        return tensor

    inputs = made_up((5, 100), torch.float32, ())
    counts = []
    for one in (gated_mlp, gated_mlp_reference):
        kept.clear()
        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            way(one)(*inputs)
        counts.append(sum(number for number in kept if number >= 500 * HIDDEN) / (500 * HIDDEN))
    assert counts == [2, 3]


def test_a_model_may_add_to_the_output_in_place() -> None:
    """As Llama 4 adds its experts to what all tokens pass through."""
    tensors = made_up((2, 7), torch.float32)
    plain, changed = way(gated_mlp), way(lambda *given, **named: gated_mlp(*given, **named).add_(1))
    right, found = (values_and_gradients(one, tensors)[1:] for one in (plain, changed))
    assert all(torch.equal(one, other) for one, other in zip(right, found, strict=True))
