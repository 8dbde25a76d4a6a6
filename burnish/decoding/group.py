"""Rows of a batch with their keys and values. A row that joins takes the place of one that has left, if it fits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from burnish.decoding.key_values import KeyValues
from burnish.decoding.row import Row


@dataclass(slots=True)
class Group:
    """Rows that are computed together."""

    rows: list[Row]
    """By place: those that have left, too, until others take their places or the group is compacted."""
    held: KeyValues
    left: set[int] = field(default_factory=set)
    """Places of rows that have left. Nothing attends to what is held there."""

    @property
    def staying(self) -> list[Row]:
        """The rows that have not left."""
        return [row for place, row in enumerate(self.rows) if place not in self.left]

    def leave(self, place: int) -> None:
        """Lets a row leave."""
        self.left.add(place)
        self.held.mask[place] = 0

    def compacted(self) -> Group:
        """The rows that stay, of which at least one does, without columns that none of them needs."""
        places = [place for place in range(len(self.rows)) if place not in self.left]
        return Group([self.rows[place] for place in places], self.held.kept(places))

    def take(self, other: Group) -> Group | None:
        """Gives the places of rows that have left to those of another group: nothing else has to be copied.

        Returns:
            The rows that found no place, because they are longer than this group or too many; None if there are none.
        """
        for place, row in enumerate(other.rows):
            if place in other.left:
                continue
            if not self.left:
                break
            if other.held.length(place) > self.held.columns:
                continue
            mine = self.left.pop()
            self.held.replace(mine, other.held, place)
            self.rows[mine] = row
            other.leave(place)
        return None if len(other.left) == len(other.rows) else other


def joined(groups: Sequence[Group]) -> Group:
    """The rows of all groups that stay."""
    whole = [group.compacted() if group.left else group for group in groups]
    if len(whole) == 1:
        return whole[0]
    return Group([row for group in whole for row in group.rows], KeyValues.joined([group.held for group in whole]))
