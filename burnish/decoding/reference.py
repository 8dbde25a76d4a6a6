"""Transformers' own `generate`: for networks that a `Batch` cannot run, and the reference for those that it can."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from transformers import GenerationConfig
from transformers.generation.streamers import BaseStreamer

from burnish.decoding.head import contiguous_inputs
from burnish.decoding.row import Asked
from burnish.decoding.support import counts_padding
from burnish.models.device import arithmetic
from burnish.models.generation_settings import NEUTRAL
from burnish.models.sharded import device_of, is_sharded


@torch.no_grad()
def generate_reference(
    network: Any,
    tokenizer: Any,
    asked: Sequence[Asked],
    precision: str,
    on_token: Callable[[int], None] = lambda token: None,
) -> list[list[int]]:
    """The new tokens of each answer, that which ends it included, and perhaps padding after it.

    Prompts are padded on the left, so that all answers begin in the same column; those of the same length alone are
    answered together where the network would count padding as positions.

    Args:
        network: on its device, in evaluation mode.
        tokenizer: of the network.
        asked: with the same stop tokens; guides, penalties of a server and log-probabilities are not used.
        precision: of the arithmetic.
        on_token: receives each new token of a single prompt.
    """
    written: list[list[int]] = [[] for _ in asked]
    for indices in _groups(network, asked):
        alike = [asked[index] for index in indices]
        for index, ids in zip(indices, _generate(network, tokenizer, alike, precision, on_token), strict=True):
            written[index] = ids
    return written


def _groups(network: Any, asked: Sequence[Asked]) -> list[list[int]]:
    """Indices of the prompts that are answered together."""
    groups: dict[tuple[int, int], list[int]] = {}
    for index, one in enumerate(asked):
        length = len(one.ids) if counts_padding(network) else 0
        groups.setdefault((length, one.most), []).append(index)
    return list(groups.values())


def _generate(
    network: Any, tokenizer: Any, asked: Sequence[Asked], precision: str, on_token: Callable[[int], None]
) -> list[list[int]]:
    device, first = device_of(network), asked[0]
    ids, mask = _padded_left([one.ids for one in asked], tokenizer.pad_token_id)
    if first.sampling.seed is not None:
        torch.manual_seed(first.sampling.seed)
    with arithmetic(device, precision), contiguous_inputs(network):
        output = network.generate(
            input_ids=ids.to(device),
            attention_mask=mask.to(device),
            generation_config=_config(tokenizer, first),
            streamer=_Streamer(on_token) if len(asked) == 1 else None,
            synced_gpus=is_sharded(network),
            **{name: tensor.to(device) for name, tensor in (first.inputs or {}).items()},
        )
    # the decoder of an encoder-decoder begins with its start token
    begin = 1 if network.config.is_encoder_decoder else ids.shape[1]
    return output[:, begin:].tolist()


def _config(tokenizer: Any, asked: Asked) -> GenerationConfig:
    """What was asked, as transformers calls it."""
    sampling, chosen = asked.sampling, {**NEUTRAL, "do_sample": False}
    chosen["repetition_penalty"] = sampling.repetition_penalty
    if sampling.temperature:
        chosen |= {"do_sample": True, "temperature": sampling.temperature}
        chosen |= {"top_k": sampling.top_k, "top_p": sampling.top_p}
    return GenerationConfig(
        max_new_tokens=asked.most,
        eos_token_id=list(asked.stop_ids) or [-1],  # with None, those of the model end an answer
        pad_token_id=tokenizer.pad_token_id,
        **chosen,
    )


def _padded_left(prompts: Sequence[Sequence[int]], pad_id: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids and attention mask, both `[rows, width]` int64."""
    width = max(map(len, prompts))
    ids = torch.full((len(prompts), width), pad_id, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, prompt in enumerate(prompts):
        ids[row, width - len(prompt) :] = torch.tensor(prompt)
        mask[row, width - len(prompt) :] = 1
    return ids, mask


class _Streamer(BaseStreamer):
    """Hands over the tokens of a single answer."""

    def __init__(self, on_token: Callable[[int], None]) -> None:
        self._on_token, self._prompt_seen = on_token, False

    def put(self, value: torch.Tensor) -> None:
        """Receives the prompt first, then each new token."""
        if self._prompt_seen:
            for token in value.flatten().tolist():
                self._on_token(token)
        self._prompt_seen = True

    def end(self) -> None:
        """Nothing is held back."""
