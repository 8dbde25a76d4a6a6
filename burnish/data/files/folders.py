"""The files of a folder by split: saved by `datasets`, laid out as on the hub, or named train, validation and test."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from burnish.data.files.archives import SUFFIX as ARCHIVE
from burnish.data.files.brat import SUFFIX as ANNOTATIONS
from burnish.data.files.brat import annotations_beside
from burnish.data.files.features import Features, features_of_yaml
from burnish.data.files.labelled_folders import labelled_parts
from burnish.data.files.parts import FilePart, features_of, with_features
from burnish.data.files.picture_folders import refuse_pictures
from burnish.data.files.readers import READERS, data_suffix, is_convertible, unsupported
from burnish.data.files.split_kinds import kinds_of, of_kind
from burnish.data.files.splits import SPLITS, TRAIN, by_split, is_shard, plain_stem, split_of, split_within
from burnish.data.rows.row import did_you_mean, quoted
from burnish.errors import DataError
from burnish.system.shell import quoted as shell_quoted
from burnish.visible import parse_json

Parts = dict[str, list[Any]]
"""The sources of each split."""
TEXT_ENDINGS = (".txt", ".md")
# Text files beside the data that are not data.
ABOUT_FILES = ("authors", "changelog", "citation", "contributing", "copying", "license", "notice", "readme", "source")
_DATA_FOLDER = "data"
_DICT, _STATE, _INFO, _README = "dataset_dict.json", "state.json", "dataset_info.json", "README.md"


@dataclass(frozen=True, slots=True)
class FolderContents:
    """What a folder holds."""

    parts: Parts
    unused: list[Path] = field(default_factory=list)
    """Data files that are not part of any split."""
    notes: list[str] = field(default_factory=list)


def folder_contents(folder: Path, config: str = "") -> FolderContents:
    """The files of a folder by split; a folder without split names may have one data file, or texts.

    Args:
        folder: exists.
        config: name of a configuration in its README.md; empty for the only or the default one.

    Raises:
        DataError: there is no data, several files match, or a configuration is missing or has to be chosen.
    """
    if (folder / _DICT).is_file() or (folder / _STATE).is_file():
        if config not in kinds_of(map(str, _saved_names(folder))):
            _refuse_config(folder, config, "It was saved by `datasets`, and has none.")
        return FolderContents(_saved_parts(folder, config))
    described = _front_matter(folder / _README)
    if _listed_configs(described):
        return _configured(folder, described, config)
    kind = config if config and _kinds(folder) else ""
    _refuse_config(folder, "" if kind else config, f"`{folder / _README}` does not list any.")
    labelled, notes = labelled_parts(folder)
    if labelled:
        places = [folder, *(one for one in sorted(folder.iterdir()) if one.is_dir() and split_of(one.name))]
        beside = [path for place in places for path in data_files(place) if not _is_about(path)]
        return FolderContents(labelled, beside, notes)
    parts = _named_parts(folder, kind)
    if not any(parts.values()) and (inner := _only_folder_with_data(folder)):
        found = folder_contents(inner)
        return FolderContents(_with_features(found.parts, _features(described, inner.name)), found.unused, found.notes)
    if not any(parts.values()):
        place = folder if data_files(folder) or not (folder / _DATA_FOLDER).is_dir() else folder / _DATA_FOLDER
        files = data_files(place)
        only = list(only_data(place, files))
        unused = [path for path in files if path not in only and not _is_about(path)]
        return FolderContents(_with_features({**parts, TRAIN: only}, _features(described, "")), unused)
    used = {path for sources in parts.values() for path in sources}
    unused = [path for path in data_files(folder) if path not in used and not _is_about(path)]
    return FolderContents(_with_features(parts, _features(described, "")), unused)


def data_files(folder: Path) -> list[Path]:
    """The data files directly in a folder, in order; of a text and its annotations in a file beside it, the latter."""
    return [
        entry
        for entry in sorted(folder.iterdir())
        if entry.is_file()
        and not entry.name.startswith((".", "_"))
        and data_suffix(entry.name)
        and annotations_beside(entry) is None
    ]


def _only_folder_with_data(folder: Path) -> Path | None:
    """The folder within one that has no data of its own; None if it has, or if none is within.

    Raises:
        DataError: several folders have data.
    """
    if any(not _is_about(path) for path in data_files(folder)) or (folder / _DATA_FOLDER).is_dir():
        return None
    folders = [entry for entry in sorted(folder.iterdir()) if entry.is_dir() and not entry.name.startswith((".", "_"))]
    found = [
        inner for inner in folders if data_files(inner) or labelled_parts(inner)[0] or any(_named_parts(inner).values())
    ]
    if len(found) > 1:
        raise DataError(
            f"the folder `{folder}` has data in {len(found)} folders: {quoted(inner.name for inner in found)}",
            "Which one is meant is not clear.",
            f"Name it: `burnish train {found[0]}`",
        )
    return found[0] if found else None


def _is_about(path: Path) -> bool:
    return data_suffix(path.name) in TEXT_ENDINGS and plain_stem(path).lower() in ABOUT_FILES


def _refuse_config(folder: Path, config: str, reason: str) -> None:
    if config:
        raise DataError(
            f"the folder `{folder}` has no configuration `{config}`", reason, f"Give the folder: `{folder}`"
        )


def _places(folder: Path) -> list[Path]:
    """Where a folder may have files named after splits."""
    return [folder, *([folder / _DATA_FOLDER] if (folder / _DATA_FOLDER).is_dir() else [])]


def _kinds(folder: Path) -> list[str]:
    """The kinds of training rows that a folder has by the names of its files."""
    return kinds_of(plain_stem(path) for place in _places(folder) for path in data_files(place))


def _named_parts(folder: Path, kind: str = "") -> Parts:
    """Files named after splits, in the folder, in its `data` folder, or in folders named after splits."""
    places = _places(folder)
    for place in places:
        for named in (split_of, split_within):
            parts = _split_files(place, named, folder, kind)
            # a name such as `unix-dev` means a split only beside one for training
            if parts[TRAIN] or (named is split_of and any(parts.values())):
                return parts
    for place in places:
        parts = {split: [] for split in SPLITS}
        for entry in sorted(place.iterdir()):
            split = split_of(entry.name) if entry.is_dir() else None
            if split is not None:
                parts[split] += [path for path in data_files(entry) if not _is_about(path)]
        if any(parts.values()):
            return parts
    return {split: [] for split in SPLITS}


def _split_files(folder: Path, named: Any, given: Path, kind: str) -> Parts:
    """The files of a folder whose names a function takes for a split's. Raises DataError if several are meant."""
    # a corpus of annotated texts has a file for each, whose name may mean anything
    named_files = [path for path in data_files(folder) if named is split_of or data_suffix(path.name) != ANNOTATIONS]
    if named is split_within:
        chosen = of_kind([(plain_stem(path), path) for path in named_files], str(given), kind)
        if chosen is not None:
            return chosen
    files = [(named(plain_stem(path)), path) for path in named_files]
    parts: Parts = {split: [path for found, path in files if found == split] for split in SPLITS}
    for split, found in parts.items():
        if len(found) > 1 and not all(map(is_shard, found)):
            raise ambiguous(folder, f"several files for {split}", found)
    return parts


