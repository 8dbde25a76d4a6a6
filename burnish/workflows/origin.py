"""Whether the data and the base model of a run are still the same, and where its result lies."""

from __future__ import annotations

from pathlib import Path

from burnish.data.dataset import Records
from burnish.errors import DataError, InputError, ModelError
from burnish.models.base import fingerprint
from burnish.models.location import ModelLocation
from burnish.recipe.schema import Recipe
from burnish.runs.folder import RunFolder
from burnish.runs.manifest import read_manifest
from burnish.workflows.preparation import Emit, read_rows


def has_same_data(folder: RunFolder, sha256: str) -> bool:
    """Whether rows with this hash (hex) are those that the run was trained and validated on."""
    return read_manifest(folder)["data"]["sha256"] == sha256


def result_of(folder: RunFolder) -> Path:
    """What a run has made.

    Raises:
        InputError: it has no result yet.
    """
    if folder.result is None:
        raise InputError(
            f"the run `{folder.name}` has no result yet",
            "It was not trained to its end.",
            f"`burnish resume {folder.path}`",
        )
    return folder.result


def rows_of(folder: RunFolder, recipe: Recipe, otherwise: str, emit: Emit) -> Records:
    """The rows of a run, those it held out among them.

    Args:
        folder: of the run.
        recipe: of the run.
        otherwise: what to do where they are not known any more.
        emit: told what was adapted.

    Raises:
        DataError: the data has changed.
    """
    records = read_rows(recipe, emit)
    if not has_same_data(folder, records.sha256):
        raise DataError(
            f"the data of the run `{folder.name}` has changed since it was trained",
            "Which rows were held out follows from the data, so they are not known any more.",
            otherwise,
        )
    return records


def check_base(folder: RunFolder, location: ModelLocation) -> None:
    """The base model must be the one that the run was trained on.

    Raises:
        ModelError: it is another.
    """
    if read_manifest(folder)["model"]["sha256"] != fingerprint(location.folder):
        raise ModelError(
            f"the base model `{location.name}` has changed since the run `{folder.name}` began",
            "The trained weights belong to the model they were trained on.",
            "Put the model back as it was, or start a new run with `burnish train`",
        )
