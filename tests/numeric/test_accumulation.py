"""Accumulated = one big batch, and recomputed activations = kept ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoTokenizer

from burnish.data.batching.batches import BatchPlan
from burnish.models.base import Loading, load_base
from burnish.models.heads import CAUSAL
from burnish.models.location import locate_model
from burnish.prepare.model import apply_method
from burnish.recipe.schema import LoraSection, ModelSection, Recipe, TrainSection
from burnish.runs.events import Event, ModelReady
from tests.tiny_contexts import tiny_context
from tests.tiny_data import random_examples
from tests.tiny_models import CONTEXT, make_network
from tests.tiny_training import gradients_of, largest_difference, token_plan, with_method

TOLERANCE = 1e-5


def big_step(packing: bool, micro_rows: int) -> BatchPlan:
    """Everything in one optimizer step, so many rows at a time."""
    examples = random_examples(23, 3, 50, seed=3)
    return token_plan(examples, context=CONTEXT, packing=packing, step_tokens=10**6, micro_rows=micro_rows, seed=5)


@pytest.mark.parametrize("packing", [True, False], ids=["packed", "padded"])
@pytest.mark.parametrize("method", ["full", "lora"])
def test_micro_batches_learn_as_one_big_batch(method: str, packing: bool, tiny_tokenizer: Any) -> None:
    network = with_method(make_network("llama"), method)
    whole = big_step(packing, micro_rows=100).step_batches(0)
    assert len(whole) == 1
    expected, wanted = gradients_of(network, tiny_tokenizer, whole)
    for micro_rows in (1, 2, 5):
        batches = big_step(packing, micro_rows).step_batches(0)
        trained = [batch.num_trained for batch in batches]
        assert len(batches) > 1
        assert max(trained) > 1.5 * min(trained), "micro-batches as uneven as these are what the test is about"
        result, gradients = gradients_of(network, tiny_tokenizer, batches)
        assert result.trained_tokens == expected.trained_tokens
        assert result.tokens == expected.tokens
        assert result.loss == pytest.approx(expected.loss, rel=TOLERANCE)
        assert result.gradient_norm == pytest.approx(expected.gradient_norm, rel=TOLERANCE)
        assert largest_difference(wanted, gradients) <= TOLERANCE


@pytest.mark.parametrize("method", ["full", "lora"])
@pytest.mark.parametrize("layout", ["gpt2", "llama"])
def test_checkpointed_activations_learn_as_kept_ones(
    layout: str, method: str, tiny_model: Callable[[str], Path], tiny_tokenizer: Any
) -> None:
    """The adapters drop units while training: what is computed again must drop the same ones again."""
    batches = big_step(packing=True, micro_rows=4).step_batches(0)
    results = []
    for recomputes in (False, True):
        network = prepared(tiny_model(layout), method, recomputes)
        runs = count_runs_of_first_block(network)
        torch.manual_seed(11)
        results.append(gradients_of(network, tiny_tokenizer, batches))
        assert len(runs) == len(batches) * (2 if recomputes else 1)
    (expected, wanted), (result, gradients) = results
    assert result.loss == pytest.approx(expected.loss, rel=TOLERANCE)
    assert largest_difference(wanted, gradients) <= TOLERANCE


def prepared(folder: Path, method: str, recomputes: bool) -> Any:
    """The network as the workflows make it ready, with adapters that are not zero."""
    train = TrainSection(gradient_checkpointing=recomputes)
    section = ModelSection(name=str(folder), precision="fp32", device="cpu")
    recipe = Recipe(method=method, model=section, train=train, lora=LoraSection(rank=4, dropout=0.2))
    location = locate_model(section)
    tokenizer = AutoTokenizer.from_pretrained(str(folder))
    device, config = torch.device("cpu"), AutoConfig.from_pretrained(str(folder))
    events: list[Event] = []
    context = tiny_context(recipe, tokenizer, config, "chat", method, location, events.append)
    base = load_base(location, section, tokenizer, device, Loading(torch.float32), CAUSAL)
    network = apply_method(context, base)
    assert isinstance(events[-1], ModelReady)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.1, generator=generator)
    return network


def count_runs_of_first_block(network: Any) -> list[None]:
    """A list that grows by one whenever the first block's feed-forward is begun."""
    runs: list[None] = []
    first = next(module for name, module in network.named_modules() if name.endswith(".0.mlp"))
    first.register_forward_pre_hook(lambda *_: runs.append(None))
    return runs
