"""Splits of several kinds of rows in one place, such as `train_sft` and `train_gen`: one kind is used at a time.

A user names the kind as a configuration: `FOLDER:sft`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TypeVar

from burnish.data.files.splits import SPLITS, TRAIN, split_within, words_beside
from burnish.data.rows.row import did_you_mean, quoted
from burnish.errors import DataError
from burnish.system.shell import quoted as shell_quoted

Item = TypeVar("Item")
_PIECE = re.compile(r"(?:(?:part|file|chunk|batch|shard)[-_ ]?)?\d*", re.IGNORECASE)
"""What distinguishes the pieces of one split, rather than kinds."""


def kinds_of(names: Iterable[str]) -> list[str]:
    """The kinds of the training rows, in order; empty for names such as `train`, or of pieces such as `train_2`."""
    found = dict.fromkeys(words_beside(name) for name in names if split_within(name) == TRAIN)
    return [] if any(map(_PIECE.fullmatch, found)) else list(found)


def of_kind(items: Sequence[tuple[str, Item]], place: str, wanted: str = "") -> dict[str, list[Item]] | None:
    """Named items of one kind by split; None if their names have no kinds.

    Held-out rows of a kind that is not trained on here are used where there are none of the same kind.

    Args:
        items: with the names that a split has within.
        place: that holds them, as users name it.
        wanted: the kind to use; empty for the only one.

    Raises:
        DataError: there are several kinds of training rows, and none is named; or none of the name.
    """
    kinds = kinds_of(name for name, _ in items)
    named = [(split, words_beside(name), item) for name, item in items if (split := split_within(name))]
    if not kinds or (len({kind for _, kind, _ in named}) == 1 and wanted in ("", *kinds)):
        return None
    if wanted and wanted not in kinds:
        why = f"It has {quoted(kinds)}."
        raise DataError(f"`{place}` has no rows of the kind `{wanted}`", why, did_you_mean(wanted, kinds) or "Name one")
    if len(kinds) > 1 and not wanted:
        commands = " or ".join(f"`burnish train {shell_quoted(f'{place}:{kind}')}`" for kind in kinds)
        raise DataError(
            f"`{place}` has {len(kinds)} kinds of training rows: {quoted(kinds)}",
            "They are made for different trainings, and rows of one kind may be among those of another.",
            f"Name one: {commands}",
        )
    parts: dict[str, list[Item]] = {}
    for split in SPLITS:
        own = [(kind, item) for one, kind, item in named if one == split]
        same = [item for kind, item in own if kind == (wanted or kinds[0])]
        parts[split] = same or [item for kind, item in own if kind not in kinds]
    return parts
