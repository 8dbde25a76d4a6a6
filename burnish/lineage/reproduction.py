"""Reproduction of a run: its ingredients then and now, and the losses of both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import torch

from burnish.data.files.sources import file_name, find_all
from burnish.data.rows.dataset import Records
from burnish.errors import DataError
from burnish.lineage.manifest import hash_files, rounding_here, rounding_of
from burnish.models.fingerprint import comparable_fingerprint
from burnish.models.location import ModelLocation
from burnish.prepare.context import Emit, read_rows
from burnish.recipe.schema import Recipe
from burnish.runs.folder import RunFolder

_SHOWN = 12
"""Characters of a hash that are shown."""


def check_files(folder: RunFolder, recipe: Recipe, manifest: dict[str, Any]) -> list[Ingredient]:
    """The files of the data, byte for byte. Splits of hub datasets are skipped.

    Raises:
        DataError: a file is missing.
    """
    try:
        sources = find_all(recipe.data)
    except DataError as error:
        raise DataError(
            f"the data of the run `{folder.name}` is not where it was: {error.what}",
            f"{error.why.rstrip('.')}.",
            f"Put it back, or write where it is now under `data.path` in `{folder.recipe}`",
        ) from error
    names = [file_name(source) for source in [*sources.train, *(sources.valid or []), *(sources.test or [])]]
    then, now = manifest["data"].get("file_sha256"), hash_files(names)
    if then is None:
        return []  # a run of a version that did not hash files
    if len(then) != len(now):
        before, after = f"{len(then)} files", f"{len(now)} files"
        return [Ingredient("data files", before, after, "changed", f"{after} instead of {before}")]
    found = []
    for name, old, new in zip(names, then, now, strict=True):
        if old is not None:
            remark = "" if old == new else "its content has changed"
            found.append(_compared(f"file `{name}`", old, new or "no file", remark))
    return found


def check_rows(recipe: Recipe, manifest: dict[str, Any], emit: Emit) -> tuple[Ingredient, Records | None]:
    """Compares the rows; also returns them, or None if they cannot be read any more."""
    expected = manifest["data"]
    try:
        records = read_rows(recipe, emit)
    except DataError as error:
        return Ingredient("rows", expected["sha256"][:_SHOWN], "unreadable", "changed", f"{error.what}"), None
    counts = [
        _more_or_fewer(expected.get(key), len(part), what)
        for key, part, what in (
            ("rows", records.train, "to train on"),
            ("validation_rows", records.valid, "for validation"),
            ("test_rows", records.test, "to test on"),
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
    """Compares the files of the base model."""
    remark = "its config, tokenizer or weights have changed"
    expected = manifest["model"]
    found = comparable_fingerprint(expected, location.folder)
    return _compared(f"base model `{location.name}`", expected["sha256"], found, remark)


def check_rounding(manifest: dict[str, Any], device: torch.device) -> list[Ingredient]:
    """Compares versions, machine and device: one line per difference, or a single line if there is none."""
    then, now = rounding_of(manifest), rounding_here(device)
    others = [
        Ingredient(name, then.get(name, "?"), now.get(name, "?"), "other", "may round differently")
        for name in {**now, **({"processes": ""} if "processes" in then else {})}
        if then.get(name) != now.get(name)
    ]
    if others:
        return others
    same = f"{now['device']}, {now['threads']} threads"
    return [Ingredient("versions and machine", same, same, "same")]


def _compared(name: str, expected: str, found: str, remark: str) -> Ingredient:
    is_same = expected == found
    hashes = expected[:_SHOWN], found[:_SHOWN]
    return Ingredient(name, *hashes, "same") if is_same else Ingredient(name, *hashes, "changed", remark)


State = Literal["same", "changed", "other"]
"""`changed` makes it a different run; `other` only affects rounding."""


@dataclass(frozen=True, slots=True)
class Ingredient:
    """One thing that a run was made from, then and now."""

    name: str
    expected: str
    found: str
    state: State
    remark: str = ""
    """Details of a change, as text."""


@dataclass(frozen=True, slots=True)
class StepPair:
    """The loss of one step, as logged by the run and as reproduced."""

    step: int
    expected: float
    found: float
    tolerance: float
    """Relative; 0 if every bit must be the same."""

    @property
    def difference(self) -> float:
        """Relative difference."""
        return abs(self.found - self.expected) / abs(self.expected) if self.expected else abs(self.found)

    @property
    def is_same(self) -> bool:
        """Whether the losses agree within the tolerance. A loss that is not a number never agrees."""
        return self.found == self.expected if self.tolerance == 0 else self.difference <= self.tolerance


@dataclass(frozen=True, slots=True)
class Reproduction:
    """The result of reproducing a run."""

    run: str
    ingredients: Sequence[Ingredient]
    steps: Sequence[StepPair] = field(default_factory=tuple)
    """Empty if the run's ingredients have changed: then there is nothing to compare."""
    rule: str = ""
    """How closely the losses must agree, and why."""
    advice: str = ""
    """What to do if it failed."""

    @property
    def changed(self) -> list[Ingredient]:
        """The changed ingredients."""
        return [one for one in self.ingredients if one.state == "changed"]

    @property
    def passed(self) -> bool:
        """Whether the run was reproduced."""
        return not self.changed and bool(self.steps) and all(pair.is_same for pair in self.steps)

    @property
    def verdict(self) -> str:
        """The outcome in a sentence."""
        if self.changed:
            changes = "; ".join(f"{one.name}: {one.remark}" for one in self.changed)
            return f"Not reproduced: what `{self.run}` was made from has changed ({changes})."
        different = [pair for pair in self.steps if not pair.is_same]
        if different:
            first = different[0]
            return (
                f"Not reproduced: {len(different)} of {len(self.steps)} losses differ from those of `{self.run}`; the "
                f"first is that of step {first.step}, {first.found!r} instead of {first.expected!r}."
            )
        how = "bit for bit" if all(pair.tolerance == 0 for pair in self.steps) else "within tolerance"
        steps = "The first step" if len(self.steps) == 1 else f"The first {len(self.steps)} steps"
        return f"Reproduced: the same data, the same base model. {steps} gave the same losses as `{self.run}`, {how}."

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready values."""
        steps = [{**asdict(pair), "difference": pair.difference, "passed": pair.is_same} for pair in self.steps]
        return {
            "run": self.run,
            "passed": self.passed,
            "verdict": self.verdict,
            "ingredients": [asdict(one) for one in self.ingredients],
            "rule": self.rule,
            "steps": steps,
            "advice": self.advice,
        }
