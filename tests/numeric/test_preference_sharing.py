"""A prompt that is read once for both answers gives what it gives when it is read twice."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from burnish.models.packing import run_rows, separates_answers
from tests.tiny_models import CONTEXT, WINDOW, make_network
from tests.tiny_pairs import loss_and_gradients, make_preference, measured, one_each, random_pairs
from tests.tiny_training import largest_difference, with_method

TOLERANCE = 1e-5
WINDOWED = ("mistral", "phi3")


def make_wide(layout: str, **changes: Any) -> Any:
    """A tiny model that looks back as far as the context, whatever its layout's usual window."""
    return make_network(layout, **({"sliding_window": CONTEXT, **changes} if layout in WINDOWED else changes))


@pytest.mark.parametrize("layout", ["gpt2", "llama", "mistral", "qwen2", "phi3"])
@pytest.mark.parametrize("loss", ["dpo", "simpo"])
def test_shared_is_unshared(layout: str, loss: str, tiny_tokenizer: Any) -> None:
    network = make_wide(layout)
    pairs = random_pairs(7, seed=3)
    results = []
    for share in (True, False):
        task = make_preference(tiny_tokenizer, loss=loss, share_prompt=share)
        assert task.objective.inspect_model(network) == []
        examples = measured(task, make_wide(layout, seed=1), pairs)
        batches = one_each(task, examples, 3)
        assert len(batches[0].input_ids) == (3 if share else 6)
        results.append(loss_and_gradients(task, network, batches))
    (shared, gradients), (expected, wanted) = results
    assert shared == pytest.approx(expected, rel=TOLERANCE)
    assert largest_difference(wanted, gradients) <= TOLERANCE


def test_so_it_is_with_an_adapter_and_eager_attention(tiny_tokenizer: Any) -> None:
    network = with_method(make_network("llama"), "lora")
    for part in (network, network.get_base_model()):
        part.config._attn_implementation = "eager"
    results = []
    for share in (True, False):
        task = make_preference(tiny_tokenizer, loss="orpo", share_prompt=share)
        assert task.objective.inspect_model(network) == []
        results.append(loss_and_gradients(task, network, one_each(task, random_pairs(5))))
    (shared, gradients), (expected, wanted) = results
    assert shared == pytest.approx(expected, rel=TOLERANCE)
    assert largest_difference(wanted, gradients) <= TOLERANCE


@pytest.mark.parametrize("layout", WINDOWED)
def test_a_window_shorter_than_the_context_is_refused(layout: str, tiny_tokenizer: Any) -> None:
    network = make_network(layout)
    assert network.config.sliding_window == WINDOW
    task = make_preference(tiny_tokenizer)
    (result,) = task.objective.inspect_model(network)
    assert "once for each answer" in result
    assert "position_ids" not in one_each(task, random_pairs(2))[0].inputs
    assert task.objective.inspect_model(network) == [], "said once"
    wider = make_network(layout, sliding_window=CONTEXT // 2)
    assert not separates_answers(wider, CONTEXT)
    assert separates_answers(wider, CONTEXT // 2), "answers that never look back further may share"


def test_a_model_that_mixes_is_found_out() -> None:
    class Deaf(torch.nn.Module):
        """Drops the mask that it is given, as some attention kernels do."""

        def __init__(self, network: Any) -> None:
            super().__init__()
            self.network, self.config, self.dtype = network, network.config, network.dtype

        def get_input_embeddings(self) -> Any:
            return self.network.get_input_embeddings()

        def forward(self, input_ids: torch.Tensor, attention_mask: Any = None, **others: Any) -> Any:
            return self.network(input_ids=input_ids, **others)

    network = make_network("llama")
    assert separates_answers(network, CONTEXT)
    assert not separates_answers(Deaf(network), CONTEXT)


def test_a_model_without_positions_is_refused() -> None:
    from transformers import AutoModelForCausalLM, BloomConfig

    config = BloomConfig(vocab_size=300, hidden_size=32, n_layer=2, n_head=4)
    network = AutoModelForCausalLM.from_config(config).train()
    assert not separates_answers(network, CONTEXT)
    assert network.training


def test_answers_do_not_see_each_other() -> None:
    network = make_network("llama")
    ids = torch.arange(3, 15)[None]
    segments = torch.tensor([[0] * 4 + [1] * 4 + [2] * 4])
    positions = torch.tensor([[0, 1, 2, 3, 4, 5, 6, 7, 4, 5, 6, 7]])
    changed = ids.clone()
    changed[0, 5] = 200
    with torch.no_grad():
        before, after = (run_rows(network, each, positions, segments) for each in (ids, changed))
    assert torch.equal(before[0, 8:], after[0, 8:])
    assert torch.equal(before[0, :5], after[0, :5])
    assert not torch.allclose(before[0, 5:8], after[0, 5:8])
