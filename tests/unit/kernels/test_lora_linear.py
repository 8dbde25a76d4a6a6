"""A frozen linear layer with its adapter in one operation computes what the single operations do."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from burnish.kernels.adapted import Adapted, layer_reference
from burnish.kernels.lora_linear import lora_beside_reference, lora_linear, lora_packed_linear
from tests.unit.kernels.comparison import assert_as_exact, assert_near, random, values_and_gradients

IN, OUT, RANK, SCALE = 24, 40, 4, 1.7


def fused(inputs: torch.Tensor, *tensors: torch.Tensor) -> torch.Tensor:
    """The operation with separate arguments."""
    return lora_linear(inputs, Adapted(*tensors, SCALE))


def single(inputs: torch.Tensor, *tensors: torch.Tensor) -> torch.Tensor:
    """Its reference."""
    return layer_reference(inputs, Adapted(*tensors, SCALE))


def made_up(
    shape: tuple[int, ...],
    dtype: torch.dtype = torch.float32,
    *,
    bias: bool = True,
    transposed: bool = False,
    first: bool = False,
) -> list[torch.Tensor | None]:
    """Inputs, weight, bias and the adapter's two matrices; inputs of the `first` layer need no gradient."""
    weight = random(IN, OUT, dtype=dtype, seed=1, trained=False).T
    return [
        random(*shape, IN, dtype=dtype, trained=not first),
        weight if transposed else weight.contiguous(),
        random(OUT, dtype=dtype, seed=2, trained=False) if bias else None,
        random(RANK, IN, dtype=dtype, seed=3),
        random(OUT, RANK, dtype=dtype, seed=4),
    ]


@pytest.mark.parametrize("first", [True, False], ids=["no-gradient", "gradient"])
@pytest.mark.parametrize("transposed", [True, False], ids=["conv1d", "linear"])
@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no-bias"])
@pytest.mark.parametrize("shape", [(7,), (3, 5), (2, 3, 4), (1,)], ids=str)
def test_it_is_the_single_operations(shape: tuple[int, ...], bias: bool, transposed: bool, first: bool) -> None:
    """In bf16 as well, and with a sum's gradient."""
    upstream = random(*shape, OUT, seed=9, trained=False)
    for dtype in (torch.float32, torch.bfloat16):
        inputs = made_up(shape, dtype, bias=bias, transposed=transposed, first=first)
        for slope in (upstream, None):
            assert_as_exact(
                fused,
                single,
                inputs,
                slope,
            )


