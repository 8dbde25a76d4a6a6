"""Answers to a batch of prompts, within the context of the model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from burnish.decoding.batch import Batch
from burnish.decoding.context import longest_answer, prompt_room
from burnish.decoding.reference import generate_reference
from burnish.decoding.row import Asked, Row
from burnish.decoding.sampling import GREEDY, Sampling
from burnish.decoding.support import why_no_batch

MAX_NEW_TOKENS = 256
"""Longest answer in tokens, if nothing else is said; also what a saved model says."""


def generate_batch(
    network: Any,
    tokenizer: Any,
    prompts: Sequence[Sequence[int]],
    stop_ids: Sequence[int],
    max_new_tokens: int,
    precision: str = "fp32",
    sampling: Sampling = GREEDY,
    inputs: Mapping[str, torch.Tensor] | None = None,
) -> list[list[int]]:
    """Answers to prompts that have nothing to do with each other: see `Generator`."""
    return Generator(network, tokenizer, precision).answer(prompts, stop_ids, max_new_tokens, sampling, inputs)


class Generator:
    """A network that answers prompts: in a `Batch`, or by transformers' `generate` where that is the only way.

    With sharded weights all processes generate at the same time, and each makes as many passes through the network as
    the one with the longest answer.

    Args:
        network: the network on its device, in evaluation mode.
        tokenizer: the network's tokenizer.
        precision: of the arithmetic.
        kept_bytes: of what was read that is kept for further prompts which begin alike.
    """

    def __init__(self, network: Any, tokenizer: Any, precision: str, kept_bytes: int = 0) -> None:
        self._network, self._tokenizer, self._precision = network, tokenizer, precision
        self._batch = None if why_no_batch(network) else Batch(network, precision, kept_bytes=kept_bytes)

    def answer(
        self,
        prompts: Sequence[Sequence[int]],
        stop_ids: Sequence[int],
        max_new_tokens: int,
        sampling: Sampling = GREEDY,
        inputs: Mapping[str, torch.Tensor] | None = None,
        on_token: Callable[[int], None] = lambda token: None,
    ) -> list[list[int]]:
        """Answers prompts, all at the same time.

        Answers get the rest of the model's context; a prompt that leaves less than a quarter (or `max_new_tokens`) is
        truncated on the left. In an encoder-decoder each of the two has positions of its own.

        Args:
            prompts: token ids; a single prompt if there are `inputs`.
            stop_ids: tokens that end an answer.
            max_new_tokens: longest answer in tokens.
            sampling: how tokens are chosen; without a seed, what is drawn depends on torch's generator.
            inputs: further inputs of the network, for example pixels. Such a prompt is never truncated.
            on_token: receives each new token of a single prompt, and the one that ends it.

        Returns:
            The new token ids for each prompt, without the stop token and anything after it.

        Raises:
            InputError: a prompt that cannot be truncated leaves no room for an answer.
        """
        asked = [self._asked(ids, stop_ids, max_new_tokens, sampling, inputs) for ids in prompts]
        if self._batch is None:
            written = generate_reference(self._network, self._tokenizer, asked, self._precision, on_token)
        else:
            written = _written(self._batch, asked, on_token)
        return [_until_stop(ids, set(stop_ids)) for ids in written]

    def _asked(
        self,
        ids: Sequence[int],
        stop_ids: Sequence[int],
        max_new_tokens: int,
        sampling: Sampling,
        inputs: Mapping[str, torch.Tensor] | None,
    ) -> Asked:
        if sampling.temperature and sampling.seed is None:
            sampling = replace(sampling, seed=int(torch.randint(2**63 - 1, ())))
        room = prompt_room(self._network, max_new_tokens)
        kept = list(ids) if room is None or inputs is not None else list(ids)[-room:]
        most = longest_answer(self._network, len(ids), max_new_tokens, inputs is not None)
        return Asked(kept, stop_ids, most, sampling, inputs=inputs)


def _written(batch: Batch, asked: Sequence[Asked], on_token: Callable[[int], None]) -> list[list[int]]:
    """The new tokens of each prompt, that which ends it included."""
    rows = [Row(one) for one in asked]
    try:
        for part in batch.parts(rows):
            for token in batch.join(part):
                if token is not None:
                    on_token(token.id)
        while batch.rows:
            for _, token in batch.step():
                if token is not None:
                    on_token(token.id)
    except BaseException:
        batch.clear()  # interrupted at any point, so keys and values may be those of a part of the layers
        raise
    return [row.new for row in rows]


def _until_stop(ids: list[int], stop_ids: set[int]) -> list[int]:
    end = next((position for position, token in enumerate(ids) if token in stop_ids), len(ids))
    return ids[:end]
