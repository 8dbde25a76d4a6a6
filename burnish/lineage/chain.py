"""The chain of a run: the runs and adapters that it goes on from, the first one first, each with the hash of its
weights."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from burnish.errors import InputError, ModelError
from burnish.models.fingerprint import fingerprint
from burnish.prepare.start import Start, find_start, start_folder
from burnish.recipe.load import recipe_from_saved
from burnish.recipe.schema import Recipe
from burnish.recipe.section import CONTINUE
from burnish.runs.description import read_manifest
from burnish.runs.folder import RunFolder, finished_events

EXTEND = "extend"
"""The next run is the same one, trained for longer."""


@dataclass(frozen=True, slots=True)
class Link:
    """A run or an adapter that the next one goes on from."""

    name: str
    """Of the run, with the step of a checkpoint after `@`; of an adapter its folder's."""
    path: str
    sha256: str
    """Of its weights, settings and tokenizer (hex)."""
    task: str
    """Empty for an adapter of another tool."""
    method: str
    step: int | None
    """That its weights are of; None for an adapter of another tool."""
    base: str
    """Its base model."""
    how: str
    """What the next run did with it: `continue`, `merge` or `extend`."""


def weights_hash(folder: Path) -> str:
    """SHA-256 (hex) of what a start contributes: its weights, settings and tokenizer."""
    return fingerprint(folder)


def chain_of(recipe: Recipe) -> list[dict[str, Any]]:
    """The links that lead to a run with this resolved recipe; none if it starts from a base model."""
    start = find_start(recipe) if recipe.start.path is not None else None
    if start is None:
        return []
    before = read_manifest(start.run).get("chain", []) if start.run else []
    link = Link(
        name=start.run.name if start.run else Path(start.path).name,
        path=start.path,
        sha256=weights_hash(start.folder),
        task=start.recipe.task if start.recipe else "",
        method=start.method,
        step=_step_of(start),
        base=start.base,
        how=recipe.start.how or "",
    )
    return [*before, asdict(link)]


def extended_chain(run: RunFolder, checkpoint: Path, step: int) -> list[dict[str, Any]]:
    """The links that lead to a run that extends another.

    Args:
        run: that is extended.
        checkpoint: that the longer run begins with.
        step: of it.
    """
    recipe = recipe_from_saved(run.recipe)
    sums = hashlib.sha256((checkpoint / "checksums.json").read_bytes()).hexdigest()
    name, path = f"{run.path.name}@{step}", f"{run.path}@{step}"
    link = Link(name, path, sums, recipe.task, recipe.method, step, recipe.model.name, EXTEND)
    return [*read_manifest(run).get("chain", []), asdict(link)]


def _pinned(link: dict[str, Any]) -> str:
    """How a recipe names the weights of a link once the run has another result."""
    return link["path"] if "@" in link["path"] or link["step"] is None else f"{link['path']}@{link['step']}"


def check_whole(folder: RunFolder, cannot: str) -> None:
    """Refuses a run of which the recipe alone does not say how it began.

    Args:
        folder: of the run.
        cannot: what cannot be done with it, after "the run X".

    Raises:
        InputError: it extends another.
    """
    chain = read_manifest(folder).get("chain", [])
    if chain and chain[-1]["how"] == EXTEND:
        last = chain[-1]
        raise InputError(
            f"the run `{folder.name}` {cannot}",
            f"It extends `{last['name']}`, so its first {last['step']:,} steps have the schedule of that run.",
            f"Use `{last['path'].rpartition('@')[0]}`, and extend that again with `burnish train --resume-from`",
        )


def _step_of(start: Start) -> int | None:
    """The step whose weights a start has."""
    if start.run is None or start.run.step is not None:
        return start.run.step if start.run else None
    finished = finished_events(start.run)
    return int(finished[-1]["best_step"]) if finished else None


def check_start(folder: RunFolder, recipe: Recipe) -> None:
    """Checks that the adapter that a run goes on from is there, and the one that it was when the run began.

    Raises:
        InputError: it is no longer there.
        ModelError: it has changed.
    """
    if recipe.start.how != CONTINUE:
        return  # its base model is checked as any other
    place, chain = start_folder(recipe), read_manifest(folder).get("chain", [])
    if chain and weights_hash(place) != chain[-1]["sha256"]:
        raise ModelError(
            f"`{recipe.start.path}` has changed since the run `{folder.name}` started from it",
            "What the run began with, and is compared with, would be something else.",
            "Put it back as it was; if `burnish accept` has replaced it, write "
            f"`{_pinned(chain[-1])}` into `start.path` "
            f"of `{folder.recipe}`",
        )
