"""Quantized bases: what they hold, what is trained on them, and that the adapter fits the base they came from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, BertConfig, BertForSequenceClassification

from burnish.engine.optimizer import check_optimizer, make_optimizer, moments, restore_moments
from burnish.errors import MachineError, RecipeError
from burnish.methods import make_method
from burnish.models.base import BaseModel, load_base
from burnish.models.blocks import count_parameters, linear_layers, memory_bytes
from burnish.models.heads import CAUSAL, Head, Target
from burnish.models.quantization import int8_bytes, int8_config, nf4_bytes, nf4_config
from burnish.recipe.schema import LoraSection, ModelSection, Recipe, TrainSection
from tests.tiny_models import make_network, make_tokenizer, randomize_vectors, save_model
from tests.unit.methods.adapted import location, train

CPU = torch.device("cpu")
IDS = torch.arange(3, 35).reshape(2, 16)
QUANTIZED = ("qlora", "int8-lora")
MOST = {"qlora": 0.30, "int8-lora": 0.55}
"""Share of its bf16 bytes that a quantized linear layer may take."""


def save_base(folder: Path, layout: str = "llama") -> Path:
    """A network whose layers are wide enough for whole blocks of scales."""
    sizes = (
        {"n_embd": 128, "n_inner": 256}
        if layout == "gpt2"
        else {"hidden_size": 128, "intermediate_size": 256, "num_key_value_heads": 4}
    )
    return save_model(folder, make_network(layout, **sizes, initializer_range=0.05), make_tokenizer())


def load(folder: Path, method: str, head: Head = CAUSAL, precision: torch.dtype = torch.float32) -> BaseModel:
    """The base as the method wants it."""
    loading = make_method(method).loading(precision, CPU)
    return load_base(location(folder), ModelSection(), make_tokenizer(), CPU, loading, head)


def apply(network: Any, method: str, new_modules: tuple[str, ...] = (), **options: Any) -> Any:
    """The network with adapters."""
    torch.manual_seed(0)
    recipe = Recipe(method=method, lora=LoraSection(**{"rank": 4, **options}))
    peft_type = "SEQ_CLS" if new_modules else "CAUSAL_LM"
    return make_method(method).apply(network, recipe, Target(peft_type, new_modules))


@pytest.mark.parametrize("layout", ["llama", "gpt2"])
@pytest.mark.parametrize("method", QUANTIZED)
def test_memory_and_parameters_by_hand(method: str, layout: str, tmp_path: Path) -> None:
    """NF4: half a byte a weight, a byte for each 64 of them, and 4 for each 256 of those. int8: a byte, and 4 a row."""
    folder = save_base(tmp_path, layout)
    plain = load(folder, "lora").network
    network = load(folder, method).network
    assert count_parameters(network)[1] == count_parameters(plain)[1]
    layers = [plain.get_submodule(name) for name in linear_layers(plain)]
    weights = sum(layer.weight.numel() for layer in layers)
    if method == "qlora":
        tables = sum(-(-layer.weight.numel() // 64) + 4 * -(-layer.weight.numel() // 64 // 256) for layer in layers)
        expected, slack = weights / 2 + tables, len(layers) * (16 * 4 + 256 * 4 + 4)  # two code tables, an offset
    else:
        is_turned = layout == "gpt2"  # Conv1D holds [in, out]
        expected, slack = weights + 4 * sum(layer.weight.shape[is_turned] for layer in layers), 0
    rest = memory_bytes(plain) - 4 * weights
    assert expected <= memory_bytes(network) - rest <= expected + slack


@pytest.mark.parametrize("method", QUANTIZED)
def test_shares_of_bf16_on_wide_layers(method: str) -> None:
    """Where code tables weigh nothing any more."""
    from bitsandbytes.nn import Int8Params, Linear8bitLt, LinearNF4, Params4bit

    weight = torch.randn(1024, 1024)
    layer: Any = LinearNF4(1024, 1024, bias=False) if method == "qlora" else Linear8bitLt(1024, 1024, bias=False)
    if method == "qlora":
        layer.weight = Params4bit(weight, requires_grad=False, quant_type="nf4", compress_statistics=True).to("cpu")
    else:
        layer.weight = Int8Params(weight, requires_grad=False, has_fp16_weights=False).to("cpu")
    assert memory_bytes(layer) / (2 * weight.numel()) <= MOST[method]
    assert count_parameters(layer)[1] == weight.numel()


@pytest.mark.parametrize("layout", ["llama", "gpt2"])
@pytest.mark.parametrize("method", QUANTIZED)
def test_only_the_blocks_are_quantized(method: str, layout: str, tmp_path: Path) -> None:
    network = load(save_base(tmp_path, layout), method).network
    inside = set(linear_layers(network))
    for name, module in network.named_modules():
        if isinstance(module, torch.nn.Linear | torch.nn.Embedding):
            assert module.weight.is_floating_point() == (name not in inside), name


@pytest.mark.parametrize("method", QUANTIZED)
def test_a_fresh_head_stays_unquantized_and_is_trained(method: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=300, hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4
    )
    network = BertForSequenceClassification(config)
    randomize_vectors(network, 0)
    network.bert.save_pretrained(tmp_path)
    head = Head("AutoModelForSequenceClassification", "SEQ_CLS", {"num_labels": 3})
    base = load(tmp_path, method, head, torch.bfloat16)
    assert set(base.new_modules) <= {"classifier", "bert.pooler"}
    assert base.network.classifier.weight.dtype == torch.bfloat16
    tuned = apply(base.network, method, base.new_modules)
    trained = {name: p for name, p in tuned.named_parameters() if p.requires_grad}
    assert any("classifier" in name for name in trained)
    assert {p.dtype for p in trained.values()} == {torch.float32}


@pytest.mark.parametrize("layout", ["llama", "gpt2"])
@pytest.mark.parametrize("method", QUANTIZED)
def test_learns_and_fits_the_base_it_came_from(method: str, layout: str, tmp_path: Path) -> None:
    """On the true base the adapter does nearly what it did on the quantized one."""
    folder = save_base(tmp_path / "base", layout)
    tuned = apply(load(folder, method).network, method)
    frozen = {name: p.detach().clone() for name, p in tuned.named_parameters() if not p.requires_grad}
    with torch.no_grad():
        before = tuned.eval()(input_ids=IDS).logits
    train(tuned, {"input_ids": IDS}, steps=3)
    assert all(p.equal(frozen[name]) for name, p in tuned.named_parameters() if name in frozen)
    (tmp_path / "result").mkdir()
    make_method(method).save(tuned, tmp_path / "result")
    plain = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(folder), tmp_path / "result").eval()
    again = make_method(method).open(
        lambda where: load(where.folder, method).network, location(folder), tmp_path / "result"
    )
    with torch.no_grad():
        moved = tuned(input_ids=IDS).logits
        assert torch.equal(again.eval()(input_ids=IDS).logits, moved)
        apart = (plain(input_ids=IDS).logits - moved).norm()
        assert apart < 0.3 * (moved - before).norm()


@pytest.mark.parametrize("method", QUANTIZED)
def test_training_goes_on_after_a_look_in_between(method: str, tmp_path: Path) -> None:
    """On CPUs with bf16, bitsandbytes would pack the weights again in the first look, and gradients would end there."""
    folder = save_base(tmp_path)
    gradients = []
    for looks in (False, True):
        tuned = apply(load(folder, method).network, method)
        if looks:
            with torch.no_grad():
                tuned.eval()(input_ids=IDS)
        tuned.train()(input_ids=IDS).logits.sum().backward()
        gradients.append({name: p.grad for name, p in tuned.named_parameters() if p.requires_grad})
    first, second = gradients
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert any(gradient.any() for name, gradient in first.items() if "layers.0" in name)


@pytest.mark.parametrize("method", QUANTIZED)
def test_the_cpu_is_said_to_be_slower_by_a_measured_factor(method: str, tmp_path: Path) -> None:
    folder = save_base(tmp_path)
    assert any("times as long" in note for note in load(folder, method).notes)
    assert load(folder, "lora").notes == []


@pytest.mark.parametrize("init", ["pissa", "olora"])
def test_a_quantized_base_cannot_give_its_matrices_away(init: str, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=init) as caught:
        apply(load(save_base(tmp_path), "qlora").network, "qlora", init=init)
    assert "quantized" in caught.value.why


@pytest.mark.parametrize("config", [lambda device: nf4_config(torch.float32, device), int8_config])
def test_other_devices_are_refused(config: Any) -> None:
    with pytest.raises(MachineError, match="mps"):
        config(torch.device("mps"))


def test_paged_moments_need_cuda() -> None:
    train_section = TrainSection(optimizer="paged-adamw-8bit", learning_rate=1e-3)
    with pytest.raises(MachineError, match="CUDA"):
        check_optimizer(train_section, "cpu")
    with pytest.raises(MachineError, match="CUDA"):
        make_optimizer(torch.nn.Linear(2, 2), train_section, {})


def test_8_bit_moments_survive_a_checkpoint(tmp_path: Path) -> None:
    """AdamW8bit is the paged optimizer without pages, and runs here; going on equals never having stopped."""
    from bitsandbytes.optim import AdamW8bit

    def begin() -> tuple[torch.nn.Module, Any]:
        torch.manual_seed(0)
        network = torch.nn.Sequential(torch.nn.Linear(96, 128), torch.nn.Linear(128, 96))
        return network, AdamW8bit(network.parameters(), lr=1e-2)

    def step(network: torch.nn.Module, optimizer: Any, seed: int) -> None:
        network(torch.randn(4, 96, generator=torch.Generator().manual_seed(seed))).pow(2).sum().backward()
        optimizer.step()
        optimizer.zero_grad()

    network, optimizer = begin()
    for seed in range(3):
        step(network, optimizer, seed)
    saved = moments(optimizer)
    assert {tensor.dtype for name, tensor in saved.items() if name == "0.state1"} == {torch.uint8}
    save_file(saved, tmp_path / "moments.safetensors")
    weights, groups = [p.detach().clone() for p in network.parameters()], optimizer.state_dict()["param_groups"]
    again, other = begin()
    with torch.no_grad():
        for parameter, weight in zip(again.parameters(), weights, strict=True):
            parameter.copy_(weight)
    restore_moments(other, load_file(tmp_path / "moments.safetensors"), groups)
    for seed in range(3, 6):
        step(network, optimizer, seed)
        step(again, other, seed)
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), again.parameters(), strict=True))


@pytest.mark.parametrize(("rows", "columns"), [(768, 768), (2304, 768), (96, 64), (300, 100)])
def test_the_formulas_give_the_bytes_that_are_held(rows: int, columns: int) -> None:
    import bitsandbytes

    weights = torch.nn.Linear(columns, rows, bias=False)
    packed = bitsandbytes.nn.Linear4bit(columns, rows, bias=False, compress_statistics=True, quant_type="nf4")
    packed.load_state_dict(weights.state_dict())
    assert memory_bytes(packed.to("cpu")) == nf4_bytes(rows, columns)
    eight = bitsandbytes.nn.Linear8bitLt(columns, rows, bias=False, has_fp16_weights=False)
    eight.load_state_dict(weights.state_dict())
    assert memory_bytes(eight.to("cpu")) == int8_bytes(rows, columns)
