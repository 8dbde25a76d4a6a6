"""What a user says of answers: ratings and corrections, kept as rows that the next run can learn from.

collected/RUN-corrections.jsonl     prompts with the answers that should have been given
collected/RUN-preferences.jsonl     prompts with a better and a worse answer
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from burnish.visible import visible_json

CORRECTIONS, PREFERENCES = "corrections", "preferences"
KINDS = (CORRECTIONS, PREFERENCES)
_SAFE = re.compile(r"[A-Za-z0-9._-]{1,120}")


class Collected:
    """Ratings and corrections, by run.

    Args:
        folder: that holds them; it is made when there are any.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, run: str, kind: str) -> Path | None:
        """The file with the rows of a run; None for a name that is not one, or before there are any."""
        if kind not in KINDS or not _SAFE.fullmatch(run):
            return None
        path = self._folder / f"{run}-{kind}.jsonl"
        return path if path.is_file() else None

    def count(self, run: str, kind: str) -> int:
        """How many rows of a run there are."""
        path = self.path(run, kind)
        return 0 if path is None else path.read_bytes().count(b"\n")

    def add(self, run: str, kind: str, row: Mapping[str, Any]) -> int:
        """Adds a row, and returns how many there are now.

        Args:
            run: whose answers are rated.
            kind: `corrections` or `preferences`.
            row: as JSON.
        """
        if kind not in KINDS or not _SAFE.fullmatch(run):
            return 0
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / f"{run}-{kind}.jsonl"
        with path.open("a", encoding="utf-8") as file:
            file.write(visible_json(json.dumps(dict(row), ensure_ascii=False)) + "\n")
        return self.count(run, kind)


def preference_row(turns: Sequence[Mapping[str, str]], better: str, worse: str) -> dict[str, Any]:
    """A prompt with a better and a worse answer, in a shape that every trainer reads.

    Args:
        turns: of the conversation before the answers, as `role` and `content`.
        better: answer.
        worse: answer.
    """
    said = [{"role": "assistant", "content": text} for text in (better, worse)]
    return {"prompt": [dict(turn) for turn in turns], "chosen": [said[0]], "rejected": [said[1]]}


def correction_row(turns: Sequence[Mapping[str, str]], answer: str) -> dict[str, Any]:
    """A conversation whose last answer is the one that should have been given."""
    return {"messages": [*map(dict, turns), {"role": "assistant", "content": answer}]}
