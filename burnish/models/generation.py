"""Generates text from token ids, with a key-value cache."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from transformers import GenerationConfig
from transformers.generation.streamers import BaseStreamer

from burnish.errors import InputError, ModelError
from burnish.models.config import context_limit, pair_limits
from burnish.models.sharded import device_of, is_sharded

_NEUTRAL: dict[str, Any] = {
    "num_beams": 1,
    "num_return_sequences": 1,
    "min_length": 0,
    "top_p": 1.0,
    "typical_p": 1.0,
    "repetition_penalty": 1.0,
    "encoder_repetition_penalty": 1.0,
    "no_repeat_ngram_size": 0,
    "encoder_no_repeat_ngram_size": 0,
    "epsilon_cutoff": 0.0,
    "eta_cutoff": 0.0,
}
"""Set explicitly, because unset options are taken from the base model's own generation_config.json."""


@dataclasses.dataclass(frozen=True, slots=True)
class Decoding:
    """How the next token is chosen. The defaults are greedy."""

    temperature: float = 0.0
    """0 for always the most likely token."""
    top_p: float = 1.0
    """Only the most likely tokens that together have this probability."""
    top_k: int = 0
    """Only so many of the most likely tokens; 0 for all."""
    repetition_penalty: float = 1.0
    """Divides positive logits of tokens in prompt or answer, and multiplies negative ones (arXiv 1909.05858)."""

    def settings(self) -> dict[str, Any]:
        """As transformers calls them."""
        drawn = {"do_sample": True, "temperature": self.temperature, "top_k": self.top_k, "top_p": self.top_p}
        chosen = drawn if self.temperature > 0 else {"do_sample": False}
        return {**_NEUTRAL, **chosen, "repetition_penalty": self.repetition_penalty}


GREEDY = Decoding()


def generation_config(
    tokenizer: Any, stop_ids: Sequence[int], max_new_tokens: int, decoding: Decoding = GREEDY
) -> GenerationConfig:
    """The settings of a generation that stops at any of `stop_ids`."""
    return GenerationConfig(
        max_new_tokens=max_new_tokens,
        eos_token_id=list(stop_ids) or None,
        pad_token_id=tokenizer.pad_token_id,
        **decoding.settings(),
    )


MAX_NEW_TOKENS = 256
"""Longest answer in tokens, if nothing else is said; also what a saved model says."""
_TOKENS = (
    "bos_token_id",
    "eos_token_id",
    "pad_token_id",
    "decoder_start_token_id",
    "forced_bos_token_id",
    "forced_eos_token_id",
    "suppress_tokens",
    "begin_suppress_tokens",
)
"""Settings that belong to the tokens of a model, rather than to a way of choosing among them."""
_HARMLESS = {**_NEUTRAL, "do_sample": False, "temperature": 1.0, "top_k": 50, "early_stopping": False}
"""Values that leave greedy decoding as it is."""
_LENGTHS = ("max_length", "max_new_tokens", "use_cache", "cache_implementation", "transformers_version")


_IN_BOTH = (
    "bos_token_id",
    "eos_token_id",
    "pad_token_id",
    "decoder_start_token_id",
    "use_cache",
    "output_attentions",
    "output_hidden_states",
    "transformers_version",
)
"""What both a model's config and its generation settings have."""


def check_tokens(settings: Mapping[str, Any]) -> None:
    """Raises ModelError for generation settings that name a token otherwise than by its number."""
    for name, value in settings.items():
        listed = value if isinstance(value, (list, tuple)) else [value]
        if not all(isinstance(number, int) for number in listed if number is not None):
            raise ModelError(
                f"the generation settings of the base model have `{name}: {value!r}`",
                "Tokens are given there by their numbers.",
                "Fix or remove it in `generation_config.json` and `config.json`",
            )


