"""Reads data files as rows, with one reader per format, selected by the suffix of the name."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from burnish.data.files.conll import looks_like_conll, read_conll
from burnish.data.files.json_documents import read_json
from burnish.data.files.lines import byte_lines, describe_decode_error, open_binary, read_text
from burnish.data.files.tables import read_csv, read_tsv
from burnish.data.rows.row import Rejected, Row
from burnish.errors import DataError

PARQUET_BATCH_ROWS = 1024
_BLOCK_LINES = 256
"""Lines parsed at once."""


def read_rows(path: Path) -> Iterator[Row | Rejected]:
    """Reads a data file row by row; a bad row is returned as `Rejected`, and reading continues.

    Raises:
        DataError: the suffix is unknown, or the file cannot be read at all.
    """
    suffix = file_suffix(path)
    if suffix is None:
        endings = " ".join(READERS)
        raise DataError(
            f"`{path}` has an unsupported suffix: `{path.suffix or 'none'}`",
            f"Supported suffixes are {endings}, each also with .gz.",
            "Convert the file to one of these formats",
        )
    return READERS[suffix](path)


def data_suffix(name: str) -> str | None:
    """The suffix (without `.gz`) that selects the reader, or None if it is not a data file."""
    suffix = Path(name.lower().removesuffix(".gz")).suffix
    return suffix if suffix in READERS else None


def file_suffix(path: Path) -> str | None:
    """The suffix that selects the reader: that of the name, or `.conll` if the content is CoNLL; else None.

    Raises:
        DataError: the name has no known suffix, and the file cannot be opened.
    """
    suffix = data_suffix(path.name)
    return ".conll" if suffix in (None, ".txt") and looks_like_conll(path) else suffix


@dataclass(frozen=True, slots=True)
class JsonLines:
    """Consecutive raw lines of a JSON Lines file."""

    file: str
    first: int
    """1-based number of the first line."""
    lines: Sequence[bytes]

    def rows(self) -> Iterator[Row | Rejected]:
        """Parses one JSON object per line; blank lines are skipped."""
        for number, line in enumerate(self.lines, start=self.first):
            if line.isspace():
                continue
            parsed = parse_line(line)
            yield Row(parsed, self.file, number) if isinstance(parsed, dict) else Rejected(self.file, number, parsed)


def is_json_lines(path: Path) -> bool:
    """Whether `json_lines` can read the file."""
    return data_suffix(path.name) == ".jsonl"


def json_lines(path: Path, count: int) -> Iterator[JsonLines]:
    """The lines of a file in blocks of `count`, not parsed yet, so that another process can parse them.

    Raises:
        DataError: the file cannot be read, or is a JSON document.
    """
    numbered = byte_lines(path)
    while block := list(islice(numbered, count)):
        first, line = block[0]
        if first == 1 and line.strip() == b"[":
            raise DataError(
                f"`{path}` is one JSON document, not JSON Lines",
                "Its first line is `[`; a .jsonl file has one object per line.",
                "Rename it to end in .json",
            )
        yield JsonLines(str(path), first, [line for _, line in block])


def read_jsonl(path: Path) -> Iterator[Row | Rejected]:
    """The rows of a JSON Lines file."""
    for lines in json_lines(path, _BLOCK_LINES):
        yield from lines.rows()


def parse_line(line: bytes) -> dict[str, Any] | str:
    """Parses a line of JSON Lines: its object, or what is wrong with it."""
    try:
        values = json.loads(line.decode("utf-8").rstrip("\r\n"))
    except UnicodeDecodeError as error:
        return describe_decode_error(error)
    except json.JSONDecodeError as error:
        return f"invalid JSON at column {error.colno}: {error.msg}"
    except RecursionError:
        return "the JSON is nested too deeply"
    except ValueError as error:
        return f"invalid JSON: {error}"
    return values if isinstance(values, dict) else f"expected a JSON object, not {json_kind(values)}"


def json_kind(value: Any) -> str:
    """The JSON type of a value, with its article."""
    kinds = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", type(None): "null"}
    return kinds.get(type(value), "a number")


def read_parquet(path: Path) -> Iterator[Row | Rejected]:
    """Rows of a parquet file; `line` is the row's number."""
    import pyarrow
    import pyarrow.parquet

    file = str(path)
    number = 0
    with open_binary(path) as stream:
        # Parquet has to be read from its end, but gzip only from its start.
        source = io.BytesIO(stream.read()) if path.suffix.lower() == ".gz" else stream
        try:
            for batch in pyarrow.parquet.ParquetFile(source).iter_batches(batch_size=PARQUET_BATCH_ROWS):
                for values in batch.to_pylist():
                    number += 1
                    yield Row(values, file, number)
        except pyarrow.ArrowException as error:
            raise DataError(
                f"`{path}` is not a complete parquet file",
                str(error).split("\n")[0],
                "Save or download it again",
            ) from error


def read_json_or_lines(path: Path) -> Iterator[Row | Rejected]:
    """Reads a `.json` file, which may also be JSON Lines under that name."""
    lines = (line for _, line in byte_lines(path) if not line.isspace())
    first, has_more = next(lines, b""), next(lines, None) is not None
    is_lines = has_more and first.lstrip().startswith(b"{") and isinstance(parse_line(first), dict)
    return read_jsonl(path) if is_lines else read_json(path)


READERS: dict[str, Callable[[Path], Iterator[Row | Rejected]]] = {
    ".jsonl": read_jsonl,
    ".json": read_json_or_lines,
    ".csv": read_csv,
    ".tsv": read_tsv,
    ".parquet": read_parquet,
    ".txt": read_text,
    ".md": read_text,
    ".conll": read_conll,
    ".iob": read_conll,
    ".iob2": read_conll,
    ".bio": read_conll,
    ".bioes": read_conll,
}
