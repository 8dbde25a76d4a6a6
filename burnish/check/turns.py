"""Conversations whose turns are out of order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any


def odd_turns(messages: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    """(kind of defect, what was seen) for the messages of a row, as they were read."""
    roles = [message["role"] for message in messages]
    if "system" in roles[1:]:
        yield "turns-out-of-order", f"message {roles.index('system', 1) + 1} is the system's, behind others"
        return
    spoken = [(number, role) for number, role in enumerate(roles, start=1) if role != "system"]
    if spoken and spoken[0][1] == "assistant":
        yield "turns-out-of-order", "the assistant speaks first"
        return
    for (_, before), (number, role) in zip(spoken, spoken[1:], strict=False):
        if before == role and role in ("user", "assistant"):
            yield "turns-out-of-order", f"messages {number - 1} and {number} are both the {role}'s"
            return
        if role == "tool" and before == "user":
            yield "turns-out-of-order", f"message {number} is a tool's result that nobody asked for"
            return