def make_greedy(network: Any) -> list[str]:
    """Leaves only tokens in the generation settings of a model: it is evaluated, saved and used with greedy decoding.

    Settings in its config move as well, because transformers does not save a config with them.

    Returns:
        A note for the user if settings were dropped that would have changed answers.

    Raises:
        ModelError: a token is not named by its number.
    """
    old = _settings_in_config(network.config)
    for name in old:
        setattr(network.config, name, None)
    if not network.can_generate() or network.generation_config is None:
        return []
    old = {**old, **network.generation_config.to_diff_dict()}
    kept = {name: getattr(network.generation_config, name, None) for name in _TOKENS}
    if kept["decoder_start_token_id"] is None:  # training begins with that of the config
        kept["decoder_start_token_id"] = getattr(network.config, "decoder_start_token_id", None)
    check_tokens(kept)
    # greedy in so many words: where nothing is said, a pipeline of transformers samples
    kept = {name: value for name, value in kept.items() if value is not None}
    network.generation_config = GenerationConfig(do_sample=False, **kept)
    dropped = sorted(
        name
        for name, value in old.items()
        if name not in (*_TOKENS, *_LENGTHS)
        and not name.startswith(("_", "output_", "return_"))
        and value is not None
        and _HARMLESS.get(name) != value
    )
    if not dropped:
        return []
    named = ", ".join(f"`{name}`" for name in dropped)
    return [
        f"The base model's own generation settings ({named}) are not used: answers are the most likely tokens, in the "
        "evaluation and in the saved model."
    ]


def _settings_in_config(config: Any) -> dict[str, Any]:
    """The generation settings in a model's config, with which transformers refuses to save it.

    They are what a `GenerationConfig` has and the config's own class does not declare: some classes declare suppressed
    tokens, for example. `GenerationConfig.from_model_config` finds only those that differ from its defaults.
    """
    declared = {field.name for field in dataclasses.fields(config)}
    names = GenerationConfig().to_dict().keys() - declared - {*_IN_BOTH}
    found = {name: getattr(config, name, None) for name in sorted(names) if not name.startswith("_")}
    return {name: value for name, value in found.items() if value is not None}


@torch.no_grad()
def generate_batch(
    network: Any,
    tokenizer: Any,
    prompts: Sequence[Sequence[int]],
    stop_ids: Sequence[int],
    max_new_tokens: int,
    decoding: Decoding = GREEDY,
    streamer: BaseStreamer | None = None,
    inputs: Mapping[str, torch.Tensor] | None = None,
) -> list[list[int]]:
    """Generates answers to a batch of prompts.

    With sharded weights all processes generate at the same time, and each makes as many passes through the network as
    the one with the longest answer.

    Prompts are padded on the left, so that all answers begin in the same column. Answers get the rest of the model's
    context; a prompt that leaves less than a quarter (or `max_new_tokens`) is truncated on the left. In an
    encoder-decoder each of the two has positions of its own.

    Args:
        network: the network on its device.
        tokenizer: the network's tokenizer.
        prompts: token ids; a single prompt if there are `inputs`.
        stop_ids: tokens that end an answer.
        max_new_tokens: longest answer in tokens.
        decoding: how tokens are chosen.
        streamer: receives each new token.
        inputs: further inputs of the network, for example pixels. Such a prompt is never truncated.

    Returns:
        The new token ids for each prompt, without the stop token and anything after it.

    Raises:
        InputError: a prompt that cannot be truncated leaves no room for an answer.
    """
    by_length = _by_length(prompts)
    if _virtual_tokens(network) and len(by_length) > 1:
        # with virtual tokens PEFT counts padding as positions, so padded batches would be wrong
        answers: list[list[int]] = [[] for _ in prompts]
        for indices in by_length:
            alike = [prompts[index] for index in indices]
            found = generate_batch(network, tokenizer, alike, stop_ids, max_new_tokens, decoding, streamer, inputs)
            for index, answer in zip(indices, found, strict=True):
                answers[index] = answer
        return answers
    kept, max_new_tokens = _fitted(network, prompts, max_new_tokens, has_inputs=inputs is not None)
    device = device_of(network)
    ids, mask = _padded_left(kept, tokenizer.pad_token_id)
    with _whole_head_inputs(network):
        output = network.generate(
            input_ids=ids.to(device),
            attention_mask=mask.to(device),
            generation_config=generation_config(tokenizer, stop_ids, max_new_tokens, decoding),
            streamer=streamer,
            synced_gpus=is_sharded(network),
            **{name: tensor.to(device) for name, tensor in (inputs or {}).items()},
        )
    # the decoder of an encoder-decoder begins with its start token
    begin = 1 if network.config.is_encoder_decoder else ids.shape[1]
    return [_until_stop(row, set(stop_ids)) for row in output[:, begin:].tolist()]


