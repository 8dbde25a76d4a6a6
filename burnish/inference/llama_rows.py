"""Answers that llama.cpp writes for the engine, many at a time, in place of `Batch`."""

from __future__ import annotations

import queue
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from burnish.decoding.row import Asked, Row, Token
from burnish.errors import BurnishError, InputError
from burnish.inference.llama_cpp import LlamaCpp, Stream

_PATIENCE_SECONDS = 0.02
"""For the next token of any answer; then the engine looks for what else there is to do."""
_PLAIN: Mapping[str, Any] = {
    # as `Chooser` draws: the temperature first, and nothing that was not asked for
    "samplers": ["temperature", "top_k", "top_p"],
    "min_p": 0.0,
    "cache_prompt": True,
}
_Found = tuple[Row, Mapping[str, Any] | BurnishError | None]
"""What came of a row: an object of llama.cpp, an error, or None at its end."""


class LlamaRows:
    """Rows of one model that llama.cpp has loaded; for an engine what a `Batch` is.

    Args:
        llama: running, with room for as many rows and tokens as the engine takes on.
    """

    def __init__(self, llama: LlamaCpp) -> None:
        self._llama = llama
        self._streams: dict[Row, Stream] = {}
        self._found: queue.Queue[_Found] = queue.Queue()

    @property
    def rows(self) -> Sequence[Row]:
        """Those that are not ended."""
        return list(self._streams)

    @property
    def prefix_cache_bytes(self) -> int:
        """None beside the memory that llama.cpp has from the start."""
        return 0

    def refuses(self, asked: Asked) -> str:
        """Why it cannot do what is asked, as a sentence; empty if it can."""
        if asked.guide is not None:
            return "`--engine llama.cpp` does not support JSON schemas or demanded calls. Serve the run without it."
        if asked.inputs is not None:
            return "`--engine llama.cpp` does not support pictures. Serve the run without it."
        if asked.sampling.is_penalizing:
            return "llama.cpp would apply penalties to the prompt as well. Serve the run without `--engine`."
        return ""

    def parts(self, rows: Sequence[Row]) -> list[list[Row]]:
        """Rows whose prompts are read together: llama.cpp sees to that."""
        return [list(rows)]

    def join(self, rows: Sequence[Row]) -> list[Token | None]:
        """Begins answers. Their first tokens come with `step`, so none is returned for any row."""
        for row in rows:
            stream = self._streams[row] = self._llama.stream(row.asked.ids, options_of(row.asked))
            threading.Thread(target=self._follow, args=(row, stream), daemon=True).start()
        return [None] * len(rows)

    def _follow(self, row: Row, stream: Stream) -> None:
        try:
            for event in stream.events():
                if "error" in event:
                    said = str(event["error"].get("message", event["error"]))
                    raise BurnishError("llama.cpp ended an answer", said, "Ask again, or with a shorter prompt")
                self._found.put((row, event))
        except BurnishError as error:
            self._found.put((row, error))
        else:
            self._found.put((row, None))

    def step(self) -> list[tuple[Row, Token | None]]:
        """The tokens that have come by now; None where a row ended without one."""
        found, waiting = list[tuple[Row, Token | None]](), list[_Found]()
        try:
            waiting.append(self._found.get(timeout=_PATIENCE_SECONDS))
            while True:
                waiting.append(self._found.get_nowait())
        except queue.Empty:
            pass
        for row, event in waiting:
            if row in self._streams:
                found += [(row, token) for token in self._take(row, event)]
        return found

    def _take(self, row: Row, event: Mapping[str, Any] | BurnishError | None) -> list[Token | None]:
        """What an event adds to a row, which it may end."""
        if event is None or isinstance(event, BurnishError):
            row.error = event or BurnishError("llama.cpp ended an answer without a reason", "", "Ask again")
            return self._ended(row, "cancelled", [])
        tokens = _tokens_of(event, row.asked)
        for place, token in enumerate(tokens):
            row.new.append(token.id)
            if token.id in row.asked.stop_ids:
                return self._ended(row, "stop", tokens[: place + 1])
            if len(row.new) >= row.asked.most:
                return self._ended(row, "length", tokens[: place + 1])
        if event.get("stop"):
            return self._ended(row, "stop" if event.get("stop_type") == "eos" else "length", tokens)
        return list(tokens)

    def _ended(self, row: Row, reason: str, tokens: Sequence[Token]) -> list[Token | None]:
        self._streams.pop(row).cancel()
        row.ended = reason
        return [*tokens] or [None]

    def sweep(self) -> None:
        """Lets rows go that were ended by others."""
        for row in [row for row in self._streams if row.ended is not None]:
            self._streams.pop(row).cancel()

    def log_probabilities(self, ids: Sequence[int], number: int) -> list[Token]:
        """Of the tokens of a text: llama.cpp gives none. Raises InputError."""
        raise InputError(
            "llama.cpp gives no log-probabilities of a prompt", "", "Serve the run without `--engine llama.cpp`"
        )


def options_of(asked: Asked) -> dict[str, Any]:
    """A request as llama.cpp takes it, for its route `/completion`."""
    sampling = asked.sampling
    options: dict[str, Any] = {
        **_PLAIN,
        "n_predict": asked.most,
        "temperature": sampling.temperature,
        "top_k": sampling.top_k,
        "top_p": sampling.top_p,
        "seed": -1 if sampling.seed is None else sampling.seed % 2**32,
        "logit_bias": [[token, amount] for token, amount in sampling.logit_bias.items()],
    }
    return options if asked.top is None else {**options, "n_probs": max(1, asked.top)}


def _tokens_of(event: Mapping[str, Any], asked: Asked) -> list[Token]:
    """The tokens of an event, with the log-probabilities that were asked for."""
    ids, places = event.get("tokens") or [], event.get("completion_probabilities") or []
    if asked.top is None or len(places) != len(ids):
        return [Token(token) for token in ids]
    found = []
    for token, place in zip(ids, places, strict=True):
        top = [(one["id"], one["logprob"]) for one in place["top_logprobs"][: asked.top]]
        found.append(Token(token, place["logprob"], top))
    return found
