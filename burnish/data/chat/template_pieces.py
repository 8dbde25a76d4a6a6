"""Builds the texts of plain conversations from the parts that a chat template writes between contents."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from jinja2.exceptions import TemplateSyntaxError
from jinja2.ext import loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

from burnish.data.chat.messages import Message
from burnish.data.chat.template_proof import NoProofError, TemplateProof
from burnish.data.rows.row import RowError

_EDGE = "\u2003"
"""A space that no template writes: if it is missing around a content, the template trimmed it."""
_MARK = re.compile(f"({_EDGE}?)\ue000([0-9]+)\ue001({_EDGE}?)")
_MOST = 1_000
"""Cached sequences of roles."""
_Rendering = Callable[[Sequence[Message], bool], str]
_Pieces = list[str | tuple[int, bool]]
"""Texts of the template, and between them the index of a message and whether its content is trimmed."""


class TemplatePieces:
    """Returns the text that rendering would give, if it is known.

    Args:
        render: renders messages without tools; with True, including the prompt for the next answer. Raises RowError.
        needles: texts that no content may contain (see `TemplateProof`).
    """

    def __init__(self, render: _Rendering, needles: set[str]) -> None:
        self._render = render
        self._needles = re.compile("|".join(map(re.escape, sorted(needles)))) if needles else None
        self._known: dict[tuple[bool, tuple[str, ...]], _Pieces | None] = {}

    def text(self, messages: Sequence[Message], answer_next: bool) -> str | None:
        """The text of messages; None if they have to be rendered."""
        if not all(map(self._is_plain, messages)):
            return None
        key = answer_next, tuple(message["role"] for message in messages)
        if key not in self._known:
            if len(self._known) >= _MOST:
                return None
            self._known[key] = self._learn(messages, answer_next)
        pieces = self._known[key]
        return None if pieces is None else _join(pieces, messages)

    def _is_plain(self, message: Message) -> bool:
        content = message.get("content")
        if len(message) != 2 or not isinstance(content, str) or "role" not in message or not content.strip():
            return False
        return self._needles is None or self._needles.search(content) is None

    def _learn(self, messages: Sequence[Message], answer_next: bool) -> _Pieces | None:
        """The parts for this sequence of roles; None if they do not give the rendering of these messages."""
        marked = [
            {"role": message["role"], "content": f"{_EDGE}\ue000{number}\ue001{_EDGE}"}
            for number, message in enumerate(messages)
        ]
        try:
            text, plain = self._render(marked, answer_next), self._render(messages, answer_next)
        except RowError:
            return None
        pieces, done = _Pieces(), 0
        for found in _MARK.finditer(text):
            if found[1] != found[3]:
                return None
            pieces += [text[done : found.start()], (int(found[2]), not found[1])]
            done = found.end()
        pieces.append(text[done:])
        return pieces if _join(pieces, messages) == plain else None


def _join(pieces: _Pieces, messages: Sequence[Message]) -> str:
    made: list[str] = []
    for piece in pieces:
        if isinstance(piece, str):
            made.append(piece)
        else:
            content: str = messages[piece[0]]["content"]
            made.append(content.strip() if piece[1] else content)
    return "".join(made)


def find_pieces(source: str | None, render: _Rendering) -> TemplatePieces | None:
    """The parts of a template; None if it is not proved to only insert contents.

    Args:
        source: source of the template.
        render: as for `TemplatePieces`.
    """
    if not source:
        return None
    try:
        environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols])
        return TemplatePieces(render, TemplateProof(environment.parse(source)).needles)
    except (TemplateSyntaxError, NoProofError):
        return None
