"""What `burnish export` wrote, and what was proved of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from burnish.cli.console import Console
from burnish.cli.results import short
from burnish.cli.table import Facts, Table
from burnish.system.machine import memory_size


def show_exported(console: Console, made: Mapping[str, Any]) -> None:
    """The proofs, the files with what they cost, and how to use them. With `--quiet`, the folder alone."""
    folder = short(Path(made["folder"]))
    if console.output.quiet:
        console.result(folder)
        return
    if proved := proofs(made):
        console.facts(Facts(proved))
    if made["files"]:
        console.table(files_table(made))
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


def files_table(made: Mapping[str, Any]) -> Table:
    """A line for each file: its size, and its metrics beside those of the model."""
    names = [figure["name"] for figure in made["files"][0]["figures"]]
    lines = []
    for file in made["files"]:
        lines.append([file["name"], memory_size(file["bytes"]), *map(_beside, file["figures"])])
    return Table(["file", "size", *names], lines, is_numeric=True)


def _beside(figure: Mapping[str, Any]) -> str:
    """`62.5 % (-1.6 ± 3.2)`: the value of the file, and how far it is from the model's."""
    scale, digits, unit = (100, 1, " %") if figure["is_share"] else (1, 3, "")
    value, change = scale * figure["tuned"]["value"], scale * figure["difference"]["value"]
    low, high = figure["difference"]["low"], figure["difference"]["high"]
    within = "" if low is None or high is None else f", {scale * low:+.{digits}f} to {scale * high:+.{digits}f}"
    return f"{value:.{digits}f}{unit} ({change:+.{digits}f}{within})"
