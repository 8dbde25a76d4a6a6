"""Compiled blocks compute what they computed before, keep every name, and go back to what they were.

torch's own compiler takes long; here its graphs are made, and run without it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch._dynamo.utils import counters

from burnish.models.compiled_blocks import Computed, agree, compile_blocks, compute, is_compiled, uncompiled
from burnish.models.compiled_blocks import undo_compiling as undo
from burnish.models.fast_paths import install_fast_paths
from tests.tiny_models import make_network
from tests.tiny_training import with_method

BACKEND = "eager"
IDS = torch.arange(40)[None].remainder(17) + 5
TEXTS = {"input_ids": IDS, "labels": IDS, "position_ids": torch.cat([torch.arange(25), torch.arange(15)])[None]}
"""Two examples in one row."""


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    """No graph is left over."""
    yield
    torch.compiler.reset()


def network_of(layout: str, method: str = "lora", blocks: int = 1, **changes: Any) -> Any:
    """A tiny trainable model with Burnish's fast paths, in training mode. Each block takes the compiler a second."""
    depth = {"gpt2": "n_layer", "llama": "num_hidden_layers"}[layout]
    network = make_network(layout, **{depth: blocks}, **changes)
    assert install_fast_paths(network) == []
    return with_method(network, method).train()


def computed(network: Any, **more: Any) -> Computed:
    """Of the texts."""

    def run() -> torch.Tensor:
        network.zero_grad()
        loss = network(**TEXTS, **more).loss
        loss.backward()
        return loss

    return compute(network, run)


def num_graphs() -> int:
    """That were compiled since the counters were cleared."""
    return counters["stats"]["unique_graphs"]


MODELS = pytest.mark.parametrize(
    ("layout", "method"), [("gpt2", "full"), pytest.param("llama", "lora", marks=pytest.mark.slow)]
)


@MODELS
def test_compiled_is_plain_and_can_be_undone(layout: str, method: str) -> None:
    network = network_of(layout, method, blocks=2 if layout == "gpt2" else 1)
    plain, names = computed(network), list(network.state_dict())
    counters.clear()
    compile_blocks(network, BACKEND)
    assert is_compiled(network)
    compiled = computed(network)
    assert num_graphs() > 0, "nothing was compiled"
    assert agree(plain, compiled, False)
    assert list(network.state_dict()) == names
    with uncompiled(network):
        assert not is_compiled(network)
    undo(network)
    assert not is_compiled(network)
    assert all("forward" not in vars(module) for module in network.modules())
    assert computed(network).loss == plain.loss


@MODELS
def test_blocks_that_evaluate_or_write_are_not_compiled(layout: str, method: str) -> None:
    network = network_of(layout, method)
    counters.clear()
    compile_blocks(network, BACKEND)
    with torch.no_grad():
        network(**TEXTS)
    network.eval()(**TEXTS)
    with uncompiled(network.train()):
        computed(network)
    assert num_graphs() == 0
    computed(network)
    assert num_graphs() > 0


@pytest.mark.slow
def test_a_switched_off_adapter_stays_off() -> None:
    network = network_of("llama")
    with network.disable_adapter():
        base = network(**TEXTS).loss
    tuned = network(**TEXTS).loss
    assert abs(tuned - base) > 1e-3 * base
    compile_blocks(network, BACKEND)
    assert torch.isclose(network(**TEXTS).loss, tuned, rtol=1e-5)
    with network.disable_adapter():
        assert torch.isclose(network(**TEXTS).loss, base, rtol=1e-5)
    assert torch.isclose(network(**TEXTS).loss, tuned, rtol=1e-5)


@pytest.mark.parametrize(
    ("layout", "method"), [("gpt2", "full"), pytest.param("llama", "full", marks=pytest.mark.slow)]
)
def test_activations_are_computed_again_in_compiled_blocks(layout: str, method: str) -> None:
    network = network_of(layout, method)
    network.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    network.enable_input_require_grads()
    plain = computed(network, use_cache=False)
    counters.clear()
    compile_blocks(network, BACKEND)
    assert agree(plain, computed(network, use_cache=False), False)
    assert num_graphs() > 0


def test_dropout_draws_the_same() -> None:
    network = network_of("gpt2", "full", resid_pdrop=0.5)

    def drawn() -> Computed:
        torch.manual_seed(3)
        return computed(network)

    plain = drawn()
    assert abs(computed(network).loss - plain.loss) > 1e-3
    compile_blocks(network, BACKEND)
    assert agree(plain, drawn(), False)


PLAIN = Computed(2.0, torch.tensor([3.0, 4.0, 0.0]), [torch.ones(9), torch.ones(16), torch.zeros(4)])


def with_sample(number: int, change: Callable[[torch.Tensor], torch.Tensor]) -> Computed:
    """The same with another gradient."""
    samples = list(PLAIN.samples)
    samples[number] = change(samples[number])
    return replace(PLAIN, samples=samples)


@pytest.mark.parametrize(
    ("other", "is_same"),
    [
        (PLAIN, True),
        (replace(PLAIN, loss=2.001), False),
        (replace(PLAIN, loss=float("nan")), False),
        (replace(PLAIN, norms=torch.tensor([3.0, 4.01, 0.0])), False),
        (replace(PLAIN, norms=torch.tensor([3.0, float("nan"), 0.0])), False),
        (replace(PLAIN, norms=torch.tensor([3.0, 4.0])), False),
        (with_sample(0, lambda values: values * 1.00001), True),
        (with_sample(0, lambda values: values * 1.001), False),
        (with_sample(0, lambda values: -values), False),
        (with_sample(2, lambda values: values + 1e-5), True),
        (with_sample(2, lambda values: values + 1e-2), False),
    ],
    ids=range(11),
)
def test_what_counts_as_the_same(other: Computed, is_same: bool) -> None:
    assert agree(PLAIN, other, False) is is_same
