"""What one should know of prompts: answers that repeat them, and system messages that take the place of a column."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from burnish.data.chat.messages import as_messages, find_role, role_name
from burnish.data.rows.pattern import Pattern
from burnish.data.rows.patterns import SYSTEM, TURNS
from burnish.data.rows.printed import as_list
from burnish.data.rows.row import pick
from burnish.data.rows.typed import jq_command

Values = Mapping[str, Any]

_SHORTEST = 10
"""Characters of a prompt that an answer does not begin with by chance."""


def notes_on_prompts(pattern: Pattern, rows: Sequence[Values]) -> list[str]:
    """Sentences about answers that repeat their prompts, and about a column of system prompts that is not used.

    Args:
        pattern: of the rows.
        rows: values by column.
    """
    return [*_repeated(pattern, rows), *_replaced(pattern, rows)]


def _repeated(pattern: Pattern, rows: Sequence[Values]) -> list[str]:
    """That most answers begin with the whole prompt."""
    prompt = pick(rows[0], pattern.required[0])[0]
    notes = []
    for field in pattern.answers:
        name = pick(rows[0], field)[0]
        pairs = [(values.get(prompt), values.get(name)) for values in rows]
        texts = [(asked.strip(), said) for asked, said in pairs if isinstance(asked, str) and isinstance(said, str)]
        number = sum(len(asked) >= _SHORTEST and said.lstrip().startswith(asked) for asked, said in texts)
        if 2 * number > len(rows):
            notes.append(
                f"`{name}` begins with the text of `{prompt}` in {number:,} of {len(rows):,} rows, so that it is read "
                f"and then learned again. If only what follows is the answer, cut it: {_cutting(prompt, name)}."
            )
    return notes


def _cutting(prompt: str, answer: str) -> str:
    """The command that removes a prompt from the beginning of an answer, and leaves other answers as they are."""
    asked, said = (f".{json.dumps(name, ensure_ascii=False)}" for name in (prompt, answer))
    bare = r'gsub("^\\s+|\\s+$"; "")'
    rest = r'sub("^\\s+"; "")'
    cut = f'. as $a | {rest} | if $p != "" and startswith($p) then ltrimstr($p) | {rest} else $a end'
    form = f'({asked} // "" | tostring | {bare}) as $p | ({said} | strings) |= ({cut})'
    return jq_command(form)


def _replaced(pattern: Pattern, rows: Sequence[Values]) -> list[str]:
    """That some conversations begin with another system message than a column has for them."""
    if SYSTEM not in pattern.optional or not set(pattern.required[0]) & set(TURNS):
        return []
    number, column = 0, pick(rows[0], SYSTEM)[0]
    for values in rows:
        turns = as_messages(as_list(pick(values, pattern.required[0])[1]), pattern.roles)
        first = turns[0] if isinstance(turns, list) and turns else None
        if isinstance(first, dict) and find_role(str(role_name(first)), pattern.roles) == "system":
            own, other = first.get("content", first.get("value")), pick(values, SYSTEM)[1]
            number += isinstance(other, str) and bool(other.strip()) and other.strip() != str(own).strip()
    if not number:
        return []
    return [
        f"`{column}` is not used in {number:,} of {len(rows):,} rows, whose conversations begin with another system "
        "message."
    ]
