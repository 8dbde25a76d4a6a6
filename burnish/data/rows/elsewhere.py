"""Rows in the formats of other trainers that have to be written otherwise first: why, and the command."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from burnish.system.shell import quoted as shell_quoted

_SEGMENT = {"text", "label"}
_JOINED = (
    "{messages: (reduce %s[] as $one ([]; (if $one.label then \"assistant\" else \"user\" end) as $role | "
    "if length > 0 and .[-1].role == $role then .[-1].content += $one.text "
    "else . + [{role: $role, content: $one.text}] end))}"
)  # fmt: skip
"""For jq: segments as messages, those of one role after each other as one."""


def advice_of_trainers(sample: Sequence[Mapping[str, Any]]) -> tuple[str, str] | None:
    """Why rows in another trainer's format are not read, and what to do; None for others.

    Args:
        sample: values of the first rows, at least one.
    """
    first = sample[0]
    if segments := next((name for name, cell in first.items() if are_segments(cell)), None):
        command = f"`jq -c {shell_quoted(_JOINED % jq_path(segments))} IN.jsonl > OUT.jsonl`"
        return (
            f"`{segments}` has pieces of a text, of which those with `label: true` are learned, as axolotl's "
            "`input_output` has them. There no chat template is applied; here the model's own is written around each "
            "message.",
            f"Write what is learned as the assistant's messages and the rest as the user's: {command}. Marks of "
            "another template in the texts, such as `<s>` or `[INST]`, would be learned as text: remove them, too",
        )
    return None


def jq_path(name: str) -> str:
    """The path of a column for jq, whatever characters its name has."""
    return f".{json.dumps(name, ensure_ascii=False)}"


def are_segments(cell: Any) -> bool:
    """Whether a cell is a list of texts that say each whether they are learned."""
    return (
        isinstance(cell, list)
        and bool(cell)
        and all(isinstance(one, Mapping) and set(one) == _SEGMENT for one in cell)
        and all(isinstance(one["text"], str) and isinstance(one["label"], bool) for one in cell)
    )
