"""What an answer may be, where the request says so: JSON of a schema, or calls in the form of the model's template.

llguidance computes which tokens may come next; the arithmetic of the model is the same, and so are other answers of the
batch.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy
import torch

from burnish.data.chat.calls import ID, CallForm
from burnish.data.tokens.tokens import Tokens
from burnish.errors import InputError, MachineError

_BLANKS = r"[ \n\t]{0,16}"
"""Between the parts of JSON: some, as the model was trained to write them, but not for ever."""
_NOTHING = {"type": "object", "properties": {}, "additionalProperties": False}
"""The arguments of a function for which nothing is said of them, as OpenAI has it."""
_ANYTHING = "/(?s:.*)/"


class Grammars:
    """Makes guides for the answers of one model.

    Args:
        tokenizer: of the model.
        vocabulary: logits for each token.
        stop_ids: tokens that end an answer.

    Raises:
        MachineError: llguidance is not installed.
        InputError: the tokenizer is not one of the `tokenizers` library.
    """

    def __init__(self, tokenizer: Any, vocabulary: int, stop_ids: Collection[int]) -> None:
        try:
            from llguidance import LLTokenizer
        except ImportError as error:
            raise MachineError(
                "answers of a given form are not installed",
                "The package `llguidance` is missing.",
                "pip install 'burnish[serve]'",
            ) from error
        core = getattr(tokenizer, "backend_tokenizer", None)
        if core is None:
            raise InputError(
                "this model cannot be held to a form",
                f"Its tokenizer, `{type(tokenizer).__name__}`, is not one of the `tokenizers` library.",
                "Ask for plain text, and say in the prompt what the answer is to look like",
            )
        core = type(core).from_str(core.to_str())  # a copy
        core.no_padding()
        core.no_truncation()
        self._known = LLTokenizer(core.to_str(), n_vocab=vocabulary, eos_token=list(stop_ids) or None)
        self._tokens = Tokens(tokenizer)

    def of_schema(self, schema: Mapping[str, Any], tag: str = "") -> Guide:
        """Any JSON that a schema allows.

        Args:
            schema: a JSON schema.
            tag: that ends the thought which the prompt has opened; empty if it has not.

        Raises:
            InputError: the schema is not valid, or has what llguidance does not know.
        """
        return self._guide(f"start: {self._after_thought(tag)} {_json(schema)}", "the schema")

    def of_calls(self, form: CallForm, tools: Sequence[Mapping[str, Any]], is_one: bool, tag: str = "") -> Guide:
        """Calls of tools, at least one.

        Args:
            form: in which they are written.
            tools: the functions that may be called, each with its name and its parameters.
            is_one: whether there may be only one call.
            tag: as of `of_schema`.

        Raises:
            InputError: as of `of_schema`, for the parameters of a tool.
        """
        lines = [
            f"call{number}: {json.dumps(tool['name'])} middle {_json(tool.get('parameters') or _NOTHING)}"
            for number, tool in enumerate(tools)
        ]
        called = f"({' | '.join(f'call{number}' for number in range(len(tools)))})"
        more = "" if is_one or form.joint is None else f"({self._spelled(form.joint, form)} {called})*"
        begin = f"{self._after_thought(tag)} {self._spelled(form.opening, form)}"
        lines += [
            f"middle: {self._spelled(form.middle, form)}",
            f"start: {begin} {called} {more} {self._spelled(form.closing, form)}",
        ]
        return self._guide("\n".join(lines), "the parameters of a tool")

    def _guide(self, grammar: str, what: str) -> Guide:
        from llguidance import LLMatcher, LLParserLimits

        matcher = LLMatcher(self._known, grammar, log_level=0, limits=LLParserLimits(verbose_errors=False))
        if matcher.is_error():
            why = matcher.get_error().partition("\n")[0]
            raise InputError(f"{what} cannot be followed", f"{why}.", "Leave that out, or simplify it")
        return Guide(matcher)

    def _after_thought(self, tag: str) -> str:
        """The thought up to the tag that closes it, and the blanks behind it."""
        if not tag:
            return ""
        return f"{_ANYTHING} {self._spelled(tag, None)} /\\s{{0,4}}/" if self._markers(tag) else "thought /\\s{0,4}/"

    def _markers(self, text: str) -> list[Any]:
        return [marker for marker in self._tokens.markers(text) if marker.is_special]

    def _spelled(self, text: str, form: CallForm | None) -> str:
        """A text as the grammar writes it: special tokens by their numbers, ids of calls by what they consist of."""
        parts, at = [], 0
        for marker in self._markers(text):
            parts += self._plain(text[at : marker.start], form)
            parts.append(f"<[{self._tokens.marker_id(marker.text)}]>")
            at = marker.start + len(marker.text)
        return " ".join([*parts, *self._plain(text[at:], form)]) or '""'

    def _plain(self, text: str, form: CallForm | None) -> list[str]:
        parts: list[str] = []
        for number, piece in enumerate(text.split(ID)):
            if number and form is not None:
                parts.append(f"/[A-Za-z0-9]{{{form.id_size}}}/")
            if piece:
                parts.append(json.dumps(piece))
        return parts


def _json(schema: Mapping[str, Any]) -> str:
    """A schema in a grammar."""
    held = {"x-guidance": {"whitespace_pattern": _BLANKS}, **schema}
    return f"%json {json.dumps(held)}"


class Guide:
    """Holds one answer to a grammar."""

    def __init__(self, matcher: Any) -> None:
        self._matcher = matcher

    def allow(self, logits: torch.Tensor) -> torch.Tensor:
        """The logits with minus infinity for all tokens that may not come next.

        Args:
            logits: `[vocabulary]` fp32, in main memory; not changed.
        """
        bits = numpy.frombuffer(self._matcher.compute_bitmask(), dtype=numpy.uint8)
        forbidden = numpy.unpackbits(bits, count=len(logits), bitorder="little") == 0
        return logits.masked_fill(torch.from_numpy(forbidden), float("-inf"))

    def take(self, token: int) -> None:
        """Takes a token that it has allowed.

        Raises:
            InputError: the answer cannot be held to its form any further: it is too complex, for example.
        """
        if not self._matcher.consume_token(token) or self._matcher.is_error():
            why = self._matcher.get_error().partition("\n")[0]
            raise InputError("the answer cannot be held to its form", f"{why}.", "Ask for a simpler one")

    @property
    def is_done(self) -> bool:
        """Whether nothing may follow."""
        return bool(self._matcher.is_stopped())
