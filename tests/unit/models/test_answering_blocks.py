"""Whole blocks of networks that only answer, beside the parts that they are made of."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers.models.llama.modeling_llama import LlamaDecoderLayer

from burnish.models import answering_blocks, packed_linear
from burnish.models.answering import arrange_for_answers
from burnish.models.growing_cache import GrowingCache
from burnish.models.packed_linear import can_pack
from tests.tiny_models import make_network

pytestmark = pytest.mark.skipif(not can_pack(torch.float32), reason="this build of torch has no oneDNN")
BLOCK = "AnsweringLlamaDecoderLayer"


@pytest.fixture(autouse=True)
def packs_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiny models are packed too."""
    monkeypatch.setattr(packed_linear, "_LEAST", 1)


def arranged(precision: str = "fp32") -> Any:
    network = make_network("llama", 60).eval()
    network = network.bfloat16() if precision == "bf16" else network
    arrange_for_answers(network, precision)
    return network


@torch.no_grad()
def logits_of(network: Any, new: int, has_mask: bool) -> list[torch.Tensor]:
    """Of a prompt, and of what is then read in parts of a few tokens."""
    ids = torch.randint(3, 60, (3, 9 + 3 * new), generator=torch.Generator().manual_seed(new))
    mask = torch.ones_like(ids)
    mask[1, :4] = 0
    cache, begin, found = GrowingCache(), 0, []
    for count in (9, new, new, new):
        end = begin + count
        given = {"attention_mask": mask[:, :end]} if has_mask else {}
        logits = network(input_ids=ids[:, begin:end], past_key_values=cache, use_cache=True, **given).logits
        found.append(logits if begin else logits[:, 4:])  # without padding
        begin = end
    return found


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize(("new", "has_mask"), [(1, True), (1, False), (5, True)])
def test_a_block_gives_what_its_parts_give(
    precision: str, new: int, has_mask: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if precision == "bf16" and not can_pack(torch.bfloat16):
        pytest.skip("no products in bf16 on this machine")
    network = arranged(precision)
    assert [type(block).__name__ for block in network.model.layers] == [BLOCK] * len(network.model.layers)
    calls: list[int] = []
    attend = answering_blocks.few_tokens_attention

    def counted(*given: Any) -> torch.Tensor:
        calls.append(1)
        return attend(*given)

    monkeypatch.setattr(answering_blocks, "few_tokens_attention", counted)
    found = logits_of(network, new, has_mask)
    assert len(calls) == 3 * len(network.model.layers), "all but the prompt"
    monkeypatch.setattr(answering_blocks, "_are_few", lambda *given: False)
    expected = logits_of(network, new, has_mask)
    assert len(calls) == 3 * len(network.model.layers)
    assert all(map(torch.equal, found, expected))


def test_what_a_block_does_not_support_is_left_to_its_parts() -> None:
    network = arranged()
    ids = torch.arange(5, 15)[None]
    plain = make_network("llama", 60).eval()
    plain.load_state_dict({name: weight for name, weight in make_network("llama", 60).state_dict().items()})
    with torch.no_grad():
        for given in ({"use_cache": False}, {"output_hidden_states": True}, {"past_key_values": None}):
            found, expected = network(input_ids=ids, **given), plain(input_ids=ids, **given)
            torch.testing.assert_close(found.logits, expected.logits, atol=1e-4, rtol=1e-4)


class Scaled(LlamaDecoderLayer):
    """Multiplies what is added, as Granite's blocks do."""

    def forward(self, hidden_states: torch.Tensor, **given: Any) -> Any:
        made = hidden_states + 0.5 * self.self_attn(hidden_states=self.input_layernorm(hidden_states), **given)[0]
        return made + 0.5 * self.mlp(self.post_attention_layernorm(made))


class Parallel(LlamaDecoderLayer):
    """Attention and feed-forward layer see the same, as in Phi's blocks."""

    def forward(self, hidden_states: torch.Tensor, **given: Any) -> Any:
        seen = self.input_layernorm(hidden_states)
        return hidden_states + self.self_attn(hidden_states=seen, **given)[0] + self.mlp(seen)


class WithoutMask(LlamaDecoderLayer):
    """Attends to everything."""

    def forward(self, hidden_states: torch.Tensor, attention_mask: Any = None, **given: Any) -> Any:
        return super().forward(hidden_states, **given)


@pytest.mark.parametrize("kind", [Scaled, Parallel, WithoutMask])
def test_blocks_of_other_kinds_keep_their_own_arithmetic(kind: type[LlamaDecoderLayer]) -> None:
    network = make_network("llama", 60).eval()
    for block in network.model.layers:
        block.__class__ = kind
    expected = logits_of(network, 1, True)
    arrange_for_answers(network, "fp32")
    assert {type(block) for block in network.model.layers} == {kind}
    assert type(network.model.layers[0].mlp).__name__ == "AnsweringLlamaMLP"
    for found, right in zip(logits_of(network, 1, True), expected, strict=True):
        torch.testing.assert_close(found, right, atol=1e-4, rtol=1e-4)


def test_blocks_that_change_the_answers_are_taken_back(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(query: torch.Tensor, *given: Any) -> torch.Tensor:
        return torch.ones_like(query)

    monkeypatch.setattr(answering_blocks, "few_tokens_attention", wrong)
    network = arranged()
    assert {type(block) for block in network.model.layers} == {LlamaDecoderLayer}
    assert type(network.model.layers[0].mlp).__name__ == "AnsweringLlamaMLP"
