"""What stands on top of a model's body: the head a task needs, and how its outputs are read."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from burnish.kernels.loss import head_losses, token_losses


@dataclass(frozen=True, slots=True)
class Head:
    """How a base model is loaded for a task."""

    auto_class: str = "AutoModelForCausalLM"
    """The class of transformers that loads it."""
    peft_type: str | None = "CAUSAL_LM"
    """What PEFT calls such a model (`TaskType`); None where it has no name for it."""
    config: dict[str, Any] = field(default_factory=dict)
    """Changes to the model's config, for example the number of labels."""


CAUSAL = Head()


@dataclass(frozen=True, slots=True)
class Target:
    """What a method is applied to, besides the network itself."""

    peft_type: str | None = "CAUSAL_LM"
    new_modules: tuple[str, ...] = ()
    """Modules that begin at random because the base has no weights for them; any method must train them in full."""
    tokenizer: Any = None
    frozen_modules: tuple[str, ...] = ()
    """Names of modules that the task wants left as they are: no method may train anything in them."""


def is_supported(head: Head, config: Any) -> bool:
    """Whether transformers has such a head for this kind of model, and the head finds the weights of its body."""
    import transformers

    mapping: Any = getattr(transformers, head.auto_class)._model_mapping
    bodies: Any = transformers.AutoModel._model_mapping
    if type(config) not in mapping:
        return "auto_map" in config.to_dict()
    if head.auto_class != "AutoModelForQuestionAnswering":
        return True
    # Llama's and Qwen's head for question answering gives the body another name than their checkpoints do.
    whole, body = mapping[type(config)], bodies[type(config)]
    return whole.base_model_prefix == body.base_model_prefix or whole.__name__ in (config.architectures or [])


_NAMES = ("logits", "start_logits", "end_logits")


def all_logits(output: Any) -> list[torch.Tensor]:
    """The logits of a network's output, of any shape: one tensor, or two where a span is looked for."""
    return [output[name] for name in _NAMES if output.get(name) is not None]


_DECODER_HEAD = "score"
"""What transformers calls the linear head of every decoder for sequence classification."""


def row_logits(network: Any, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    """`[rows, outputs]`: what a network with a head for whole texts makes of each row.

    A decoder's head looks at every token, and the last one counts, for it alone has seen all. Which one that is, is
    read from the attention mask and not, as transformers does, from the ids: a text may hold the padding token, and
    methods with virtual tokens pass no ids at all.

    Args:
        network: a transformers model for sequence classification, or the same within a PEFT model.
        inputs: `input_ids` and `attention_mask`, `[rows, width]`, padded at the end; `token_type_ids` are passed on
            only to models that know more than one type of token.
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
    mask = inputs["attention_mask"]
    virtual = seen[0].shape[1] - mask.shape[1]  # tokens that the method put in front
    last = virtual + mask.sum(-1) - 1
    return seen[0][torch.arange(len(last), device=last.device), last]


WHOLE = "This model does more to its hidden states than one output layer, so all logits are made for the loss."


def losses_at(
    network: Any, inputs: dict[str, Any], places: torch.Tensor, targets: torch.Tensor, in_halves: bool
) -> torch.Tensor:
    """`[tokens]` fp32: negative log-likelihood of chosen tokens, in nats.

    Args:
        network: a causal language model, with or without an adapter.
        inputs: what it is called with.
        places: `[tokens]` int64, the position that predicts each, as an index into rows x width.
        targets: `[tokens]` int64.
        in_halves: whether `computes_in_halves` said yes; else all logits are made.
    """
    halves = split_model(network) if in_halves else None
    if halves is None:
        return token_losses(network(**inputs, use_cache=False).logits.flatten(0, 1)[places], targets)
    body, head = halves
    hidden = body(**inputs, use_cache=False).last_hidden_state
    return head_losses(hidden.flatten(0, 1).index_select(0, places), head.weight, head.bias, targets)


def split_model(network: Any) -> tuple[Any, nn.Linear] | None:
    """Body and output layer; None where the layer is none of its own, or is wrapped in something that trains it."""
    config = getattr(network, "active_peft_config", None)
    if config is not None:
        if config.is_prompt_learning:
            return None  # its virtual tokens are put before the inputs by PEFT's own forward pass
        network = network.get_base_model()
    head, body = network.get_output_embeddings(), network.base_model
    if body is network or type(head) is not nn.Linear:
        return None
    return body, head


@torch.no_grad()
def computes_in_halves(network: Any) -> bool:
    """Whether the two halves, one after the other, give the very logits of the whole model.

    Models that scale or bend their logits, or feed something else into the output layer, answer False.
    """
    halves = split_model(network)
    if halves is None:
        return False
    was_training = network.training
    network.eval()
    vocabulary = network.get_input_embeddings().num_embeddings
    ids = (torch.arange(21, device=network.device) * 7919 + 11).remainder(vocabulary)[None]
    try:
        whole = network(input_ids=ids, use_cache=False).logits
        apart = halves[1](halves[0](input_ids=ids, use_cache=False).last_hidden_state)
    except (TypeError, ValueError, RuntimeError, IndexError, AttributeError):
        return False
    finally:
        network.train(was_training)
    return torch.equal(whole, apart)
