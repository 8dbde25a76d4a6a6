"""Rows as the model sees them, for the terminal: runs of learned tokens beside runs that are only read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from burnish.cli.console import Console

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
