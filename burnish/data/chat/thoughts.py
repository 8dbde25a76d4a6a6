"""Thoughts of answers: found in their text, and put into the form that a chat template supports."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

Message = dict[str, Any]
_THOUGHT_BLOCK = re.compile(r"\s*<think>\s*(.*?)\s*</think>\s*", re.DOTALL)
_START, _END = "<think>", "</think>"
_BEFORE_A_QUOTED_TAG, _AFTER_A_QUOTED_TAG = " \t`'\"(", " \t`'\").,;:!?"
"""Characters around a tag that an answer writes about, rather than ends its thought with."""

THOUGHT_FIELDS = ("reasoning_content", "reasoning", "thinking", "tool_plan")
"""Keys of a message under which templates read a thought."""
PARTS, BLOCKS, TEXT = "parts", "blocks", "text"
"""Other forms of a thought: a part of the content; a block of it; <think> tags at the beginning of the text."""
INSERTED, CLOSED, DROPPED = "inserted", "closed", "dropped"
"""The template leaves the thought out: it is put where the template opens or writes an empty one; it has no place,
because the prompt ends with an empty thought; it has no place at all."""


def split_thought(content: str) -> tuple[str, str]:
    """The thought at the start of an answer (empty if there is none), and the rest of the answer.

    It is in <think> tags. Where the prompt opened them, an answer as it was generated has the closing one alone, and
    all before it is the thought.
    """
    return _split_tagged(content) or _split_unopened(content) or ("", content)


def _split_tagged(content: str) -> tuple[str, str] | None:
    """Thought and answer where the thought is in both tags; None if there is none."""
    found = _THOUGHT_BLOCK.match(content)
    return (found[1], content[found.end() :]) if found else None


def _split_unopened(content: str) -> tuple[str, str] | None:
    """Thought and answer around a closing tag alone; None if there is none, or only one that is written about."""
    before, tag, after = content.partition(_END)
    if not tag or _START in before or not before.strip():
        return None
    is_quoted = before[-1] in _BEFORE_A_QUOTED_TAG or after[:1] in _AFTER_A_QUOTED_TAG
    if is_quoted and not before.endswith("\n") and not after.startswith("\n\n"):
        return None
    return before.strip(), after.lstrip()


def extract_thought(message: Message, form: str) -> Message:
    """Moves a thought from the text to `reasoning_content`, unless it is to stay in the text.

    Empty tags are no thought: they are left out, since a template writes its own where an answer has none.
    """
    if message["role"] != "assistant":
        return message
    content, given = message["content"], message.get("reasoning_content")
    thought, answer = split_thought(content)
    if answer == content or (given and thought not in ("", given.strip())):
        return message
    if form == TEXT and not given and _split_tagged(content):
        return message
    found = given or thought
    return {**message, **({"reasoning_content": found} if found else {}), "content": answer}


def with_thought(message: Message, form: str) -> Message:
    """The message with its thought in this form."""
    if message["role"] != "assistant" or form in ("reasoning_content", INSERTED, CLOSED):
        return message
    thought = message.get("reasoning_content")
    bare = {key: value for key, value in message.items() if key != "reasoning_content"}
    if form == BLOCKS:
        # such a template takes either texts or blocks in all answers of a conversation
        blocks = [("thoughts", thought), ("response", message["content"])]
        return {**bare, "content": {"blocks": [{"type": name, "text": text} for name, text in blocks if text]}}
    if not thought or form == DROPPED:
        return bare
    if form == PARTS:
        words = [{"type": "text", "text": message["content"]}] if message["content"] else []
        return {**bare, "content": [{"type": "thinking", "thinking": thought}, *words]}
    if form == TEXT:
        return {**bare, "content": f"<think>\n{thought}\n</think>\n\n{message['content']}"}
    return {**bare, form: thought}


def thought_and_words(message: Mapping[str, Any]) -> tuple[str, str]:
    """The thought and the text of an adapted answer, whatever the form of its thought."""
    content = message.get("content") or ""
    if isinstance(content, str):
        thought = next((message[key] for key in THOUGHT_FIELDS if message.get(key)), "")
        return (thought, content) if thought else _split_tagged(content) or ("", content)
    parts = content["blocks"] if isinstance(content, Mapping) else content
    texts = {part["type"]: part.get("thinking") or part.get("text") or "" for part in parts}
    return texts.get("thinking") or texts.get("thoughts") or "", texts.get("text") or texts.get("response") or ""
