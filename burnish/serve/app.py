"""The server: routes, who may ask, how much, and what is counted."""

from __future__ import annotations

import hmac
import json
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import anyio
from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from burnish.serve.answers import Models
from burnish.serve.chat_forms import ChatForm
from burnish.serve.chats import answer_chat, stream_chat
from burnish.serve.completions import answer_completion, stream_completion
from burnish.serve.delivery import streamed, whole
from burnish.serve.embeddings import embeddings_router
from burnish.serve.forms import CompletionForm
from burnish.serve.predictions import predictions_router
from burnish.serve.refusals import Refusal, refuse_in_words
from burnish.serve.responses import responses_router
from burnish.version import __version__

_LOG = logging.getLogger("burnish.serve")
_OPEN = ("/health", "/ready")
"""Paths that need no key."""
_UPLOAD = "/v1/files"
_SLOWEST = 20_000
"""Bytes per second of an upload, at least."""


@dataclass(frozen=True, slots=True)
class Access:
    """Who may ask, and how much."""

    key: str | None = None
    """That every request has to name; None for none."""
    hosts: tuple[str, ...] = ()
    """Names by which the server may be called; empty for any. On loopback this keeps web pages from asking it under a
    name of their own."""
    body_bytes: int = 8 << 20
    """Most of a request."""
    body_seconds: float = 30.0
    """In which a request has to be there."""
    upload_bytes: int = 0
    """Most of an uploaded file; 0 if none is taken."""


class Gate:
    """Refuses what may not ask, is too large or too slow, before any of it is read, and logs a line for each request.

    Args:
        app: that answers the rest.
        access: who may ask.
    """

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app, self._access = app, access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status = time.monotonic(), 0

        async def note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            self._check(scope)
            body = self._passed(receive) if self._is_upload(scope) else await self._read(receive)
            await self._app(scope, body, note)
        except Refusal as refusal:
            await refusal.response()(scope, receive, note)
        finally:
            line = {"method": scope["method"], "path": scope["path"], "status": status}
            _LOG.info(json.dumps({**line, "seconds": round(time.monotonic() - started, 3)}))

    def _check(self, scope: Scope) -> None:
        headers = {name.lower(): value for name, value in scope["headers"]}
        host = headers.get(b"host", b"").decode("latin-1")
        name = host[: host.rfind("]") + 1] if host.startswith("[") else host.partition(":")[0]
        if self._access.hosts and name.lower() not in self._access.hosts:
            raise Refusal(421, "This server is not called by that name.")
        origin = headers.get(b"origin", b"").decode("latin-1")
        if self._access.hosts and origin and origin.lower() != f"http://{host}".lower():
            raise Refusal(403, "Web pages of other origins may not ask this server.")
        if self._access.key is not None and scope["path"] not in _OPEN:
            given = headers.get(b"authorization", b"")
            if not hmac.compare_digest(given, f"Bearer {self._access.key}".encode()):
                raise Refusal(401, "The key is missing or wrong. Send `Authorization: Bearer KEY`.", "invalid_api_key")
        length = headers.get(b"content-length", b"0")
        most = self._access.upload_bytes if self._is_upload(scope) else self._access.body_bytes
        if not length.isdigit() or int(length) > most:
            raise self._too_large(most)

    def _is_upload(self, scope: Scope) -> bool:
        return self._access.upload_bytes > 0 and (scope["method"], scope["path"]) == ("POST", _UPLOAD)

    def _too_large(self, most: int) -> Refusal:
        return Refusal(413, f"This request may have {most:,} bytes.")

    def _passed(self, receive: Receive) -> Receive:
        """Passes the body of an upload on in parts, as long as it is neither too large nor too slow."""
        begun, size, is_whole = time.monotonic(), 0, False

        async def part() -> Message:
            nonlocal size, is_whole
            if is_whole:
                return await receive()
            left = begun + self._access.body_seconds + size / _SLOWEST - time.monotonic()
            try:
                with anyio.fail_after(max(0.0, left)):
                    message = await receive()
            except TimeoutError:
                raise Refusal(408, "The file comes too slowly.") from None
            size += len(message.get("body", b""))
            if size > self._access.upload_bytes:
                raise self._too_large(self._access.upload_bytes)
            is_whole = not message.get("more_body")
            return message

        return part

    async def _read(self, receive: Receive) -> Receive:
        """Reads the whole body, as long as it is small and quick; returns what gives it to the app."""
        body = b""
        try:
            with anyio.fail_after(self._access.body_seconds):
                while True:
                    message = await receive()
                    if message["type"] != "http.request":
                        break
                    body += message.get("body", b"")
                    if len(body) > self._access.body_bytes:
                        raise self._too_large(self._access.body_bytes)
                    if not message.get("more_body"):
                        break
        except TimeoutError:
            raise Refusal(408, f"The request was not there in {self._access.body_seconds:g} seconds.") from None
        first = True

        async def again() -> Message:
            nonlocal first
            if first:
                first = False
                return {"type": "http.request", "body": body, "more_body": False}
            return await receive()

        return again


