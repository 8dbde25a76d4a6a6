"""The fused LoRA layer on 4 bits is PEFT's on the same bits, and is left out of whatever it cannot do."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft.tuners.lora.bnb import Linear4bit as PeftLinear4bit
from peft.tuners.lora.bnb import Linear8bitLt as PeftLinear8bitLt
from safetensors.torch import load_file

from burnish.methods import make_method
from burnish.methods.lora_layer import fused_quantized_layer
from burnish.models.base import load_base
from burnish.models.device import PRECISIONS
from burnish.models.heads import CAUSAL, Target
from burnish.models.location import ModelLocation
from burnish.recipe.schema import ModelSection, Recipe
from tests.tiny_steps import save_tiny, tokenizer_of
from tests.unit.kernels.comparison import distance
from tests.unit.methods.test_lora_layer import (
    assert_identical,
    assert_same,
    disable,
    fused_layers,
    layer_types,
    outcome,
    randomize,
)

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Saved models: without biases, and with some."""
    return {name: save_tiny(name, tmp_path_factory.mktemp(name)) for name in ("llama", "gpt2")}


def adapted(folder: Path, kernels: str, precision: str = "fp32", method: str = "qlora", **options: Any) -> Any:
    """A tiny model in 4 or 8 bits with an adapter that begins at random, equal for both kinds of `kernels`."""
    sections = {"model": {"kernels": kernels}, "lora": {"rank": 3, "alpha": 7, **options}}
    recipe = Recipe.model_validate({"method": method, **sections})
    made = make_method(method)
    loading = made.loading(PRECISIONS[precision], CPU)
    location = ModelLocation("tiny", folder, False)
    base = load_base(location, ModelSection(), tokenizer_of(folder.name), CPU, loading, CAUSAL)
    torch.manual_seed(0)
    network = made.apply(base.network, recipe, Target())
    randomize(network)
    return network.train()


def both(folder: Path, precision: str = "fp32", **options: Any) -> tuple[Any, Any]:
    """The same network with our layers and with PEFT's."""
    ours, theirs = (adapted(folder, kernels, precision, **options) for kernels in ("fast", "plain"))
    assert layer_types(ours) == {fused_quantized_layer()}
    assert layer_types(theirs) == {PeftLinear4bit}
    return ours, theirs


def fused(network: Any) -> int:
    """How many layers with an adapter computed their last output in one operation."""
    return fused_layers(network, "_LoraBesideBackward")


@pytest.mark.parametrize("layout", ["llama", "gpt2"])
def test_outputs_and_gradients_are_pefts(layout: str, folders: dict[str, Path]) -> None:
    ours, theirs = both(folders[layout], rslora=True)
    made, expected = outcome(ours), outcome(theirs)
    assert_same(made, expected)
    assert len(made) > 8
    assert fused(ours) == sum(isinstance(module, fused_quantized_layer()) for module in ours.modules()) > 0
    assert fused(theirs) == 0


@pytest.mark.parametrize("layout", ["llama", "gpt2"])
def test_in_bf16_they_are_as_exact_as_pefts(layout: str, folders: dict[str, Path]) -> None:
    """Measured from what the same bits give in fp32; GPT-2's norms hand on fp32, which its layers take and give."""

    def cast(network: Any) -> dict[str, torch.Tensor]:
        with torch.autocast("cpu", torch.bfloat16):
            return outcome(network)

    ours, theirs = both(folders[layout], "bf16")
    exact = copy.deepcopy(theirs).float()
    for module in exact.modules():
        if hasattr(module, "compute_dtype"):
            module.compute_dtype = torch.float32
    wanted, made, expected = outcome(exact), cast(ours), cast(theirs)
    assert [one.dtype for one in made.values()] == [one.dtype for one in expected.values()]
    error, usual = (distance(flat(one), flat(wanted)) for one in (made, expected))
    assert 0.001 < error < 1.25 * usual < 0.1
    assert fused(ours) > 0


def flat(outcome: dict[str, torch.Tensor]) -> torch.Tensor:
    """All numbers in fp32, every tensor scaled to the norm 1."""
    return torch.cat([(one.float() / one.float().norm()).flatten() for _, one in sorted(outcome.items())])


def test_a_layer_gives_the_type_that_it_is_given(folders: dict[str, Path]) -> None:
    """Whatever type it computes in: norms in autocast hand on fp32."""
    for dtype in (torch.float32, torch.bfloat16):
        given = torch.randn(5, 64, generator=torch.Generator().manual_seed(2)).to(dtype)
        made = []
        for network in both(folders["llama"], "bf16"):
            layer = next(module for module in network.modules() if hasattr(module, "lora_A"))
            with torch.autocast("cpu", torch.bfloat16):
                made.append(layer(given))
        assert made[0].dtype == made[1].dtype == dtype
        assert distance(*made) < 0.01


@pytest.mark.parametrize("options", [{"dropout": 0.3}, {"dora": True}], ids=lambda one: "-".join(one))
def test_what_it_cannot_do_is_left_to_peft(options: dict[str, Any], folders: dict[str, Path]) -> None:
    ours, theirs = both(folders["llama"], **options)
    assert_identical(outcome(ours), outcome(theirs))
    assert fused(ours) == 0


def forget_type(network: Any) -> None:
    """The layers then find the type of their arithmetic themselves."""
    for module in network.modules():
        if hasattr(module, "compute_dtype"):
            module.compute_dtype, module.compute_type_is_set = None, False


def forget_quantization(network: Any) -> None:
    """The packed weights then do not hold how they were packed, as after a move; the layers tell it in their first
    pass."""
    for module in network.modules():
        if hasattr(module, "quant_state"):
            module.weight.quant_state = None


@pytest.mark.parametrize("change", [disable, forget_type, forget_quantization], ids=lambda change: change.__name__)
def test_other_states_are_left_to_peft(change: Callable[[Any], None], folders: dict[str, Path]) -> None:
    ours, theirs = both(folders["llama"])
    assert_identical(outcome(ours, change), outcome(theirs, change))
    change(ours)  # the first pass has set it
    assert fused(ours) == 0


def test_with_checkpointing_nothing_changes(folders: dict[str, Path]) -> None:
    ours, theirs = both(folders["llama"])
    expected = outcome(ours)
    for network in (ours, theirs):
        network.enable_input_require_grads()
        network.gradient_checkpointing_enable({"use_reentrant": False})
    assert_same(outcome(ours), expected)
    assert_same(outcome(theirs), expected)


def test_the_saved_adapter_is_pefts(folders: dict[str, Path], tmp_path: Path) -> None:
    files = []
    for network, name in zip(both(folders["llama"]), ("ours", "theirs"), strict=True):
        make_method("qlora").save(network, tmp_path / name)
        files.append(load_file(tmp_path / name / "adapter_model.safetensors"))
    ours, theirs = files
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_layers_of_8_bits_get_pefts_own_class(folders: dict[str, Path]) -> None:
    network = adapted(folders["llama"], "fast", "bf16", "int8-lora")
    assert layer_types(network) == {PeftLinear8bitLt}