@pytest.mark.parametrize("transposed", [True, False], ids=["conv1d", "linear"])
@pytest.mark.parametrize("held", [torch.float32, torch.bfloat16])
def test_autocast_computes_in_bf16_and_gives_gradients_of_the_adapters_type(
    held: torch.dtype, transposed: bool
) -> None:
    """Over a base that is held in fp32 or in bf16, with matrices in fp32."""
    inputs = made_up((3, 5), transposed=transposed)
    for index in (1, 2):
        inputs[index] = inputs[index].to(held)
    exact = [None if one is None else one.detach().float().requires_grad_(one.requires_grad) for one in inputs]
    upstream = random(3, 5, OUT, seed=9, trained=False).bfloat16()

    def cast(*given: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return fused(*given)

    output, *gradients = values_and_gradients(cast, inputs, upstream)
    assert output.dtype == torch.bfloat16
    assert [one.dtype for one in gradients] == [torch.float32] * 3
    expected = values_and_gradients(single, exact, upstream)
    assert_near([output.float(), *gradients], expected, 1e-2)


def test_matrices_in_fp32_beside_a_base_in_bf16() -> None:
    """Without autocast, as in evaluation."""
    inputs = made_up((3, 5), torch.bfloat16)
    inputs[3:] = made_up((3, 5))[3:]
    ours, theirs = (values_and_gradients(way, inputs) for way in (fused, single))
    assert [one.dtype for one in ours] == [torch.bfloat16] * 2 + [torch.float32] * 2
    assert_near(ours, theirs, 1e-2)


def test_the_frozen_layer_gets_no_gradient_and_nothing_is_changed() -> None:
    inputs = made_up((3, 5))
    before = [one.detach().clone() for one in inputs if one is not None]
    fused(*inputs).sum().backward()
    weight, bias = inputs[1:3]
    assert weight.grad is None
    assert bias.grad is None
    assert all(torch.equal(one, two) for one, two in zip(inputs, before, strict=True))
    assert inputs[0].grad.shape == (3, 5, IN)


def test_without_an_update_it_is_the_layer() -> None:
    inputs = made_up((3, 5))
    inputs[4] = torch.zeros(OUT, RANK, requires_grad=True)
    output, _, of_down, of_up = values_and_gradients(fused, inputs)
    assert torch.equal(output, torch.nn.functional.linear(*inputs[:3]))
    assert not of_down.any()
    assert of_up.any()


def test_no_tokens_at_all() -> None:
    """As an expert has them that none is sent to."""
    output, *gradients = values_and_gradients(fused, made_up((0,)))
    assert output.shape == (0, OUT)
    assert [one.shape for one in gradients] == [(0, IN), (RANK, IN), (OUT, RANK)]
    assert not any(one.any() for one in gradients)


@pytest.mark.parametrize("first", [True, False], ids=["no-gradient", "gradient"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(7,), (3, 5), (2, 3, 4), (1,)], ids=str)
def test_beside_a_product_of_its_own(shape: tuple[int, ...], dtype: torch.dtype, first: bool) -> None:
    """The product is called once, without gradients, and the matrix asked for once, where a gradient needs it."""
    inputs, weight, bias, down, up = made_up(shape, dtype, first=first)
    asked: list[str] = []

    def product(tokens: torch.Tensor) -> torch.Tensor:
        asked.append("product")
        assert not torch.is_grad_enabled() and not torch.is_autocast_enabled("cpu")
        return functional.linear(tokens, weight.to(tokens.dtype), bias.to(tokens.dtype))

    def matrix() -> torch.Tensor:
        asked.append("matrix")
        return weight

    assert_as_exact(
        lambda x, down, up: lora_packed_linear(x, product, matrix, down, up, SCALE),
        lambda x, down, up: lora_beside_reference(
            x, lambda x: functional.linear(x, weight.to(x.dtype), bias.to(x.dtype)), matrix, down, up, SCALE
        ),
        [inputs, down, up],
        random(*shape, OUT, seed=9, trained=False),
    )
    assert asked == (["product"] if first else ["product", "matrix"])


def test_beside_a_product_in_autocast_the_type_is_that_of_the_inputs() -> None:
    inputs, weight, _, down, up = made_up((3, 5))
    given = [inputs.detach().bfloat16().requires_grad_(), down, up]

    def product(tokens: torch.Tensor) -> torch.Tensor:
        assert not torch.is_autocast_enabled("cpu")
        return tokens @ weight.T.to(tokens.dtype)

    def cast(x: torch.Tensor, down: torch.Tensor, up: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return lora_packed_linear(x, product, lambda: weight, down, up, SCALE)

    made = values_and_gradients(cast, given)
    assert [one.dtype for one in made] == [torch.bfloat16, torch.bfloat16, torch.float32, torch.float32]
    exact = values_and_gradients(lambda x, down, up: single(x, weight, None, down, up), [given[0].float(), down, up])
    assert_near([one.float() for one in made], [one.float() for one in exact], 1e-2)


def test_a_model_may_add_to_the_output_in_place() -> None:
    inputs, weight, bias, down, up = tensors = made_up((3, 5))
    plain = values_and_gradients(fused, tensors)[1:]
    changed = values_and_gradients(lambda *given: fused(*given).add_(1), tensors)[1:]
    assert all(torch.equal(one, other) for one, other in zip(plain, changed, strict=True))

    def beside(x: torch.Tensor, down: torch.Tensor, up: torch.Tensor) -> torch.Tensor:
        return lora_packed_linear(x, lambda x: functional.linear(x, weight, bias), lambda: weight, down, up, SCALE)

    plain = values_and_gradients(beside, [inputs, down, up])[1:]
    changed = values_and_gradients(lambda *given: beside(*given).add_(1), [inputs, down, up])[1:]
    assert all(torch.equal(one, other) for one, other in zip(plain, changed, strict=True))
