"""`/v1/chat/completions`: the next answer of a conversation, in words, thoughts and calls of tools."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from burnish.serve.answers import Models, asked_of, head, together, usage
from burnish.serve.chat_forms import ChatForm, Question
from burnish.serve.refusals import Refusal
from burnish.serve.writing import Manner, Piece

if TYPE_CHECKING:
    from burnish.data.chat.reading import Part
    from burnish.decoding.row import Asked, Token
    from burnish.inference.grammar import Guide
    from burnish.inference.served import Served


@dataclass(frozen=True, slots=True)
class Chat:
    """A conversation that is to be answered, once or several times."""

    served: Served
    ids: list[int]
    """Of the prompt."""
    asked: list[Asked]
    manners: list[Manner]


async def open_chat(models: Models, form: ChatForm) -> Chat:
    """What a request asks of a model.

    Raises:
        Refusal: the model cannot do it.
        InputError: there is a schema that cannot be followed.
    """
    served = models.find(form.model)
    predictor = served.session.task.predictor
    if form.usable_tools and predictor.call_form is None:
        why = "its chat template does not write calls as JSON" if served.session.task.reads_turns else "it has no turns"
        message = f"The model `{served.name}` calls no tools: {why}. Leave `tools` out, or describe them in a message."
        raise Refusal(400, message, None, "tools")
    ids = chat_prompt(served, form)
    inputs = await _pixels(served, form)
    asked, manners = [], []
    for number in range(form.n or 1):
        reader = predictor.reader(ids, bool(form.usable_tools))
        if form.stream:
            reader.stream_calls()
        guide = await asyncio.to_thread(_guide, served, form, reader.tag)
        asked.append(asked_of(served, form, ids, number, guide, "messages", inputs))
        manners.append(Manner(form.stops, reader, form.is_one_call))
    return Chat(served, ids, asked, manners)


def _guide(served: Served, form: ChatForm, tag: str) -> Guide | None:
    """What the answer has to be; None if it may be anything."""
    call_form = served.session.task.predictor.call_form
    if form.demanded_tools and call_form is not None:
        functions = [tool.function for tool in form.demanded_tools]
        return served.grammars.of_calls(call_form, functions, form.is_one_call, tag)
    schema = None if form.response_format is None else form.response_format.schema_of_answer
    return None if schema is None else served.grammars.of_schema(schema, tag)


def chat_prompt(served: Served, form: ChatForm) -> list[int]:
    """The token ids of a conversation, up to where the answer begins: those that the model was trained with."""
    from burnish.data.rows.row import RowError

    task = served.session.task
    if not task.reads_turns:
        message = f"The model `{served.name}` continues texts and has no chat template. Use `/v1/completions`."
        raise Refusal(400, message, None, "model")
    if _has_pictures(form) and not task.takes_pictures:
        raise Refusal(400, f"The model `{served.name}` sees no pictures.", None, "messages")
    turns = _turns(served, form)
    if turns[-1]["role"] not in ("user", "tool"):
        message = "The last message has to be the user's, or the result of a tool: an answer follows it."
        raise Refusal(400, message, None, "messages")
    tools = [tool.listed() for tool in form.usable_tools] or None
    try:
        return list(task.predictor.prompt_ids(turns, tools))
    except RowError as error:
        raise Refusal(400, f"The conversation cannot be answered: {error}.", None, "messages") from error


def _turns(served: Served, form: ChatForm) -> list[dict[str, Any]]:
    sees = served.session.task.takes_pictures
    return [message.parts() if sees and isinstance(message, Question) else message.turn() for message in form.messages]


def _has_pictures(form: ChatForm) -> bool:
    return any(isinstance(message, Question) and message.has_pictures for message in form.messages)


async def _pixels(served: Served, form: ChatForm) -> Mapping[str, Any] | None:
    """What the model needs besides the tokens of a conversation; None without pictures."""
    if not _has_pictures(form):
        return None
    return await asyncio.to_thread(served.session.task.predictor.prompt_inputs, _turns(served, form))


@dataclass(slots=True)
class _Said:
    """A whole answer, as it grows."""

    parts: list[Part] = field(default_factory=list)
    tokens: list[Token] = field(default_factory=list)
    reason: str | None = None

    def add(self, piece: Piece) -> None:
        """Goes on."""
        self.parts += piece.parts
        self.tokens += piece.tokens
        self.reason = piece.reason

    def message(self) -> dict[str, Any]:
        """OpenAI's object."""
        from burnish.data.chat.reading import CALL, THOUGHT, WORDS

        texts = {kind: "".join(part.text for part in self.parts if part.kind == kind) for kind in (THOUGHT, WORDS)}
        calls = [_call(part) for part in self.parts if part.kind == CALL]
        return {
            "role": "assistant",
            "content": None if calls and not texts[WORDS] else texts[WORDS],
            "refusal": None,
            **({"reasoning_content": texts[THOUGHT]} if texts[THOUGHT] else {}),
            **({"tool_calls": calls} if calls else {}),
        }


