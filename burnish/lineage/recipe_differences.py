"""What differs between the recipes of runs, and whether it is the seed alone."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from burnish.recipe.names import options
from burnish.recipe.schema import Recipe

_NAMES = ("name", "runs")
_TEACHES_NOTHING = (
    *_NAMES,
    "seed",
    "evaluate.answers",
    "evaluate.general",
    "evaluate.max_new_tokens",
    "evaluate.metric",
    "save.every",
    "save.keep",
    "model.memory",
)
"""Options that have no part in what a recipe teaches; the seed least of all."""
_KNOWN_BY_CONTENT = ("data.path", "data.validation", "model.name", "model.revision")
"""Where rows and base model lie; what they are is told by their hashes."""
_DECISIVE = ("task", "method", "model.device", "model.precision")
"""Options that make another run wherever they differ, even where they were left to Burnish."""
LOSS_OPTIONS = (
    "preference.loss",
    "preference.beta",
    "preference.label_smoothing",
    "preference.margin",
    "preference.likelihood",
    "preference.good_weight",
    "preference.bad_weight",
    "classify.multi_label",
    "tag.scheme",
    "fill_mask.share",
    "fill_mask.whole_words",
)
"""Options that make the loss of the same row another thing."""


@dataclass(frozen=True, slots=True)
class OptionDifference:
    """An option that is not the same in all recipes."""

    option: str
    values: list[Any]
    """Of each run, resolved."""
    by_auto: list[bool]
    """Of each run, whether Burnish filled it in."""


@dataclass(frozen=True, slots=True)
class Made:
    """What a run was made from."""

    recipe: Recipe
    """Fully resolved."""
    filled: Collection[str]
    """Options that Burnish filled in."""
    data: str
    """Hash of all its rows, however the seed divides them."""
    model: str
    """Hash of its base model."""


def find_differences(made: Sequence[Made]) -> list[OptionDifference]:
    """Every option whose resolved values are not all the same, without names; in the order of the schema."""
    told = [option_values(one.recipe) for one in made]
    found = []
    for option in options():
        values = [values[option] for values in told]
        if option not in _NAMES and any(value != values[0] for value in values):
            found.append(OptionDifference(option, values, [option in one.filled for one in made]))
    return found


def option_values(recipe: Recipe) -> dict[str, Any]:
    """Every option by its dotted name, JSON-ready."""
    told = recipe.model_dump(mode="json")
    parts = {option: option.rpartition(".") for option in options()}
    return {option: told[section][name] if section else told[name] for option, (section, _, name) in parts.items()}


def group_recipes(made: Sequence[Made]) -> list[list[int]]:
    """Runs by number, those together whose recipes differ in nothing but the seed; in order of appearance.

    What Burnish filled in may differ, too: the size of a step, say, follows from the rows, and another seed holds out
    other rows.
    """
    groups: list[list[int]] = []
    for number, one in enumerate(made):
        home = next((group for group in groups if is_alike(made[group[0]], one)), None)
        if home is None:
            groups.append([number])
        else:
            home.append(number)
    return groups


def is_alike(first: Made, second: Made) -> bool:
    """Whether two runs differ in nothing that teaches but the seed."""
    if (first.data, first.model) != (second.data, second.model):
        return False
    passed_by = (*_TEACHES_NOTHING, *_KNOWN_BY_CONTENT)
    apart = [one.option for one in find_differences([first, second]) if one.option not in passed_by]
    return all(option not in _DECISIVE and option in first.filled and option in second.filled for option in apart)
