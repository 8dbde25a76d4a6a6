"""The work of a step: floating-point operations and bytes, by hand."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from burnish.models.base import Loading
from burnish.models.quantization import nf4_config
from burnish.models.skeleton import fake_quantized_layer
from burnish.plan.live_storage import LiveStorage
from burnish.plan.roofline import Operation, Work, bytes_inside

ROWS, INPUTS, INNER, OUTPUTS = 6, 8, 16, 3
CPU = torch.device("cpu")


def work_of(run: Any) -> Work:
    """What is counted while it runs."""
    work = Work()
    storage = LiveStorage(OUTPUTS, work.add)
    storage.begin_phase("run")
    with storage:
        run()
    return work


def test_a_small_network_by_hand() -> None:
    """2·m·n·k a product: forward, and backward once for the weights and once for the inputs, but the network's own."""
    network = nn.Sequential(nn.Linear(INPUTS, INNER), nn.ReLU(), nn.Linear(INNER, OUTPUTS))
    rows = torch.randn(ROWS, INPUTS)
    first, second = 2 * ROWS * INPUTS * INNER, 2 * ROWS * INNER * OUTPUTS
    assert work_of(lambda: network(rows)).flops == first + second
    assert work_of(lambda: network(rows).sum().backward()).flops == 2 * first + 3 * second
    network[0].requires_grad_(False)
    assert work_of(lambda: network(rows).sum().backward()).flops == first + 2 * second


def test_traffic_is_what_is_read_and_written_each_tensor_once() -> None:
    left, right = torch.zeros(4, 8), torch.zeros(8, 2)
    work = work_of(lambda: left @ right)
    assert work.operations == {Operation(2 * 4 * 8 * 2, 4 * (32 + 16 + 8), "fp32"): 1}
    assert work_of(lambda: left + left).operations == {Operation(0, 4 * (32 + 32), "fp32"): 1}


def test_views_cost_nothing_and_repeats_are_counted() -> None:
    given = torch.zeros(4, 8)
    work = work_of(lambda: [given.t()[1:].unsqueeze(0) * 2 for _ in range(3)])
    assert work.operations == {Operation(0, 2 * 4 * 28, "fp32"): 3}
    work.clear()
    assert (work.flops, len(work.operations)) == (0, 0)


@pytest.mark.parametrize(
    ("dtype", "name"), [(torch.float32, "fp32"), (torch.bfloat16, "bf16"), (torch.float16, "fp16")]
)
def test_precision(dtype: torch.dtype, name: str) -> None:
    given = torch.zeros(4, 4, dtype=dtype)
    assert [one.precision for one in work_of(lambda: given @ given).operations] == [name]


@pytest.mark.parametrize("rows", [1, ROWS])
def test_4_bit_layers(rows: int) -> None:
    """The product counts as that of the unpacked matrix, which is there while it runs."""
    loading = Loading(torch.float32, nf4_config(torch.float32, CPU))
    plain, work, insides = nn.Linear(64, 128, bias=False), Work(), []

    def inside(function: Any, args: tuple[Any, ...], result: Any) -> int:
        insides.append(bytes_inside(function, args, result))
        return insides[-1]

    mode = FakeTensorMode(allow_non_fake_inputs=True)

    def empty(shape: Any, dtype: torch.dtype) -> torch.Tensor:
        with mode:
            return torch.empty(shape, dtype=dtype)

    layer = fake_quantized_layer(plain, loading, empty)
    given = empty((rows, 64), torch.float32).requires_grad_()
    storage = LiveStorage(OUTPUTS, work.add, inside)
    storage.begin_phase("run")
    with storage:
        layer(given)
    assert work.flops == 2 * rows * 64 * 128
    assert max(insides) == 4 * 64 * 128
    assert storage.peak.total > 4 * 64 * 128 > 2 * storage.live


@pytest.mark.parametrize(
    ("left", "right", "ends", "flops"),
    [
        ((ROWS, INPUTS), (2, INPUTS, INNER), (4, ROWS), 2 * ROWS * INPUTS * INNER),
        ((INPUTS, 8), (8, INNER), (2, 8), 2 * 8 * INPUTS * INNER),
        ((2, ROWS, INPUTS), (2, INPUTS, INNER), None, 2 * 2 * ROWS * INPUTS * INNER),
    ],
)
def test_products_of_experts_have_the_shapes_of_torch(
    left: tuple[int, ...], right: tuple[int, ...], ends: tuple[int, ...] | None, flops: int
) -> None:
    """Each group of rows times a matrix of its own, in fp32 too; on tensors without numbers as on real ones."""
    shapes = []

    def multiply() -> None:
        offsets = None if ends is None else torch.tensor(ends, dtype=torch.int32)
        shapes.append(torch._grouped_mm(torch.zeros(left), torch.zeros(right), offsets).shape)

    for mode in (nullcontext(), FakeTensorMode()):
        with mode:
            assert work_of(multiply).flops == flops
    assert shapes[0] == shapes[1]
