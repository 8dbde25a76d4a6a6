"""One case of bad input, and what every answer to bad input must be."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from burnish.cli.command import name_of
from burnish.cli.main import COMMANDS
from burnish.recipe.names import options, sections
from tests.e2e.bad_files import Maker
from tests.e2e.command_result import CommandResult, listing
from tests.snapshots import check_snapshot

_COMMANDS = {name_of(function) for group in COMMANDS.values() for function in group}


class Case(NamedTuple):
    """The files of a case, the command that is typed, and what the error has to name.

    `BASE` in the command is the folder of a good base model. The wording is a snapshot.
    """

    name: str
    files: Maker
    words: str
    names: tuple[str, ...] = ()
    """Files with their lines, options and values that the first part of the error must name."""
    masks: tuple[tuple[str, str], ...] = ()
    """What differs from machine to machine, and what to write instead."""
    code: int = 2


def check(group: str, case: Case, here: Path, base: Path, burnish: Callable[[str], CommandResult]) -> None:
    """The exit code, the message, no traceback, nothing on stdout, and not a byte written.

    The hint names only commands and options that exist. Only a run's log of events may grow.
    """
    case.files(here, base)
    before = _files(here)
    result = burnish(case.words.replace("BASE", str(base)))
    assert "Traceback" not in result.err
    assert result.code == case.code, result.err
    assert result.why or result.hint
    assert result.out == ""
    assert _files(here) == before
    assert [name for name in case.names if name not in result.what] == [], result.what
    check_hint(result.hint)
    parts = (("error", result.what), ("why", result.why), ("hint", result.hint))
    text = "\n".join(f"{label}: {part}" for label, part in parts if part)
    check_snapshot(f"e2e/{group}::{case.name}", _masked(text, case.masks))


def check_hint(hint: str) -> None:
    """Whether the commands and the dotted options in a hint exist."""
    assert set(re.findall(r"`burnish ([\w-]+)", hint)) <= _COMMANDS, hint
    named = re.findall(rf"`(?:--set )?((?:{'|'.join(sections())})\.\w+)", hint)
    assert set(named) <= set(options()), hint


def _files(here: Path) -> list[str]:
    return [entry for entry in listing(here) if "/events.jsonl" not in entry]


def _masked(text: str, masks: tuple[tuple[str, str], ...]) -> str:
    import torch
    from datasets import config
    from huggingface_hub import constants

    masks = {
        str(config.HF_DATASETS_CACHE): "DATASETS",
        str(constants.HF_HUB_CACHE): "CACHE",
        torch.__version__: "TORCH",
    }
    for found, mask in masks.items():
        text = text.replace(found, mask)
    return text
