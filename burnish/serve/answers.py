"""Completions and chats: from a request to prompts, from answers to OpenAI's objects."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from burnish.serve.forms import ChatForm, Common, CompletionForm
from burnish.serve.refusals import Refusal, refusal_of
from burnish.serve.writing import Piece, write

if TYPE_CHECKING:
    from burnish.inference.batch import Asked, Token
    from burnish.inference.engine import Engine
    from burnish.inference.served import Served

_USUAL = 4096
"""New tokens of an answer, if nothing is said and the model has room."""


@dataclass(frozen=True, slots=True)
class Models:
    """What answers."""

    engine: Engine
    served: Mapping[str, Served]

    def find(self, name: str) -> Served:
        """A model by name. Raises `Refusal` if there is none."""
        if name not in self.served:
            known = ", ".join(f"`{one}`" for one in self.served)
            message = f"There is no model `{name}` here. This server has {known}."
            raise Refusal(404, message, "model_not_found", "model")
        return self.served[name]


def chat_prompt(served: Served, form: ChatForm) -> list[int]:
    """The token ids of a conversation, up to where the answer begins: those that the model was trained with."""
    task = served.session.task
    if not task.reads_turns:
        message = f"The model `{served.name}` continues texts and has no chat template. Use `/v1/completions`."
        raise Refusal(400, message, None, "model")
    messages = [message.plain() for message in form.messages]
    if messages[-1]["role"] != "user":
        raise Refusal(400, "The last message has to be the user's: an answer follows it.", None, "messages")
    return list(task.predictor.prompt_ids(messages))


def completion_prompt(served: Served, prompt: str | list[int]) -> list[int]:
    """The token ids of a text that is continued as it is."""
    tokenizer = served.session.tokenizer
    if isinstance(prompt, str):
        ids = list(tokenizer(prompt)["input_ids"])
        return ids[:-1] if len(ids) > 1 and ids[-1] == tokenizer.eos_token_id else ids
    rows = served.session.network.get_input_embeddings().weight.shape[0]
    if any(not 0 <= token < rows for token in prompt):
        raise Refusal(400, f"A token id is not below {rows:,}.", None, "prompt")
    return prompt


def asked_of(served: Served, form: ChatForm | CompletionForm, ids: list[int], number: int) -> Asked:
    """One prompt as the engine takes it.

    Args:
        served: the model.
        form: the request.
        ids: of the prompt.
        number: of the answer, from 0: each of several has a seed of its own.
    """
    from burnish.inference.batch import Asked
    from burnish.inference.sampling import Sampling

    room = served.room - len(ids)
    most = form.most if form.most is not None else max(1, min(_USUAL, room))
    if room < max(1, form.most or 0):
        message = (
            f"The prompt has {len(ids):,} tokens and the answer may have {most:,}; `{served.name}` has room for "
            f"{served.room:,} together."
        )
        raise Refusal(400, message, "context_length_exceeded", "messages" if isinstance(form, ChatForm) else "prompt")
    bias = {_token_id(name, served): amount for name, amount in (form.logit_bias or {}).items()}
    sampling = Sampling(
        temperature=form.temperature or 0.0,
        top_p=1.0 if form.top_p is None else form.top_p,
        presence_penalty=form.presence_penalty or 0.0,
        frequency_penalty=form.frequency_penalty or 0.0,
        logit_bias=bias,
        seed=None if form.seed is None else form.seed + number,
    )
    return Asked(ids, frozenset(served.session.task.predictor.stop_ids), most, sampling, form.top)


def _token_id(name: str, served: Served) -> int:
    rows = served.session.network.get_input_embeddings().weight.shape[0]
    if not name.isdecimal() or int(name) >= rows:
        raise Refusal(400, f"`logit_bias` has `{name}`, which is no token id below {rows:,}.", None, "logit_bias")
    return int(name)


@dataclass(slots=True)
class Written:
    """A whole answer."""

    text: str
    tokens: list[Token]
    reason: str


async def whole(models: Models, served: Served, asked: Asked, stops: Sequence[str]) -> Written:
    """An answer, once it is finished."""
    text, tokens, reason = "", list[Any](), "stop"
    async for piece in write(models.engine, served, asked, stops):
        text += piece.text
        tokens += piece.tokens
        reason = piece.reason or reason
    return Written(text, tokens, reason)


async def answer_chat(models: Models, form: ChatForm) -> dict[str, Any]:
    """`chat.completion`."""
    served = models.find(form.model)
    ids = chat_prompt(served, form)
    asked = [asked_of(served, form, ids, number) for number in range(form.n or 1)]
    answers = await asyncio.gather(*(whole(models, served, one, form.stops) for one in asked))
    choices = [
        {
            "index": number,
            "message": {"role": "assistant", "content": answer.text, "refusal": None},
            "finish_reason": answer.reason,
            "logprobs": _chat_logprobs(served, answer.tokens) if form.logprobs else None,
        }
        for number, answer in enumerate(answers)
    ]
    head = _head("chatcmpl", "chat.completion", form)
    return {**head, "choices": choices, "usage": _usage(len(ids), sum(len(answer.tokens) for answer in answers))}


async def stream_chat(models: Models, form: ChatForm) -> AsyncGenerator[str, None]:
    """The data of `chat.completion.chunk` events."""
    served = models.find(form.model)
    ids = chat_prompt(served, form)
    asked = [asked_of(served, form, ids, number) for number in range(form.n or 1)]
    head, number_of_tokens = _head("chatcmpl", "chat.completion.chunk", form), 0
    for number in range(len(asked)):
        yield _chunk(head, number, {"role": "assistant", "content": ""}, form)
    async for number, piece in _together(models, served, asked, form.stops):
        number_of_tokens += len(piece.tokens)
        logprobs = _chat_logprobs(served, piece.tokens) if form.logprobs and piece.tokens else None
        if piece.text or logprobs:
            yield _chunk(head, number, {"content": piece.text}, form, logprobs)
        if piece.reason:
            yield _chunk(head, number, {}, form, reason=piece.reason)
    if form.stream_options is not None and form.stream_options.include_usage:
        yield json.dumps({**head, "choices": [], "usage": _usage(len(ids), number_of_tokens)})
    yield "[DONE]"


def _chunk(
    head: Mapping[str, Any],
    number: int,
    delta: Mapping[str, Any],
    form: ChatForm,
    logprobs: Any = None,
    reason: str | None = None,
) -> str:
    choice = {"index": number, "delta": delta, "finish_reason": reason, "logprobs": logprobs}
    usage = {"usage": None} if form.stream_options is not None and form.stream_options.include_usage else {}
    return json.dumps({**head, "choices": [choice], **usage})


async def answer_completion(models: Models, form: CompletionForm) -> dict[str, Any]:
    """`text_completion`."""
    served = models.find(form.model)
    prompts = [completion_prompt(served, prompt) for prompt in form.prompts()]
    jobs = [_completed(models, served, form, ids, number) for ids in prompts for number in range(form.n or 1)]
    found = await asyncio.gather(*jobs)
    choices = [{"index": index, **choice} for index, (choice, _) in enumerate(found)]
    new = sum(number for _, number in found)
    return {
        **_head("cmpl", "text_completion", form),
        "choices": choices,
        "usage": _usage(sum(map(len, prompts)), new),
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
            tokens = await _read(models, served, ids, form.logprobs)
    if form.most != 0:
        answer = await whole(models, served, asked_of(served, form, ids, number), form.stops)
        text, reason, new = text + answer.text, answer.reason, len(answer.tokens)
        tokens = [*tokens, *answer.tokens]
    logprobs = _completion_logprobs(served, tokens) if form.logprobs is not None else None
    return {"text": text, "finish_reason": reason, "logprobs": logprobs}, new


async def _read(models: Models, served: Served, ids: list[int], number: int) -> list[Token]:
    """The log-probabilities of a prompt's own tokens."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[Any] = loop.create_future()

    def end(found: Any, error: Exception | None) -> None:
        if error is None:
            loop.call_soon_threadsafe(lambda: done.done() or done.set_result(found))
        else:
            loop.call_soon_threadsafe(lambda: done.done() or done.set_exception(refusal_of(error)))

    models.engine.do(lambda: served.batch.log_probabilities(ids, number), end)
    return await done


