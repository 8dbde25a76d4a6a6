"""Finds the sources of rows: a file, a part of one, a folder with a file for each split, or a hub dataset."""

from __future__ import annotations

import difflib
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from burnish.data.files import archives, excel
from burnish.data.files.brat import annotations_beside
from burnish.data.files.conll import SUFFIXES as CONLL_SUFFIXES
from burnish.data.files.folders import folder_contents
from burnish.data.files.hub import HubSplit, is_hub_name, load_hub_splits, read_hub_rows
from burnish.data.files.json_documents import parts_by_key
from burnish.data.files.parts import FilePart, split_part
from burnish.data.files.readers import TABLE_SUFFIXES, data_suffix, file_suffix, read_rows, unsupported
from burnish.data.files.split_kinds import kinds_of
from burnish.data.files.splits import (
    CALLED,
    SPLITS,
    TEST,
    TRAIN,
    VALID,
    by_split,
    describe_splits,
    split_of,
    split_within,
)
from burnish.data.files.word_tables import in_sentences
from burnish.data.rows.nulls import without_nulls_of_tables
from burnish.data.rows.row import Rejected, Row, quoted
from burnish.errors import DataError
from burnish.recipe.schema import NONE, DataSection
from burnish.system.machine import expanded, is_special
from burnish.system.shell import quoted as shell_quoted

Source = Path | FilePart | HubSplit


def read_source(source: Source) -> Iterator[Row | Rejected]:
    """The rows of a source; a bad one is returned as `Rejected`. Raises DataError if it cannot be read at all."""
    if isinstance(source, HubSplit):
        return read_hub_rows(source)
    columns = source.columns if isinstance(source, FilePart) else {}
    rows = source.read() if isinstance(source, FilePart) else read_rows(source)
    is_table = file_suffix(Path(file_name(source))) in TABLE_SUFFIXES
    return in_sentences(rows, columns) if is_table else without_nulls_of_tables(rows, Path(file_name(source)).name)


def file_name(source: Source) -> str:
    """The file of a source, or the name of its hub split."""
    return str(source.path if isinstance(source, FilePart) else source)


@dataclass(frozen=True, slots=True)
class Sources:
    """The sources that a name in the recipe refers to."""

    train: list[Source]
    valid: list[Source] | None
    test: list[Source] | None
    described: str
    """A description for the terminal."""
    notes: tuple[str, ...] = ()
    """Sentences about how they were chosen: the files of a folder by split, and those that are not used."""
    by_source: tuple[Sources, ...] = ()
    """What each of the recipe's sources brings; splits that an option names belong to none."""


@dataclass(frozen=True, slots=True)
class _Found:
    """The sources of each split behind one name."""

    parts: dict[str, list[Any]]
    notes: tuple[str, ...] = ()


def find_sources(
    path: str,
    validation: str | None = None,
    columns: Mapping[str, str] | None = None,
    test: str | None = None,
) -> Sources:
    """Finds the files or splits that `data.path`, `data.validation` and `data.test` refer to.

    Args:
        path: name of the training data.
        validation: name of the validation data.
        columns: `data.columns`, which may name columns of CoNLL files by number.
        test: name of the test data; `none` leaves out what `path` has for testing.

    Raises:
        DataError: nothing with that name exists, or several files match.
    """
    if not path.strip():
        raise DataError("no data was given", "", "Give a file, a folder or a hub dataset: `burnish train DATA`")
    found = _find(path)
    parts, notes = found.parts, found.notes
    if not parts[TRAIN]:
        there = ", ".join(f"`{source}`" for split in (VALID, TEST) for source in parts[split])
        raise DataError(
            f"`{path}` has no training data",
            f"It has only {there}.",
            "Add a file named train.jsonl (or .json, .csv, …), or give a single file",
        )
    for split, name in ((VALID, validation), (TEST, test)):
        if name is None:
            continue
        if parts[split]:
            unused = quoted(dict.fromkeys(map(str, parts[split])))
            notes = (*notes, f"Not used, since `data.{CALLED[split]}` is `{name}`: {unused}.")
        others = {} if split == TEST and name == NONE else _find(name).parts
        parts = {**parts, split: next((others[one] for one in (split, *SPLITS) if others.get(one)), [])}
    parts = {split: [_with_columns(source, columns or {}) for source in sources] for split, sources in parts.items()}
    described = describe_splits(parts)
    return Sources(parts[TRAIN], parts[VALID] or None, parts[TEST] or None, described, notes)


