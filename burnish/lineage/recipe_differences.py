"""Differences between the recipes of runs, and whether only the seed differs."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from burnish.recipe.names import options
from burnish.recipe.schema import Recipe

_NAMES = ("name", "runs")
_IRRELEVANT = (
    *_NAMES,
    "seed",
    "data.split_seed",
    "evaluate.answers",
    "evaluate.general",
    "evaluate.max_new_tokens",
    "evaluate.metric",
    "save.every",
    "save.keep",
    "model.memory",
)
"""Options that do not change what is learned, apart from the randomness of the seed."""
_KNOWN_BY_CONTENT = ("data.path", "data.validation", "data.test", "model.name", "model.revision")
"""Locations of rows and base model, which are compared by their hashes."""
_DECISIVE = ("task", "method", "model.device", "model.precision")
"""Options whose difference always matters, even if Burnish chose them."""
_FOLLOWS = {"train.head_learning_rate": "train.learning_rate"}
"""Options that Burnish gives the value of another one; while they have it, they are no difference of their own."""
LOSS_OPTIONS = (
    "preference.loss",
    "preference.beta",
    "preference.label_smoothing",
    "preference.margin",
    "preference.likelihood",
    "preference.good_weight",
    "preference.bad_weight",
    "classify.multi_label",
    "score.scale",
    "tag.scheme",
    "fill_mask.share",
    "fill_mask.whole_words",
)
"""Options that change the definition of the loss."""


@dataclass(frozen=True, slots=True)
class OptionDifference:
    """An option that differs between recipes."""

    option: str
    values: list[Any]
    """The resolved value of each run."""
    by_auto: list[bool]
    """Whether Burnish chose it, for each run."""


@dataclass(frozen=True, slots=True)
class Made:
    """What a run was made from."""

    recipe: Recipe
    """Fully resolved."""
    filled: Collection[str]
    """Options that Burnish chose."""
    data: str
    """Hash of all its rows, whichever of them were held out."""
    model: str
    """Hash of its base model."""


def find_differences(made: Sequence[Made]) -> list[OptionDifference]:
    """All options whose resolved values differ, except names and values that follow another option, in the order of the
    schema."""
    resolved = [one.recipe.option_values() for one in made]
    found = []
    for option in options():
        values = [values[option] for values in resolved]
        leader = [one[_FOLLOWS.get(option, option)] for one in resolved]
        follows = option in _FOLLOWS and values == leader
        if option not in _NAMES and not follows and any(value != values[0] for value in values):
            found.append(OptionDifference(option, values, [option in one.filled for one in made]))
    return found


def group_recipes(made: Sequence[Made]) -> list[list[int]]:
    """Groups the indices of runs whose recipes differ only in the seed, in order of appearance.

    Options that Burnish chose may differ, too: the batch size, for example, depends on the training rows, and these on
    the seed.
    """
    groups: list[list[int]] = []
    for number, one in enumerate(made):
        match = next((group for group in groups if is_alike(made[group[0]], one)), None)
        if match is None:
            groups.append([number])
        else:
            match.append(number)
    return groups


def _are_alike_gpus(devices: Sequence[str]) -> bool:
    """Whether devices differ only in their number: runs on several GPUs of a machine are often repetitions."""
    return len({device.partition(":")[0] for device in devices}) == 1


def is_alike(first: Made, second: Made) -> bool:
    """Whether two runs differ only in the seed and in irrelevant options."""
    if (first.data, first.model) != (second.data, second.model):
        return False
    ignored = (*_IRRELEVANT, *_KNOWN_BY_CONTENT)
    found = [one for one in find_differences([first, second]) if one.option not in ignored]
    different = [one.option for one in found if not (one.option == "model.device" and _are_alike_gpus(one.values))]
    return all(option not in _DECISIVE and option in first.filled and option in second.filled for option in different)
