"""Reads data files as rows, with one reader per format, selected by the suffix of the name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from burnish.data.files import brat, excel
from burnish.data.files.arrow import read_arrow, read_parquet
from burnish.data.files.conll import SUFFIXES as CONLL_SUFFIXES
from burnish.data.files.conll import begins_with_comment, looks_like_conll, read_conll
from burnish.data.files.json_documents import read_json
from burnish.data.files.json_lines import form_of, parse_line, read_jsonl
from burnish.data.files.lines import byte_lines, describe_encoding, read_text
from burnish.data.files.listed import read_listed
from burnish.data.files.loose_json import JSON5
from burnish.data.files.marked_lines import read_marked
from burnish.data.files.opening import is_compressed, without_compression
from burnish.data.files.tables import read_csv, read_tsv
from burnish.data.rows.row import Rejected, Row, note_on
from burnish.errors import DataError
from burnish.system.shell import quoted as shell_quoted

_JSON_LINES = (".jsonl", ".ndjson", ".jl")
TABLE_SUFFIXES = (".csv", ".tsv", ".parquet", ".arrow", ".feather", *excel.SUFFIXES)
"""Of files whose rows have cells in named columns."""


def read_rows(path: Path) -> Iterator[Row | Rejected]:
    """Reads a data file row by row; a bad row is returned as `Rejected`, and reading continues.

    Raises:
        DataError: the suffix is unknown, or the file cannot be read at all.
    """
    suffix = file_suffix(path)
    if suffix is None:
        raise unsupported(path)
    return READERS[suffix](path)


_SPACY = (
    "import json, spacy; from spacy.tokens import DocBin; "
    "docs = DocBin().from_disk({name!r}).get_docs(spacy.blank('xx').vocab); "
    "[print(json.dumps(dict(text=doc.text, tokens=[dict(text=word.text, start=word.idx, end=word.idx + len(word)) "
    "for word in doc], entities=[[one.start_char, one.end_char, one.label_] for one in doc.ents]))) for doc in docs]"
)
_DOC_BIN = ".spacy"
_CODE = {".py": "Python"} | dict.fromkeys((".js", ".mjs", ".cjs", ".ts"), "JavaScript")
_CONVERTED = {
    ".toml": (
        "a TOML file",
        "python -c 'import json, sys, tomllib; "
        "json.dump(tomllib.load(sys.stdin.buffer), sys.stdout, default=str)' < {path}",
    ),
    ".json5": ("JSON5", JSON5),
    ".jsonc": ("JSON with comments", JSON5),
}
"""Files that hold what JSON can hold: what they are, and the command that writes it."""
_ARCHIVES = (".tar", ".tgz", ".tbz2", ".txz", ".7z", ".rar")


def is_convertible(path: Path) -> bool:
    """Whether the file is no data file, but `unsupported` knows what makes it one."""
    return _bare_suffix(path) in (_DOC_BIN, *_ARCHIVES)


def unsupported(path: Path) -> DataError:
    """The error for a file whose suffix selects no reader, with the command that converts it if one is known."""
    suffix = _bare_suffix(path)
    if suffix == _DOC_BIN:
        script, made = _SPACY.format(name=str(path)), shell_quoted(path.with_suffix(".jsonl").name)
        return DataError(
            f"`{path}` is a file of spaCy's `DocBin`, which only spaCy can read",
            "It holds texts with their annotations in a format of its own.",
            f'Convert it where spaCy is installed: `python -c "{script}" > {made}`',
        )
    if suffix in _ARCHIVES:
        unpack = f"{'tar -xf' if suffix.startswith('.t') else '7z x'} {shell_quoted(str(path))}"
        return DataError(
            f"`{path}` is an archive, and only `.zip` is unpacked",
            "What an archive holds is read from a folder.",
            f"Unpack it with `{unpack}`, and give the file or folder",
        )
    if suffix in _CONVERTED:
        kind, command = _CONVERTED[suffix]
        made = shell_quoted(path.with_suffix(".json").name)
        return DataError(
            f"`{path}` is {kind}, which is no format of data here",
            f"Rows are read from JSON and tables: {' '.join(READERS)}.",
            f"Write it as JSON: `{command.format(path=shell_quoted(str(path)))} > {made}`",
        )
    if suffix in _CODE:
        return DataError(
            f"`{path}` is {_CODE[suffix]} code, and code is not run",
            "Rows that are written into it as a list, such as spaCy's `TRAIN_DATA`, are read from a text file."
            if suffix == ".py"
            else "From a text file with data in it, the data can be written as JSON.",
            f"Copy it: `cp {shell_quoted(str(path))} {shell_quoted(path.with_suffix('.txt').name)}`, and give the copy",
        )
    has = f"the unsupported suffix `{path.suffix}`" if path.suffix else "no suffix"
    return DataError(
        f"`{path}` has {has}",
        f"Supported suffixes are {' '.join(READERS)}, each also compressed (.gz, .bz2, .xz, .zst), and .zip.",
        "Convert the file to one of these formats, or rename it if it already has one of them",
    )


def data_suffix(name: str) -> str | None:
    """The suffix (without that of a compression) that selects the reader, or None if it is not a data file."""
    suffix = _bare_suffix(Path(name))
    return suffix if suffix in READERS else None


def _bare_suffix(path: Path) -> str:
    """In lower case, without that of a compression."""
    return Path(without_compression(path.name.lower())).suffix


def file_suffix(path: Path) -> str | None:
    """The suffix that selects the reader: that of the name, or `.conll` if the content is CoNLL; else None.

    Raises:
        DataError: the name has no known suffix, and the file cannot be opened.
    """
    suffix = data_suffix(path.name)
    may_be_conll = suffix == ".txt" or (suffix is None and not is_convertible(path))
    may_be_conll = may_be_conll or (suffix == ".tsv" and begins_with_comment(path))
    return ".conll" if may_be_conll and looks_like_conll(path) else suffix


def is_json_lines(path: Path) -> bool:
    """Whether `json_lines` can read the file."""
    return data_suffix(path.name) in _JSON_LINES


def read_json_or_lines(path: Path) -> Iterator[Row | Rejected]:
    """Reads a `.json` file, which may also be JSON Lines under that name."""
    return read_jsonl(path) if _has_json_lines(path) else read_json(path)


def _has_json_lines(path: Path, marks: tuple[bytes, ...] = (b"{", b"[")) -> bool:
    """Whether a `.json` file has an object, or a list of cells, in each line."""
    lines = (line for _, line in byte_lines(path) if not line.isspace())
    first, second = next(lines, b""), next(lines, b"")
    if not second or not first.lstrip().startswith(marks):
        return False
    return isinstance(parse_line(first, form_of([first, second])), dict)


def read_text_or_lines(path: Path) -> Iterator[Row | Rejected]:
    """Reads a `.txt` file: running text, lines with labels or tags, JSON, JSON Lines, or a list in Python code."""
    if not _has_json_lines(path, (b"{",)):
        return read_marked(path) or read_listed(path) or read_text(path)
    note = note_on(path.name, [describe_encoding(path), "is read as JSON Lines: each line is an object"])
    return (replace(row, note=note) if isinstance(row, Row) else row for row in read_jsonl(path))


def is_read_whole(path: Path) -> bool:
    """Whether a file is in memory as a whole before its first row is known; others are read row by row."""
    suffix = data_suffix(path.name)
    if suffix == ".json":
        return not _has_json_lines(path)
    is_read_from_its_end = suffix in (".parquet", ".arrow", ".feather") and is_compressed(path)
    return is_read_from_its_end or suffix in (*excel.SUFFIXES, brat.SUFFIX)


READERS: dict[str, Callable[[Path], Iterator[Row | Rejected]]] = {
    **dict.fromkeys(_JSON_LINES, read_jsonl),
    ".json": read_json_or_lines,
    ".csv": read_csv,
    ".tsv": read_tsv,
    ".parquet": read_parquet,
    ".arrow": read_arrow,
    ".feather": read_arrow,
    **dict.fromkeys(excel.SUFFIXES, excel.read_excel),
    ".txt": read_text_or_lines,
    ".md": read_text,
    **dict.fromkeys(CONLL_SUFFIXES, read_conll),
    brat.SUFFIX: brat.read_brat,
}
