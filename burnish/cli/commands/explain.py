"""`burnish explain TERM`."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterable
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from burnish.cli.console import Console
from burnish.errors import InputError

if TYPE_CHECKING:
    from burnish.glossary import Term

_WIDEST = 96
Words = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="TERM",
        help="A term such as `lora`, `learning rate` or `train.epochs`. Without one, all are listed.",
        show_default=False,
    ),
]


def explain(console: Console, words: Words = None) -> None:
    """Explain a term: what it is, how to set it, what can go wrong."""
    from burnish.glossary import UnknownTerm, find_term, load_glossary

    if not words:
        _list(console, load_glossary())
        return
    try:
        term = find_term(" ".join(words))
    except UnknownTerm as error:
        fix = f"Did you mean `{error.near}`?" if error.near else "`burnish explain` lists every term"
        raise InputError(f"the glossary has no term `{error.words}`", fix=fix) from None
    console.json(asdict(term))
    _show(console, term)


def _list(console: Console, terms: Iterable[Term]) -> None:
    """Every term under its heading; with `--quiet`, one name per line."""
    from burnish.glossary import grouped

    groups = grouped(terms)
    console.json({"terms": [{"name": term.name, "group": group} for group, held in groups.items() for term in held]})
    if console.output.quiet:
        for held in groups.values():
            for term in held:
                console.result(term.name)
        return
    for group, held in groups.items():
        console.say(f"{group}:", "bold")
        console.say(_wrapped(", ".join(term.name for term in held), "  "))
        console.say()
    console.say("`burnish explain TERM` explains one of them.")


def _show(console: Console, term: Term) -> None:
    """The term in paragraphs; with `--quiet`, only its meaning."""
    also = f" ({', '.join(term.aliases)})" if term.aliases else ""
    console.say(_wrapped(f"{term.name}{also}"), "bold")
    console.say()
    console.result(_wrapped(term.meaning))
    parts = [("in Burnish", term.setting), ("what goes wrong", term.trouble)]
    parts += [("options", ", ".join(term.options))] if term.options else []
    parts.append(("see also", ", ".join(term.see)))
    for label, text in parts:
        console.say()
        console.say(_wrapped(f"{label}: {text}"))


def _wrapped(text: str, indent: str = "") -> str:
    """Lines that fit the terminal and are short enough to read."""
    width = min(shutil.get_terminal_size().columns, _WIDEST)
    return textwrap.fill(
        text,
        max(width, 40),
        initial_indent=indent,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