def _by_length(prompts: Sequence[Sequence[int]]) -> list[list[int]]:
    """Indices of the prompts of each length."""
    groups: dict[int, list[int]] = {}
    for index, prompt in enumerate(prompts):
        groups.setdefault(len(prompt), []).append(index)
    return list(groups.values())


def longest_answer(network: Any, prompts: Sequence[Sequence[int]], max_new_tokens: int, has_inputs: bool) -> int:
    """Tokens of the longest answer that the context of a network leaves room for after a batch of prompts.

    Args:
        network: that generates.
        prompts: token ids.
        max_new_tokens: of the longest answer that is wanted.
        has_inputs: whether the prompt has further inputs and cannot be truncated.

    Raises:
        InputError: there is no room.
    """
    return _fitted(network, prompts, max_new_tokens, has_inputs)[1]


def _fitted(
    network: Any, prompts: Sequence[Sequence[int]], max_new_tokens: int, has_inputs: bool
) -> tuple[list[list[int]], int]:
    """The prompts truncated on the left to the model's context, and the longest answer that it leaves room for.

    Raises:
        InputError: a prompt with further inputs, which cannot be truncated, leaves no room for an answer.
    """
    kept = [list(prompt) for prompt in prompts]
    limit, room = _context_limit(network), prompt_room(network, max_new_tokens)
    if network.config.is_encoder_decoder:
        longest = max_new_tokens if limit is None else min(max_new_tokens, limit)
        return [prompt[-room:] for prompt in kept] if room else kept, longest
    if not limit or not room:
        return kept, max_new_tokens
    if has_inputs:
        room = limit - 1
        if len(kept[0]) > room:
            raise InputError(
                f"the prompt with its images has {len(kept[0])} tokens",
                f"The model supports at most {limit}, and an image cannot be truncated.",
                "Use smaller images, or fewer",
            )
    kept = [prompt[-room:] for prompt in kept]
    return kept, min(max_new_tokens, limit - max(map(len, kept)))


def _padded_left(prompts: Sequence[Sequence[int]], pad_id: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids and attention mask, both `[rows, width]` int64."""
    width = max(map(len, prompts))
    ids = torch.full((len(prompts), width), pad_id, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, prompt in enumerate(prompts):
        ids[row, width - len(prompt) :] = torch.tensor(prompt)
        mask[row, width - len(prompt) :] = 1
    return ids, mask


@contextmanager
def _whole_head_inputs(network: Any) -> Iterator[None]:
    """Makes the input of the output layer contiguous.

    Transformers passes it the last position of each prompt, a slice. For such an input torch copies the layer's matrix
    once per row, to multiply batches: with 32 prompts and 49,152 tokens of vocabulary, 1.7 GB.
    """
    head = network.get_output_embeddings()
    if head is None:
        yield
        return
    hook = head.register_forward_pre_hook(lambda module, inputs: (inputs[0].contiguous(), *inputs[1:]))
    try:
        yield
    finally:
        hook.remove()


def prompt_room(network: Any, max_new_tokens: int) -> int | None:
    """Most tokens of a prompt that `generate_batch` keeps; None for no limit.

    Args:
        network: that generates.
        max_new_tokens: longest answer in tokens.
    """
    if network.config.is_encoder_decoder:
        source = pair_limits(network.config)[0]
        return None if source is None else max(1, source - _virtual_tokens(network))
    limit = _context_limit(network)
    return None if not limit else limit - min(max_new_tokens, max(1, limit // 4))


def _context_limit(network: Any) -> int | None:
    """Number of positions for prompt and answer together, or for the answer alone of an encoder-decoder; None for no
    limit."""
    config = network.config
    limit = pair_limits(config)[1] if config.is_encoder_decoder else context_limit(config)
    return None if limit is None else limit - _virtual_tokens(network)


def _virtual_tokens(network: Any) -> int:
    """Number of virtual tokens that the method puts before every text."""
    return getattr(getattr(network, "active_peft_config", None), "num_virtual_tokens", 0)


def _until_stop(ids: list[int], stop_ids: set[int]) -> list[int]:
    end = next((position for position, token in enumerate(ids) if token in stop_ids), len(ids))
    return ids[:end]
