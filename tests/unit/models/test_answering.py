"""Faster arithmetic for answers beside its reference: packed products, and attention of one new token."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from transformers import AutoModelForCausalLM

from burnish.kernels.few_tokens_attention import Hidden, few_tokens_attention, few_tokens_attention_reference
from burnish.models import answering, attention, packed_linear
from burnish.models.answering import arrange_for_answers
from burnish.models.growing_cache import GrowingCache
from burnish.models.packed_linear import PackedLinear, Packing, TakenLinear, can_pack
from tests.tiny_models import make_network

PACKS = pytest.mark.skipif(not can_pack(torch.float32), reason="this build of torch has no oneDNN")


@pytest.fixture
def packs_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiny models are packed too."""
    monkeypatch.setattr(packed_linear, "_LEAST", 1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("rows", "heads", "shared", "tokens"), [(1, 4, 4, 1), (3, 6, 2, 17), (5, 9, 3, 70)])
@pytest.mark.parametrize("new", [1, 4])
@pytest.mark.parametrize("is_masked", [False, True])
def test_attention_of_few_tokens(
    dtype: torch.dtype, rows: int, heads: int, shared: int, tokens: int, new: int, is_masked: bool
) -> None:
    torch.manual_seed(0)
    query = torch.randn(rows, heads, new, 16)
    cache = GrowingCache()
    key, value = cache.update(*(torch.randn(rows, shared, tokens, size) for size in (16, 12)), 0)
    mask = torch.rand(rows, 1, new, tokens) < 0.5 if is_masked else None
    if mask is not None:
        mask[..., -1] = True
    hidden = None if mask is None else Hidden(~mask)
    expected = few_tokens_attention_reference(query.double(), key.double(), value.double(), mask, 0.3)
    given = [part.to(dtype) for part in (query, key, value)]
    room = cache.room(0, mask)
    assert room is not None
    assert room.keys.shape[2] > tokens
    theirs = few_tokens_attention_reference(*given, mask, 0.3)
    for found in (
        few_tokens_attention(*given, hidden, 0.3),
        few_tokens_attention(given[0], room.keys.to(dtype), room.values.to(dtype), room.hidden, 0.3),
    ):
        assert found.dtype == dtype
        errors = [float((one.double() - expected).abs().max()) for one in (found, theirs)]
        assert errors[0] <= (1e-5 if dtype == torch.float32 else max(2 * errors[1], 0.02))


def test_room_is_hidden_at_every_step() -> None:
    torch.manual_seed(0)
    cache = GrowingCache()
    for step in range(70):
        for layer in range(2):
            key, value = cache.update(torch.randn(1, 2, 1, 8), torch.randn(1, 2, 1, 8), layer)
            room = cache.room(layer, None)
            assert room is not None
            assert (~room.hidden.mask).sum() == step + 1
            query = torch.randn(1, 4, 1, 8)
            expected = few_tokens_attention_reference(query, key, value, None, 0.3)
            found = few_tokens_attention(query, room.keys, room.values, room.hidden, 0.3)
            torch.testing.assert_close(found, expected)
    assert room.keys.shape[2] == 128
    assert cache.room(0, torch.zeros(1, 1, 1, 70)) is None, "a mask that is added"


@PACKS
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("has_bias", [False, True])
def test_packed_products(dtype: torch.dtype, has_bias: bool) -> None:
    if not can_pack(dtype):
        pytest.skip(f"no products in {dtype} on this machine")
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Linear(96, 130, bias=has_bias)).to(dtype).eval()
    packed = nn.Sequential(nn.Linear(96, 130, bias=has_bias)).to(dtype).eval()
    packed.load_state_dict(plain.state_dict())
    layer: Any = packed[0]
    packing = Packing(dtype)
    assert packing.pack([layer]) is not None
    assert isinstance(layer, PackedLinear)
    assert layer.weight.shape == (130, 96)
    assert bool(layer.weight.isnan().all())
    for shape in ((1, 96), (2, 7, 96), (300, 96)):
        inputs = torch.randn(*shape).to(dtype)
        with torch.no_grad():
            torch.testing.assert_close(
                packed(inputs), plain(inputs), atol=1e-5 if dtype == torch.float32 else 0.03, rtol=0.02
            )
    with pytest.raises(TypeError, match="packed for answers"):
        packed(torch.randn(1, 96).to(dtype))
    with torch.no_grad(), pytest.raises(TypeError, match="packed for answers"):
        packed(torch.randn(1, 96).double())
    packing.undo()
    assert type(layer) is nn.Linear
    inputs = torch.randn(2, 96).to(dtype)
    assert torch.equal(packed(inputs), plain(inputs))