def only_data(folder: Path, files: Sequence[Path]) -> Sequence[Path]:
    """The data of a folder without a train file. Raises DataError if there is none, or several files."""
    tables = [file for file in files if data_suffix(file.name) not in (*TEXT_ENDINGS, ANNOTATIONS)]
    if len(tables) > 1 and not all(map(is_shard, tables)):
        raise ambiguous(folder, "several data files and none is named train", tables)
    annotated = [file for file in files if data_suffix(file.name) == ANNOTATIONS]
    texts = [file for file in files if file not in tables and not _is_about(file)]
    if not tables and not annotated:
        _ask_about_named_labels(folder, texts)
    if not tables and not texts:
        _refuse_convertible(folder)
        raise DataError(
            f"there is no data in the folder `{folder}`",
            f"Supported suffixes are {' '.join(READERS)}, each also compressed (.gz, .bz2, .xz, .zst).",
            "Add a file named train.jsonl (or .json, .csv, …)",
        )
    return tables or annotated or texts


_NAMED_LABELS = ({"pos", "neg"}, {"positive", "negative"}, {"ham", "spam"}, {"real", "fake"}, {"true", "fake"})


def _ask_about_named_labels(folder: Path, files: Sequence[Path]) -> None:
    """Raises DataError for two texts that are named after labels."""
    names = {plain_stem(file).lower() for file in files}
    if names in _NAMED_LABELS:
        raise DataError(
            f"the files of `{folder}` seem to be named after labels: {quoted(file.name for file in files)}",
            "They would be read as running text, without these.",
            "Write their lines into a table with the columns `text` and `label`, or each text into a file of its own, "
            f"in folders with these names. For running text, give one of them: `{files[0]}`",
        )


