"""The fused LoRA layer is PEFT's, and is left out of whatever it cannot do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from peft.tuners.lora.layer import Linear as PeftLinear
from safetensors.torch import load_file
from torch import nn
from transformers.pytorch_utils import Conv1D

from burnish.methods import make_method
from burnish.methods.lora_layer import fused_layer, register_layers
from burnish.models.heads import Target
from burnish.recipe.schema import LoraSection, Recipe
from tests.tiny_models import make_network
from tests.unit.kernels.comparison import assert_near, distance

CPU = torch.device("cpu")
TOLERANCE = 1e-5


def adapted(layout: str, kernels: str, **options: Any) -> Any:
    """A tiny model with an adapter that begins at random, equal for both kinds of `kernels`."""
    recipe = Recipe.model_validate({"method": "lora", "model": {"kernels": kernels}})
    recipe = recipe.model_copy(update={"lora": LoraSection(**{"rank": 3, "alpha": 7, **options})})
    torch.manual_seed(0)
    network = make_method("lora").apply(make_network(layout), recipe, Target())
    randomize(network)
    return network.train()


@torch.no_grad()
def randomize(network: Any) -> None:
    """Gives the matrices B, which begin at zero, numbers."""
    generator = torch.Generator().manual_seed(1)
    for name, weight in network.named_parameters():
        if "lora_B" in name:
            weight.copy_(0.1 * torch.randn(weight.shape, generator=generator))


def both(layout: str, **options: Any) -> tuple[Any, Any]:
    """The same network with our layers and with PEFT's."""
    ours, theirs = (adapted(layout, kernels, **options) for kernels in ("fast", "plain"))
    assert layer_types(ours) == {fused_layer()}
    assert layer_types(theirs) == {PeftLinear}
    return ours, theirs


def layer_types(network: Any) -> set[type]:
    """Classes of the layers that hold an adapter."""
    return {type(module) for module in network.modules() if hasattr(module, "lora_A")}


def outcome(network: Any, change: Callable[[Any], None] = lambda network: None) -> dict[str, torch.Tensor]:
    """Logits of two rows, and every gradient of a made-up loss, by name."""
    change(network)
    torch.manual_seed(3)
    logits = network(input_ids=torch.arange(3, 25).reshape(2, 11)).logits
    network.zero_grad(set_to_none=True)
    if logits.requires_grad:
        (logits * torch.randn(logits.shape, generator=torch.Generator().manual_seed(4))).sum().backward()
    gradients = {name: weight.grad for name, weight in network.named_parameters() if weight.grad is not None}
    return {"logits": logits.detach(), **gradients}


def fused_layers(network: Any, name_of_backward: str = "_LoraLinearBackward") -> int:
    """How many layers with an adapter computed their last output in one operation."""
    made: dict[str, bool] = {}
    hooks = [
        module.register_forward_hook(
            lambda module, inputs, output, name=name: made.update(
                {name: output.grad_fn is not None and output.grad_fn.name() == name_of_backward}
            )
        )
        for name, module in network.named_modules()
        if hasattr(module, "lora_A")
    ]
    network(input_ids=torch.arange(3, 25).reshape(2, 11))
    for hook in hooks:
        hook.remove()
    assert len(made) == len(hooks) > 0
    return sum(made.values())


def assert_same(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor], tolerance: float = TOLERANCE) -> None:
    """The same gradients, all of them near."""
    assert ours.keys() == theirs.keys()
    assert_near(list(ours.values()), list(theirs.values()), tolerance)


