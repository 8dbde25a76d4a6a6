"""Finds the sources of rows: a file, a folder with train, validation and test files, or a hub dataset."""

from __future__ import annotations

import difflib
import re
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from burnish.data.files.readers import READERS, data_suffix, file_suffix
from burnish.data.rows.row import Row
from burnish.errors import DataError

NAME = re.compile(r"^[\w-][\w.-]*(/[\w-][\w.-]*)?(:[\w.-]+)?$")
BATCH_ROWS = 1000
TIMEOUT_SECONDS = 10


@dataclass(frozen=True)
class HubSplit:
    """One split of a hub dataset, available on this machine."""

    label: str
    """`owner/name/split`, used in locations and errors."""
    rows: Any
    """The split as `datasets.Dataset`."""

    def __str__(self) -> str:
        return self.label


def is_hub_name(name: str) -> bool:
    """Whether a name could be a hub dataset."""
    return NAME.match(name) is not None


def load_hub_splits(name: str) -> dict[str, HubSplit]:
    """Loads a dataset from the cache or the hub; returns its splits by name.

    Raises:
        DataError: it is neither in the cache nor can it be downloaded, or it needs the name of a configuration.
    """
    import datasets
    from datasets.exceptions import DatasetNotFoundError

    repository, _, config = name.partition(":")
    cache = cached_folder(repository)
    if not cache.exists():
        check_reachable(repository, cache)
    try:
        splits = datasets.load_dataset(repository, config or None)
    except DatasetNotFoundError as error:
        raise unavailable(repository, cache, str(error)) from error
    except (OSError, ValueError, RuntimeError) as error:
        # `datasets` has no more specific classes for a missing configuration, a corrupt file or a lost connection.
        reason = " ".join(str(error).split())
        if "config" in reason.lower():
            raise DataError(
                f"the hub dataset `{name}` needs another configuration", reason, f"Write `{repository}:CONFIG`"
            ) from error
        raise unavailable(repository, cache, reason) from error
    return {str(split): HubSplit(f"{name}/{split}", rows) for split, rows in splits.items()}


def cached_folder(repository: str) -> Path:
    """The folder where `datasets` caches a prepared hub dataset."""
    from datasets import config
    from datasets.naming import camelcase_to_snakecase

    *owner, last = repository.split("/")
    return Path(config.HF_DATASETS_CACHE) / "___".join([*owner, camelcase_to_snakecase(last)])


def check_reachable(repository: str, cache: Path) -> None:
    """Tries to reach the hub once: `datasets` itself would retry for half a minute.

    Raises:
        DataError: there is no network, or it must not be used.
    """
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        raise unavailable(repository, cache, "HF_HUB_OFFLINE is set, so it is not downloaded.")
    request = urllib.request.Request(constants.ENDPOINT, method="HEAD")
    try:
        urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS).close()
    except urllib.error.HTTPError:
        return  # The hub is reachable; errors about the dataset come from `datasets`.
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        # `datasets` uses a client with other certificates, so a failure here means nothing.
        if not isinstance(reason, ssl.SSLError):
            raise unavailable(repository, cache, f"{constants.ENDPOINT} cannot be reached: {reason}") from error


def unavailable(repository: str, cache: Path, reason: str) -> DataError:
    """The error for a dataset that is neither in the cache nor can be downloaded."""
    return DataError(
        f"there is no file or folder `{repository}`, and no hub dataset of that name is available",
        f"It is not in the cache {cache}; {reason}",
        "Give a local file or folder, or download the dataset once with a network connection",
    )


def read_hub_rows(split: HubSplit) -> Iterator[Row]:
    """The rows of a hub dataset's split; `line` is the row's number. Images and audio are not decoded."""
    number = 0
    for table in split.rows.with_format("arrow").iter(batch_size=BATCH_ROWS):
        for values in table.to_pylist():
            number += 1
            yield Row(values, split.label, number)


Source = Path | HubSplit

PARTS = {"train": ("train",), "valid": ("valid", "validation", "dev"), "test": ("test",)}
"""Names of files in a folder, or of hub splits, for training, validation and test data."""
# A split may be stored in shards, as in hub datasets: train-00000-of-00002.parquet.
SHARD = re.compile(r"-\d+-of-\d+$")
TEXT_ENDINGS = (".txt", ".md")
# Text files beside the data that are not data.
ABOUT_FILES = ("authors", "changelog", "citation", "contributing", "copying", "license", "notice", "readme", "source")


@dataclass(frozen=True, slots=True)
class Sources:
    """The sources that a name in the recipe refers to."""

    train: list[Source]
    valid: list[Source] | None
    test: list[Source] | None
    described: str
    """A description for the terminal."""


