"""Next-token examples in flat arrays: five bytes per token instead of two lists of Python integers."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, overload

import numpy

from burnish.data.rows.row import IGNORED, Example

COLUMNS: Mapping[str, type[numpy.generic]] = {
    "ids": numpy.int32,
    "trained": numpy.bool_,
    "ends": numpy.int64,
    "files": numpy.int32,
    "lines": numpy.int64,
}


class TokenExamples(Sequence[Example]):
    """A sequence of examples that are created on access.

    Args:
        columns: `ids` `[tokens]`; `trained` `[tokens]`, whether each is a label; `ends` `[examples]`, the cumulative
            number of tokens; `files` and `lines` `[examples]`, the location of each.
        names: file names.
    """

    def __init__(self, columns: Mapping[str, numpy.ndarray], names: Sequence[str]) -> None:
        self.columns = {name: numpy.asarray(columns[name], dtype) for name, dtype in COLUMNS.items()}
        self.names = list(names)
        ends = self.columns["ends"]
        self.lengths: numpy.ndarray = numpy.diff(ends, prepend=0)
        """`[examples]`: length of each in tokens."""

    def __len__(self) -> int:
        return len(self.lengths)

    @overload
    def __getitem__(self, index: int) -> Example: ...
    @overload
    def __getitem__(self, index: slice) -> list[Example]: ...
    def __getitem__(self, index: int | slice) -> Example | list[Example]:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        number = range(len(self))[index]
        end = int(self.columns["ends"][number])
        tokens = slice(end - int(self.lengths[number]), end)
        ids = self.columns["ids"][tokens]
        labels = numpy.where(self.columns["trained"][tokens], ids, numpy.int32(IGNORED))
        file = self.names[self.columns["files"][number]]
        return Example(ids, labels, f"{file}:{self.columns['lines'][number]}")

    def __iter__(self) -> Iterator[Example]:
        return (self[number] for number in range(len(self)))

    @property
    def is_whole(self) -> bool:
        """Whether the columns have consistent lengths and no example is empty."""
        ends, tokens = self.columns["ends"], len(self.columns["ids"])
        rows = {len(self.columns[name]) for name in ("ends", "files", "lines")}
        has_tokens = len(self.columns["trained"]) == tokens == (ends[-1] if len(ends) else 0)
        has_names = not len(ends) or self.columns["files"].max() < len(self.names)
        return len(rows) == 1 and has_tokens and has_names and bool((self.lengths > 0).all())

    @property
    def num_trained(self) -> int:
        """Number of tokens in the loss; the first token of an example is never predicted."""
        firsts = self.columns["ends"] - self.lengths
        return int(self.columns["trained"].sum()) - int(self.columns["trained"][firsts].sum())


class TokenColumns:
    """Collects examples into `TokenExamples`."""

    def __init__(self) -> None:
        self._ids, self._trained = array("i"), bytearray()
        self._ends, self._files, self._lines = array("q"), array("i"), array("q")
        self._names: dict[str, int] = {}

    def add(self, example: Example) -> None:
        """Adds an example."""
        self._ids.extend(example.input_ids)
        self._trained += (numpy.asarray(example.labels) != IGNORED).tobytes()
        self._ends.append(len(self._ids))
        file, _, line = example.place.rpartition(":")
        self._files.append(self._names.setdefault(file, len(self._names)))
        self._lines.append(int(line))

    def done(self) -> TokenExamples:
        """All examples in order of addition."""
        columns: dict[str, Any] = {
            "ids": self._ids,
            "trained": numpy.frombuffer(self._trained, dtype=numpy.bool_),
            "ends": self._ends,
            "files": self._files,
            "lines": self._lines,
        }
        return TokenExamples(columns, list(self._names))


def token_counts(examples: Sequence[Any]) -> list[int]:
    """Number of tokens of each example."""
    if isinstance(examples, TokenExamples):
        return examples.lengths.tolist()
    return [example.num_tokens for example in examples]


def trained_count(examples: Iterable[Any]) -> int:
    """Number of terms in the loss over all examples."""
    if isinstance(examples, TokenExamples):
        return examples.num_trained
    return sum(example.num_trained for example in examples)
