"""Limits of recipe files: YAML that would take far more memory or time than a recipe is refused before it is built."""

from __future__ import annotations

import contextlib
import errno
import re
from pathlib import Path
from typing import Any

from burnish.system.machine import is_special

_MOST_BYTES, _MOST_VALUES, _DEEPEST = 1 << 22, 50_000, 20
"""Of a recipe: options nest three deep, and only a list of labels can be long."""


_PARTED = re.compile("[\t?!\ufeff\ud800-\udfff]|[|>][-+0-9]*#")
"""Where the parsers of YAML differ: tabs, tags, keys with a mark of their own, halves of characters, and comments that
touch the mark of a text in lines."""


class TooMuch(Exception):
    """A file of YAML that would take far more memory or time than any recipe."""


def read_limited(path: Path) -> str:
    """The text of a recipe.

    Raises:
        TooMuch: it is far longer than any recipe.
        OSError: it cannot be read, or is a pipe or a device.
        UnicodeDecodeError: it is not UTF-8.
    """
    if is_special(path):
        raise OSError(errno.EINVAL, "It is a pipe or a device, and not a file")
    with path.open("rb") as file:
        content = file.read(_MOST_BYTES + 1)
    if len(content) > _MOST_BYTES:
        raise TooMuch(f"It has more than {_MOST_BYTES:,} bytes.")
    return content.decode("utf-8-sig")


def compose(text: str) -> Any:
    """The node of a YAML document; None for an empty one.

    libyaml's parser, where PyYAML has it, takes a tenth of the time. It takes some texts that PyYAML's own refuses, all
    with characters of `_PARTED`; those, and what libyaml refuses, are left to PyYAML's, so that values and messages do
    not depend on how PyYAML was built.

    Raises:
        TooMuch: as `check_form`.
        yaml.YAMLError: it is not YAML.
    """
    import yaml

    if yaml.__with_libyaml__ and not _PARTED.search(text):
        with contextlib.suppress(yaml.YAMLError):
            return compose_with(yaml.CSafeLoader, text)
    return compose_with(yaml.SafeLoader, text)


def compose_with(loader: Any, text: str) -> Any:
    """The same with one of PyYAML's loaders."""
    import yaml

    check_form(text, loader)
    return yaml.compose(text, Loader=loader)


def check_form(text: str, loader: Any) -> None:
    """Refuses YAML that unfolds or nests beyond measure, before it is built; only its events are read.

    What is not YAML at all is left to the one who builds it.

    Args:
        text: YAML.
        loader: that will build it: what another one cannot parse would not be checked.

    Raises:
        TooMuch: it has aliases, which can mean billions of values, or is too large or too deep.
    """
    import yaml

    with contextlib.suppress(yaml.YAMLError):
        _check_events(text, loader)


def _check_events(text: str, loader: Any) -> None:
    import yaml

    depth = 0
    for number, event in enumerate(yaml.parse(text, Loader=loader)):
        if isinstance(event, yaml.AliasEvent):
            alias = f"Line {event.start_mark.line + 1} has an alias, `*{event.anchor}`"
            raise TooMuch(f"{alias}, and aliases are not allowed in recipes.")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _DEEPEST or number > _MOST_VALUES:
            what = f"nests more than {_DEEPEST} deep" if depth > _DEEPEST else f"has more than {_MOST_VALUES:,} values"
            raise TooMuch(f"It {what} (line {event.start_mark.line + 1}).")
