"""A Modelfile for Ollama: the run's chat template in Go's language, derived from what the template writes.

Ollama does not run a model's own Jinja template. Most templates put fixed texts around each turn; which ones, a few
conversations with marked contents show. Whether that is all a template does is then proved on the run's own rows.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from burnish.data.rows.row import RowError
from burnish.errors import InputError

Messages = Sequence[Mapping[str, Any]]
_SYSTEM, _USER, _ASSISTANT, _LAST = "QsystemQ", "QuserQ", "QassistantQ", "QlastQ"
_ROLES = ("system", "user", "assistant")


@dataclass(frozen=True, slots=True)
class Turns:
    """The fixed texts that a chat template puts around turns."""

    start: str
    """Before the first turn."""
    start_alone: str
    """The same where no system turn begins the conversation: a template may have a system turn of its own."""
    before: Mapping[str, str]
    after: Mapping[str, str]
    """Around the content of a turn, by role."""
    answer: str
    """Before the answer that is to be generated."""

    def render(self, messages: Messages) -> str:
        """A conversation up to where the answer begins.

        Raises:
            KeyError: it has another role.
        """
        has_system = bool(messages) and messages[0]["role"] == "system"
        turns = (self.before[one["role"]] + str(one["content"]) + self.after[one["role"]] for one in messages)
        return (self.start if has_system else self.start_alone) + "".join(turns) + self.answer

    def to_go(self) -> str:
        """The same as a template of Go, as Ollama runs it."""
        branches = [
            f'{{{{ {"if" if role == _ROLES[0] else "else if"} eq .Role "{role}" }}}}'
            f"{_literal(self.before[role])}{{{{ .Content }}}}{_literal(self.after[role])}"
            for role in _ROLES
        ]
        first = (
            ""
            if not self.start + self.start_alone
            else (
                f'{{{{ if and .Messages (eq (index .Messages 0).Role "system") }}}}{_literal(self.start)}'
                f"{{{{ else }}}}{_literal(self.start_alone)}{{{{ end }}}}"
            )
        )
        return f"{first}{{{{ range .Messages }}}}{''.join(branches)}{{{{ end }}}}{{{{ end }}}}{_literal(self.answer)}"


def _literal(text: str) -> str:
    """A text as an action that writes it: Go trims blanks of a template's own text."""
    return f"{{{{ {json.dumps(text)} }}}}" if text else ""


def find_turns(render: Callable[[Messages], str]) -> Turns | None:
    """The fixed texts around turns; None if a template does not write conversations so.

    Args:
        render: writes a conversation up to where the answer begins; raises RowError for one that the template refuses.
    """
    user, assistant, last = (
        {"role": "user", "content": _USER},
        {"role": "assistant", "content": _ASSISTANT},
        {"role": "user", "content": _LAST},
    )
    try:
        alone = _between(render([user, assistant, last]), (_USER, _ASSISTANT, _LAST))
        whole = render([{"role": "system", "content": _SYSTEM}, user, assistant, last])
        led = _between(whole, (_SYSTEM, _USER, _ASSISTANT, _LAST))
    except RowError:  # the template refuses such a conversation
        return None
    if alone is None or led is None or alone[1:] != led[2:]:
        return None
    # what is before and behind a user's turn is the same wherever one is
    before_user = _common_end((alone[0], led[1], alone[2]))
    after_user = os.path.commonprefix([alone[1], alone[3]])
    start_alone = alone[0].removesuffix(before_user)
    start = os.path.commonprefix([start_alone, led[0]])
    before = {"system": led[0].removeprefix(start), "user": before_user, "assistant": alone[1].removeprefix(after_user)}
    after = {
        "system": led[1].removesuffix(before_user),
        "user": after_user,
        "assistant": alone[2].removesuffix(before_user),
    }
    return Turns(start, start_alone, before, after, alone[3].removeprefix(after_user))


def _between(text: str, marks: Sequence[str]) -> list[str] | None:
    """The pieces of a text around marks; None unless each occurs once, in order."""
    pieces = []
    for mark in marks:
        piece, found, text = text.partition(mark)
        if not found:
            return None
        pieces.append(piece)
    return None if any(mark in piece for mark in marks for piece in (*pieces, text)) else [*pieces, text]


def _common_end(texts: Sequence[str]) -> str:
    return os.path.commonprefix([text[::-1] for text in texts])[::-1]


def prove_turns(
    turns: Turns | None, render: Callable[[Messages], str], conversations: Sequence[Messages], name: str
) -> Turns:
    """The turns, once they have written every conversation of the run as its template does.

    Raises:
        InputError: a conversation is written otherwise.
    """
    wrong = "texts around turns depend on more than their roles" if turns is None else ""
    for messages in conversations:
        if turns is None or wrong:
            break
        try:
            written = turns.render(messages)
        except KeyError as role:
            wrong = f"a conversation has the role {role}"
            break
        if written != render(messages):
            wrong = f"a conversation that begins with {str(messages[0]['content'])[:60]!r} would be written otherwise"
    if turns is None or wrong:
        raise InputError(
            f"the chat template of the run `{name}` cannot be written for Ollama",
            f"Ollama runs templates in Go's language, and {wrong}.",
            "Use llama.cpp, which runs the template itself: `burnish export RUN --to gguf`",
        )
    return turns


def modelfile(file: Path, turns: Turns | None, stops: Sequence[str], context: int) -> str:
    """The text of a Modelfile.

    Args:
        file: the GGUF file, in the same folder.
        turns: around turns; None for a model that continues texts.
        stops: texts that end an answer.
        context: most tokens of a conversation.
    """
    template = turns.to_go() if turns else "{{ .Prompt }}"
    lines = [f"FROM ./{file.name}", f'TEMPLATE """{template}"""']
    lines += [f"PARAMETER stop {json.dumps(stop)}" for stop in stops]
    lines += [f"PARAMETER num_ctx {context}", "PARAMETER temperature 0"]
    return "\n".join(lines) + "\n"