async def stream_completion(models: Models, form: CompletionForm) -> AsyncGenerator[str, None]:
    """The data of `text_completion` events."""
    served = models.find(form.model)
    ids = completion_prompt(served, form.prompts()[0])
    asked = [asked_of(served, form, ids, number) for number in range(form.n or 1)]
    head, new = _head("cmpl", "text_completion", form), 0
    async for number, piece in _together(models, served, asked, form.stops):
        new += len(piece.tokens)
        logprobs = _completion_logprobs(served, piece.tokens) if form.logprobs is not None and piece.tokens else None
        if piece.text or piece.reason or logprobs:
            choice = {"index": number, "text": piece.text, "finish_reason": piece.reason, "logprobs": logprobs}
            yield json.dumps({**head, "choices": [choice]})
    if form.stream_options is not None and form.stream_options.include_usage:
        yield json.dumps({**head, "choices": [], "usage": _usage(len(ids), new)})
    yield "[DONE]"


async def _together(
    models: Models, served: Served, asked: Sequence[Asked], stops: Sequence[str]
) -> AsyncGenerator[tuple[int, Piece], None]:
    """The parts of several answers as they come, each with the number of its answer."""
    queue = asyncio.Queue[Any]()

    async def follow(number: int) -> None:
        try:
            async for piece in write(models.engine, served, asked[number], stops):
                await queue.put((number, piece))
        except Exception as error:  # noqa: BLE001, raised where the parts are taken
            await queue.put((number, error))

    tasks = [asyncio.create_task(follow(number)) for number in range(len(asked))]
    left = len(asked)
    try:
        while left:
            number, piece = await queue.get()
            if isinstance(piece, Exception):
                raise piece
            left -= piece.reason is not None
            yield number, piece
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _head(prefix: str, kind: str, form: Common) -> dict[str, Any]:
    return {"id": f"{prefix}-{uuid.uuid4().hex}", "object": kind, "created": int(time.time()), "model": form.model}


def _usage(prompt: int, new: int) -> dict[str, int]:
    return {"prompt_tokens": prompt, "completion_tokens": new, "total_tokens": prompt + new}


def _chat_logprobs(served: Served, tokens: Sequence[Token]) -> dict[str, Any]:
    def described(token: int, value: float | None) -> dict[str, Any]:
        text = served.session.tokenizer.decode([token])
        return {"token": text, "logprob": value, "bytes": list(text.encode())}

    content = [
        {**described(one.id, one.log_probability), "top_logprobs": [described(*pair) for pair in one.top]}
        for one in tokens
    ]
    return {"content": content, "refusal": None}


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
