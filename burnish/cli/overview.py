"""`burnish --help`: every command on one line, in groups. Drawn here, for nothing answers faster than plain text."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence

_HEAD = """\
Usage: burnish COMMAND ...

  Fine-tune language models on the machine you have,
  with proof that the result is better than the base.
"""
_FOOT = """\
Options:
  --version   Print the version.
  -h, --help  Show this help.

`burnish COMMAND --help` tells what a command takes."""


def overview(groups: Mapping[str, Sequence[Callable[..., None]]]) -> str:
    """The page.

    Args:
        groups: commands by the heading they stand under; the first line of a docstring says what a command does.
    """
    width = max(len(function.__name__) for group in groups.values() for function in group) + 2
    parts = [_HEAD]
    for heading, group in groups.items():
        lines = [f"  {function.__name__:<{width}}{_summary(function)}\n" for function in group]
        parts.append(f"{heading}:\n{''.join(lines)}")
    return "\n".join([*parts, _FOOT])


def _summary(function: Callable[..., None]) -> str:
    return (inspect.getdoc(function) or "").splitlines()[0]
