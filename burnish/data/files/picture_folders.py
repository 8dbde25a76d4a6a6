"""Folders of pictures alone, with their classes as the names of folders or without any: what they can be used for."""

from __future__ import annotations

import json
from pathlib import Path

from burnish.data.files.splits import TRAIN, split_of
from burnish.data.rows.elsewhere import ASKED, NO_CLASSES
from burnish.errors import DataError
from burnish.system.shell import quoted as shell_quoted

_SUFFIXES = (".png", ".jpg", ".jpeg", ".gif", ".webp", ".bmp", ".tif", ".tiff")


def refuse_pictures(folder: Path) -> None:
    """Raises DataError for a folder without data that has pictures, with the command that writes rows of them."""
    inner = [one for one in sorted(folder.iterdir()) if one.is_dir() and not one.name.startswith((".", "_"))]
    training = next(
        (one for one in inner if split_of(one.name) == TRAIN and any(map(_has_pictures, _folders(one)))), None
    )
    classes = [one.name for one in (inner if training is None else _folders(training)) if _has_pictures(one)]
    if not classes and not _has_pictures(folder):
        return
    form = json.dumps({"image": "0.png", "question": ASKED, "answer": "..."})
    if not classes:
        raise DataError(
            f"the folder `{folder}` has images and no rows",
            "A vision model learns to write text about each image, and the texts are missing.",
            f"Write a file with a row for each, `{folder / 'train.jsonl'}`: `{form}`",
        )
    within, name = ("", "train") if training is None else (f"{training.name}/", training.name)
    script = (
        f"import json, pathlib; root = pathlib.Path({json.dumps(str(folder))}); "
        f'[print(json.dumps(dict(image=one.relative_to(root).as_posix(), question="{ASKED}", answer=one.parent.name))) '
        f'for one in sorted(root.glob("{within}*/*")) if one.suffix.lower() in {_SUFFIXES}]'
    ).replace("'", '"')
    others = "" if training is None else ", and the other splits likewise"
    raise DataError(
        f"the folder `{folder}` has images in folders that seem to be classes: {', '.join(classes[:6])}",
        NO_CLASSES,
        f"To learn to write the class: `python -c {shell_quoted(script)} > {shell_quoted(str(folder / name))}.jsonl`"
        f"{others}. Give the folder again then",
    )


def _folders(place: Path) -> list[Path]:
    return [one for one in sorted(place.iterdir()) if one.is_dir()]


def _has_pictures(folder: Path) -> bool:
    return any(one.suffix.lower() in _SUFFIXES for one in folder.iterdir())
