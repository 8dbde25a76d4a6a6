"""The rows of sources, one by one: those that can be read, and what was guessed about how they are parsed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

from burnish.data.files.readers import data_suffix, file_suffix
from burnish.data.files.sources import Source, Sources, read_source
from burnish.data.rows.mixing import Origins
from burnish.data.rows.row import Rejected, Row
from burnish.recipe.schema import DataSection


def training_rows(sources: Sources, section: DataSection, rejected: list[Rejected], origins: Origins) -> Iterator[Row]:
    """The rows for training of all sources in order, of each no more than its `rows`; bad ones go to `rejected`."""

    def each() -> Iterator[Row]:
        for number, (own, one) in enumerate(zip(sources.by_source, section.sources, strict=True)):
            yield from islice(rows_of(own.train, rejected, origins, number), one.rows)

    return islice(each(), section.rows)


def rows_of(sources: Sequence[Source] | None, rejected: list[Rejected], origins: Origins, number: int) -> Iterator[Row]:
    """The rows of one of several sources, whose files are remembered; bad ones go to `rejected`."""
    for source in sources or []:
        yield from keep_good(origins.noted(read_source(source), number), rejected)


def good_rows(sources: Sequence[Source], rejected: list[Rejected]) -> Iterator[Row]:
    """Rows of all sources in order; invalid ones are added to `rejected`."""
    for source in sources:
        yield from keep_good(read_source(source), rejected)


def keep_good(rows: Iterable[Row | Rejected], rejected: list[Rejected]) -> Iterator[Row]:
    """The valid rows; the others are added to `rejected`."""
    for row in rows:
        if isinstance(row, Rejected):
            rejected.append(row)
        else:
            yield row


def notes_on_formats(sources: Sequence[Source]) -> list[str]:
    """A sentence for each file that is not parsed by the suffix of its name."""
    files = [source for source in sources if isinstance(source, Path)]
    found = [file for file in files if file_suffix(file) != data_suffix(file.name)]
    return [f"`{file}` is read as CoNLL: each of its lines has a word and its tag." for file in found]


def notes_on_reading(sources: Sequence[Source]) -> list[str]:
    """What was guessed about how each source is parsed, from its first row."""
    firsts = (next(good_rows([source], []), None) for source in sources)
    return [first.note for first in firsts if first is not None and first.note]
