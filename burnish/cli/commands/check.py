"""`burnish check DATA`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from burnish.cli.console import Console
from burnish.cli.options import AllData, RecipeFlags
from burnish.cli.table import Facts
from burnish.errors import InputError

if TYPE_CHECKING:
    from burnish.check.repair import Cleaned


_ROWS_ON_PAGE = 20
"""Where `--show` gives no number."""

Show = Annotated[
    int,
    typer.Option(
        "--show", metavar="NUMBER", min=0, help="Show the first rows token by token, as the model reads them."
    ),
]
Html = Annotated[
    Path | None, typer.Option("--html", metavar="FILE", help="Write these rows to an HTML page.", show_default=False)
]
Fix = Annotated[
    Path | None,
    typer.Option("--fix", metavar="OUT", help="Write a cleaned file, and list every change.", show_default=False),
]
Strict = Annotated[
    bool, typer.Option("--strict", metavar="", help="Exit with 2 for any finding, also for those to review.")
]


def _check_single(data: list[str]) -> None:
    """Refuses to write one cleaned file of several. Raises InputError."""
    if len(data) > 1:
        raise InputError(
            f"`--fix` writes one file, and {len(data)} DATA are given",
            "Their rows would be in one file, where sources are no longer known apart.",
            f"Clean one after the other: `burnish check {data[0]} --fix OUT`",
        )


def check(
    console: Console,
    flags: RecipeFlags,
    data: AllData,
    show: Show = 0,
    html: Html = None,
    fix: Fix = None,
    strict: Strict = False,
) -> None:
    """Find defects in data, each with its rows and a fix.

    Nothing is trained. The exit code is 2 if a defect should stop you from training.
    """
    from burnish.cli.progress import Progress
    from burnish.recipe.load import load_recipe
    from burnish.runs.atomic import check_target

    loaded = load_recipe(data, flags.values, flags.sets)
    with Progress(console) as progress:
        from burnish.check.repair import check_out, clean
        from burnish.prepare.first_checks import check_inputs

        if fix is not None:
            _check_single(data)
            check_out(fix)
        if html is not None:
            check_target(html, may_replace=True)
        check_inputs(loaded.recipe)
        from burnish.workflows.check import check as run_check

        checkup = run_check(loaded.recipe, [progress], show or (_ROWS_ON_PAGE if html else 0))
        cleaned = clean(loaded.recipe.data, checkup.removable, fix) if fix is not None else None
    found = checkup.to_dict()
    if html is not None:
        _write_page(html, found)
    console.json(found | ({"cleaned": cleaned.to_dict()} if cleaned else {}))
    if not console.output.quiet:
        show_checkup(console, found, show)
    if cleaned is not None:
        _show_cleaned(console, cleaned)
    console.result(checkup.verdict)
    if checkup.blocks or (strict and checkup.findings):
        raise typer.Exit(InputError.exit_code)


def show_checkup(console: Console, found: dict[str, Any], show: int) -> None:
    """What the data is, its defects, and the first `show` rows."""
    console.facts(Facts(list(found["facts"].items())))
    for number, finding in enumerate(found["findings"], 1):
        console.say()
        style = "bold red" if finding["severity"] == "blocks" else "bold yellow"
        heading = f"{number}. {finding['name']} ({finding['severity']})"
        console.say(f"{heading}: {finding['count']:,} × {finding['what']}", style)
        more = finding["count"] - len(finding["places"])
        where = [*finding["places"], *([f"and {more:,} more"] if more > 0 else [])]
        console.facts(Facts([("  where", "\n".join(where)), ("  fix", finding["fix"])]))
    if show:
        show_token_rows(console, found["rows"])
    console.say()


def _show_cleaned(console: Console, cleaned: Cleaned) -> None:
    left = f"{cleaned.left_out:,} left out, {cleaned.repaired:,} repaired"
    console.say(f"`{cleaned.path}` has {cleaned.kept:,} rows ({left}); `{cleaned.changes_path}` lists every change")
    for change in cleaned.first:
        console.say(f"   {change}")


def _write_page(path: Path, found: dict[str, Any]) -> None:
    from burnish.report.page import token_page
    from burnish.runs.atomic import write_text

    write_text(path, token_page(found["rows"], "Rows as the model reads them"))


_WIDTH = 9
PART_OF_CHARACTER = "·"
"""A token with only the beginning of a character; the token that ends it shows all of it."""
_STYLES = {(False, False): "dim", (True, False): "green", (False, True): "magenta", (True, True): "bold green"}
"""By whether a token is trained on, and whether it is special."""


def show_token_rows(console: Console, rows: Sequence[Mapping[str, Any]]) -> None:
    """Shows every token of some rows; those that are trained on have lines of their own.

    Args:
        console: to show them on.
        rows: as `token_page` takes them.
    """
    console.say()
    console.say("Bars separate tokens. The model is trained on those marked `learned`; the others are only its input.")
    for row in rows:
        console.say()
        several = f", example {row['number']} of {row['of']}" if row["of"] > 1 else ""
        console.say(row["place"] + several, "bold")
        for passage in row["passages"]:
            if passage["name"]:
                console.say(f"  {passage['name']}:")
            for label, pieces in _lines(passage["tokens"]):
                console.pieces(label, pieces)
            if passage["note"]:
                console.say(f"  {passage['note']}")


def _lines(tokens: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """For each run of tokens that are trained on or are not: a label, and pieces of text with a style each."""
    for is_learned, run in groupby(tokens, key=lambda token: bool(token["is_learned"])):
        pieces: list[tuple[str, str]] = []
        for token in run:
            shown = token["text"].replace("\n", "⏎").replace("\t", "⇥") or PART_OF_CHARACTER
            pieces += [("|", "dim"), (shown, _STYLES[is_learned, bool(token["is_special"])])]
        yield f"  {'learned' if is_learned else 'read':<{_WIDTH}}", [*pieces, ("|", "dim")]