def find_all(section: DataSection) -> Sources:
    """The sources of all that a recipe names as its data.

    Args:
        section: the data section of the recipe.

    Raises:
        DataError: one of them cannot be found, or has a split of its own that another lacks.
    """
    found = [find_sources(one.path, section.validation, section.columns, section.test) for one in section.sources]
    if len(found) == 1:
        return replace(found[0], by_source=(found[0],))
    for split, named, given in ((VALID, section.validation, "valid"), (TEST, section.test, "test")):
        have = [one.path for one, own in zip(section.sources, found, strict=True) if getattr(own, given)]
        lack = [one.path for one, own in zip(section.sources, found, strict=True) if not getattr(own, given)]
        if named is None and have and lack:
            raise DataError(
                f"`{have[0]}` has {CALLED[split]} rows of its own, and `{lack[0]}` has none",
                "Rows are held out from all sources, or all bring their own.",
                f"Set `data.{CALLED[split]}` to the rows to use",
            )
    own_splits = [replace(one, valid=None) if section.validation is not None else one for one in found]
    own_splits = [replace(one, test=None) if section.test is not None else one for one in own_splits]

    def united(name: str, is_named: bool) -> list[Source] | None:
        several = [getattr(one, name) or [] for one in (found[:1] if is_named else found)]
        return [source for sources in several for source in sources] or None

    return Sources(
        united("train", is_named=False) or [],
        united("valid", section.validation is not None),
        united("test", section.test is not None),
        "; ".join(one.described for one in found),
        tuple(dict.fromkeys(note for one in found for note in one.notes)),
        tuple(own_splits),
    )


def _with_columns(source: Source, columns: Mapping[str, str]) -> Source:
    if isinstance(source, HubSplit) or not columns:
        return source
    part = source if isinstance(source, FilePart) else FilePart(source)
    has_columns = file_suffix(part.path) in (*CONLL_SUFFIXES, *TABLE_SUFFIXES)
    return replace(part, columns=columns) if has_columns else source


def _find(name: str) -> _Found:
    """The sources of each split of a file, a part of a file, a folder or a hub dataset. Raises DataError."""
    path = expanded(name)
    if path.is_dir():
        return _in_folder(path, "")
    if is_special(path):
        raise DataError(
            f"`{name}` is a pipe or a device, and not a file",
            "Data is read several times, and a pipe can be read only once.",
            "Write it into a file first, and give that",
        )
    if path.exists():
        return _in_archive(path, "") if path.suffix.lower() == archives.SUFFIX else _in_file(path)
    if (named := split_part(name)) is not None:
        path, part = named
        if path.suffix.lower() == archives.SUFFIX:
            return _in_archive(path, part)
        return _in_folder(path, part) if path.is_dir() else _Found(_only(FilePart(path, part)))
    if looks_like_path(name):
        raise missing_file(path)
    return _on_hub(name)


def _only(source: Any) -> dict[str, list[Any]]:
    return {TRAIN: [source], VALID: [], TEST: []}


def _in_folder(folder: Path, config: str) -> _Found:
    contents = folder_contents(folder, config)
    used = {split: [_within(folder, source) for source in sources] for split, sources in contents.parts.items()}
    notes = [f"Data in `{folder}`: {describe_splits(used)}."]
    if contents.unused:
        notes.append(f"Not used: {quoted(path.name for path in contents.unused)}.")
    return _Found(contents.parts, (*notes, *contents.notes))


def _within(folder: Path, source: Any) -> str:
    path = Path(file_name(source))
    return f"`{path.relative_to(folder).as_posix() if path.is_relative_to(folder) else path}`"


def _in_archive(path: Path, part: str) -> _Found:
    """What a zip archive holds: one data file, or a folder with any of the layouts of folders.

    Args:
        path: the archive.
        part: a file in it, a part of its only file, or a configuration of its folder; empty for all of it.

    Raises:
        DataError: it cannot be unpacked, or there is no data in it.
    """
    inside = archives.unpacked(path)
    if inside.is_dir() and part and (inside / part).is_file():
        found, held = _in_file(inside / part), f"`{part}`, unpacked into `{inside}`"
    elif inside.is_dir():
        held = f"a folder, unpacked into `{inside}`"
        try:
            found = _in_folder(inside, part)
        except DataError as error:
            # what to type names the archive: the cache may be deleted
            fix = error.fix.replace(f"{inside}{os.sep}", f"{path}:").replace(str(inside), str(path))
            what, why = (text.replace(str(inside), str(path)) for text in (error.what, error.why))
            raise DataError(what, why, fix) from error
    else:
        found = _Found(_only(FilePart(inside, part))) if part else _in_file(inside)
        held = f"one file, `{inside.name}`, unpacked into `{inside.parent}`"
    return _Found(found.parts, (f"`{path}` holds {held}.", *found.notes))


