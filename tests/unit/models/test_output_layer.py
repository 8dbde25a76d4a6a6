"""The two halves of a model give its losses; models that do more between them are found out."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from peft import LoraConfig, PromptTuningConfig, get_peft_model
from torch import nn

from burnish.data.batching.batches import collate_tokens
from burnish.data.rows.row import IGNORED
from burnish.models.fast_paths import install_fast_paths
from burnish.models.heads import ALL_LOGITS, computes_from_hidden, losses_at, split_model
from burnish.recipe.schema import Recipe
from burnish.tasks import make_task
from tests.tiny_data import random_examples
from tests.tiny_models import LAYOUTS, make_network
from tests.tiny_training import with_method
from tests.unit.kernels.comparison import distance
from tests.unit.models.tiny_families import make_family, packed_inputs, padded_inputs, plain_inputs


class Calls:
    """How often a layer was called."""

    def __init__(self, layer: nn.Module) -> None:
        self.number = 0
        layer.register_forward_hook(self._count)

    def _count(self, *_: Any) -> None:
        self.number += 1


def outcome(network: Any, inputs: dict[str, Any], from_hidden: bool) -> list[torch.Tensor]:
    """Losses of some tokens, and all gradients of their weighted sum, one behind the other."""
    tokens = inputs["input_ids"].numel()
    places = torch.arange(1, tokens, 2)
    targets = torch.arange(len(places)) * 7 % 300
    losses = losses_at(network, inputs, places, targets, from_hidden)
    weights = [weight for weight in network.parameters() if weight.requires_grad]
    gradients = torch.autograd.grad((losses * torch.linspace(-1, 2, len(losses))).sum(), weights)
    return [losses.detach(), torch.cat([one.flatten() for one in gradients])]


@pytest.mark.parametrize("is_fast", [True, False], ids=["fast", "plain"])
@pytest.mark.parametrize("method", ["full", "lora"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_losses_of_the_halves_are_those_of_the_whole(layout: str, method: str, is_fast: bool) -> None:
    network = make_network(layout)
    if is_fast:
        install_fast_paths(network)
    assert computes_from_hidden(network)
    network = with_method(network, method)
    assert computes_from_hidden(network)
    for inputs in (plain_inputs(layout), padded_inputs(layout), packed_inputs()):
        given = {name: value for name, value in inputs.items() if name != "use_cache"}
        head = Calls(network.get_output_embeddings())
        ours = outcome(network, given, True)
        assert head.number == 0, "all logits were made"
        theirs = outcome(network, given, False)
        assert head.number == 1
        assert ours[0].dtype == torch.float32
        assert all(distance(one, two) <= 1e-5 for one, two in zip(ours, theirs, strict=True))


def test_an_adapter_that_is_off_is_off_in_halves() -> None:
    """As preference learning asks the base through the adapted model."""
    bare, adapted = make_network("llama"), with_method(make_network("llama"), "lora")
    places, targets = torch.arange(10), torch.arange(10)

    def losses(network: Any) -> torch.Tensor:
        return losses_at(network, plain_inputs("llama"), places, targets, True)

    with adapted.disable_adapter():
        assert distance(losses(adapted), losses(bare)) <= 1e-6
    assert distance(losses(adapted), losses(bare)) > 0.01


@pytest.mark.parametrize("name", ["gemma2", "granite", "cohere", "bert", "t5"])
def test_models_that_do_more_are_computed_whole(name: str) -> None:
    """Bent or scaled logits, no logits of tokens, or hidden states of two texts."""
    network = make_family(name)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    assert not computes_from_hidden(network)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


@pytest.mark.parametrize("name", ["gemma2", "granite", "cohere"])
def test_the_task_says_so_and_has_their_true_losses(name: str, tiny_tokenizer: Any) -> None:
    network = make_family(name)
    task = make_task("text", tiny_tokenizer, Recipe())
    assert task.objective.inspect_model(network) == [ALL_LOGITS]
    assert task.objective.inspect_model(network) == [], "said once"
    examples = random_examples(4, 5, 14)
    batch = collate_tokens(examples, [[index] for index in range(4)], 0, False)
    expected = nn.functional.cross_entropy(
        network(**batch.inputs).logits.transpose(1, 2), batch.targets, ignore_index=IGNORED, reduction="none"
    )
    losses = task.objective.losses(network, batch)
    torch.testing.assert_close(losses, expected[batch.targets != IGNORED])
    wrong = losses_at(
        network,
        batch.inputs,
        (batch.targets != IGNORED).flatten().nonzero()[:, 0],
        batch.targets[batch.targets != IGNORED],
        True,
    )
    assert distance(wrong, losses) > 0.01, "the model does no more than others"


def test_the_task_says_nothing_of_others(tiny_tokenizer: Any) -> None:
    assert make_task("text", tiny_tokenizer, Recipe()).objective.inspect_model(make_network("gpt2")) == []
    plain = Recipe.model_validate({"model": {"kernels": "plain"}})
    network = make_network("llama")
    head = Calls(network.get_output_embeddings())
    task = make_task("text", tiny_tokenizer, plain)
    assert task.objective.inspect_model(network) == []
    batch = collate_tokens(random_examples(2, 5, 14), [[0], [1]], 0, False)
    task.objective.losses(network, batch)
    assert head.number == 1, "plain kernels were asked for"


@pytest.mark.parametrize("was_training", [True, False])
def test_a_look_leaves_the_mode(was_training: bool) -> None:
    for name in ("llama", "granite", "bert", "t5"):
        network = make_family(name).train(was_training)
        computes_from_hidden(network)
        assert network.training == was_training


def test_dropout_does_not_hide_the_halves() -> None:
    network = make_network("gpt2", resid_pdrop=0.5, embd_pdrop=0.5).train()
    assert computes_from_hidden(network)
    assert network.training


def test_the_halves_are_the_models_own() -> None:
    network = make_network("llama")
    body, head = split_model(network) or (None, None)
    assert body is network.model
    assert head is network.lm_head
    adapted = with_method(network, "lora")
    body, head = split_model(adapted) or (None, None)
    assert body is network.model
    assert head is network.lm_head


@pytest.mark.parametrize(
    "config",
    [
        LoraConfig(target_modules=["q_proj", "lm_head"]),
        LoraConfig(target_modules=["q_proj"], modules_to_save=["lm_head"]),
        LoraConfig(target_modules=["q_proj"], trainable_token_indices={"lm_head": [1], "embed_tokens": [1]}),
        PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3),
    ],
    ids=["adapted-head", "trained-head", "trained-rows", "virtual-tokens"],
)
def test_an_output_layer_that_is_wrapped_is_left_whole(config: Any) -> None:
    """So that what trains it is not passed by."""
    network = get_peft_model(make_network("llama"), config)
    assert split_model(network) is None
    assert not computes_from_hidden(network)
    if not config.is_prompt_learning:
        inputs = plain_inputs("llama")
        ours, theirs = (outcome(network, inputs, from_hidden) for from_hidden in (True, False))
        assert all(torch.equal(one, two) for one, two in zip(ours, theirs, strict=True))


def test_an_output_layer_of_another_class_is_left_whole() -> None:
    class Bent(nn.Linear):
        def forward(self, *states: torch.Tensor) -> torch.Tensor:
            return super().forward(*states).tanh()

    network = make_network("llama")
    network.set_output_embeddings(Bent(32, 300, bias=False))
    assert split_model(network) is None
    assert not computes_from_hidden(network)
