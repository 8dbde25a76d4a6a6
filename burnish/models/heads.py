"""Model heads: the head that a task needs, and how to compute its outputs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from burnish.kernels.loss import head_losses
from burnish.models.blocks import block_lists


@dataclass(frozen=True, slots=True)
class Head:
    """How a base model is loaded for a task."""

    auto_class: str = "AutoModelForCausalLM"
    """The transformers class that loads it."""
    peft_type: str | None = "CAUSAL_LM"
    """PEFT's `TaskType` of such a model; None if PEFT has none."""
    config: dict[str, Any] = field(default_factory=dict)
    """Changes to the model's config, for example the number of labels."""
    start: float | None = None
    """The number that a new output layer with one output predicts for every input; None where it stays as random as
    transformers makes it."""


CAUSAL = Head()
SEQUENCE_CLASSIFIER = "AutoModelForSequenceClassification"
"""The transformers class of models that give a text labels or numbers."""


@dataclass(frozen=True, slots=True)
class Target:
    """The context in which a method is applied to a network."""

    peft_type: str | None = "CAUSAL_LM"
    new_modules: tuple[str, ...] = ()
    """Modules with random weights because the base model has none; every method must train them in full."""
    tokenizer: Any = None
    frozen_modules: tuple[str, ...] = ()
    """Names of modules that the task keeps frozen: no method may train anything in them."""


def is_supported(head: Head, config: Any) -> bool:
    """Whether transformers has such a head for this kind of model, and can load the body's weights into it."""
    import transformers

    mapping: Any = getattr(transformers, head.auto_class)._model_mapping
    bodies: Any = transformers.AutoModel._model_mapping
    if type(config) not in mapping:
        return "auto_map" in config.to_dict()
    if head.auto_class != "AutoModelForQuestionAnswering":
        return True
    # Llama's and Qwen's question-answering models name the body differently than their checkpoints.
    full, body = mapping[type(config)], bodies[type(config)]
    return full.base_model_prefix == body.base_model_prefix or full.__name__ in (config.architectures or [])


@torch.no_grad()
def start_output(network: Any, new_modules: tuple[str, ...], start: float) -> None:
    """Makes a new output layer predict the same number for every input. Without a bias, as in decoders, that is 0.

    Args:
        network: the base model with its head.
        new_modules: the parts without trained weights.
        start: `Head.start`.
    """
    for name, layer in single_outputs(network).items():
        if any(name == part or name.startswith(f"{part}.") for part in new_modules):
            layer.weight.zero_()
            if layer.bias is not None:
                layer.bias.fill_(start)


def single_outputs(network: Any) -> dict[str, nn.Linear]:
    """The linear layers with one output, outside of the blocks, by name."""
    blocks = tuple(f"{name}." for name in block_lists(network))
    return {
        name: layer
        for name, layer in network.named_modules()
        if isinstance(layer, nn.Linear) and layer.out_features == 1 and not name.startswith(blocks)
    }


_NAMES = ("logits", "start_logits", "end_logits")


def all_logits(output: Any) -> list[torch.Tensor]:
    """The logits of a network's output, of any shape: one tensor, or two for span prediction."""
    return [output[name] for name in _NAMES if output.get(name) is not None]


_DECODER_HEAD = "score"
"""transformers' name of the linear head of decoders for sequence classification."""


def row_logits(network: Any, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    """`[rows, outputs]`: the logits of a sequence-classification network for each row.

    A decoder's head is applied to every token, and the last one counts, because it attends to all others: as in
    transformers the last token that is not the padding token. Methods with virtual tokens pass no ids, so there its
    position is taken from the attention mask.

    Args:
        network: a transformers model for sequence classification, possibly inside a PEFT model.
        inputs: `input_ids` and `attention_mask`, `[rows, width]`, padded at the end; `token_type_ids` are only passed
            to models with more than one token type.
    """
    if getattr(network.config, "type_vocab_size", None) in (None, 0, 1):
        inputs = {name: tensor for name, tensor in inputs.items() if name != "token_type_ids"}
    head = next((module for name, module in network.named_modules() if name.split(".")[-1] == _DECODER_HEAD), None)
    if head is None:
        return network(**inputs).logits
    seen: list[torch.Tensor] = []
    handle = head.register_forward_hook(lambda module, given, output: seen.append(output))
    try:
        network(**inputs, use_cache=False)
    finally:
        handle.remove()
    ids, mask = inputs["input_ids"], inputs["attention_mask"]
    virtual = seen[0].shape[1] - mask.shape[1]  # virtual tokens in front
    pad = network.config.get_text_config().pad_token_id
    is_text = mask if virtual or pad is None else mask * (ids != pad)
    last = virtual + (is_text * torch.arange(mask.shape[1], device=mask.device)).argmax(-1)
    return seen[0][torch.arange(len(last), device=last.device), last]


ALL_LOGITS = (
    "The output layer alone does not give this model's logits, so the loss computes the logits of all tokens, not "
    "only of those that are trained on."
)


def losses_at(
    network: Any, inputs: dict[str, Any], places: torch.Tensor, targets: torch.Tensor, from_hidden: bool
) -> torch.Tensor:
    """`[tokens]` fp32: negative log-likelihood of selected tokens, in nats.

    Args:
        network: a causal language model, with or without an adapter.
        inputs: its keyword arguments.
        places: `[tokens]` int64, the position that predicts each token, as an index into rows x width.
        targets: `[tokens]` int64.
        from_hidden: the result of `computes_from_hidden`. If false, the logits of all positions are computed,
            not only those at `places`.
    """
    halves = split_model(network) if from_hidden else None
    if halves is None:
        logits = network(**inputs, use_cache=False).logits.flatten(0, 1)
        return functional.cross_entropy(logits[places].float(), targets, reduction="none")
    body, head = halves
    hidden = body(**inputs, use_cache=False).last_hidden_state
    return head_losses(hidden.flatten(0, 1).index_select(0, places), head.weight, head.bias, targets)


def split_model(network: Any) -> tuple[Any, nn.Linear] | None:
    """Body and output layer; None if there is no separate layer, or if an adapter wraps it."""
    config = getattr(network, "active_peft_config", None)
    if config is not None:
        if config.is_prompt_learning:
            return None  # PEFT's own forward pass adds the virtual tokens
        network = network.get_base_model()
    head, body = network.get_output_embeddings(), network.base_model
    if body is network or type(head) is not nn.Linear:
        return None
    return body, head


@torch.no_grad()
def computes_from_hidden(network: Any) -> bool:
    """Whether body and output layer together give exactly the logits of the model.

    False for models that scale or cap their logits, or feed something else into the output layer.
    """
    halves = split_model(network)
    if halves is None:
        return False
    was_training = network.training
    network.eval()
    vocabulary = network.get_input_embeddings().weight.shape[0]  # an adapted embedding has no `num_embeddings`
    # fixed ids, spread over the vocabulary, so that the result is the same each time
    ids = (torch.arange(21, device=network.device) * 7919 + 11).remainder(vocabulary)[None]
    try:
        logits = network(input_ids=ids, use_cache=False).logits
        separate = halves[1](halves[0](input_ids=ids, use_cache=False).last_hidden_state)
    except (TypeError, ValueError, RuntimeError, IndexError, AttributeError):
        return False  # the two cannot be run separately
    finally:
        network.train(was_training)
    return torch.equal(logits, separate)
