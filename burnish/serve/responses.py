"""`/v1/responses`: the next answer of a conversation as items, and as typed events."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from burnish.serve.answers import Models, together
from burnish.serve.chats import Chat, open_chat
from burnish.serve.delivery import streamed, whole
from burnish.serve.response_forms import ResponseForm, TextFormat

if TYPE_CHECKING:
    from burnish.data.chat.reading import Part

_Event = tuple[str, dict[str, Any]]


def responses_router(models: Models) -> APIRouter:
    """The route."""
    router = APIRouter()

    @router.post("/v1/responses")
    async def respond(form: ResponseForm, request: Request) -> Response:
        if form.stream:
            return await streamed(_stream(models, form))
        return await whole(_answer(models, form), request)

    return router


async def _answer(models: Models, form: ResponseForm) -> dict[str, Any]:
    """`response`."""
    chat = await open_chat(models, form.chat())
    growing = Growing(form)
    async for _ in _events(models, chat, growing):
        pass
    return growing.response(len(chat.ids))


async def _stream(models: Models, form: ResponseForm) -> AsyncGenerator[tuple[str, str], None]:
    """The events of an answer, each with its number."""
    chat = await open_chat(models, form.chat())
    growing, number = Growing(form), 0

    def spelled(event: _Event) -> tuple[str, str]:
        nonlocal number
        data = {"type": event[0], "sequence_number": number, **event[1]}
        number += 1
        return event[0], json.dumps(data)

    for name in ("response.created", "response.in_progress"):
        yield spelled((name, {"response": growing.response(None)}))
    async for event in _events(models, chat, growing):
        yield spelled(event)
    response = growing.response(len(chat.ids))
    yield spelled((f"response.{response['status']}", {"response": response}))


async def _events(models: Models, chat: Chat, growing: Growing) -> AsyncGenerator[_Event, None]:
    async for _, piece in together(models, chat.served, chat.asked, chat.manners):
        growing.num_tokens += len(piece.tokens)
        for part in piece.parts:
            for event in growing.add(part):
                yield event
        if piece.reason is not None:
            growing.reason = piece.reason
            for event in growing.close():
                yield event


@dataclass(slots=True)
class Growing:
    """An answer as it grows, item by item."""

    form: ResponseForm
    items: list[dict[str, Any]] = field(default_factory=list)
    reason: str | None = None
    num_tokens: int = 0
    _open: str = ""
    """Kind of the last item, if it is not finished."""
    _id: str = field(default_factory=lambda: f"resp_{uuid.uuid4().hex}")
    _created: int = field(default_factory=lambda: int(time.time()))

    def add(self, part: Part) -> Iterator[_Event]:
        """Adds a part of the answer."""
        kind, text = part.kind, part.text
        if kind == "call":
            yield from self._call(part)
            return
        if kind != self._open:
            yield from self.close()
            yield from self._begin(kind)
        self._part["text"] += text
        yield f"response.{self._name}.delta", {**self._place, "delta": text, **self._extras}

    def close(self) -> Iterator[_Event]:
        """Finishes the last item."""
        if not self._open:
            return
        if self._open == "call":
            named = {key: self.items[-1][key] for key in ("name", "arguments")}
            yield "response.function_call_arguments.done", {**self._item, **named}
        else:
            text = {"text": self._part["text"], **self._extras}
            yield f"response.{self._name}.done", {**self._place, **text}
        if self._open == "words":
            yield "response.content_part.done", {**self._place, "part": self._part}
        is_cut = self.reason == "length"
        self.items[-1]["status"] = "incomplete" if is_cut else "completed"
        self._open = ""
        yield "response.output_item.done", {"output_index": len(self.items) - 1, "item": self.items[-1]}

    def _begin(self, kind: str) -> Iterator[_Event]:
        self._open = kind
        if kind == "words":
            item = {"type": "message", "role": "assistant", "content": []}
        else:
            item = {"type": "reasoning", "summary": [], "content": []}
        yield self._added(item, "msg" if kind == "words" else "rs")
        part = {"type": self._name, "text": "", **({"annotations": []} if kind == "words" else {})}
        if kind == "words":
            yield "response.content_part.added", {**self._place, "part": dict(part)}
        self.items[-1]["content"].append(part)

    def _call(self, part: Part) -> Iterator[_Event]:
        if part.name:
            yield from self.close()
            item = {"type": "function_call", "call_id": f"call_{uuid.uuid4().hex[:24]}", "name": part.name}
            yield self._added({**item, "arguments": ""}, "fc")
            self._open = "call"
        if part.text:
            self.items[-1]["arguments"] += part.text
            yield "response.function_call_arguments.delta", {**self._item, "delta": part.text}
        if part.is_whole:
            yield from self.close()

    def _added(self, item: dict[str, Any], prefix: str) -> _Event:
        self.items.append({"id": f"{prefix}_{uuid.uuid4().hex}", "status": "in_progress", **item})
        shown = {**self.items[-1], **({"content": []} if "content" in item else {})}
        return "response.output_item.added", {"output_index": len(self.items) - 1, "item": shown}

    @property
    def _part(self) -> dict[str, Any]:
        return self.items[-1]["content"][0]

    @property
    def _name(self) -> str:
        return "output_text" if self._open == "words" else "reasoning_text"

    @property
    def _extras(self) -> dict[str, Any]:
        return {"logprobs": []} if self._open == "words" else {}

    @property
    def _item(self) -> dict[str, Any]:
        return {"item_id": self.items[-1]["id"], "output_index": len(self.items) - 1}

    @property
    def _place(self) -> dict[str, Any]:
        return {**self._item, "content_index": 0}

    def response(self, num_asked: int | None) -> dict[str, Any]:
        """The object.

        Args:
            num_asked: tokens of the prompt; None while it is not finished.
        """
        form, is_cut = self.form, self.reason == "length"
        status = "in_progress" if num_asked is None else "incomplete" if is_cut else "completed"
        format_ = (form.text.format if form.text is not None else None) or TextFormat(type="text")
        return {
            "id": self._id,
            "object": "response",
            "created_at": self._created,
            "status": status,
            "error": None,
            "incomplete_details": {"reason": "max_output_tokens"} if is_cut else None,
            "instructions": form.instructions,
            "max_output_tokens": form.max_output_tokens,
            "metadata": form.metadata or {},
            "model": form.model,
            "output": list(self.items),
            "parallel_tool_calls": form.parallel_tool_calls is not False,
            "previous_response_id": None,
            "store": False,
            "temperature": form.temperature or 0.0,
            "text": {
                "format": {"type": "text"} if format_ is None else format_.model_dump(by_alias=True, exclude_none=True)
            },
            "tool_choice": "auto" if form.tool_choice is None else form.model_dump()["tool_choice"],
            "tools": [tool.model_dump(exclude_none=True) for tool in form.tools or []],
            "top_p": 1.0 if form.top_p is None else form.top_p,
            "truncation": "disabled",
            "usage": None
            if num_asked is None
            else {
                "input_tokens": num_asked,
                "output_tokens": self.num_tokens,
                "total_tokens": num_asked + self.num_tokens,
            },
        }