def _refuse_parallel(folder: Path) -> None:
    """Raises DataError for texts whose lines belong together, in files such as `train.en` and `train.de`."""
    by_stem: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()):
        if path.is_file() and path.suffix and not data_suffix(path.name):
            by_stem.setdefault(path.stem, []).append(path)
    stem = next((stem for stem in by_stem if split_of(stem) == TRAIN and len(by_stem[stem]) == 2), None)
    if stem is not None:
        one, other = by_stem[stem]
        raise DataError(
            f"the lines of `{one.name}` and `{other.name}` seem to belong together",
            "Prompt and completion of a row are read from one file.",
            f"Join them: `(printf 'source\\ttarget\\n'; paste {one} {other}) > {folder / stem}.tsv`",
        )


def _refuse_convertible(folder: Path) -> None:
    """Raises DataError for a folder whose data has to be unpacked, joined or converted first."""
    _refuse_parallel(folder)
    for path in sorted(folder.iterdir()):
        if is_convertible(path):
            raise unsupported(path)
        if path.suffix.lower() == ARCHIVE:
            raise DataError(
                f"the folder `{folder}` has no data but the archive `{path.name}`",
                "An archive is read where it is given itself.",
                f"Give it: `burnish train {shell_quoted(str(path))}`",
            )
    refuse_pictures(folder)


def ambiguous(folder: Path, reason: str, files: Sequence[Path]) -> DataError:
    """The error for a folder with several candidates for a split."""
    return DataError(
        f"the folder `{folder}` has {reason}: {', '.join(f'`{file.name}`' for file in files)}",
        "A folder may have one of each: train.*, valid.* (or validation.*, val.*, eval.*, dev.*) and test.*.",
        f"Give a single file: `{files[0]}`",
    )


def _saved_names(folder: Path) -> list[Any]:
    """The names of the splits of a saved `DatasetDict`; empty for a `Dataset`."""
    return _json(folder / _DICT).get("splits", []) if (folder / _DICT).is_file() else []


def _saved_parts(folder: Path, kind: str) -> Parts:
    """The Arrow files of a `Dataset` or `DatasetDict` that `save_to_disk` wrote."""
    parts: Parts = {split: [] for split in SPLITS}
    if not (folder / _DICT).is_file():
        return {**parts, TRAIN: _saved_files(folder)}
    names = [str(name) for name in _saved_names(folder)]
    for split, found in _by_name([(name, name) for name in names], folder, kind).items():
        parts[split] += [file for name in found for file in _saved_files(folder / name)]
    if not parts[TRAIN]:
        raise _without_train(folder, names)
    return parts


def _by_name(items: Sequence[tuple[str, Any]], folder: Path, kind: str) -> Parts:
    """What a dataset lists under the names of splits, which may have several kinds of rows where none is plain."""
    parts = by_split(items)
    if parts[TRAIN] and not kind:
        return parts
    one_kind = of_kind(items, str(folder), kind)
    within = {split: [item for name, item in items if split_within(name) == split] for split in SPLITS}
    return within if one_kind is None else one_kind


def _saved_files(folder: Path) -> list[Path | FilePart]:
    state = _json(folder / _STATE)
    if state.get("_indices_data_files") or state.get("_indices_files"):
        raise DataError(
            f"`{folder}` was saved by an old version of `datasets`",
            "Its rows are in an order of their own, in a second file.",
            "Save it again: `load_from_disk(FOLDER).flatten_indices().save_to_disk(OTHER)`",
        )
    features = features_of((_json(folder / _INFO) if (folder / _INFO).is_file() else {}).get("features"))
    files = [folder / Path(str(entry.get("filename"))).name for entry in state.get("_data_files", [])]
    return [with_features(path, features) for path in files]


def _without_train(folder: Path, names: Sequence[str]) -> DataError:
    return DataError(
        f"the data in `{folder}` has no split named train",
        f"Its splits are {quoted(names)}.",
        "Save the split that you want as a file, and use that",
    )


def _json(path: Path) -> dict[str, Any]:
    """A JSON object of a folder's metadata. Raises DataError."""
    try:
        found = parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"`{path}` cannot be read", str(error), "Save the dataset again") from error
    return found if isinstance(found, dict) else {}