def assert_identical(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> None:
    """Bit by bit: PEFT's own code was run."""
    assert ours.keys() == theirs.keys()
    assert [name for name in ours if not torch.equal(ours[name], theirs[name])] == []


@pytest.mark.parametrize("layout", ["llama", "gpt2", "qwen2", "phi3"])
def test_outputs_and_gradients_are_pefts(layout: str) -> None:
    """Linear layers without a bias and with one, transposed ones, and those of several matrices in one."""
    ours, theirs = both(layout, rslora=True)
    made, expected = outcome(ours), outcome(theirs)
    assert_same(made, expected)
    assert len(made) > 8
    assert fused_layers(ours) == sum(isinstance(module, fused_layer()) for module in ours.modules())
    assert fused_layers(theirs) == 0


@pytest.mark.parametrize("held", [torch.float32, torch.bfloat16])
def test_in_autocast_they_are_as_exact_as_pefts(held: torch.dtype) -> None:
    """Measured from what fp32 gives: over several layers, any two ways to round part by some percent."""

    def cast(network: Any) -> dict[str, torch.Tensor]:
        for name, weight in network.named_parameters():
            if "lora_" not in name:
                weight.data = weight.data.to(held)
        with torch.autocast("cpu", torch.bfloat16):
            return outcome(network)

    ours, theirs = both("llama")
    exact = outcome(theirs)
    made, expected = cast(ours), cast(theirs)
    assert [one.dtype for one in made.values()] == [one.dtype for one in expected.values()]
    error, usual = (distance(flat(one), flat(exact)) for one in (made, expected))
    assert 0.001 < error < 1.25 * usual < 0.1


def flat(outcome: dict[str, torch.Tensor]) -> torch.Tensor:
    """All numbers in fp32, every tensor scaled to the norm 1."""
    return torch.cat([(one.float() / one.float().norm()).flatten() for _, one in sorted(outcome.items())])


def test_in_evaluation_dropout_is_no_obstacle() -> None:
    ours, theirs = (network.eval() for network in both("llama", dropout=0.3))
    assert_same(outcome(ours), outcome(theirs))
    assert fused_layers(ours) == 14
    assert fused_layers(ours.train()) == 0


@pytest.mark.parametrize(
    "options", [{"dropout": 0.3}, {"dora": True}, {"bias": "all"}, {"bias": "lora_only"}], ids=lambda one: "-".join(one)
)
@pytest.mark.parametrize("layout", ["gpt2", "qwen2"])
def test_what_it_cannot_do_is_left_to_peft(layout: str, options: dict[str, Any]) -> None:
    ours, theirs = both(layout, **options)
    made, expected = outcome(ours), outcome(theirs)
    with_bias = sum(hasattr(module, "lora_A") and module.bias is not None for module in ours.modules())
    number = sum(hasattr(module, "lora_A") for module in ours.modules())
    assert with_bias > 0
    assert fused_layers(ours) == (number - with_bias if options.get("bias") else 0)
    if options.get("bias"):  # where there is no bias, there is nothing that keeps the fast way out
        assert_same(made, expected)
        assert sum(name.endswith(".bias") for name in made) > 4
        return
    assert_identical(made, expected)


def two_adapters(network: Any) -> None:
    """Both of them active at once."""
    torch.manual_seed(7)
    network.add_adapter("second", LoraConfig(r=2, target_modules=["q_proj", "v_proj"]))
    randomize(network)
    network.base_model.set_adapter(["default", "second"])


def unfreeze(network: Any) -> None:
    for name, weight in network.named_parameters():
        if name.endswith("base_layer.weight"):
            weight.requires_grad_()


def disable(network: Any) -> None:
    network.base_model.disable_adapter_layers()


def merge(network: Any) -> None:
    network.merge_adapter()


def unmerge(network: Any) -> None:
    network.merge_adapter()
    network.unmerge_adapter()


@pytest.mark.parametrize("change", [unfreeze, disable, merge], ids=lambda change: change.__name__)
@pytest.mark.parametrize("layout", ["gpt2", "llama"])
def test_other_states_are_left_to_peft(change: Callable[[Any], None], layout: str) -> None:
    ours, theirs = both(layout)
    plain = outcome(ours)
    made, expected = outcome(ours, change), outcome(theirs, change)
    assert_identical(made, expected)
    assert fused_layers(ours) == 0
    assert made.keys() != plain.keys() or not torch.equal(made["logits"], plain["logits"])


@pytest.mark.parametrize("layout", ["gpt2", "llama"])
def test_a_layer_as_a_part_of_an_operation(layout: str) -> None:
    """Switched off it is the frozen layer alone, computed the same way; transposed ones are left to PEFT then."""
    network = adapted(layout, "fast")
    layer = next(module for module in network.modules() if isinstance(module, fused_layer()))
    base = layer.get_base_layer()
    part = layer.adapted()
    assert part.weight.shape == (part.up.shape[0], part.down.shape[1])
    assert part.bias is base.bias
    assert part.scale == pytest.approx(7 / 3)
    merge(network)
    assert layer.adapted() is None, "its weight has the adapter in it"
    disable(network)
    assert layer.adapted() is None, "and still has"
    network.unmerge_adapter()
    alone = layer.adapted()
    if layout == "gpt2":
        assert alone is None
    else:
        assert alone.weight is base.weight
        assert alone.tensors()[2:] == (None, None)


def test_where_two_adapters_meet_peft_adds_them() -> None:
    """Layers with one of the two go on as before."""
    ours, theirs = both("llama")
    alone = outcome(theirs)
    made, expected = outcome(ours, two_adapters), outcome(theirs, two_adapters)
    assert_same(made, expected)
    assert sum("second" in name for name in made) == 8
    assert (made["logits"] - alone["logits"]).norm() > 0.01 * alone["logits"].norm()
    assert fused_layers(ours) == 14 - 4


def test_each_row_may_name_its_adapter() -> None:
    """An argument that only PEFT's forward pass knows."""
    ours, theirs = (network.eval() for network in both("llama"))
    for network in (ours, theirs):
        network.add_adapter("second", LoraConfig(r=2, target_modules=["q_proj", "v_proj"]))
    made, expected = (
        network(input_ids=torch.arange(3, 25).reshape(2, 11), adapter_names=["default", "__base__"]).logits
        for network in (ours, theirs)
    )
    assert torch.equal(made, expected)


def test_a_bias_of_the_adapter_is_left_to_peft() -> None:
    """As others make it: Burnish itself has no option for it."""
    made = []
    for is_ours in (True, False):
        torch.manual_seed(0)
        layer = nn.Linear(8, 6)
        config = LoraConfig(r=2, target_modules=["0"], lora_bias=True)
        if is_ours:
            register_layers(config, [layer])
        network = get_peft_model(nn.Sequential(layer), config)
        with torch.no_grad():
            network.base_model.model[0].lora_B["default"].bias.fill_(0.5)
        made.append(network(torch.ones(3, 8)))
    assert torch.equal(*made)
    assert not torch.equal(made[0], layer(torch.ones(3, 8)))


def test_after_merging_and_unmerging_it_goes_on() -> None:
    ours, theirs = both("llama")
    assert_same(outcome(ours, unmerge), outcome(theirs), 1e-4)
    assert fused_layers(ours) == 14


def test_the_saved_adapter_is_pefts(tmp_path: Path) -> None:
    """The same names, shapes and numbers, and a folder that PEFT opens."""
    for layout in ("llama", "gpt2"):
        files = []
        for network, name in zip(both(layout), ("ours", "theirs"), strict=True):
            make_method("lora").save(network, tmp_path / layout / name)
            files.append(load_file(tmp_path / layout / name / "adapter_model.safetensors"))
        ours, theirs = files
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)
        configs = [(tmp_path / layout / name / "adapter_config.json").read_text() for name in ("ours", "theirs")]
        assert configs[0] == configs[1]


def test_a_layer_of_another_kind_keeps_pefts_layers_on_all() -> None:
    """Only the classes that are known are replaced, by their very type."""

    class Own(nn.Linear):
        pass

    for layers, is_ours in (
        ([nn.Linear(2, 2), Conv1D(2, 2)], True),
        ([nn.Linear(2, 2), Own(2, 2)], False),
        ([nn.Embedding(2, 2)], False),
    ):
        config = LoraConfig(target_modules=["0", "1"])
        register_layers(config, layers)
        network = get_peft_model(nn.Sequential(*layers), config)
        assert (fused_layer() in layer_types(network)) == is_ours
