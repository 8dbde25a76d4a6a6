"""Mistyped commands and options, told like every other error."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer

from burnish.errors import InputError

# Typer makes only this subclass public; what it derives from is what every mistake in the words of a command raises.
UsageError: type[Exception] = typer.BadParameter.__bases__[0]


def usage_error(error: Any, commands: Sequence[str]) -> InputError:
    """The user's mistake in our words, with the near name where there is one.

    Args:
        error: a `UsageError`.
        commands: names of all commands.
    """
    path = error.ctx.command_path if error.ctx else "burnish"
    see = f"See `{path} --help`"
    unknown = re.search(r"No such command '(.*)'", error.format_message())
    if unknown:
        return _unknown_command(unknown.group(1).split("'")[0], commands)
    option = getattr(error, "option_name", None)
    if option and type(error).__name__ == "NoSuchOption":
        near = difflib.get_close_matches(option, _options(error.ctx), n=1)
        return InputError(f"`{path}` has no option `{option}`", fix=f"Did you mean `{near[0]}`?" if near else see)
    missing = re.match(r"Missing (?:argument|option) '(.*?)'", error.format_message())
    if missing:
        return InputError(f"`{path}` needs {missing.group(1)}", fix=see)
    message = error.format_message().rstrip(".")
    return InputError(f"`{path}`: {message[:1].lower()}{message[1:]}", fix=see)


def _unknown_command(name: str, commands: Sequence[str]) -> InputError:
    near = difflib.get_close_matches(name, commands, n=1)
    if near:
        fix = f"Did you mean `burnish {near[0]}`?"
    elif Path(name).exists():
        fix = f"To fine-tune on it: `burnish train {name}`"
    else:
        fix = "See `burnish --help`"
    return InputError(f"there is no command `{name}`", fix=fix)


def _options(context: Any) -> list[str]:
    """Every option that the command takes."""
    if context is None:
        return []
    return [
        option for parameter in context.command.get_params(context) for option in parameter.opts if option[:2] == "--"
    ]