def _front_matter(path: Path) -> dict[str, Any]:
    """The YAML between `---` at the beginning of a README.md; empty if there is none that can be parsed."""
    import yaml

    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError):
        return {}
    opening, _, rest = text.partition("\n")
    if opening.rstrip() != "---":
        return {}
    try:
        written = rest.partition("\n---")[0]
        # aliases are of no use here, and a few lines of them can mean any number of values
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(written)):
            return {}
        found = yaml.safe_load(written)
    except (yaml.YAMLError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _features(described: dict[str, Any], config: str) -> Features:
    """What the `dataset_info` of a README.md says of the columns of a configuration."""
    infos = described.get("dataset_info")
    infos = [info for info in (infos if isinstance(infos, list) else [infos]) if isinstance(info, dict)]
    fitting = [info for info in infos if info.get("config_name", "default") == (config or "default")]
    chosen = fitting or (infos if len(infos) == 1 else [])
    return features_of_yaml(chosen[0].get("features")) if chosen else {}


def _listed_configs(described: dict[str, Any]) -> dict[str, dict[str, Any]]:
    listed = described.get("configs")
    entries = [entry for entry in listed if isinstance(entry, dict)] if isinstance(listed, list) else []
    return {str(entry.get("config_name", "default")): entry for entry in entries}


def _configured(folder: Path, described: dict[str, Any], config: str) -> FolderContents:
    """The files of one configuration that a README.md lists. Raises DataError."""
    configs = _listed_configs(described)
    kinds = kinds_of(name for entry in configs.values() for name, _ in _patterns(folder, entry))
    kind = config if config not in configs and config in kinds else ""
    chosen, notes = _choose_config(folder, configs, "" if kind else config)
    patterns = list(_patterns(folder, configs[chosen]))
    parts: Parts = {split: [] for split in SPLITS}
    for split, found in _by_name(patterns, folder, kind).items():
        for pattern in found:
            parts[split] += [path for path in _matching(folder, pattern) if path not in parts[split]]
    if not patterns:
        place = folder / str(configs[chosen].get("data_dir", ""))
        parts = _named_parts(place) if place.is_dir() else parts
    if not parts[TRAIN]:
        raise _without_train(folder, [name for name, _ in patterns])
    return FolderContents(_with_features(parts, _features(described, chosen)), notes=notes)


def _choose_config(folder: Path, configs: dict[str, Any], config: str) -> tuple[str, list[str]]:
    """The configuration to use, and a note if others exist."""
    if config and config not in configs:
        raise DataError(
            f"the folder `{folder}` has no configuration `{config}`",
            f"`{folder / _README}` lists {quoted(configs)}.",
            did_you_mean(config, configs) or "Name one of these",
        )
    marked = [name for name, entry in configs.items() if entry.get("default") is True]
    usual = [config] if config else [*marked, *(name for name in configs if name == "default" or len(configs) == 1)]
    if not usual:
        first = next(iter(configs))
        raise DataError(
            f"the folder `{folder}` has {len(configs)} configurations: {quoted(configs)}",
            "Which one is meant is not clear.",
            f"Name it: `burnish train '{folder}:{first}'`",
        )
    others = [name for name in configs if name != usual[0]]
    noted = f"`{folder}` is read in its configuration `{usual[0]}`; the others are {quoted(others)}."
    return usual[0], [noted] if others and not config else []


def _patterns(folder: Path, config: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """(split, pattern of its files) for all `data_files` of a configuration."""
    files = config.get("data_files")
    prefix = f"{config['data_dir']}/" if config.get("data_dir") else ""
    if isinstance(files, dict):
        entries = [{"split": split, "path": path} for split, path in files.items()]
    elif isinstance(files, list) and all(isinstance(entry, dict) for entry in files):
        entries = files
    else:
        entries = [{"split": TRAIN, "path": files}] if files else []
    for entry in entries:
        paths = entry.get("path", [])
        for path in paths if isinstance(paths, list) else [paths]:
            yield str(entry.get("split", TRAIN)), f"{prefix}{path}"


def _matching(folder: Path, pattern: str) -> list[Path]:
    """The files that match a pattern within the folder. Raises DataError if there are none, or it leads elsewhere."""
    is_outside = "://" in pattern or Path(pattern).is_absolute() or ".." in Path(pattern).parts
    found = [] if is_outside else [path for path in sorted(folder.glob(pattern)) if path.is_file()]
    if not found:
        why = "It points outside of the folder." if is_outside else "The folder has no such file."
        raise DataError(
            f"`{folder / _README}` names the files `{pattern}`", why, "Download the whole folder, or give a single file"
        )
    return found


def _with_features(parts: Parts, features: Features) -> Parts:
    return {
        split: [with_features(source, features) if isinstance(source, Path) else source for source in sources]
        for split, sources in parts.items()
    }
