"""`burnish options [WORD]` and `burnish init DATA`."""

from __future__ import annotations

import json
import shutil
import textwrap
from pathlib import Path
from typing import Annotated, Any

import typer

from burnish.cli.console import Console
from burnish.cli.options import Data, RecipeFlags
from burnish.errors import InputError
from burnish.recipe.flags import flag_of
from burnish.system.shell import quoted

_WIDEST = 100
Words = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="WORD",
        help="A name, another tool's name for it, or a word of its help. Without one, all are listed.",
        show_default=False,
    ),
]


def options(console: Console, words: Words = None) -> None:
    """List the options of a recipe, found by name or by meaning."""
    from burnish.recipe.names import options as all_options
    from burnish.recipe.names import search_options

    found = search_options(" ".join(words)) or _of_term(" ".join(words)) if words else list(all_options())
    if not found:
        raise InputError(
            f"no option has to do with `{' '.join(words or ())}`",
            "It is neither in a name, nor in another tool's name for one, nor in its help, nor a term of the glossary.",
            "Try a single word, or list all: `burnish options`",
        )
    described = [describe_option(name) for name in found]
    console.json({"options": described})
    if console.output.quiet:
        for option in described:
            console.result(option["name"])
        return
    for option in described:
        _show(console, option, is_full=bool(words))
    if not words:
        console.say("`burnish options WORD` shows those that a word leads to, with their help.")


def _of_term(words: str) -> list[str]:
    """The options that the glossary names beside a term; empty if it has no such term."""
    from burnish.glossary import UnknownTerm, find_term

    try:
        return list(find_term(words).options)
    except UnknownTerm:
        return []


def describe_option(name: str) -> dict[str, Any]:
    """An option as JSON: its name, flag, the values it takes, its default and its help."""
    from burnish.recipe.names import expected
    from burnish.recipe.names import options as all_options

    field = all_options()[name]
    return {
        "name": name,
        "flag": flag_of(name),
        "takes": expected(field),
        "default": field.get_default(call_default_factory=True),
        "help": " ".join((field.description or "").split()),
    }


def _show(console: Console, option: dict[str, Any], is_full: bool) -> None:
    """One option: in a line, or with its help below it."""
    default = option["default"]
    written = default if isinstance(default, str) else json.dumps(default)
    flag = f"  {option['flag']}" if option["flag"] else ""
    if not is_full:
        console.result(f"{option['name']} = {written}{flag}")
        return
    console.result(f"{option['name']} = {written or '(required)'}{flag}")
    width = max(40, min(shutil.get_terminal_size().columns, _WIDEST))
    text = f"It takes {option['takes']}. {option['help']}"
    console.say(textwrap.fill(text, width, initial_indent="  ", subsequent_indent="  "))
    console.say()


Out = Annotated[Path, typer.Option("--out", metavar="FILE", help="The recipe to write. Nothing is overwritten.")]


def init(console: Console, data: Data, flags: RecipeFlags, out: Out = Path("recipe.yaml")) -> None:
    """Write a commented recipe for DATA, to be edited and trained.

    It holds what the rows decide, the options that are changed most often, and what the command line says.
    """
    from burnish.cli.progress import Progress
    from burnish.recipe.load import RECIPE_SUFFIXES, load_recipe
    from burnish.runs.atomic import check_target

    if data.lower().endswith(RECIPE_SUFFIXES):
        raise InputError(f"`{data}` is a recipe already", fix=f"Edit it, or train it: `burnish train {quoted(data)}`")
    if out.suffix.lower() not in RECIPE_SUFFIXES:
        raise InputError(f"`{out}` does not end in .yaml", "Recipes do.", f"Use `--out {quoted(str(out))}.yaml`")
    loaded = load_recipe(data, flags.values, flags.sets)
    check_target(out)
    with Progress(console) as progress:
        from burnish.prepare.first_checks import check_inputs

        check_inputs(loaded.recipe)
        from burnish.workflows.init import init as write_recipe

        made = write_recipe(loaded, out, [progress])
    console.json({"recipe": str(out), "task": made.task, "model": made.model, "rows": made.rows})
    console.result(str(out))
    console.say()
    console.say(f"{made.rows:,} rows for the task `{made.task}`, with the base model `{made.model}`.")
    if made.remark:
        console.say(made.remark)
    console.say()
    console.say("next:", "bold")
    for verb in ("check", "plan", "train"):
        console.command(f"burnish {verb} {quoted(str(out))}")
