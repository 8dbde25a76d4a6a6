"""One answer as it is written: tokens from the engine become text, up to a stop text."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from burnish.serve.refusals import refusal_of

if TYPE_CHECKING:
    from burnish.data.chat.reading import AnswerReader, Part
    from burnish.decoding.row import Asked, Token
    from burnish.inference.engine import Answer, Engine
    from burnish.inference.served import Served


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
    """What a token adds to an answer."""

    parts: list[Part]
    tokens: list[Token] = field(default_factory=list)
    reason: str | None = None
    """`stop`, `length` or `tool_calls`, with the last piece."""

    @property
    def text(self) -> str:
        """Of an answer that is not taken apart."""
        return "".join(part.text for part in self.parts)


@dataclass(frozen=True, slots=True)
class Manner:
    """How an answer is read while it is written."""

    stops: Sequence[str] = ()
    reader: AnswerReader | None = None
    """Takes it apart; None if all of it is words. Of this answer alone."""
    is_one_call: bool = False
    """Whether it ends with its first call."""


async def write(engine: Engine, served: Served, asked: Asked, manner: Manner) -> AsyncIterator[Piece]:
    """An answer as it is written; the last piece has the reason for its end. If the next piece is not taken any more,
    the answer is cancelled.

    Raises:
        Busy: too many requests wait.
        Refusal: something went wrong while it was written.
    """
    from burnish.data.chat.reading import CALL, AnswerReader
    from burnish.decoding.text_stream import Decoder
    from burnish.inference.engine import Ticket

    loop, queue = asyncio.get_running_loop(), asyncio.Queue[Any]()

    def put(found: Token | Answer) -> None:
        loop.call_soon_threadsafe(queue.put_nowait, found)

    ticket = Ticket(served.name, asked, put, put)
    engine.submit(ticket)
    reader = manner.reader or AnswerReader(reads_thoughts=False)
    visible = served.session.task.predictor.visible_ids
    decoder, stop = Decoder(served.session.tokenizer, visible, reader.kept_ids), Stops(manner.stops)
    is_ended, has_called = False, False
    try:
        while True:
            found = await queue.get()
            if hasattr(found, "reason"):
                is_ended = True
                if found.error is not None:
                    raise refusal_of(found.error) from found.error
                parts = [*reader.add(stop.add(decoder.rest()) + stop.rest()), *reader.end()]
                tokens, reason = [], found.reason
            elif found.id in asked.stop_ids:
                continue
            else:
                parts, tokens, reason = reader.add(stop.add(decoder.add(found.id))), [found], None
                if stop.is_found:
                    parts, reason = [*parts, *reader.end()], "stop"
            has_called = has_called or any(part.kind == CALL for part in parts)
            whole = [number for number, part in enumerate(parts) if part.kind == CALL and part.is_whole]
            if whole and manner.is_one_call:
                parts, reason = parts[: whole[0] + 1], "stop"
            yield Piece(parts, tokens, "tool_calls" if has_called and reason == "stop" else reason)
            if reason is not None:
                return
    finally:
        if not is_ended:
            ticket.cancel()
