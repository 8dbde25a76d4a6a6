"""Texts in folders that are named after their labels: `pos/*.txt` and `neg/*.txt`, also within `train` and `test`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from burnish.data.files.parts import FilePart
from burnish.data.files.readers import data_suffix
from burnish.data.files.splits import SPLITS, TRAIN, split_of

_ENDINGS = (".txt", ".md")
_UNLABELLED = ("unsup", "unsupervised", "unlabeled", "unlabelled", "unlab")
"""Folders beside those of labels that hold texts without one."""
_DATA_FOLDER = "data"
"""The folder of the data beside others, by the layout of the hub."""
_FEWEST_LABELS, _FEWEST_TEXTS = 2, 2


def labelled_parts(folder: Path) -> tuple[dict[str, list[FilePart]], list[str]]:
    """The texts of each split with their labels, and sentences about how they were found; no texts where the folder
    has another layout.

    Args:
        folder: exists.
    """
    inner = _folders(folder)
    splits = [(split, one) for one in inner if (split := split_of(one.name)) is not None]
    if not splits and any(one.name == _DATA_FOLDER for one in inner):
        return {}, []
    places = splits or [(TRAIN, folder)]
    by_place = [(split, place, _by_label(place)) for split, place in places]
    labels = {name for split, _, found in by_place if split == TRAIN for name in found}
    if len(labels) < _FEWEST_LABELS or not all(labels.issuperset(found) for _, _, found in by_place):
        return {}, []
    parts: dict[str, list[FilePart]] = {split: [] for split in SPLITS}
    for split, _, found in by_place:
        parts[split] += [FilePart(path, label=name) for name, paths in found.items() for path in paths]
    names = ", ".join(f"`{name}`" for name in sorted(labels)[:6])
    note = (
        f"The label of each text in `{folder}` is the name of its folder: {names}"
        f"{', …' if len(labels) > 6 else ''}. To learn the texts alone: `--set data.shape=text`."
    )
    used = {path for split, place, found in by_place for name in found for path in (place / name,)}
    left = [one for _, place in places for one in _folders(place) if one not in used and _texts(one)]
    unused = [f"The texts in `{one}` have no label and are not used." for one in left]
    return parts, [note, *unused]


def _by_label(place: Path) -> dict[str, list[Path]]:
    """The texts in each folder of a place; none if there are other files there that may be the data."""
    found = {one.name: _texts(one) for one in _folders(place) if one.name.lower() not in _UNLABELLED}
    has_all = all(len(paths) >= _FEWEST_TEXTS for paths in found.values())
    beside = sum(data_suffix(one.name) is not None for one in place.iterdir() if one.is_file())
    return found if found and has_all and beside < sum(map(len, found.values())) else {}


def _folders(place: Path) -> Sequence[Path]:
    return [one for one in sorted(place.iterdir()) if one.is_dir() and not one.name.startswith((".", "_"))]


def _texts(folder: Path) -> list[Path]:
    """The texts directly in a folder; none if it holds anything else, such as tables or annotations of brat."""
    files = [one for one in sorted(folder.iterdir()) if not one.name.startswith((".", "_"))]
    return files if files and all(one.suffix.lower() in _ENDINGS for one in files) else []
