"""One answer as it is written: tokens from the engine become text, up to a stop text."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from burnish.serve.refusals import refusal_of

if TYPE_CHECKING:
    from burnish.inference.batch import Asked, Token
    from burnish.inference.engine import Answer, Engine
    from burnish.inference.served import Served

_BROKEN = "\ufffd"
"""What a letter is decoded as before all of its tokens are there."""


class Decoder:
    """Text of token ids that come one after the other. Each is decoded with a few before it, not with all."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._ids: list[int] = []
        self._begin = self._read = 0

    def add(self, token: int) -> str:
        """The text that a token adds; empty while a letter is incomplete."""
        self._ids.append(token)
        return self._next(is_last=False)

    def rest(self) -> str:
        """What there is of a letter that the answer ended within."""
        return self._next(is_last=True)

    def _next(self, is_last: bool) -> str:
        before = self._decode(self._ids[self._begin : self._read])
        after = self._decode(self._ids[self._begin :])
        if len(after) <= len(before) or (after.endswith(_BROKEN) and not is_last):
            return ""
        self._begin, self._read = self._read, len(self._ids)
        return after[len(before) :]

    def _decode(self, ids: Sequence[int]) -> str:
        return self._tokenizer.decode(ids, skip_special_tokens=True)


class Stops:
    """Cuts a text at the first of some stop texts, of which the beginning may have been written already."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops, self._held = list(stops), ""
        self.is_found = False

    def add(self, text: str) -> str:
        """The text that may be written now."""
        if self.is_found:
            return ""
        self._held += text
        places = [place for stop in self._stops if (place := self._held.find(stop)) >= 0]
        if places:
            self.is_found = True
            written, self._held = self._held[: min(places)], ""
            return written
        kept = max((self._beginning(stop) for stop in self._stops), default=0)
        written, self._held = self._held[: len(self._held) - kept], self._held[len(self._held) - kept :]
        return written

    def rest(self) -> str:
        """What was held back, at the end."""
        rest, self._held = self._held, ""
        return "" if self.is_found else rest

    def _beginning(self, stop: str) -> int:
        """Letters at the end of what is held that a stop text begins with."""
        most = min(len(stop) - 1, len(self._held))
        return next((size for size in range(most, 0, -1) if self._held.endswith(stop[:size])), 0)


@dataclass(slots=True)
class Piece:
    """A part of an answer."""

    text: str = ""
    tokens: list[Token] = field(default_factory=list)
    reason: str | None = None
    """`stop` or `length`, with the last part."""


async def write(engine: Engine, served: Served, asked: Asked, stops: Sequence[str]) -> AsyncIterator[Piece]:
    """The parts of an answer as they are written; the last has the reason for its end. If the next part is
    not taken any more, the answer is cancelled.

    Raises:
        Busy: too many requests wait.
        Refusal: something went wrong while it was written.
    """
    from burnish.inference.engine import Ticket

    loop, queue = asyncio.get_running_loop(), asyncio.Queue[Any]()

    def put(found: Token | Answer) -> None:
        loop.call_soon_threadsafe(queue.put_nowait, found)

    ticket = Ticket(served.name, asked, put, put)
    engine.submit(ticket)
    decoder, stop, ids = Decoder(served.session.tokenizer), Stops(stops), list[int]()
    visible = served.session.task.predictor.visible_ids
    shown, is_ended = 0, False
    try:
        while True:
            found = await queue.get()
            if hasattr(found, "reason"):
                is_ended = True
                if found.error is not None:
                    raise refusal_of(found.error)
                yield Piece(stop.add(decoder.rest()) + stop.rest(), reason=found.reason)
                return
            if found.id in asked.stop_ids:
                continue
            ids.append(found.id)
            text = ""
            for token in list(visible(ids))[shown:]:
                text += decoder.add(token)
                shown += 1
            yield Piece(stop.add(text), [found])
            if stop.is_found:
                yield Piece(reason="stop")
                return
    finally:
        if not is_ended:
            ticket.cancel()
