"""How a LoRA adapter begins: what `lora.init` needs, and when an adapter has moved from there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from burnish.errors import RecipeError
from burnish.methods.lora import check_start, has_moved
from burnish.recipe.schema import LoraSection

LINEAR = nn.Linear(6, 4)


def packed() -> nn.Module:
    """A layer whose weight is not of floating point."""
    layer = nn.Linear(6, 4)
    layer.weight = nn.Parameter(torch.zeros(4, 6, dtype=torch.int8), requires_grad=False)
    return layer


@pytest.mark.parametrize(
    ("options", "layers"),
    [
        ({"rank": 64, "dora": True}, [nn.Embedding(9, 4), packed()]),
        ({"init": "pissa"}, [LINEAR, Conv1D(4, 6)]),
        ({"init": "olora"}, [LINEAR]),
        ({"init": "pissa"}, [LINEAR, nn.Identity()]),
        ({"init": "pissa", "rank": 64}, [nn.Identity()]),
    ],
    ids=["default", "pissa", "olora", "as high as the rank", "no matrix at all"],
)
def test_a_start_that_is_possible(options: dict[str, Any], layers: list[nn.Module]) -> None:
    check_start(LoraSection(**{"rank": 4, **options}), layers)


@pytest.mark.parametrize(
    ("options", "layers", "why", "fix"),
    [
        ({"init": "pissa"}, [LINEAR, packed()], "quantized", "--method lora"),
        ({"init": "pissa"}, [LINEAR, nn.Embedding(9, 4)], "An embedding", "Leave the embedding out"),
        ({"init": "olora"}, [LINEAR, Conv1D(4, 6)], "transposed", "lora.init=pissa"),
        ({"init": "pissa", "dora": True}, [LINEAR], "DoRA", "lora.dora=false"),
        ({"init": "pissa", "rank": 5}, [nn.Linear(9, 9), LINEAR], "a dimension of 4, so a rank of 5", "lora.rank=4`"),
        ({"init": "olora", "rank": 5}, [nn.Linear(9, 9), nn.Linear(3, 9)], "a dimension of 3", "lora.rank=3`"),
    ],
    ids=["packed", "embedding", "transposed", "dora", "too narrow out", "too narrow in"],
)
def test_a_start_that_is_not(options: dict[str, Any], layers: list[nn.Module], why: str, fix: str) -> None:
    with pytest.raises(RecipeError) as caught:
        check_start(LoraSection(**{"rank": 4, **options}), layers)
    assert caught.value.what == f"`lora.init={options['init']}` is not possible here"
    assert why in caught.value.why
    assert fix in caught.value.fix


class Named:
    """A network of which only the names of its matrices matter.

    Args:
        start: the matrices at the start of training, if it is in training.
        matrices: by name.
    """

    def __init__(self, start: dict[str, torch.Tensor] | None = None, **matrices: torch.Tensor) -> None:
        if start is not None:
            self.lora_start = start
        self.matrices = {name.replace("__", "."): matrix for name, matrix in matrices.items()}

    def named_parameters(self) -> Iterator[tuple[str, torch.Tensor]]:
        """By name."""
        yield from self.matrices.items()


def loaded(up: torch.Tensor, down: torch.Tensor, kind: str = "") -> Named:
    """A loaded network with a layer whose adapter is `up @ down`, after one that has not moved."""
    idle = {f"k__lora{kind}_A__default__weight": torch.ones(2, 3), f"k__lora{kind}_B__default__weight": 0 * up}
    return Named(**idle, **{f"q__lora{kind}_A__default__weight": down, f"q__lora{kind}_B__default__weight": up})


@pytest.mark.parametrize("kind", ["", "_embedding"])
def test_a_product_that_is_zero_has_not_moved(kind: str) -> None:
    """Whichever of the two begins as zero."""
    up, down = torch.ones(4, 2), torch.arange(6.0).reshape(2, 3)
    assert has_moved(loaded(up, down, kind))
    assert not has_moved(loaded(0 * up, down, kind))
    assert not has_moved(loaded(up, 0 * down, kind))
    assert not has_moved(loaded(torch.ones(4, 3), down, kind)), "matrices that do not belong together"


def test_halves_that_cancel_out_have_not_moved() -> None:
    """`[B, -B0] [A; A0]`, as an adapter that was split off the base weights is saved."""
    up, down = torch.arange(1.0, 9.0).reshape(4, 2), torch.arange(1.0, 7.0).reshape(2, 3)
    twice_up, twice_down = torch.cat([up, -up], dim=1), torch.cat([down, down])
    assert not has_moved(loaded(twice_up, twice_down))
    for matrix in (twice_up, twice_down):
        for place in (0, -1):
            matrix.view(-1)[place] += 0.5
            assert has_moved(loaded(twice_up, twice_down))
            matrix.view(-1)[place] -= 0.5
    assert has_moved(loaded(torch.cat([up, up], dim=1), twice_down))


@pytest.mark.parametrize("rank", [1, 3])
def test_an_odd_rank_has_no_halves_that_could_cancel_out(rank: int) -> None:
    up, down = torch.ones(4, rank), torch.ones(rank, 3)
    assert has_moved(loaded(up, down))
    up[:, 0], down[0] = -1, 1  # the first is minus the others, however many they are
    assert has_moved(loaded(up, down))


@pytest.mark.parametrize("largest", [1.0, 4.0])
def test_what_is_less_than_a_bit_of_the_largest_number_is_no_move(largest: float) -> None:
    """Of its 24 bits in fp32."""
    start = {"q.lora_A.weight": torch.tensor([[largest, 0.0]]), "q.lora_B.weight": torch.tensor([[largest]])}

    def moved(by: float, name: str) -> bool:
        network = Named(start, **{key.replace(".weight", ".default.weight"): one.clone() for key, one in start.items()})
        network.matrices[name][0, 0] -= by
        return has_moved(network)

    for name in ("q.lora_A.default.weight", "q.lora_B.default.weight"):
        assert not moved(0.0, name)
        assert not moved(largest * 2**-24, name)
        assert moved(largest * 2**-23, name)
