"""White space around answers that a chat template removes, such as the indentation of code."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from burnish.data.chat.messages import is_learned
from burnish.data.chat.template import ChatTemplate, Message, TemplateFeatures, adapt, split_thought
from burnish.data.rows.row import RowError

_BEGINS, _ENDS = "assistant.begins with ", "assistant.ends with "
_WORD = "zqanswerzq"
_ASKED: Message = {"role": "user", "content": "zqquestionzq"}


def is_space(key: str) -> bool:
    """Whether a key is one that `answer_spaces` returns."""
    return key.startswith((_BEGINS, _ENDS))


def answer_spaces(message: Mapping[str, Any]) -> list[str]:
    """The white space around a message, if it is an answer that is learned and consists of words alone; as keys beside
    those of messages, each with the kinds of characters and not their number."""
    content = message.get("content")
    if message["role"] != "assistant" or not isinstance(content, str) or not content.strip():
        return []
    if message.get("tool_calls") or message.get("reasoning_content") or not is_learned(message):
        return []
    if split_thought(content)[0]:
        return []
    begin, end = content[: len(content) - len(content.lstrip())], content[len(content.rstrip()) :]
    found = ((_BEGINS, begin), (_ENDS, end))
    return [f"{which}{''.join(sorted(set(space)))}" for which, space in found if space]


def notes_on_spaces(template: ChatTemplate, features: TemplateFeatures, keys: Counter[str]) -> list[str]:
    """How many answers a template removes white space of, as a sentence for the user.

    Args:
        template: renders messages.
        features: of the template.
        keys: as `answer_spaces` returns them, with the number of answers; others are ignored.
    """
    counts = Counter[str]()
    for key, number in keys.items():
        for which, where in ((_BEGINS, "beginning"), (_ENDS, "end")):
            if key.startswith(which) and not _keeps(template, features, which, key.removeprefix(which)):
                counts[where] += number
    if not counts:
        return []
    parts = [
        f"at the {where} of {counts[where]:,} answer{'s' if counts[where] > 1 else ''}"
        for where in ("beginning", "end")
        if counts[where]
    ]
    advice = " (code keeps its indentation inside a fenced block)" if counts["beginning"] else ""
    return [f"the template removes white space {' and '.join(parts)}, so it is not learned{advice}"]


def _keeps(template: ChatTemplate, features: TemplateFeatures, which: str, space: str) -> bool:
    """Whether a template writes an answer with its white space."""
    texts = _WORD, f"{space}{_WORD}" if which == _BEGINS else f"{_WORD}{space}"
    answers: list[Message] = [{"role": "assistant", "content": text} for text in texts]
    try:
        plain, spaced = (
            template.render(adapt([_ASKED, answer], None, features)[0], None, answer_next=False) for answer in answers
        )
    except RowError:
        return True  # whoever encodes the rows reports it
    return len(spaced) - len(plain) == len(space)
