"""How much of a prompt and of an answer the context of a model has room for."""

from __future__ import annotations

from typing import Any

from burnish.errors import InputError
from burnish.models.config import context_limit, pair_limits


def longest_answer(network: Any, length: int, max_new_tokens: int, has_inputs: bool) -> int:
    """Tokens of the longest answer that the context of a network leaves room for after a prompt.

    Args:
        network: that generates.
        length: of the prompt in tokens.
        max_new_tokens: of the longest answer that is wanted.
        has_inputs: whether the prompt has further inputs and cannot be truncated.

    Raises:
        InputError: there is no room.
    """
    limit, room = _context_limit(network), prompt_room(network, max_new_tokens)
    if network.config.is_encoder_decoder:
        return max_new_tokens if limit is None else min(max_new_tokens, limit)
    if not limit or not room:
        return max_new_tokens
    if has_inputs and length >= limit:
        raise InputError(
            f"the prompt with its images has {length} tokens",
            f"The model supports at most {limit}, and an image cannot be truncated.",
            "Use smaller images, or fewer",
        )
    return min(max_new_tokens, limit - (length if has_inputs else min(length, room)))


def prompt_room(network: Any, max_new_tokens: int) -> int | None:
    """Most tokens of a prompt that `generate_batch` keeps; None for no limit.

    Args:
        network: that generates.
        max_new_tokens: longest answer in tokens.
    """
    if network.config.is_encoder_decoder:
        source = pair_limits(network.config)[0]
        return None if source is None else max(1, source - num_virtual_tokens(network))
    limit = _context_limit(network)
    return None if not limit else limit - min(max_new_tokens, max(1, limit // 4))


def _context_limit(network: Any) -> int | None:
    """Number of positions for prompt and answer together, or for the answer alone of an encoder-decoder; None for no
    limit."""
    config = network.config
    limit = pair_limits(config)[1] if config.is_encoder_decoder else context_limit(config)
    return None if limit is None else limit - num_virtual_tokens(network)


def num_virtual_tokens(network: Any) -> int:
    """Of the virtual tokens that the method puts before every text."""
    return getattr(getattr(network, "active_peft_config", None), "num_virtual_tokens", 0)
