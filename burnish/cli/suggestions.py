"""What a mistyped command or flag most likely means: a near spelling, another tool's name, or the same meaning."""

from __future__ import annotations

import difflib
import functools
import re
from collections.abc import Collection, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any


def command_meant(name: str, commands: Mapping[str, str]) -> str:
    """The hint for an unknown command, as words that follow `hint:`.

    Args:
        name: as typed.
        commands: the summary of every command, by its name.
    """
    elsewhere = _existing(names_elsewhere()["commands"].get(_plain(name)), [*commands, "--version"])
    if elsewhere:
        return f"Did you mean `burnish {elsewhere}`?"
    if Path(name).exists():
        return f"To fine-tune on it: `burnish train {name}`"
    near = difflib.get_close_matches(name, commands, n=1)
    said = [command for command, summary in commands.items() if _is_in(name, summary)]
    if near or said:
        return f"Did you mean `burnish {(near or said)[0]}`?"
    return "See `burnish --help`"


def flag_meant(name: str, flags: Sequence[str], takes_recipe: bool) -> str:
    """The hint for an unknown flag; empty if there is none.

    Args:
        name: as typed, with its dashes.
        flags: of the command.
        takes_recipe: whether the command takes the options of a recipe, too.
    """
    word = _plain(name)
    same = next((flag for flag in flags if _plain(flag) == word), None)
    if same:
        return f"Did you mean `{same}`?"
    if meant := _flag_elsewhere(word, flags):
        return meant
    if takes_recipe and (meant := _option_meant(word, is_sure=True)):
        return f"Did you mean `{meant}`?"
    near = difflib.get_close_matches(name, flags, n=1)
    if near:
        return f"Did you mean `{near[0]}`?"
    meant = _option_meant(word, is_sure=False) if takes_recipe else ""
    return f"Did you mean `{meant}`?" if meant else ""


@functools.cache
def names_elsewhere() -> Mapping[str, Mapping[str, Any]]:
    """Other tools' names of commands and flags."""
    import yaml

    text = resources.files("burnish.cli").joinpath("names_elsewhere.yaml").read_text(encoding="utf-8")
    return yaml.safe_load(text)


def _flag_elsewhere(word: str, flags: Collection[str]) -> str:
    """What another tool's flag is here, as a hint; empty if that is not known or the command cannot do it."""
    meant = names_elsewhere()["flags"].get(word)
    for one in [meant] if isinstance(meant, str) else meant or []:
        if not one.startswith("--"):
            return f"Give {one}" if one.startswith("the ") else f"Did you mean `{one}`?"
        if one.split()[0] in flags:
            return f"Did you mean `{one}`?"
    return ""


def _option_meant(word: str, is_sure: bool) -> str:
    """The flag or `--set` of the recipe's option that a word means; empty if there is none.

    Args:
        word: with underscores.
        is_sure: whether it must be the name of an option, here or elsewhere, rather than resemble one.
    """
    from burnish.recipe.flags import flag_of
    from burnish.recipe.names import names_elsewhere as options_elsewhere
    from burnish.recipe.names import options, search_options, suggest, takes_bool

    named = [option for option in options() if word in (option.rpartition(".")[2], _plain(option))]
    option = options_elsewhere().get(word) or (named[0] if named else None)
    if option is None and not is_sure:
        option = suggest(word) or next(iter(search_options(word)), None)
    if option is None:
        return ""
    option, equals, value = option.partition("=")
    if flag := flag_of(option):
        return f"{flag} {value}".strip()
    likely = "true" if takes_bool(options()[option]) else "..."
    return f"--set {option}={value if equals else likely}"


def _existing(meant: str | Sequence[str] | None, known: Collection[str]) -> str:
    """The first name that exists; empty if none does."""
    names = [meant] if isinstance(meant, str) else meant or []
    return next((name for name in names if name in known), "")


def _plain(name: str) -> str:
    """A name as these tables have it: lower case, with underscores."""
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


def _is_in(word: str, text: str) -> bool:
    return len(word) > 2 and re.search(rf"\b{re.escape(word.lower())}", text.lower()) is not None
