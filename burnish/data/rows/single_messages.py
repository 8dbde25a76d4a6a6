"""Tables with one message of a conversation in each row: read one by one, answers would lack their questions."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from burnish.data.chat.messages import CONTENTS, find_role
from burnish.data.rows.elsewhere import jq_path
from burnish.data.rows.typed import jq_command
from burnish.system.shell import quoted as shell_quoted

ROLE_COLUMNS = ("role", "from", "speaker", "sender", "author", "author_role")
_ID = re.compile(
    r"(?:conversation|conv|dialog|dialogue|thread|session|chat|message_tree)s?(?:[ _-]?(?:id|no|nr))?", re.IGNORECASE
)
_PARENTS = ("parent_id", "parent_message_id", "parent", "reply_to", "in_reply_to", "reply_to_id", "parent_uuid")
_OWN = ("message_id", "id", "msg_id", "uuid", "post_id", "comment_id")
"""Columns that say which message a row replies to, and which one it is."""
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
    return (
        f"Each row seems to be one message of a conversation: `{role}` says whose. Read one by one, answers would be "
        "learned without their questions.",
        f"Write each conversation as one row: {how_to_join(role, said, sample, file)}",
    )


def how_to_join(role: str, said: str, sample: Sequence[Mapping[str, Any]], file: str) -> str:
    """The command that writes messages in rows of their own as conversations, or what a conversation looks like.

    Args:
        role: the column that says who speaks.
        said: the column with what is said.
        sample: values of the first rows, at least one.
        file: its name, for the command.
    """
    names = [str(name) for name in sample[0]]
    if tree := _tree_command(role, said, sample):
        return tree
    talk = next((name for name in names if _ID.fullmatch(name) and _recurs(name, sample)), None)
    if talk is not None and re.search(r"\.(?:jsonl|ndjson|jl|csv|tsv|parquet)\Z", file):
        return _command(role, said, talk, file)
    return '`{"messages": [{"role": "user", "content": ...}, ...]}`'


def _tree_command(role: str, said: str, sample: Sequence[Mapping[str, Any]]) -> str:
    """What makes a conversation of each message that is no reply, with the best reply to it and so on; empty where rows
    do not say what they reply to."""
    names = {str(name).lower(): str(name) for name in sample[0]}
    parent = next((names[name] for name in _PARENTS if name in names), None)
    own = next((names[name] for name in _OWN if name in names), None)
    if parent is None or own is None:
        return ""
    ids = {str(values.get(own)) for values in sample}
    if ids.isdisjoint(str(values.get(parent)) for values in sample):
        return ""
    key, above, whose, what = map(jq_path, (own, parent, role, said))
    order = f"sort_by({jq_path(names['rank'])} // 0)" if "rank" in names else "."
    above = f'({above} // "" | tostring)'
    form = f"(group_by({above}) | map({{key: (.[0] | {above}), value: {order}}}) | from_entries) as $replies | "
    form += f"def talk: ., ($replies[{key} | tostring][0] // empty | talk); "
    form += f'($replies[""] // [])[] | {{messages: [talk | {{role: {whose}, content: {what}}}]}}'
    return jq_command(form, is_of_all=True)


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
