"""Tables with one message of a conversation in each row: read one by one, answers would lack their questions."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from burnish.data.chat.messages import CONTENTS, find_role
from burnish.system.shell import quoted as shell_quoted

ROLE_COLUMNS = ("role", "from", "speaker", "sender", "author", "author_role")
_ID = re.compile(
    r"(?:conversation|conv|dialog|dialogue|thread|session|chat|message_tree)s?(?:[ _-]?(?:id|no|nr))?", re.IGNORECASE
)
_LEAST_OF_MESSAGES = 2
"""Rows of a conversation, at least, on average."""


def single_message_advice(sample: Sequence[Mapping[str, Any]], file: str) -> tuple[str, str] | None:
    """Why rows that are one message each are not read, and what to do; None for other rows.

    Args:
        sample: values of the first rows, at least one.
        file: its name, for the command.
    """
    names = [str(name) for name in sample[0]]
    role = next((name for name in names if name.lower() in ROLE_COLUMNS and are_roles(name, sample)), None)
    said = next((name for known in CONTENTS for name in names if name.lower() == known), None)
    said = said if said is not None and any(isinstance(values.get(said), str) for values in sample) else None
    if role is None or said is None:
        return None
    talk = next((name for name in names if _ID.fullmatch(name) and _recurs(name, sample)), None)
    how = '`{"messages": [{"role": "user", "content": ...}, ...]}`'
    if talk is not None and re.search(r"\.(?:jsonl|ndjson|jl|csv|tsv|parquet)\Z", file):
        how = _command(role, said, talk, file)
    return (
        f"Each row seems to be one message of a conversation: `{role}` says whose. Read one by one, answers would be "
        "learned without their questions.",
        f"Write each conversation as one row: {how}",
    )


def are_roles(name: str, sample: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a column says for each row whether user or assistant speaks."""
    cells = {cell.strip() for values in sample if isinstance(cell := values.get(name), str) and cell.strip()}
    roles = {find_role(cell, {}) for cell in cells}
    return {"user", "assistant"} <= roles and None not in roles


def _recurs(name: str, sample: Sequence[Mapping[str, Any]]) -> bool:
    cells = [str(values.get(name)) for values in sample]
    return _LEAST_OF_MESSAGES * len(set(cells)) <= len(cells)


def _command(role: str, said: str, talk: str, file: str) -> str:
    """What makes a row of each conversation, in the order of the file."""
    if re.search(r"\.(?:jsonl|ndjson|jl)\Z", file):
        key, whose, what = (f".{json.dumps(name)}" for name in (talk, role, said))
        form = f"group_by({key})[] | {{messages: map({{role: {whose}, content: {what}}})}}"
        return f"`jq -s -c {shell_quoted(form)} {shell_quoted(file)} > OUT.jsonl`"
    suffix = file.rsplit(".", 1)[-1]
    kind, more = ("csv", ', sep="\\t"') if suffix == "tsv" else (suffix, "")
    names = ", ".join(f"{json.dumps(name)}: {json.dumps(key)}" for name, key in ((role, "role"), (said, "content")))
    script = (
        f"import pandas; rows = pandas.read_{kind}({json.dumps(file)}{more}).rename(columns={{{names}}}); "
        f'talks = rows.groupby({json.dumps(talk)}, sort=False)[["role", "content"]]; '
        'talks.apply(lambda one: one.to_dict("records")).rename("messages").to_frame()'
        '.to_json("OUT.jsonl", orient="records", lines=True, force_ascii=False)'
    )
    return f"`python -c {shell_quoted(script)}`"
