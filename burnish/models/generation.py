"""Generating text from token ids, with a key-value cache."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from transformers import GenerationConfig
from transformers.generation.streamers import BaseStreamer

from burnish.errors import InputError
from burnish.models.config import context_limit

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
"""Said aloud, because whatever is left unsaid is taken from the base model's own generation_config.json."""


def generation_config(
    tokenizer: Any, stop_ids: Sequence[int], max_new_tokens: int, temperature: float = 0.0
) -> GenerationConfig:
    """Greedy at temperature 0, else plain sampling; stops at any of `stop_ids`."""
    sampling = {"do_sample": True, "temperature": temperature, "top_k": 0} if temperature > 0 else {"do_sample": False}
    return GenerationConfig(
        max_new_tokens=max_new_tokens,
        eos_token_id=list(stop_ids) or None,
        pad_token_id=tokenizer.pad_token_id,
        **_NEUTRAL,
        **sampling,
    )


@torch.no_grad()
def generate_batch(
    network: Any,
    tokenizer: Any,
    prompts: Sequence[Sequence[int]],
    stop_ids: Sequence[int],
    max_new_tokens: int,
    temperature: float = 0.0,
    streamer: BaseStreamer | None = None,
    inputs: Mapping[str, torch.Tensor] | None = None,
) -> list[list[int]]:
    """Answers to several prompts at once.

    Prompts are padded on the left, so that all answers begin at the same column. Answers get what the prompts leave
    of the model's context; a prompt that leaves less than a quarter (or `max_new_tokens`) loses its oldest tokens.

    Args:
        network: on its device.
        tokenizer: of the network.
        prompts: token ids; only one where there are `inputs`.
        stop_ids: tokens that end an answer.
        max_new_tokens: longest answer.
        temperature: 0 for the most likely answer.
        streamer: told of each new token.
        inputs: what the network needs besides token ids, for example pixels. Such a prompt is never cut.

    Returns:
        For each prompt the new token ids, without the stop token and what follows it.

    Raises:
        InputError: a prompt that cannot be cut leaves no room for an answer.
    """
    if _virtual_tokens(network) and len({len(prompt) for prompt in prompts}) > 1:
        # PEFT forgets that padding has no position once virtual tokens stand before it
        return [
            generate_batch(network, tokenizer, [prompt], stop_ids, max_new_tokens, temperature, streamer, inputs)[0]
            for prompt in prompts
        ]
    limit = _context_limit(network)
    kept = [list(prompt) for prompt in prompts]
    if limit:
        room = limit - min(max_new_tokens, max(1, limit // 4)) if inputs is None else limit - 1
        if inputs is not None and len(kept[0]) > room:
            raise InputError(
                f"the prompt with its pictures has {len(kept[0])} tokens",
                f"The model reads at most {limit}, and a picture cannot be cut.",
                "Show smaller pictures, or fewer",
            )
        kept = [prompt[-room:] for prompt in kept]
        max_new_tokens = min(max_new_tokens, limit - max(map(len, kept)))
    width = max(map(len, kept))
    device = next(network.parameters()).device
    ids = torch.full((len(kept), width), tokenizer.pad_token_id, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, prompt in enumerate(kept):
        ids[row, width - len(prompt) :] = torch.tensor(prompt)
        mask[row, width - len(prompt) :] = 1
    output = network.generate(
        input_ids=ids.to(device),
        attention_mask=mask.to(device),
        generation_config=generation_config(tokenizer, stop_ids, max_new_tokens, temperature),
        streamer=streamer,
        **{name: tensor.to(device) for name, tensor in (inputs or {}).items()},
    )
    begin = 1 if network.config.is_encoder_decoder else width  # a decoder of its own begins with its start token
    return [_until_stop(row, set(stop_ids)) for row in output[:, begin:].tolist()]


def _context_limit(network: Any) -> int | None:
    """Positions that prompt and answer share; None where there is no such limit, as with a decoder of its own."""
    limit = None if network.config.is_encoder_decoder else context_limit(network.config)
    return None if limit is None else limit - _virtual_tokens(network)


def _virtual_tokens(network: Any) -> int:
    """Positions that the method put before every text."""
    return getattr(getattr(network, "active_peft_config", None), "num_virtual_tokens", 0)


def _until_stop(ids: list[int], stop_ids: set[int]) -> list[int]:
    end = next((position for position, token in enumerate(ids) if token in stop_ids), len(ids))
    return ids[:end]


class TextStreamer(BaseStreamer):
    """Hands out the text of a single answer as it grows, in whole characters only.

    Args:
        tokenizer: turns ids into text.
        write: called with each new piece of text.
        spoken: leaves away what of the ids is not meant for the reader.
    """

    def __init__(
        self,
        tokenizer: Any,
        write: Callable[[str], None],
        spoken: Callable[[list[int]], Sequence[int]] = lambda ids: ids,
    ) -> None:
        self._tokenizer = tokenizer
        self._write = write
        self._spoken = spoken
        self._ids: list[int] = []
        self._written = 0
        self._prompt_seen = False

    def put(self, value: torch.Tensor) -> None:
        """Takes the prompt first, then each new token."""
        if not self._prompt_seen:
            self._prompt_seen = True
            return
        self._ids += value.flatten().tolist()
        text = self._text()
        if not text.endswith("\ufffd"):  # half a character
            self._emit(text)

    def end(self) -> None:
        """Hands out what is left."""
        self._emit(self._text())

    def _text(self) -> str:
        return self._tokenizer.decode(self._spoken(self._ids), skip_special_tokens=True)

    def _emit(self, text: str) -> None:
        if len(text) > self._written:
            self._write(text[self._written :])
            self._written = len(text)
