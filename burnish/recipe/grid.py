"""`--over OPTION=VALUES`: the settings that a sweep tries, as lists of values or ranges."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from burnish.errors import RecipeError
from burnish.recipe.load import LoadedRecipe
from burnish.recipe.names import did_you_mean, expand, holder, options, shown, spelled, takes_whole_numbers
from burnish.recipe.origins import FLAG, Check, Problem, raise_problems, read_values
from burnish.recipe.schema import Recipe
from burnish.recipe.section import Section

_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_RANGE = re.compile(rf"({_NUMBER})\.\.({_NUMBER})")
_DECADE = 10.0
"""Ratio of the ends from which a range of positive numbers is searched on a log scale."""
_EXAMPLE = "--over train.learning_rate=1e-4,3e-4"
_FIXED = {
    "name": "the runs of a sweep are named after their settings",
    "runs": "the runs of a sweep share a folder",
    "seed": "seeds are not settings to choose between; `--seeds 3` trains every setting with three",
    **dict.fromkeys(
        (
            "data.path",
            "data.validation",
            "data.validation_fraction",
            "data.validation_rows",
            "data.split",
            "data.split_seed",
            "data.test",
            "data.test_fraction",
            "data.test_rows",
            "data.group",
        ),
        "the runs would have different validation or test rows, and could not be ranked",
    ),
}
"""Options that cannot differ between the runs of a sweep, and why."""


@dataclass(frozen=True, slots=True)
class Range:
    """Numbers between two ends, both included."""

    low: float
    high: float
    is_whole: bool
    """Whether only whole numbers are meant."""

    @property
    def is_log(self) -> bool:
        """Whether it is searched on a log scale: it spans a factor of ten or more."""
        return self.low > 0 and self.high >= _DECADE * self.low

    @property
    def ends(self) -> tuple[Any, Any]:
        """Both ends, as values of the option."""
        return (int(self.low), int(self.high)) if self.is_whole else (self.low, self.high)

    def __str__(self) -> str:
        return f"{self.low:g}..{self.high:g}"


@dataclass(frozen=True, slots=True)
class Axis:
    """One option of a sweep, with what is tried for it."""

    option: str
    """Its dotted name."""
    values: tuple[Any, ...]
    """Empty for a range."""
    range: Range | None = None

    def __str__(self) -> str:
        """As in `train.learning_rate: 0.0001, 0.0003`."""
        return f"{self.option}: {self.range or ', '.join(map(in_words, self.values))}"

    @property
    def checked(self) -> tuple[Any, ...]:
        """Values whose validity is that of all: the values, or the ends of the range."""
        return self.range.ends if self.range else self.values


Setting = dict[str, Any]
"""A value for each option of a sweep, by dotted name."""
MakeRecipe = Callable[[Mapping[str, Any]], LoadedRecipe]
"""From values by dotted name, in addition to those that all runs have."""


def read_over(over: Sequence[str] | Mapping[str, Any], trials: int | None) -> list[Axis]:
    """The options of a sweep.

    Args:
        over: words like `train.learning_rate=1e-4,3e-4`; or values by name, each a list, or a range as text.
        trials: how many settings are chosen from the values and ranges; None for all combinations.

    Raises:
        RecipeError: no or unknown options, one value alone, or a range without `trials`; all in one error.
    """
    problems: list[Problem] = []
    axes = [axis for axis in _axes(over, problems) if axis is not None]
    for option in sorted({axis.option for axis in axes if sum(one.option == axis.option for one in axes) > 1}):
        problems.append(Problem(Check.NAME, f"`{option}` is swept twice", "Name all of its values in one `--over`"))
    for axis in axes:
        problems += _problems_of(axis, trials)
    if not axes and not problems:
        raise RecipeError("a sweep needs options to try", "No `--over` was given.", f"For example `{_EXAMPLE}`")
    raise_problems(problems)
    # those that the preparation depends on change last, so that runs that share one follow each other
    return sorted(axes, key=lambda axis: not changes_preparation(axis.option))


def _axes(over: Sequence[str] | Mapping[str, Any], problems: list[Problem]) -> Iterator[Axis | None]:
    if isinstance(over, Mapping):
        for name, given in over.items():
            yield _axis_of_values(expand(name), given, problems)
        return
    for word in over:
        name, equals, text = (part.strip() for part in word.partition("="))
        if not equals or not text:
            problems.append(Problem(Check.NAME, f"`--over {word}` has no values", f"For example `{_EXAMPLE}`"))
        elif name not in options() and not holder(name):
            problems.append(Problem(Check.NAME, f"`{name}` is not an option (--over)", did_you_mean(name)))
        elif found := _RANGE.fullmatch(text):
            yield _axis_of_range(name, found)
        else:
            values = read_values(name, text)
            if isinstance(values, Problem):
                problems.append(values)
            else:
                yield Axis(name, tuple(values))


def _axis_of_values(name: str, given: Any, problems: list[Problem]) -> Axis | None:
    if isinstance(given, str) and (found := _RANGE.fullmatch(given.strip())):
        return _axis_of_range(name, found)
    if isinstance(given, (str, bytes, Mapping)) or not isinstance(given, Iterable):
        problems.append(
            Problem(Check.TYPE, f"`over` has no list of values for `{name}`", f"For example `{{'{name}': [1, 2]}}`")
        )
        return None
    return Axis(name, tuple(given))


def _axis_of_range(name: str, found: re.Match[str]) -> Axis:
    low, high = float(found[1]), float(found[2])
    field = options().get(holder(name) or name)
    return Axis(name, (), Range(low, high, field is not None and takes_whole_numbers(field)))


def _problems_of(axis: Axis, trials: int | None) -> Iterator[Problem]:
    option, found = axis.option, axis.range
    if option in _FIXED:
        yield Problem(Check.NAME, f"`{option}` cannot be swept: {_FIXED[option]}")
    if found is not None:
        if trials is None:
            fix = f"Add `--trials 12`, or list the values: `--over {option}={found.low:g},{found.high:g}`"
            yield Problem(Check.TYPE, f"`{option}={found}` is a range, from which `--trials` would choose", fix)
        if not found.low < found.high or (found.is_whole and not (found.low.is_integer() and found.high.is_integer())):
            yield Problem(Check.RANGE, f"`{option}={found}` is not a range: its first number has to be the lower one")
        return
    twice = next((value for number, value in enumerate(axis.values) if value in axis.values[:number]), None)
    if twice is not None:
        yield Problem(Check.RANGE, f"`{option}` has the value `{shown(twice)}` twice")
    elif len(axis.values) < 2:
        value = shown(axis.values[0]) if axis.values else ""
        fix = f"Name several, or use `--set {option}={value}`"
        yield Problem(Check.RANGE, f"`{option}` has one value, `{value}`, so there is nothing to choose", fix)


def check_given(axes: Sequence[Axis], base: LoadedRecipe) -> None:
    """Checks that no option of a sweep is also given a single value.

    Raises:
        RecipeError: one is.
    """
    raise_problems(
        [
            Problem(Check.NAME, f"`{axis.option}` is given one value, and several by `--over`", "Leave one of them out")
            for axis in axes
            if base.origins.get(axis.option) == FLAG
        ]
    )


def check_values(axes: Sequence[Axis], make: MakeRecipe) -> None:
    """Checks every value of every option, whatever it is combined with.

    Raises:
        RecipeError: naming all values that the options do not take.
    """
    problems: dict[str, Problem] = {}
    for axis in axes:
        for value in axis.checked:
            try:
                make({axis.option: value})
            except RecipeError as error:
                problems.setdefault(error.what, Problem(Check.TYPE, error.what, error.fix or error.why))
    raise_problems(list(problems.values()))


def combinations(axes: Sequence[Axis]) -> list[Setting]:
    """All combinations of the values; the last option changes fastest."""
    return [
        dict(zip([axis.option for axis in axes], values, strict=True))
        for values in itertools.product(*(axis.values for axis in axes))
    ]


def setting_name(setting: Setting) -> str:
    """A name for the folder of a setting's run: `learning_rate-0.0001-rank-8`."""
    lasts = [option.rpartition(".")[2] for option in setting]
    named = [last if lasts.count(last) == 1 else option for option, last in zip(setting, lasts, strict=True)]
    words = [f"{name}-{in_words(value)}" for name, value in zip(named, setting.values(), strict=True)]
    return re.sub(r"[^A-Za-z0-9._-]+", "-", "-".join(words)).strip("-._")[:100].rstrip("-._") or "run"


def in_words(value: Any) -> str:
    """A value as one would type it: `1e-04` as `0.0001`, a path as its last part."""
    if isinstance(value, float) and not isinstance(value, bool):
        return f"{value:.4g}".replace("e+", "e") if math.isfinite(value) else str(value)
    text = spelled(value)
    return text.rstrip("/").rpartition("/")[2] if "/" in text and isinstance(value, str) else text


def changes_preparation(option: str) -> bool:
    """Whether runs that differ in this option need other rows, tokens, or another base model."""
    if option in ("seed", "lora.added_tokens"):
        return option != "seed"
    kind = Recipe.model_fields[option.partition(".")[0]].annotation
    return not (isinstance(kind, type) and issubclass(kind, Section)) or kind.changes_preparation