@PACKS
def test_a_network_with_packed_layers_gives_the_same(packs_small: None, tiny_model: Callable[[str], Path]) -> None:
    folder = tiny_model("llama")
    plain = AutoModelForCausalLM.from_pretrained(folder).eval()
    network = AutoModelForCausalLM.from_pretrained(folder).eval()
    arrange_for_answers(network, "fp32")
    assert network.config._attn_implementation == attention.NAMES["cpu"]
    kinds = {type(layer).__name__ for layer in network.modules()}
    assert {"AnsweringLlamaAttention", "AnsweringLlamaMLP", "AnsweringLlamaRMSNorm"} <= kinds
    taken = {name.rpartition(".")[2] for name, layer in network.named_modules() if isinstance(layer, TakenLinear)}
    assert taken == {"q_proj", "k_proj", "v_proj", "gate_proj", "up_proj"}
    assert not any(type(layer) is nn.Linear for layer in network.modules())
    with torch.no_grad(), pytest.raises(TypeError, match="together with others"):
        network.model.layers[0].mlp.up_proj(torch.zeros(1, 4))
    ids = torch.arange(5, 45).view(2, 20)
    mask = torch.ones_like(ids)
    mask[0, :7] = 0
    for model in (plain, network):
        model.generation_config.pad_token_id = 0
    given = [
        model.generate(input_ids=ids, attention_mask=mask, max_new_tokens=12, do_sample=False)
        for model in (plain, network)
    ]
    assert torch.equal(*given)
    with torch.no_grad():
        torch.testing.assert_close(network(input_ids=ids).logits, plain(input_ids=ids).logits, atol=1e-4, rtol=1e-4)
    arrange_for_answers(network, "fp32")  # as after another adapter was added
    with torch.no_grad():
        torch.testing.assert_close(network(input_ids=ids).logits, plain(input_ids=ids).logits, atol=1e-4, rtol=1e-4)


class ReadsAWeight(nn.Module):
    """Computes with the weight of a linear layer rather than calling it."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return nn.functional.linear(inputs, self.layer.weight, self.layer.bias)


@PACKS
def test_a_layer_whose_weight_is_read_stays_plain(packs_small: None) -> None:
    network = make_network("llama", 60).eval()
    block: Any = network.model.layers[0]
    block.mlp.down_proj = ReadsAWeight(block.mlp.down_proj)
    ids = torch.arange(3, 12)[None]
    with torch.no_grad():
        before = network(input_ids=ids).logits
        arrange_for_answers(network, "fp32")
        assert all(type(layer) is nn.Linear for layer in network.modules() if isinstance(layer, nn.Linear))
        torch.testing.assert_close(network(input_ids=ids).logits, before, atol=1e-4, rtol=1e-4)


@PACKS
def test_layers_that_dora_reads_stay_plain(packs_small: None) -> None:
    from peft import LoraConfig, get_peft_model

    network = get_peft_model(make_network("llama", 60), LoraConfig(use_dora=True, target_modules=["q_proj"])).eval()
    ids = torch.arange(3, 12)[None]
    with torch.no_grad():
        before = network(input_ids=ids).logits
        arrange_for_answers(network, "fp32")
        kinds = {name: type(layer) for name, layer in network.named_modules() if name.endswith("base_layer")}
        assert set(kinds.values()) == {nn.Linear}
        assert any(isinstance(layer, PackedLinear) for layer in network.modules())
        torch.testing.assert_close(network(input_ids=ids).logits, before, atol=1e-4, rtol=1e-4)


@PACKS
def test_a_large_network_is_not_held_twice(packs_small: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answering, "free_memory", lambda limit: 1000)
    network = make_network("llama", 60).eval()
    arrange_for_answers(network, "fp32")
    assert not any(isinstance(layer, (PackedLinear, TakenLinear)) for layer in network.modules())


@pytest.mark.parametrize(("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_attention_that_changes_the_answers_is_taken_back(
    precision: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(query: torch.Tensor, key: Any, value: torch.Tensor, mask: Any, scale: float) -> torch.Tensor:
        return torch.ones(*query.shape[:3], value.shape[3], dtype=dtype)

    monkeypatch.setattr(attention, "few_tokens_attention", wrong)
    network = make_network("llama", 60).to(dtype).eval()
    arrange_for_answers(network, precision)
    assert network.config._attn_implementation == "sdpa"
