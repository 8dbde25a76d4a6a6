"""A file of which not all is known from its name: which part of it is meant, and what its columns are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from burnish.data.files import excel
from burnish.data.files.arrow import own_features
from burnish.data.files.conll import SUFFIXES as CONLL_SUFFIXES
from burnish.data.files.conll import read_conll
from burnish.data.files.features import Features, converters
from burnish.data.files.json_documents import read_json
from burnish.data.files.lines import read_labelled
from burnish.data.files.readers import file_suffix, read_rows
from burnish.data.rows.row import Rejected, Row
from burnish.errors import DataError
from burnish.system.machine import expanded


@dataclass(frozen=True)
class FilePart:
    """A data file with how to read it."""

    path: Path
    part: str = ""
    """Name of the worksheet, or the key of the list of rows in a JSON document; empty for all of the file."""
    features: Features = field(default_factory=dict)
    """What other files say of its columns (`files/features`); the file's own metadata comes first."""
    columns: Mapping[str, str] = field(default_factory=dict)
    """Which column holds which field, for files whose columns have no names."""
    label: str = ""
    """Of the text that the file is as a whole; empty where it holds rows."""

    def __str__(self) -> str:
        return f"{self.path}:{self.part}" if self.part else str(self.path)

    def read(self) -> Iterator[Row | Rejected]:
        """Its rows, as `read_rows` returns them.

        Raises:
            DataError: it cannot be read, or has no such part.
        """
        convert = converters(self.features)
        for row in self._read():
            if not convert or isinstance(row, Rejected):
                yield row
                continue
            values = {
                column: convert[column](value) if column in convert and value is not None else value
                for column, value in row.values.items()
            }
            yield Row(values, row.file, row.line, row.note)

    def _read(self) -> Iterator[Row | Rejected]:
        if self.label:
            return iter([read_labelled(self.path, self.label)])
        suffix = file_suffix(self.path)
        if self.part and suffix in excel.SUFFIXES:
            return excel.read_worksheet(self.path, self.part)
        if self.part and suffix == ".json":
            return read_json(self.path, self.part)
        if self.part:
            raise DataError(
                f"`{self.path}` has no parts, so there is no `{self.part}` in it",
                "Only Excel files have worksheets and JSON documents have keys.",
                f"Give the file: `{self.path}`",
            )
        return read_conll(self.path, self.columns) if suffix in CONLL_SUFFIXES else read_rows(self.path)


def split_part(name: str) -> tuple[Path, str] | None:
    """File or folder and part of a name such as `orders.xlsx:Sheet2`; None if it does not name a part of a file."""
    before, colon, part = name.rpartition(":")
    path = expanded(before)
    return (path, part) if colon and part and before and path.exists() else None


def with_features(path: Path, features: Features) -> Path | FilePart:
    """A file, with what other files say of its columns if it does not say it itself."""
    return FilePart(path, features=features) if features and not own_features(path) else path


def features_of(features: Any) -> Features:
    """Features that are well-formed enough to use; empty otherwise."""
    return features if isinstance(features, dict) else {}
