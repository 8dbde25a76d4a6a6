"""The rows of the comparison at the end: of which split they are, and what they can show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from burnish.data.files.splits import CALLED, VALID
from burnish.metrics.intervals import smallest_difference
from burnish.prepare.encode import Encoded

_WORTH_SAYING = 0.1
"""The smallest difference of shares that can be shown, above which the number of rows is said to be small."""


@dataclass(frozen=True, slots=True)
class FinalRows:
    """The rows on which base and tuned model are compared at the end."""

    split: str
    """`TEST` or `VALID`."""
    records: Sequence[Any]
    encoded: Encoded

    @property
    def called(self) -> str:
        """The split's name in messages and files: `test` or `validation`."""
        return CALLED[self.split]

    @property
    def number(self) -> int:
        """Of the rows with at least one example."""
        return self.encoded.num_rows

    def described(self, held_out: frozenset[str]) -> str:
        """Where they are from, as a phrase.

        Args:
            held_out: the splits that were held out from the training data.
        """
        return "held out from the training data" if self.split in held_out else f"the {self.called} data"


def caveat(split: str, rows: int, why_no_test: str = "", compares_shares: bool = True) -> str:
    """What to know about a number of rows before taking figures on them for granted, in sentences; often empty.

    Args:
        split: `test`, `validation`, or another name for rows of other data.
        rows: distinct ones.
        why_no_test: why a run has no test split, as a phrase.
        compares_shares: whether shares of right answers or labels are compared on them, rather than losses alone.
    """
    if not rows:
        return ""
    called = f"{split} row" if split in CALLED.values() else "row"
    said = []
    if split == CALLED[VALID]:
        said.append(
            f"There is no test split ({why_no_test}): the validation rows also chose the checkpoint, so figures on "
            "them may be a little too good."
        )
    if not compares_shares:
        return " ".join(said)
    least = smallest_difference(rows)
    number = f"{rows} {called}{'s' if rows != 1 else ''}"
    if least is None:
        said.append(f"{number} can show no difference between shares of right answers, however large it is.")
    elif least > _WORTH_SAYING:
        said.append(
            f"{number} can show only differences of about {100 * least:.0f} points or more between shares of right "
            "answers."
        )
    return " ".join(said)
