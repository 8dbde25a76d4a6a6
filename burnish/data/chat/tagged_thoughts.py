"""Thoughts before answers in tags that are not `<think>`, which are learned as words: what to say, and the command."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

from burnish.data.chat.messages import is_learned
from burnish.data.rows.typed import jq_command

_KEY, _BETWEEN = "assistant.thought in ", "\t"
_THOUGHTS = (
    "thinking|thoughts?|reason(?:ing)?|reflections?|scratchpad|cot|rationale|deliberation|(?:ant|seed:)think(?:ing)?|"
    "chain[_-]of[_-]thoughts?|inner[_-](?:thoughts?|monologue)|(?:thinking|thought|reasoning)[_-](?:process|content)|"
    "internal[_-]?(?:thoughts?|monologue|reasoning)"
)
_ANSWERS = "(?:final[_-]?)?(?:answer|output|solution|response|result|reply)|summary"
"""What models of the field and their data call the tags around a thought, and those around the answer after it."""
_OPENED = re.compile(
    rf"\s*(?P<open><(?P<name>{_THOUGHTS})>|<\|(?P<mark>begin_of_thought|thinking|START_THINKING|thought_start)\|>|"
    r"\[(?P<bracket>THINK|THINKING|REASONING|SCRATCHPAD)\]|◁think▷)",
    re.IGNORECASE,
)
_BEGUN = re.compile(
    rf"(?P<open><(?P<name>{_ANSWERS})>|<\|(?P<mark>begin_of_(?:solution|answer|output))\|>)", re.IGNORECASE
)
_CLOSED_MARKS = {"thinking": "/thinking", "START_THINKING": "END_THINKING", "thought_start": "thought_end"}


def tagged_thought(message: Mapping[str, Any]) -> list[str]:
    """The tags of the thought at the beginning of an answer that is learned, as a key beside those of messages; empty
    if it has none, or one in `<think>` tags, which is known as a thought."""
    content = message.get("content")
    if message["role"] != "assistant" or not isinstance(content, str) or message.get("reasoning_content"):
        return []
    opened = _OPENED.match(content)
    if opened is None or not is_learned(message):
        return []
    end = _closing(opened)
    thought, closed, answer = content[opened.end() :].partition(end)
    if not closed or not thought.strip() or not answer.strip():
        return []
    begun = _BEGUN.match(answer.lstrip())
    around = [begun["open"], _closing(begun)] if begun else []
    return [_KEY + _BETWEEN.join([opened["open"], end, *around])]


def _closing(opened: re.Match[str]) -> str:
    """The tag that closes the one that was found."""
    if opened["name"]:
        return f"</{opened['name']}>"
    if mark := opened["mark"]:
        return f"<|{_CLOSED_MARKS.get(mark, mark.replace('begin', 'end'))}|>"
    return f"[/{bracket}]" if (bracket := opened.groupdict().get("bracket")) else "◁/think▷"


def is_tagged_thought(key: str) -> bool:
    """Whether a key is one that `tagged_thought` returns."""
    return key.startswith(_KEY)


def notes_on_tagged_thoughts(written: str, keys: Mapping[str, int]) -> list[str]:
    """What becomes of thoughts in other tags than those of the template, as a sentence for the user.

    Args:
        written: what the template writes of a conversation with a thought, with its own tags if it has some.
        keys: as `tagged_thought` returns them, with the number of answers; others are ignored.
    """
    counts = Counter({key: number for key, number in keys.items() if is_tagged_thought(key)})
    tags = {key: key.removeprefix(_KEY).split(_BETWEEN) for key in counts}
    found = [key for key, _ in counts.most_common() if tags[key][0] not in written]
    if not found:
        return []
    number = sum(counts[key] for key in found)
    named = ", ".join(dict.fromkeys(f"`{tags[key][0]}`" for key in found))
    begin, one = ("answer begins", "a thought") if number == 1 else ("answers begin", "thoughts")
    return [
        f"{number:,} {begin} with {one} in tags that are not the template's ({named}): they are learned as words of "
        f"the answer. To have them as thoughts: {_as_thoughts(tags[found[0]])}"
    ]


def _as_thoughts(tags: list[str]) -> str:
    """The command that writes thoughts in such tags in `<think>` tags, and leaves out the tags around the answer."""
    opening, closing, *around = (re.sub(r"[][|]", lambda sign: f"\\\\{sign[0]}", tag) for tag in tags)
    before, after = (f"(?:{around[0]}\\\\s*)?", f"(?:\\\\s*{around[1]})?") if around else ("", "")
    pattern = f"\\\\A\\\\s*{opening}\\\\s*(?<thought>[\\\\s\\\\S]*?)\\\\s*{closing}\\\\s*{before}"
    pattern += f"(?<answer>[\\\\s\\\\S]*?){after}\\\\s*\\\\z"
    made = "<think>\\n\\(.thought)\\n</think>\\n\\n\\(.answer)"
    return jq_command(f'walk(if type == "string" then sub("{pattern}"; "{made}") else . end)')
