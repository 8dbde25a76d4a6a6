"""Several sources of training rows: which row is from which, and how many rows of each are drawn.

The rule: a weight is the share of a source in the training rows. Sources without a weight are used as they are, every
row once, and share the rest. So with rows U of these and weights that add up to W, there are T = round(U / (1 - W))
training rows; if all sources have weights, these are relative, and T is the number of all rows. A source with the share
w gets w * T rows, rounded so that the numbers add up to T, the largest remainders first. If it has more, that many are
drawn without replacement; if it has fewer, each is used as often as the others, or once more.

Rows are held out before, from each source in about its share of all rows, so that no row is drawn for training that is
tested on.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy

from burnish.data.rows.division import drawn_order
from burnish.data.rows.keyed import KeyedRows
from burnish.data.rows.row import Rejected, Row
from burnish.errors import DataError


@dataclass(slots=True)
class Origins:
    """Which file belongs to which source, learned while they are read."""

    names: list[str]
    """Of the sources, as they are shown: different ones."""
    files: dict[str, int] = field(default_factory=dict)
    """The source of each file."""

    @classmethod
    def of_paths(cls, paths: Sequence[str]) -> Origins:
        """Sources by the last part of their paths, or by the whole where two have the same."""
        short = [Path(path).name for path in paths]
        return cls([name if short.count(name) == 1 else path for name, path in zip(short, paths, strict=True)])

    def noted(self, rows: Iterable[Row | Rejected], source: int) -> Iterator[Row | Rejected]:
        """The rows of a source, whose files are remembered.

        Raises:
            DataError: a file is in two sources.
        """
        for row in rows:
            if self.files.setdefault(row.file, source) != source:
                raise DataError(
                    f"`{row.file}` is in two sources: `{self.names[self.files[row.file]]}` and `{self.names[source]}`",
                    "No one could say which of the two a row is from.",
                    "Name it once, or copy the parts into files of their own",
                )
            yield row

    def of(self, place: str) -> int:
        """The source of a record, by its `file:line`; -1 for one of no source."""
        return self.files.get(place.rpartition(":")[0], -1)

    def of_all(self, records: Iterable[Any]) -> numpy.ndarray:
        """`[records]` int64: the source of each."""
        return numpy.fromiter((self.of(record.place) for record in records), numpy.int64)


@dataclass(frozen=True, slots=True)
class Drawn:
    """How many training rows a source has given."""

    name: str
    path: str
    weight: float | None
    rows: int
    """That it has for training."""
    drawn: int
    """That are trained on in an epoch."""

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self)

    def described(self, total: int) -> str:
        """`b.jsonl 428 of 1,000 rows (30.0 %)`."""
        return f"{self.name} {self.drawn:,} of {self.rows:,} rows ({self.drawn / max(1, total):.1%})"


def drawn_rows(rows: Sequence[int], weights: Sequence[float | None]) -> list[int]:
    """How many rows of each source are drawn; see the rule above.

    Args:
        rows: of each source.
        weights: of each source, above 0; those of sources beside one without a weight add up to less than 1.
    """
    if all(weight is None for weight in weights):
        return list(rows)
    given = [weight or 0.0 for weight in weights]
    whole = sum(number for number, weight in zip(rows, weights, strict=True) if weight is None)
    if any(weight is None for weight in weights):
        total, shares = round(whole / (1 - sum(given))), given
    else:
        total, shares = sum(rows), [weight / sum(given) for weight in given]
    exact = [share * total for share in shares]
    floors = [int(value) for value in exact]
    left = total - whole - sum(floors)
    order = sorted(range(len(rows)), key=lambda at: (floors[at] - exact[at], at))
    more = set([at for at in order if weights[at] is not None][: max(0, left)])
    return [
        number if weight is None else floors[at] + (at in more)
        for at, (number, weight) in enumerate(zip(rows, weights, strict=True))
    ]


def mix(
    rows: KeyedRows, origins: Origins, paths: Sequence[str], weights: Sequence[float | None], seed: int
) -> tuple[KeyedRows, list[Drawn]]:
    """The training rows with the share of each source that its weight says.

    Which rows are drawn depends on the seed and on their content, not on their order.

    Args:
        rows: for training.
        origins: of the rows.
        paths: of the sources, as the recipe names them.
        weights: of the sources.
        seed: `data.split_seed`.
    """
    source_of = origins.of_all(rows.records)
    numbers = [numpy.flatnonzero(source_of == source) for source in range(len(paths))]
    wanted = drawn_rows([len(own) for own in numbers], weights)
    chosen = []
    for own, number in zip(numbers, wanted, strict=True):
        if not len(own):
            continue
        times, more = divmod(number, len(own))
        order = drawn_order(f"draw:{seed}", rows.contents[own])
        chosen.append(numpy.sort(numpy.concatenate([*([own] * times), own[order[:more]]])))
    drawn = [
        Drawn(name, path, weight, len(own), number if len(own) else 0)
        for name, path, weight, own, number in zip(origins.names, paths, weights, numbers, wanted, strict=True)
    ]
    if all(weight is None for weight in weights):
        return rows, drawn
    return rows.taken(numpy.concatenate(chosen)), drawn
