"""What a run was made from, beside what stands in its place now."""

from __future__ import annotations

from typing import Any

import torch

from burnish.data.dataset import Records
from burnish.data.sources import find_sources
from burnish.errors import DataError
from burnish.models.base import fingerprint
from burnish.models.location import ModelLocation
from burnish.recipe.schema import Recipe
from burnish.runs.folder import RunFolder
from burnish.workflows.preparation import Emit, read_rows
from burnish.workflows.provenance import hash_files, rounding_here, rounding_of
from burnish.workflows.reproduction import Ingredient

_SHOWN = 12
"""Characters of a hash that are shown."""


def check_files(folder: RunFolder, recipe: Recipe, manifest: dict[str, Any]) -> list[Ingredient]:
    """The files of the data, byte for byte. Splits of hub datasets are no files, and nothing is said of them.

    Raises:
        DataError: they are not where they were.
    """
    try:
        sources = find_sources(recipe.data.path, recipe.data.validation)
    except DataError as error:
        raise DataError(
            f"the data of the run `{folder.name}` is not where it was: {error.what}",
            f"{error.why.rstrip('.')}.",
            f"Put it back, or write where it is now under `data.path` in `{folder.recipe}`",
        ) from error
    names = [str(source) for source in [*sources.train, *(sources.valid or [])]]
    then, now = manifest["data"].get("file_sha256"), hash_files(names)
    if then is None:
        return []  # a run of a version that hashed no files
    if len(then) != len(now):
        told = f"{len(then)} files", f"{len(now)} files"
        return [Ingredient("data files", *told, "changed", f"{told[1]} instead of {told[0]}")]
    found = []
    for name, old, new in zip(names, then, now, strict=True):
        if old is not None:
            remark = "" if old == new else "its bytes are others"
            found.append(_compared(f"file `{name}`", old, new or "no file", remark))
    return found


def check_rows(recipe: Recipe, manifest: dict[str, Any], emit: Emit) -> tuple[Ingredient, Records | None]:
    """What the rows say; None instead of them where they cannot be read any more."""
    expected = manifest["data"]
    try:
        records = read_rows(recipe, emit)
    except DataError as error:
        return Ingredient("rows", expected["sha256"][:_SHOWN], "unreadable", "changed", f"{error.what}"), None
    counts = [
        _more_or_fewer(expected.get(key), len(part), what)
        for key, part, what in (
            ("rows", records.train, "to train on"),
            ("validation_rows", records.valid, "held out"),
        )
    ]
    remark = ", ".join(count for count in counts if count) or "as many as before, but not the same"
    return _compared("rows", expected["sha256"], records.sha256, remark), records


def _more_or_fewer(expected: int | None, found: int, what: str) -> str:
    if expected is None or expected == found:
        return ""
    direction = "more" if found > expected else "fewer"
    return f"{abs(found - expected):,} {direction} {what} ({found:,} instead of {expected:,})"


def check_model(manifest: dict[str, Any], location: ModelLocation) -> Ingredient:
    """The files of the base model."""
    remark = "its config, tokenizer or weights are others"
    return _compared(f"base model `{location.name}`", manifest["model"]["sha256"], fingerprint(location.folder), remark)


def check_rounding(manifest: dict[str, Any], device: torch.device) -> list[Ingredient]:
    """Versions, machine and device; a line for each that is another, one for all that are the same."""
    then, now = rounding_of(manifest), rounding_here(device)
    others = [
        Ingredient(name, then.get(name, "?"), now.get(name, "?"), "other", "may round otherwise")
        for name in now
        if then.get(name) != now.get(name)
    ]
    if others:
        return others
    told = f"{now['device']}, {now['threads']} threads"
    return [Ingredient("versions and machine", told, told, "same")]


def _compared(name: str, expected: str, found: str, remark: str) -> Ingredient:
    is_same = expected == found
    told = expected[:_SHOWN], found[:_SHOWN]
    return Ingredient(name, *told, "same") if is_same else Ingredient(name, *told, "changed", remark)