def make_app(models: Models, access: Access, routers: Sequence[APIRouter] = ()) -> ASGIApp:
    """The server of some models.

    Args:
        models: that answer.
        access: who may ask, and how much.
        routers: further routes.
    """
    app = FastAPI(title="Burnish", version=__version__, docs_url=None, redoc_url=None, openapi_url=None)
    refuse_in_words(app)
    _add_state(app, models)

    @app.get("/v1/models")
    async def list_models() -> dict[str, Any]:
        return {"object": "list", "data": [_described(models, name) for name in list(models.served)]}

    @app.get("/v1/models/{name}")
    async def one_model(name: str) -> dict[str, Any]:
        return _described(models, models.named(name).name)

    @app.post("/v1/chat/completions")
    async def chat(form: ChatForm, request: Request) -> Response:
        if form.stream:
            return await streamed(stream_chat(models, form))
        return await whole(answer_chat(models, form), request)

    @app.post("/v1/completions")
    async def complete(form: CompletionForm, request: Request) -> Response:
        if form.stream:
            return await streamed(stream_completion(models, form))
        return await whole(answer_completion(models, form), request)

    app.include_router(predictions_router(models))
    app.include_router(embeddings_router(models))
    app.include_router(responses_router(models))
    for router in routers:
        app.include_router(router)
    return Gate(app, access)


def _described(models: Models, name: str) -> dict[str, Any]:
    created = int(models.served[name].created)
    return {"id": name, "object": "model", "created": created, "owned_by": "burnish"}


def _add_state(app: FastAPI, models: Models) -> None:
    """Routes for those who run the server."""
    engine = models.engine

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/ready")
    async def ready() -> JSONResponse:
        is_full = engine.num_waiting >= engine.limits.waiting
        return JSONResponse({"status": "full" if is_full else "ready"}, 503 if is_full else 200)

    @app.get("/metrics")
    async def metrics() -> PlainTextResponse:
        counts = engine.counts
        found = {
            "requests_total": ("counter", counts.requests),
            "requests_refused_total": ("counter", counts.refused),
            "requests_cancelled_total": ("counter", counts.cancelled),
            "prompt_tokens_total": ("counter", counts.prompt_tokens),
            "generated_tokens_total": ("counter", counts.tokens),
            "busy_seconds_total": ("counter", counts.seconds),
            "requests_waiting": ("gauge", engine.num_waiting),
            "requests_running": ("gauge", engine.num_written),
            "prefix_cache_bytes": ("gauge", engine.prefix_cache_bytes),
        }
        lines = [f"# TYPE burnish_{name} {kind}\nburnish_{name} {value}" for name, (kind, value) in found.items()]
        return PlainTextResponse("\n".join(lines) + "\n", media_type="text/plain; version=0.0.4")