def find_sources(path: str, validation: str | None = None) -> Sources:
    """Finds the files or splits that `data.path` and `data.validation` refer to.

    Raises:
        DataError: nothing with that name exists, or several files match.
    """
    if not path.strip():
        raise DataError("no data was given", "", "Give a file, a folder or a hub dataset: `burnish train DATA`")
    parts = find_parts(path)
    if not parts["train"]:
        there = ", ".join(f"`{source}`" for name in ("valid", "test") for source in parts[name])
        raise DataError(
            f"`{path}` has no training data",
            f"It has only {there}.",
            "Add a file named train.jsonl (or .json, .csv, …), or give a single file",
        )
    valid = parts["valid"]
    if validation is not None:
        others = find_parts(validation)
        valid = others["valid"] or others["train"] or others["test"]
    described = ", ".join(
        f"{name} {' + '.join(str(source) for source in sources)}"
        for name, sources in (("train", parts["train"]), ("valid", valid), ("test", parts["test"]))
        if sources
    )
    return Sources(parts["train"], valid or None, parts["test"] or None, described)


def find_parts(name: str) -> dict[str, list[Source]]:
    """The sources of each split (`train`, `valid`, `test`) of a file, folder or hub dataset. Raises DataError."""
    path = Path(name).expanduser()
    if path.is_dir():
        return folder_parts(path)
    if path.exists():
        check_ending(path)
        return {"train": [path], "valid": [], "test": []}
    if looks_like_path(name):
        raise missing_file(path)
    splits = load_hub_splits(name)
    parts: dict[str, list[Source]] = {}
    for part, aliases in PARTS.items():
        named: list[Source] = [splits[alias] for alias in aliases if alias in splits]
        parts[part] = named[:1]
    if not any(parts.values()):
        raise DataError(
            f"the hub dataset `{name}` has no split named train",
            f"Its splits are {', '.join(splits)}.",
            "Save the split you want as a file and use that",
        )
    return parts


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
        suffix = f"the unsupported suffix `{path.suffix}`" if path.suffix else "no suffix"
        raise DataError(
            f"`{path}` has {suffix}",
            f"Supported suffixes are {' '.join(READERS)}, each also with .gz.",
            "Convert the file to one of these formats, or rename it if it already has one of them",
        )


def folder_parts(folder: Path) -> dict[str, list[Source]]:
    """The files of a folder by split; a folder without split names may have one data file, or texts.

    Raises:
        DataError: there is no data, or several files match.
    """
    files = [
        entry
        for entry in sorted(folder.iterdir())
        if entry.is_file() and not entry.name.startswith((".", "_")) and data_suffix(entry.name)
    ]
    parts: dict[str, list[Source]] = {name: [] for name in PARTS}
    for name, aliases in PARTS.items():
        found = [file for file in files if part_name(file) in aliases]
        if len(found) > 1 and not all(SHARD.search(plain_stem(file)) for file in found):
            raise ambiguous(folder, f"several files for {name}", found)
        parts[name] = list(found)
    if not any(parts.values()):
        parts["train"] = list(only_data(folder, files))
    return parts


def only_data(folder: Path, files: Sequence[Path]) -> Sequence[Path]:
    """The data of a folder without a train file. Raises DataError if there is none, or several files."""
    tables = [file for file in files if data_suffix(file.name) not in TEXT_ENDINGS]
    if len(tables) > 1:
        raise ambiguous(folder, "several data files and none is named train", tables)
    texts = [file for file in files if file not in tables and plain_stem(file).lower() not in ABOUT_FILES]
    if not tables and not texts:
        raise DataError(
            f"there is no data in the folder `{folder}`",
            f"Supported suffixes are {' '.join(READERS)}, each also with .gz.",
            "Add a file named train.jsonl (or .json, .csv, …)",
        )
    return tables or texts


def ambiguous(folder: Path, reason: str, files: Sequence[Path]) -> DataError:
    """The error for a folder with several candidates for a split."""
    names = ", ".join(f"`{file.name}`" for file in files)
    return DataError(
        f"the folder `{folder}` has {reason}: {names}",
        "A folder may have one of each: train.*, valid.* (or validation.*, dev.*) and test.*.",
        f"Give a single file: `{files[0]}`",
    )


def plain_stem(path: Path) -> str:
    """The file's name without its suffix and `.gz`."""
    return Path(path.name.removesuffix(".gz")).stem


def part_name(path: Path) -> str:
    """The file's name without suffix and shard number, in lower case."""
    return SHARD.sub("", plain_stem(path)).lower()
