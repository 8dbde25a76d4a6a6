"""`/v1/completions`: texts continued as they are."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Sequence
from typing import TYPE_CHECKING, Any

from burnish.serve.answers import Models, asked_of, head, together, usage
from burnish.serve.forms import CompletionForm
from burnish.serve.refusals import Refusal
from burnish.serve.writing import Manner, write

if TYPE_CHECKING:
    from burnish.decoding.row import Token
    from burnish.inference.served import Served


def completion_prompt(served: Served, prompt: str | list[int]) -> list[int]:
    """The token ids of a text that is continued as it is."""
    tokenizer = served.session.tokenizer
    if isinstance(prompt, str):
        ids = list(tokenizer(prompt)["input_ids"])
        return ids[:-1] if len(ids) > 1 and ids[-1] == tokenizer.eos_token_id else ids
    if any(not 0 <= token < served.vocabulary for token in prompt):
        raise Refusal(400, f"A token id is not below {served.vocabulary:,}.", None, "prompt")
    return prompt


async def answer_completion(models: Models, form: CompletionForm) -> dict[str, Any]:
    """`text_completion`."""
    served = models.find(form.model)
    prompts = [completion_prompt(served, prompt) for prompt in form.prompts()]
    jobs = [_completed(models, served, form, ids, number) for ids in prompts for number in range(form.n or 1)]
    found = await asyncio.gather(*jobs)
    choices = [{"index": index, **choice} for index, (choice, _) in enumerate(found)]
    new = sum(number for _, number in found)
    return {
        **head("cmpl", "text_completion", form),
        "choices": choices,
        "usage": usage(sum(map(len, prompts)), new),
    }


async def _completed(
    models: Models, served: Served, form: CompletionForm, ids: list[int], number: int
) -> tuple[dict[str, Any], int]:
    """One choice, and its number of new tokens."""
    tokens, text, reason, new = list[Any](), "", "length", 0
    if form.echo:
        if len(ids) > served.room:
            raise Refusal(
                400, f"The prompt has {len(ids):,} tokens, and there is room for {served.room:,}.", None, "prompt"
            )
        text = served.session.tokenizer.decode(ids)
        if form.logprobs is not None:
            number_of_top = form.logprobs
            tokens = await models.do(lambda: served.batch.log_probabilities(ids, number_of_top))
    if form.most != 0:
        async for piece in write(models.engine, served, asked_of(served, form, ids, number), Manner(form.stops)):
            text, reason, new = text + piece.text, piece.reason or reason, new + len(piece.tokens)
            tokens += piece.tokens if form.logprobs is not None else []
    logprobs = _completion_logprobs(served, tokens) if form.logprobs is not None else None
    return {"text": text, "finish_reason": reason, "logprobs": logprobs}, new


async def stream_completion(models: Models, form: CompletionForm) -> AsyncGenerator[str, None]:
    """The data of `text_completion` events."""
    served = models.find(form.model)
    ids = completion_prompt(served, form.prompts()[0])
    asked = [asked_of(served, form, ids, number) for number in range(form.n or 1)]
    begin, new = head("cmpl", "text_completion", form), 0
    async for number, piece in together(models, served, asked, [Manner(form.stops)] * len(asked)):
        new += len(piece.tokens)
        logprobs = _completion_logprobs(served, piece.tokens) if form.logprobs is not None and piece.tokens else None
        if piece.text or piece.reason or logprobs:
            choice = {"index": number, "text": piece.text, "finish_reason": piece.reason, "logprobs": logprobs}
            yield json.dumps({**begin, "choices": [choice]})
    if form.stream_options is not None and form.stream_options.include_usage:
        yield json.dumps({**begin, "choices": [], "usage": usage(len(ids), new)})
    yield "[DONE]"


def _completion_logprobs(served: Served, tokens: Sequence[Token]) -> dict[str, Any]:
    decode = served.session.tokenizer.decode
    texts, offsets, at = [], [], 0
    for one in tokens:
        texts.append(decode([one.id]))
        offsets.append(at)
        at += len(texts[-1])
    return {
        "tokens": texts,
        "token_logprobs": [one.log_probability for one in tokens],
        "top_logprobs": [{decode([token]): value for token, value in one.top} or None for one in tokens],
        "text_offset": offsets,
    }