def _in_file(path: Path) -> _Found:
    """The whole file, or its worksheets or lists that are named after splits."""
    check_ending(path)
    suffix = file_suffix(path)
    lists = parts_by_key(path) if suffix == ".json" else {}
    names = list(excel.worksheets(path)) if suffix in excel.SUFFIXES else [*lists]
    parts = by_split((name, FilePart(path, name)) for name in names)
    if not parts[TRAIN] or len(names) < 2:
        beside = annotations_beside(path)
        noted = f"`{path}` is read without its annotations; `burnish train {shell_quoted(str(beside))}` learns them."
        return _Found(_only(path), (noted,) if beside else ())
    used = {name for sources in parts.values() for name in (source.part for source in sources)}
    unused = [name for name in names if name not in used]
    notes = [f"Parts of `{path}`: {describe_splits(parts)}."]
    if unused:
        notes.append(_describe_unused(path, unused, [name for name, is_list in lists.items() if is_list]))
    return _Found(parts, tuple(notes))


def _describe_unused(path: Path, unused: Sequence[str], lists: Sequence[str]) -> str:
    """That parts of a file are not used; and, where they are lists, what to type to train on one of them, too.

    Args:
        path: of the file.
        unused: names of its parts.
        lists: names of those that are lists in a JSON document.
    """
    said = f"Not used: {quoted(unused)}."
    more = next((name for name in unused if split_within(name.replace("_", "-")) == TRAIN), unused[0])
    train = next((name for name in lists if split_of(name) == TRAIN), None)
    if train is None or more not in lists:
        return said
    joined = shell_quoted(f".{json.dumps(train)} += .{json.dumps(more)}")
    return f"{said} To train on `{more}`, too: `jq {joined} {shell_quoted(str(path))} > OUT.json`."


def _on_hub(name: str) -> _Found:
    splits = load_hub_splits(name)
    parts = {part: [splits[alias] for alias in aliases if alias in splits][:1] for part, aliases in SPLITS.items()}
    if not any(parts.values()):
        _refuse_kinds(name, list(splits))
        raise DataError(
            f"the hub dataset `{name}` has no split named train",
            f"Its splits are {', '.join(splits)}.",
            "Save the split you want as a file and use that",
        )
    return _Found(parts)


def _refuse_kinds(name: str, splits: Sequence[str]) -> None:
    """Raises DataError for a hub dataset whose splits are of kinds, such as `train_sft`: which, and how to save one."""
    if kinds := kinds_of(splits):
        load = f"from datasets import load_dataset; load_dataset({name!r}, split="
        one = next(split for split in splits if split_within(split) == TRAIN)
        saved = f"{load}{one!r}).to_parquet({f'{one}.parquet'!r})"
        raise DataError(
            f"the hub dataset `{name}` has no split named train, but kinds of training rows: {quoted(kinds)}",
            f"Its splits are {quoted(splits)}.",
            f"Save the one that you want, and give that file: `python -c {shell_quoted(saved)}`",
        )


def looks_like_path(name: str) -> bool:
    """Whether a name that does not exist looks like a file or folder rather than a hub dataset."""
    path = Path(name)
    has_some_ending = len(path.parts) == 1 and re.fullmatch(r"\.[A-Za-z]\w{1,7}", path.suffix) is not None
    has_ending = data_suffix(name) is not None or has_some_ending
    is_in_folder = len(path.parts) > 1 and path.parent.is_dir()
    is_spelled_out = name.startswith((".", "~", "/")) or name.endswith("/") or "\\" in name
    return has_ending or is_in_folder or is_spelled_out or not is_hub_name(name)


def missing_file(path: Path) -> DataError:
    """The error for a missing file, with similar names."""
    folder = path.parent
    if not folder.is_dir():
        return DataError(f"no such file: `{path}`", f"There is no folder `{folder}`.", "Check the path")
    names = sorted(entry.name for entry in folder.iterdir() if not entry.name.startswith("."))
    near = difflib.get_close_matches(path.name, names, n=3, cutoff=0.6)
    fix = "Did you mean " + " or ".join(f"`{folder / name}`" for name in near) + "?" if near else "Check the path"
    return DataError(f"no such file: `{path}`", f"The folder `{folder}` has no file of that name.", fix)


def check_ending(path: Path) -> None:
    """Raises DataError for a file with an unsupported suffix."""
    if file_suffix(path) is None:
        raise unsupported(path)
