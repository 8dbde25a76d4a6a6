"""`burnish check DATA`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from burnish.cli.console import Console
from burnish.cli.options import Data, RecipeFlags
from burnish.errors import InputError

if TYPE_CHECKING:
    from burnish.check.repair import Cleaned


_ON_PAGE = 20
"""Rows on a page where nobody says how many."""

Show = Annotated[
    int, typer.Option("--show", metavar="NUMBER", min=0, help="Show the first rows as the model sees them, by token.")
]
Html = Annotated[
    Path | None, typer.Option("--html", metavar="FILE", help="Write these rows to a page.", show_default=False)
]
Fix = Annotated[
    Path | None,
    typer.Option("--fix", metavar="OUT", help="Write a cleaned file, and tell every change.", show_default=False),
]


def check(console: Console, flags: RecipeFlags, data: Data, show: Show = 0, html: Html = None, fix: Fix = None) -> None:
    """Tell what is wrong with data, and where.

    Nothing is trained. Ends with 2 where something should stop you.
    """
    from burnish.cli.progress import Progress
    from burnish.recipe.load import load_recipe
    from burnish.runs.atomic import check_target

    loaded = load_recipe(data, flags.values, flags.sets)
    with Progress(console) as progress:
        from burnish.check.repair import check_out, clean
        from burnish.workflows.check import check as look_at

        if fix is not None:
            check_out(fix)
        if html is not None:
            check_target(html, may_replace=True)
        checkup = look_at(loaded.recipe, [progress], show or (_ON_PAGE if html else 0))
        cleaned = clean(loaded.recipe, checkup.removable, fix) if fix is not None else None
    told = checkup.to_dict()
    if html is not None:
        _write_page(html, told)
    console.json(told | ({"cleaned": cleaned.to_dict()} if cleaned else {}))
    if not console.output.quiet:
        show_checkup(console, told, show)
    if cleaned is not None:
        _show_cleaned(console, cleaned)
    console.result(checkup.verdict)
    if checkup.blocks:
        raise typer.Exit(InputError.exit_code)


def show_checkup(console: Console, told: dict[str, Any], show: int) -> None:
    """What the data is, what was found in it, and the rows that were asked for."""
    for name, value in told["facts"].items():
        console.say(f"{name + ':':<14}{value}")
    for number, finding in enumerate(told["findings"], 1):
        console.say()
        style = "bold red" if finding["severity"] == "blocks" else "yellow"
        console.say(
            f"{number}. {finding['name']} ({finding['severity']}): {finding['count']:,} × {finding['what']}", style
        )
        for place in finding["places"]:
            console.say(f"   {place}")
        if finding["count"] > len(finding["places"]):
            console.say(f"   and {finding['count'] - len(finding['places']):,} more")
        console.say(f"   {finding['fix']}", "cyan")
    if show:
        show_token_rows(console, told["rows"])
    console.say()


def _show_cleaned(console: Console, cleaned: Cleaned) -> None:
    left = f"{cleaned.left_out:,} left out, {cleaned.repaired:,} repaired"
    console.say(
        f"`{cleaned.path}` holds {cleaned.kept:,} rows ({left}); every change stands in `{cleaned.changes_path}`"
    )
    for change in cleaned.first:
        console.say(f"   {change}")


def _write_page(path: Path, told: dict[str, Any]) -> None:
    from burnish.report.page import token_page
    from burnish.runs.atomic import write_text

    write_text(path, token_page(told["rows"], "Rows as the model sees them"))


_WIDTH = 9
_STYLES = {(False, False): "dim", (True, False): "green", (False, True): "magenta", (True, True): "bold green"}
"""By whether a token is learned, and whether it is special."""


def show_token_rows(console: Console, rows: Sequence[Mapping[str, Any]]) -> None:
    """Shows every token of some rows, those that are learned apart from the others.

    Args:
        rows: as `token_page` takes them.
    """
    console.say()
    console.say("Tokens stand between bars; `learned` ones are trained on, the others only read.")
    for row in rows:
        console.say()
        console.say(row["place"], "bold")
        for passage in row["passages"]:
            if passage["name"]:
                console.say(f"  {passage['name']}:")
            for pieces in _lines(passage["tokens"]):
                console.pieces(pieces)
            if passage["note"]:
                console.say(f"  {passage['note']}")


def _lines(tokens: Sequence[Mapping[str, Any]]) -> Iterator[list[tuple[str, str]]]:
    """Text with its style, piece by piece, for each run of tokens that are learned or are not."""
    for is_learned, run in groupby(tokens, key=lambda token: bool(token["is_learned"])):
        pieces = [(f"  {'learned' if is_learned else 'read':<{_WIDTH}}", "")]
        for token in run:
            shown = token["text"].replace("\n", "⏎").replace("\t", "⇥")
            pieces += [("|", "dim"), (shown, _STYLES[is_learned, bool(token["is_special"])])]
        yield [*pieces, ("|", "dim")]
