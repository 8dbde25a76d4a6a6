"""Which answers of a conversation are learned: the keys of messages that say so, and those that may mean it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from burnish.data.chat.roles import find_role, role_name
from burnish.data.rows.patterns import THOUGHT
from burnish.data.rows.row import RowError
from burnish.visible import parse_json

WEIGHTS = (
    "weight", "train", "training", "trainable", "train_on_turn", "loss", "loss_weight", "is_train", "is_trainable",
    "should_train", "train_on", "compute_loss", "calculate_loss",
)  # fmt: skip
"""Keys that say whether an answer is learned."""
_MEASURED = ("loss", "loss_weight")
"""Of these, keys that may as well hold something measured, which says nothing."""
_OBJECTS = re.compile(r"\s*\[\s*\{")
"""How a list of objects begins as JSON text."""
KEPT = ("name", "tool_call_id")
CONTENTS = ("content", "value", "text", "message", "refusal", "parts")
"""Keys that hold what a message says."""
USED = frozenset(
    ("role", "from", "speaker", "sender", "author", "channel", "tool_calls", "function_call", "reasoning_details")
    + (*CONTENTS, *KEPT, *THOUGHT, *WEIGHTS)
)


def is_learned(message: Mapping[str, Any]) -> bool:
    """Whether an answer is learned rather than only part of the conversation."""
    return message.get("weight") != 0


def read_weight(message: Mapping[str, Any], number: int) -> bool:
    """Whether an answer is learned: true unless its `weight` is 0, its `train` is false, or the like.

    Raises:
        RowError: it is something between.
    """
    for key in WEIGHTS:
        weight = message.get(key)
        if weight is None:
            continue
        text = str(weight).strip().lower()
        if text not in LEARNED and key in _MEASURED:
            continue
        if text not in LEARNED:
            raise RowError(f"message {number} has the {key} {weight!r}; an answer is learned (1) or not (0)")
        if not LEARNED[text]:
            return False
    return True


LEARNED = {"1": True, "1.0": True, "true": True, "0": False, "0.0": False, "false": False}


def unused_keys(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> tuple[str, ...]:
    """Keys inside the messages of all rows that nothing uses, sorted.

    Args:
        rows: values by column.
        columns: those that may hold messages.
    """
    messages = (message for values in rows for column in columns for message in messages_in(values.get(column)))
    return tuple(sorted({str(key) for message in messages for key in message if _is_unused(message, key)}))


def _is_unused(message: Mapping[str, Any], key: str) -> bool:
    if key == "tools" and find_role(str(role_name(message)), {}) == "system":
        return False
    if message[key] is None or (key in USED and key not in _MEASURED):
        return False
    return key not in _MEASURED or str(message[key]).strip().lower() not in LEARNED


def messages_in(cell: Any) -> Iterator[Mapping[str, Any]]:
    """The messages in a cell, which may be JSON text; none if it holds something else."""
    if isinstance(cell, str) and _OBJECTS.match(cell):
        try:
            cell = parse_json(cell)
        except (ValueError, RecursionError):
            return
    for message in cell if isinstance(cell, (list, tuple)) else [cell]:
        if isinstance(message, dict) and role_name(message) is not None:
            yield message
