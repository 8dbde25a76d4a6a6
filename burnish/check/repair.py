"""Repairs texts in rows, and writes a cleaned copy of a data file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from burnish.check.contents import CONTROL, with_newlines
from burnish.data.files.sources import find_all
from burnish.data.rows.mixing import Origins
from burnish.data.rows.reading import training_rows
from burnish.data.rows.row import Rejected
from burnish.errors import InputError
from burnish.recipe.schema import DataSection
from burnish.runs.atomic import check_target, write_json_lines


def repaired(value: Any, name: str = "") -> tuple[Any, list[str]]:
    """A JSON value with its texts repaired, and a description of each change.

    Args:
        value: of a column.
        name: of the column, with the path within it.
    """
    if isinstance(value, str):
        return _repaired_text(value, name)
    if isinstance(value, dict):
        parts = {key: repaired(inner, f"{name}.{key}" if name else str(key)) for key, inner in value.items()}
        return {key: part for key, (part, _) in parts.items()}, list(_changes(parts.values()))
    if isinstance(value, (list, tuple)):
        items = [repaired(inner, f"{name}[{number}]") for number, inner in enumerate(value)]
        return [part for part, _ in items], list(_changes(items))
    return value, []


def _changes(parts: Any) -> Iterator[str]:
    for _, changes in parts:
        yield from changes


def _repaired_text(text: str, name: str) -> tuple[str, list[str]]:
    from ftfy import fix_encoding

    changes = []
    lines = with_newlines(text)
    if lines != text:
        count = lines.count("\n") - text.count("\n")
        ends = (
            "1 line separator replaced by a newline" if count == 1 else f"{count} line separators replaced by newlines"
        )
        changes.append(f"`{name}`: {ends}")
    seen = CONTROL.sub("", lines)
    if seen != lines:
        count = len(lines) - len(seen)
        changes.append(f"`{name}`: {count} control character{'s' if count > 1 else ''} removed")
    if not seen.isascii() and (fixed := fix_encoding(seen)) != seen:
        changes.append(f"`{name}`: decoded again")
        seen = fixed
    return seen, changes


_NAMED = 3


@dataclass(frozen=True, slots=True)
class Cleaned:
    """Contents of a cleaned file, and what was changed."""

    path: str
    changes_path: str
    kept: int
    left_out: int
    repaired: int
    first: tuple[str, ...]
    """The first changes, as `file:line: what`."""

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready values."""
        return {name: getattr(self, name) for name in self.__slots__}


def check_out(out: Path) -> None:
    """Rejects an output file that cannot be written, or would overwrite something. Raises InputError."""
    if out.suffix != ".jsonl":
        raise InputError(
            f"`{out}` does not end in .jsonl",
            "The cleaned rows are written as JSON Lines.",
            f"Use `--fix {out.with_suffix('.jsonl')}`",
        )
    for path in (out, changes_path(out)):
        check_target(path)


def changes_path(out: Path) -> Path:
    """The file that lists every change, beside the cleaned file."""
    return out.with_suffix(".changes.jsonl")


def clean(section: DataSection, removable: Mapping[str, str], out: Path) -> Cleaned:
    """Writes the training rows without the removable ones, with their texts repaired.

    Args:
        section: names the data.
        removable: places of the rows to leave out, and why.
        out: the file to write, checked by `check_out`.
    """
    rejected: list[Rejected] = []
    changes: list[dict[str, Any]] = []
    kept: list[dict[str, Any]] = []
    num_repaired = 0
    origins = Origins.of_paths([one.path for one in section.sources])
    for row in training_rows(find_all(section), section, rejected, origins):
        if row.place in removable:
            changes.append(_change(row.file, row.line, f"left out: {removable[row.place]}"))
            continue
        values, repairs = repaired(row.values)
        changes += [_change(row.file, row.line, change) for change in repairs]
        num_repaired += bool(repairs)
        kept.append(values)
    changes += [_change(row.file, row.line, f"left out: {row.reason}") for row in rejected]
    changes.sort(key=lambda change: (change["file"], change["line"]))
    write_json_lines(out, kept)
    write_json_lines(changes_path(out), changes)
    first = tuple(f"{change['file']}:{change['line']}: {change['change']}" for change in changes[:_NAMED])
    gone = sum(change["change"].startswith("left out") for change in changes)
    return Cleaned(str(out), str(changes_path(out)), len(kept), gone, num_repaired, first)


def _change(file: str, line: int, change: str) -> dict[str, Any]:
    return {"file": file, "line": line, "change": change}
