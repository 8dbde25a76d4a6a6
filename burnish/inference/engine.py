"""Answers many requests with the models that are loaded, in one thread: each turn gives every answer its next token.

A request waits if there is no room for it, and is refused if too many wait.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Protocol

from burnish.decoding.row import Asked, Row, Token
from burnish.errors import BurnishError, InputError, MachineError
from burnish.models.device import ran_out
from burnish.system.machine import trim_heap

_PROMPT_TOKENS = 256
"""That are read between two steps, where there are several prompts; the last of them may be longer."""
_FIRST_TOKENS = 4096
"""The same while no answer is being written."""
_GATHERING_SECONDS = 0.005
"""After the first request of an idle engine: those that come with it are read together with it."""
_IDLE_SECONDS = 1.0
"""After the last answer, before memory that is free is returned to the system."""


class Busy(MachineError):
    """Too many requests wait already."""

    is_soon_over = True

    def __init__(self, waiting: int) -> None:
        super().__init__(
            f"{waiting} requests wait already", "This server takes no more at a time.", "Try again in a few seconds"
        )


@dataclass(frozen=True, slots=True)
class Limits:
    """What the engine takes on at a time."""

    rows: int = 32
    """Answers of a model that are written at the same time."""
    tokens: int = 65536
    """Tokens of these, prompts and padding included, whose keys and values are held."""
    waiting: int = 256
    """Requests that wait for a place."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A finished answer."""

    reason: str
    """`stop`, `length` or `cancelled`."""
    error: Exception | None = None
    """What went wrong, if it did."""


class Writer(Protocol):
    """Writes the answers of one model: a `Batch`, or another program. See `Batch` for what these do."""

    @property
    def rows(self) -> Sequence[Row]:
        """Answers that are not ended."""
        ...

    @property
    def prefix_cache_bytes(self) -> int:
        """Keys and values of earlier texts that it keeps for prompts that begin alike."""
        ...

    def refuses(self, asked: Asked) -> str:
        """Why it cannot do what is asked, as a sentence; empty if it can."""
        ...

    def parts(self, rows: Sequence[Row]) -> list[list[Row]]:
        """Rows whose prompts are read together."""
        ...

    def join(self, rows: Sequence[Row]) -> list[Token | None]:
        """Begins answers; the first token of each that has one by now."""
        ...

    def step(self) -> list[tuple[Row, Token | None]]:
        """What came next; the last of a row may be none. May wait for a moment."""
        ...

    def sweep(self) -> None:
        """Lets rows leave that have ended."""
        ...

    def log_probabilities(self, ids: Sequence[int], number: int) -> list[Token]:
        """Those of a text."""
        ...


@dataclass(slots=True, eq=False)
class Ticket:
    """A request and what becomes of it. Both functions are called in the engine's thread."""

    model: str
    asked: Asked
    on_token: Callable[[Token], None]
    on_end: Callable[[Answer], None]
    row: Row = field(init=False)
    _is_cancelled: bool = False

    def __post_init__(self) -> None:
        self.row = Row(self.asked)

    def cancel(self) -> None:
        """Ends the answer; its place is free at the next turn. May be called from any thread, at any time."""
        self._is_cancelled = True

    @property
    def is_cancelled(self) -> bool:
        """Whether the answer is no longer wanted."""
        return self._is_cancelled


@dataclass(slots=True)
class Counts:
    """What the engine has done so far."""

    requests: int = 0
    refused: int = 0
    cancelled: int = 0
    prompt_tokens: int = 0
    tokens: int = 0
    """Generated."""
    seconds: float = 0.0
    """In which it was not idle."""


