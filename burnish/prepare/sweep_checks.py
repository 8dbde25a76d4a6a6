"""What is known of a sweep in its first second: every setting is checked before torch is imported or a row is read."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from burnish.errors import MachineError, RecipeError
from burnish.prepare.first_checks import check_at_once
from burnish.prepare.idle import idle_options, no_effect
from burnish.prepare.start import find_start
from burnish.recipe.grid import Axis, MakeRecipe, Setting, check_given, check_values, combinations, read_over
from burnish.recipe.load import LoadedRecipe
from burnish.recipe.origins import FLAG, Check, Problem, raise_problems
from burnish.recipe.schema import AUTO, Recipe

EXTRA = "burnish[sweep]"
_LEAST_RUNS = 2


@dataclass(frozen=True, slots=True)
class AskedSweep:
    """What a sweep is asked for, checked."""

    base: LoadedRecipe
    """What all of its runs have in common; its name is that of the sweep."""
    axes: list[Axis]
    seeds: list[int]
    """The seeds of every setting."""
    trials: int | None
    """How many settings Optuna chooses; None for all combinations."""
    make: MakeRecipe

    @property
    def settings(self) -> list[Setting]:
        """All combinations; none where Optuna chooses them."""
        return [] if self.trials else combinations(self.axes)

    @property
    def samples(self) -> list[Setting]:
        """Settings whose validity is that of all: every combination, or the values and ends of one option each."""
        if not self.trials:
            return self.settings
        first = {axis.option: axis.checked[0] for axis in self.axes}
        others = ({**first, axis.option: value} for axis in self.axes for value in axis.checked[1:])
        return [first, *others]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready values that decide the result; the same values continue the same sweep."""
        recipe = self.base.recipe.model_dump(mode="json", exclude={"name", "runs", "seed"})
        over = {axis.option: str(axis.range) if axis.range else list(axis.values) for axis in self.axes}
        return {"recipe": recipe, "over": over, "seeds": self.seeds, "trials": self.trials}


def check_sweep(
    make: MakeRecipe, over: Sequence[str] | Mapping[str, Any], seeds: int = 1, trials: int | None = None
) -> AskedSweep:
    """Checks everything about a sweep that is known without its rows.

    Args:
        make: makes the recipe of a setting.
        over: the options that differ, see `read_over`.
        seeds: how many seeds every setting is trained with, from the recipe's own on.
        trials: how many settings are chosen from the values and ranges; None for all combinations.

    Raises:
        RecipeError: an option is unknown, has a wrong value, has no effect, or leaves nothing to compare.
        DataError: a file of rows is missing.
        ModelError: there is no such model.
        MachineError: `trials` needs a package that is not installed.
    """
    axes = read_over(over, trials)
    base = make({})
    _check_start(base.recipe)
    check_given(axes, base)
    check_values(axes, make)
    for name, number in (("seeds", seeds), ("trials", trials)):
        if number is not None and number < (1 if name == "seeds" else _LEAST_RUNS):
            least = "at least one seed" if name == "seeds" else "at least two trials, to have something to compare"
            raise RecipeError(f"`--{name} {number}` is too few", f"A sweep needs {least}.")
    if trials and importlib.util.find_spec("optuna") is None:
        raise MachineError(
            "`--trials` needs the package `optuna`, which is not installed",
            "It chooses each setting by the results of those before.",
            f"`pip install '{EXTRA}'`, or list values and leave `--trials` out to try all combinations",
        )
    asked = AskedSweep(base, axes, [base.recipe.seed + number for number in range(seeds)], trials, make)
    raise_problems(list(_idle(asked)))
    for setting in asked.samples:
        recipe = make(setting).recipe
        check_at_once(recipe.model_copy(update={"name": AUTO}))
    return asked


def _check_start(recipe: Recipe) -> None:
    """Refuses to sweep over settings of a run that goes on from another: those of its adapter are fixed."""
    start = find_start(recipe)
    if start is not None and start.run is not None:
        raise RecipeError(
            f"a sweep cannot go on from {start.called}",
            "Each setting begins a run of its own on one base model.",
            f"Merge it first: `burnish merge {start.path}`, then `--model {start.run.merged}`",
        )
    if start is not None:
        raise RecipeError(
            f"a sweep cannot go on from {start.called}",
            "Each setting begins a run of its own on one base model.",
            "Merge it first with PEFT's `merge_and_unload`, and give the merged folder",
        )


def _idle(asked: AskedSweep) -> Iterator[Problem]:
    """Options that do nothing in some setting, so that it would be trained several times."""
    seen = set[str]()
    for setting in asked.samples:
        recipe = asked.make(setting).recipe
        for option, reason in idle_options(recipe, dict.fromkeys(setting, FLAG)).items():
            text = no_effect(option, reason).rstrip(".")
            if text not in seen:
                seen.add(text)
                yield Problem(Check.RANGE, text, "Leave it out of this sweep, or make a sweep of its own for it")
