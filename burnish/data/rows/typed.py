"""Options with the names and values of a file, as a user is to type them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

from burnish.system.shell import quoted as shell_quoted

_ENDING = ",[]{}"
"""Marks that end a value in a list of YAML."""


def setting(name: str, value: str) -> str:
    """`--set NAME=VALUE`, in quotes where YAML or the shell would take the value for something else.

    Args:
        name: of an option, such as `data.columns.label`.
        value: a text, such as the name of a column.
    """
    return f"--set {shell_quoted(f'{name}={_in_yaml(value)}')}"


def settings(name: str, values: Iterable[str]) -> str:
    """`--set NAME=[VALUE, ...]`, in quotes as those of `setting`; whole numbers are written as they are."""
    items = (value if _NUMBER.fullmatch(value) else _item(value) for value in values)
    listed = ", ".join(items)
    return f"--set {shell_quoted(f'{name}=[{listed}]')}"


def jq_command(form: str, *, is_of_all: bool = False) -> str:
    """The command that writes each row of a JSON Lines file in another form, between backticks.

    Args:
        form: what jq makes of a row.
        is_of_all: whether it is made of a list of all rows instead.
    """
    return f"`jq -{'cs' if is_of_all else 'c'} {shell_quoted(form)} IN.jsonl > OUT.jsonl`"


def mapping(**columns: str) -> str:
    """The options that give columns to fields, as they are to be typed.

    Args:
        columns: field -> column of the file.
    """
    return "`" + " ".join(setting(f"data.columns.{field}", name) for field, name in columns.items()) + "`"


_NUMBER = re.compile(r"[+-]?\d+")
"""In a list, where a whole number stays what it is."""


def _in_yaml(text: str) -> str:
    """A text as YAML reads it: in quotes where it would be a number, a comment or the like."""
    import yaml

    try:
        is_plain = yaml.safe_load(text) == text
    except yaml.YAMLError:
        is_plain = False
    return text if is_plain else _quoted(text)


def _item(text: str) -> str:
    return _quoted(text) if any(mark in text for mark in _ENDING) else _in_yaml(text)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