class Engine:
    """Answers requests until it is closed.

    Args:
        batches: one for each model, by name.
        limits: what it takes on at a time.
    """

    def __init__(self, batches: Mapping[str, Writer], limits: Limits | None = None) -> None:
        self._batches, self.limits = dict(batches), limits or Limits()
        self._waiting: deque[Ticket] = deque()
        self._written: dict[Row, Ticket] = {}
        self._jobs: deque[tuple[Callable[[], Any], Callable[[Any, Exception | None], None]]] = deque()
        self._changed = threading.Condition()
        self._is_closed = False
        self.counts = Counts()
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._thread.start()

    def add(self, model: str, batch: Writer) -> None:
        """Takes on another model. Only in the engine's own thread, so by what `do` runs."""
        self._batches[model] = batch

    def drop(self, model: str) -> None:
        """Lets a model go; its answers are cancelled. Only in the engine's own thread, so by what `do` runs."""
        with self._changed:
            for ticket in (*self._waiting, *self._written.values()):
                if ticket.model == model:
                    ticket.cancel()
        self._drop_cancelled()
        with self._changed:
            del self._batches[model]

    def submit(self, ticket: Ticket) -> None:
        """Takes a request.

        Raises:
            Busy: too many wait already.
            InputError: its model is no longer there.
        """
        with self._changed:
            if ticket.model not in self._batches:
                raise InputError(f"the model `{ticket.model}` is no longer served")
            if len(self._waiting) >= self.limits.waiting or self._is_closed:
                self.counts.refused += 1
                raise Busy(len(self._waiting))
            self.counts.requests += 1
            self._waiting.append(ticket)
            self._changed.notify()

    def do(self, job: Callable[[], Any], on_end: Callable[[Any, Exception | None], None]) -> None:
        """Lets the engine's thread do something else with a model between two turns.

        Args:
            job: what to do.
            on_end: called there with its result, or with what it raised.
        """
        with self._changed:
            if len(self._jobs) >= self.limits.waiting or self._is_closed:
                self.counts.refused += 1
                raise Busy(len(self._jobs))
            self._jobs.append((job, on_end))
            self._changed.notify()

    def call(self, job: Callable[[], Any]) -> Any:
        """What a job returns that the engine's thread does; raises what it raises. Waits for it.

        What computes should do so in this thread alone, loading models too: a second thread that has computed keeps
        threads of its own for torch, and where all of these are more than the cores, each step waits for some to wake.
        """
        done: Future[Any] = Future()

        def end(found: Any, error: Exception | None) -> None:
            if error is None:
                done.set_result(found)
            else:
                done.set_exception(error)

        self.do(job, end)
        return done.result()

    @property
    def num_waiting(self) -> int:
        """Requests that have no place yet."""
        return len(self._waiting) + len(self._jobs)

    @property
    def prefix_cache_bytes(self) -> int:
        """Of all models; see `Writer`."""
        return sum(batch.prefix_cache_bytes for batch in list(self._batches.values()))

    @property
    def num_written(self) -> int:
        """Answers that are being written."""
        return len(self._written)

    def close(self) -> None:
        """Takes no more requests, and ends those it has."""
        with self._changed:
            self._is_closed = True
            for ticket in (*self._waiting, *self._written.values()):
                ticket.cancel()
            self._changed.notify()
        self._thread.join(timeout=60)

    def _run(self) -> None:
        while True:
            self._wait_for_work()
            with self._changed:
                if self._is_closed and not (self._waiting or self._written or self._jobs):
                    return
            started = time.monotonic()
            self._turn()
            self.counts.seconds += time.monotonic() - started

    def _wait_for_work(self) -> None:
        with self._changed:
            if self._has_work():
                return
            is_soon = self._changed.wait_for(self._has_work, _IDLE_SECONDS)
        if not is_soon:
            trim_heap()  # takes a while, in which requests may come
        with self._changed:
            self._changed.wait_for(self._has_work)
            if self._waiting:
                self._changed.wait_for(lambda: self._is_closed, _GATHERING_SECONDS)

    def _has_work(self) -> bool:
        return bool(self._waiting or self._written or self._jobs or self._is_closed)

    def _turn(self) -> None:
        """Lets the cancelled go and waiting requests in, and gives every answer its next token."""
        self._drop_cancelled()
        if self._jobs:
            job, on_end = self._jobs.popleft()
            try:
                found = job()
            except Exception as error:  # noqa: BLE001  reported to whoever asked
                on_end(None, error)
            else:
                on_end(found, None)
        self._admit()
        for batch in self._batches.values():
            if not batch.rows:
                continue
            try:
                found = batch.step()
            except Exception as error:  # noqa: BLE001  reported to all whose answers are lost
                self._fail(batch, error)
                continue
            self._report(found)

    def _drop_cancelled(self) -> None:
        with self._changed:
            gone = [ticket for ticket in self._waiting if ticket.is_cancelled]
            for ticket in gone:
                self._waiting.remove(ticket)
        for row, ticket in list(self._written.items()):
            if ticket.is_cancelled:
                row.ended = "cancelled"
                gone.append(self._written.pop(row))
        for batch in self._batches.values():
            batch.sweep()
        for ticket in gone:
            self.counts.cancelled += 1
            ticket.on_end(Answer("cancelled"))

    def _admit(self) -> None:
        """Reads prompts of requests that wait and for which there is room: as many as are short together, so that of
        the answers that are being written none waits for many."""
        most = _PROMPT_TOKENS if self._written else _FIRST_TOKENS
        chosen: dict[str, list[Ticket]] = {}
        read = 0
        with self._changed:
            while read < most:
                first = dict[str, Ticket]()  # of each model: a long request is not passed by short ones for ever
                for one in self._waiting:
                    first.setdefault(one.model, one)
                ticket = next((one for one in first.values() if self._has_room(one, chosen.get(one.model, ()))), None)
                if ticket is None:
                    break
                self._waiting.remove(ticket)
                chosen.setdefault(ticket.model, []).append(ticket)
                read += len(ticket.asked.ids)
        for model, tickets in chosen.items():
            asking = {ticket.row: ticket for ticket in tickets}
            for rows in self._batches[model].parts(list(asking)):
                self._join(self._batches[model], [asking[row] for row in rows])

    def _join(self, batch: Writer, tickets: Sequence[Ticket]) -> None:
        """Lets requests begin whose prompts are read together; where that fails for several, each by itself."""
        for ticket in tickets:
            self._written[ticket.row] = ticket
        try:
            tokens = batch.join([ticket.row for ticket in tickets])
        except Exception as error:  # noqa: BLE001  reported to whoever asked
            for ticket in tickets:
                del self._written[ticket.row]
            if len(tickets) == 1:
                tickets[0].on_end(Answer("cancelled", _named(error)))
            else:
                for ticket in tickets:
                    self._join(batch, [ticket])
            return
        for ticket in tickets:
            self.counts.prompt_tokens += len(ticket.asked.ids)
        self._report([(ticket.row, token) for ticket, token in zip(tickets, tokens, strict=True)])

    def _has_room(self, ticket: Ticket, chosen: Sequence[Ticket]) -> bool:
        """Whether a request has room beside those that are being written, and others that will be."""
        asked = [row.asked for row in self._batches[ticket.model].rows] + [one.asked for one in chosen]
        longest = max(len(one.ids) + one.most for one in [*asked, ticket.asked])
        number = len(asked)
        return number == 0 or (number < self.limits.rows and (number + 1) * longest <= self.limits.tokens)

    def _report(self, found: Sequence[tuple[Row, Token | None]]) -> None:
        """Hands tokens over, and then says which of these answers have ended."""
        for row, token in found:
            if token is not None:
                self.counts.tokens += 1
                self._written[row].on_token(token)
        for row in dict.fromkeys(row for row, _ in found):
            if row.ended is not None:
                self._written.pop(row).on_end(Answer(row.ended, row.error))

    def _fail(self, batch: Writer, error: Exception) -> None:
        """Ends all answers of a batch whose step failed."""
        lost = [row for row in batch.rows if row in self._written]
        for row in lost:
            row.ended = "cancelled"
            self._written.pop(row).on_end(Answer("cancelled", _named(error)))
        batch.sweep()


def _named(error: Exception) -> Exception:
    """An error in words, if it is one of memory."""
    if isinstance(error, BurnishError) or not ran_out(error):
        return error
    return MachineError(
        "the memory does not suffice for this answer", "", "Ask for fewer tokens, or for fewer answers at a time"
    )