def _call(part: Part) -> dict[str, Any]:
    function = {"name": part.name, "arguments": part.text}
    return {"id": f"call_{uuid.uuid4().hex[:24]}", "type": "function", "function": function}


async def answer_chat(models: Models, form: ChatForm) -> dict[str, Any]:
    """`chat.completion`."""
    chat = await open_chat(models, form)
    said = [_Said() for _ in chat.asked]
    async for number, piece in together(models, chat.served, chat.asked, chat.manners):
        said[number].add(piece)
    choices = [
        {
            "index": number,
            "message": one.message(),
            "finish_reason": one.reason,
            "logprobs": _logprobs(chat.served, one.tokens) if form.logprobs else None,
        }
        for number, one in enumerate(said)
    ]
    begin = head("chatcmpl", "chat.completion", form)
    return {**begin, "choices": choices, "usage": usage(len(chat.ids), sum(len(one.tokens) for one in said))}


async def stream_chat(models: Models, form: ChatForm) -> AsyncGenerator[str, None]:
    """The data of `chat.completion.chunk` events."""
    chat = await open_chat(models, form)
    begin, num_tokens = head("chatcmpl", "chat.completion.chunk", form), 0
    num_calls = [0] * len(chat.asked)
    for number in range(len(chat.asked)):
        yield _chunk(begin, number, {"role": "assistant", "content": ""}, form)
    async for number, piece in together(models, chat.served, chat.asked, chat.manners):
        num_tokens += len(piece.tokens)
        logprobs = _logprobs(chat.served, piece.tokens) if form.logprobs and piece.tokens else None
        deltas = list[dict[str, Any]]()
        for part in piece.parts:
            num_calls[number] += bool(part.name)
            deltas.append(_delta(part, num_calls[number]))
        for place, delta in enumerate(deltas or ([{"content": ""}] if logprobs else [])):
            yield _chunk(begin, number, delta, form, logprobs if place == 0 else None)
        if piece.reason:
            yield _chunk(begin, number, {}, form, reason=piece.reason)
    if form.stream_options is not None and form.stream_options.include_usage:
        yield json.dumps({**begin, "choices": [], "usage": usage(len(chat.ids), num_tokens)})
    yield "[DONE]"


def _delta(part: Part, num_calls: int) -> dict[str, Any]:
    """What a part adds to an answer that has had so many calls, this one included."""
    from burnish.data.chat.reading import CALL, THOUGHT

    if part.kind == CALL:
        call = _call(part) if part.name else {"function": {"arguments": part.text}}
        return {"tool_calls": [{"index": num_calls - 1, **call}]}
    return {"reasoning_content" if part.kind == THOUGHT else "content": part.text}


def _chunk(
    begin: Mapping[str, Any],
    number: int,
    delta: Mapping[str, Any],
    form: ChatForm,
    logprobs: Any = None,
    reason: str | None = None,
) -> str:
    choice = {"index": number, "delta": delta, "finish_reason": reason, "logprobs": logprobs}
    used = {"usage": None} if form.stream_options is not None and form.stream_options.include_usage else {}
    return json.dumps({**begin, "choices": [choice], **used})


def _logprobs(served: Served, tokens: Sequence[Token]) -> dict[str, Any]:
    def described(token: int, value: float | None) -> dict[str, Any]:
        text = served.session.tokenizer.decode([token])
        return {"token": text, "logprob": value, "bytes": list(text.encode())}

    content = [
        {**described(one.id, one.log_probability), "top_logprobs": [described(*pair) for pair in one.top]}
        for one in tokens
    ]
    return {"content": content, "refusal": None}
