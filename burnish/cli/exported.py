"""What `burnish export` wrote, and what was proved of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from burnish.cli.console import Console
from burnish.cli.results import short
from burnish.cli.table import Facts, Table
from burnish.report.figures import exported_cells


def show_exported(console: Console, made: Mapping[str, Any]) -> None:
    """The proofs, the files with what they cost, and how to use them. With `--quiet`, the folder alone."""
    folder = short(Path(made["folder"]))
    if console.output.quiet:
        console.result(folder)
        return
    if proved := proofs(made):
        console.facts(Facts(proved))
    if made["files"]:
        console.table(Table(*exported_cells(made), is_numeric=True))
    console.say()
    console.say(f"exported to {folder}", "bold")
    console.command(made["command"])


def proofs(made: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What was proved, as lines."""
    lines = []
    if tokens := made["tokens"]:
        lines.append(("same tokens", f"{tokens['texts']:,} rows, {tokens['tokens']:,} tokens, with llama.cpp"))
    if made["rendered"]:
        lines.append(("same prompts", f"{made['rendered']:,} conversations, by the chat template"))
    if outputs := made["outputs"]:
        text = (
            f"{outputs['prompts']:,} answers, {outputs['tokens']:,} tokens in fp32, log-probabilities within "
            f"{outputs['largest']:.1g} nats; {outputs['ended']:,} ended by the model"
        )
        lines.append(("same answers", text))
    return lines
