"""How answers leave: as one object, or as a stream of events."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine
from typing import Any

from fastapi import Request
from fastapi.responses import JSONResponse, Response
from sse_starlette import EventSourceResponse

from burnish.serve.refusals import Refusal, refusal_of

_LOG = logging.getLogger("burnish.serve")
Event = str | tuple[str, str]
"""The data of an event, or its name and its data."""


async def streamed(events: AsyncGenerator[Event, None]) -> Response:
    """A stream of events. The first is awaited, so that what is wrong with a request is an error of HTTP."""
    try:
        first = await anext(events)
    except Exception as error:
        raise _logged(error) from error

    async def data() -> AsyncIterator[dict[str, str]]:
        try:
            yield _spelled(first)
            async for event in events:
                yield _spelled(event)
        except Exception as error:  # noqa: BLE001  reported in the stream, which has begun
            yield {"data": json.dumps(_logged(error).body())}
        finally:
            await events.aclose()

    return EventSourceResponse(data(), sep="\n")


async def whole(answer: Coroutine[Any, Any, dict[str, Any]], request: Request) -> Response:
    """An answer, unless the client goes away before."""
    task = asyncio.ensure_future(answer)
    try:
        while not task.done():
            await asyncio.wait([task], timeout=0.5)
            if not task.done() and await request.is_disconnected():
                return Response(status_code=499)
        return JSONResponse(task.result())
    except Exception as error:
        raise _logged(error) from error
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _logged(error: Exception) -> Refusal:
    refusal = refusal_of(error)
    if refusal.status == 500:
        _LOG.error("a request failed", exc_info=error)
    return refusal


def _spelled(event: Event) -> dict[str, str]:
    return {"data": event} if isinstance(event, str) else {"event": event[0], "data": event[1]}
