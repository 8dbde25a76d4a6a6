"""The chain of a run: the runs and adapters that it goes on from, the first one first, each with the hash of its
weights."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from burnish.errors import ModelError
from burnish.lineage.manifest import read_manifest
from burnish.models.fingerprint import fingerprint
from burnish.prepare.start import Start, find_start, start_folder
from burnish.recipe.schema import Recipe
from burnish.recipe.section import CONTINUE
from burnish.runs.folder import RunFolder, finished_events


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
    """What the next run did with it: `continue` or `merge`."""


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
        how=recipe.start.how,
    )
    return [*before, asdict(link)]


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
            "Put it back as it was, or start a new run with `burnish train`",
        )


def described(chain: list[dict[str, Any]]) -> str:
    """The chain in one line, for people: `seedling > sft (chat, step 40) > ...`."""
    words = [f"`{chain[0]['base']}`"] if chain else []
    for link in chain:
        what = ", ".join(filter(None, [link["task"], f"step {link['step']}" if link["step"] is not None else ""]))
        done = "its adapter goes on" if link["how"] == CONTINUE else "merged"
        words.append(f"`{link['name']}` ({what + '; ' if what else ''}{done})")
    return " > ".join(words)
