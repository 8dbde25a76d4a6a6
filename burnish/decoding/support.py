"""Which networks a `Batch` can run: those whose whole memory of a text is the keys and values of its tokens."""

from __future__ import annotations

import inspect
from typing import Any

from transformers import GenerationMixin
from transformers.cache_utils import DynamicCache, DynamicLayer, DynamicSlidingWindowLayer
from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES

from burnish.decoding.context import num_virtual_tokens
from burnish.models.sharded import is_sharded

_PER_TOKEN = (DynamicLayer, DynamicSlidingWindowLayer)
"""Layers of transformers' cache that hold keys and values of tokens, and nothing else."""
_POSITIONS_FROM_MASK = ("bloom", "mpt")
"""Types of models that take positions from the mask rather than as `position_ids`."""
_MASKED_TOO = ("bert-generation",)
"""Types of encoders that transformers has no masked language model of."""
_COUNTING_COLUMNS = ("gpt_neo",)
"""Types of models with windows that transformers' cache does not know of."""
_FORCED = ("forced_bos_token_id", "forced_eos_token_id", "suppress_tokens", "begin_suppress_tokens")
"""Generation settings that change which tokens are chosen."""


def why_no_batch(network: Any) -> str:
    """Why a network cannot run in a `Batch`, as a sentence; empty if it can.

    Args:
        network: that generates, perhaps with adapters.
    """
    plain = plain_network(network)
    if is_sharded(network):
        return "Its weights are sharded among several processes."
    if num_virtual_tokens(network):
        return "Its method puts what it trained before each text, which a batch of several answers does not do."
    if network.config.is_encoder_decoder:
        return "It maps one text to another with two networks, and a batch only continues texts."
    if type(plain).generate is not GenerationMixin.generate:  # pyright: ignore[reportAttributeAccessIssue]
        return f"Generation of `{type(plain).__name__}` is code of its own."
    settings = plain.generation_config
    if named := [name for name in _FORCED if getattr(settings, name, None)]:
        return f"Its generation settings have `{named[0]}`."
    if not (_holds_keys_and_values(plain) and _has_positions(plain)):
        return f"`{type(plain).__name__}` remembers a text otherwise than by keys and values of its tokens."
    return ""


def is_indifferent_to_gaps(network: Any) -> bool:
    """Whether only the positions of tokens matter to a network, rather than also their columns: a window of the latest
    tokens, for example, is a number of columns. If so, there may be masked columns between those of a text."""
    plain = plain_network(network)
    text = plain.config.get_text_config(decoder=True)
    if text.model_type in _COUNTING_COLUMNS or not takes(plain, "position_ids"):
        return False
    return all(type(layer) is DynamicLayer for layer in DynamicCache(config=text).layers)


def plain_network(network: Any) -> Any:
    """A network without what PEFT puts around it."""
    return network.get_base_model() if hasattr(network, "get_base_model") else network


def takes(plain: Any, name: str) -> bool:
    """Whether a network without adapters takes an input, by name."""
    return name in inspect.signature(plain.forward).parameters


def counts_padding(network: Any) -> bool:
    """Whether padding on the left would change the positions of a prompt."""
    if num_virtual_tokens(network):
        return True  # by PEFT
    return not network.config.is_encoder_decoder and not _has_positions(plain_network(network))


def _has_positions(plain: Any) -> bool:
    return takes(plain, "position_ids") or plain.config.model_type in _POSITIONS_FROM_MASK


def _holds_keys_and_values(plain: Any) -> bool:
    text = plain.config.get_text_config(decoder=True)
    if plain._is_stateful or not takes(plain, "past_key_values") or _is_encoder(text):
        return False
    return all(type(layer) in _PER_TOKEN for layer in DynamicCache(config=text).layers)


def _is_encoder(text: Any) -> bool:
    """Whether a network reads in both directions, and so holds nothing: encoders have classes that generate, too."""
    may_be = text.model_type in MODEL_FOR_MASKED_LM_MAPPING_NAMES or text.model_type in _MASKED_TOO
    return may_be and not getattr(text, "is_decoder", False)
