"""Loading a recipe: the data on the command line or in Python, a YAML file, flags and `--set`, checked all at once.

Precedence: a flag or `--set`, then the file, then the default.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from burnish.errors import RecipeError
from burnish.recipe.names import expected, holder, options, sections, shown, takes_truth
from burnish.recipe.origins import (
    DEFAULT,
    FLAG,
    Check,
    Given,
    Problem,
    Source,
    raise_problems,
    read_file,
    read_flags,
    read_sets,
)
from burnish.recipe.schema import AUTO, BUNDLED, BUNDLED_MODELS, NONE, Recipe

RECIPE_SUFFIXES = (".yaml", ".yml")
_PATHS = ("data.path", "data.validation", "model.name", "evaluate.general")
_NO_PATHS = {"model.name": (AUTO, *BUNDLED_MODELS), "evaluate.general": (AUTO, BUNDLED, NONE)}
"""Words that mean something else than a file of that name."""
_LOOKS_LIKE_A_FILE = re.compile(r"^[.~/]|\.(jsonl|json|csv|tsv|parquet|txt|md)(\.gz)?$", re.IGNORECASE)
_RANGE_ERRORS = ("greater_than", "greater_than_equal", "less_than", "less_than_equal", "finite_number")


@dataclass(frozen=True, slots=True)
class LoadedRecipe:
    """A checked recipe, and where each of its values came from.

    Origins are by dotted name: `flag`, `recipe.yaml line 7` or `default`.
    """

    recipe: Recipe
    origins: dict[str, str]


def load_recipe(
    data: str | None, flags: Mapping[str, Any], sets: Sequence[str], needs_data: bool = True
) -> LoadedRecipe:
    """Builds the recipe of a run.

    Args:
        data: a data file, folder or hub name; or a recipe ending in `.yaml` or `.yml`, which then names the data.
        flags: values of named flags or Python keywords, by dotted name (`{"model.name": "seedling"}`).
        sets: words like `train.epochs=2`, whose value is YAML.
        needs_data: whether a recipe without data is refused.

    Raises:
        RecipeError: unknown names, wrong types or ranges, all of them in one error; no data; an unreadable recipe file.
    """
    file = Path(data) if data is not None and data.lower().endswith(RECIPE_SUFFIXES) else None
    in_file, problems = read_file(file) if file else ({}, [])
    in_flags, wrong_flags = read_flags({"data.path": data, **flags} if data is not None and not file else flags)
    in_sets, wrong_sets = read_sets(sets)
    given = {
        **_anchor(in_file, file.parent if file else Path(), told=True),
        **_anchor({**in_flags, **in_sets}, Path(), told=False),
    }
    recipe = _build(given, [*problems, *wrong_flags, *wrong_sets])
    if needs_data and not recipe.data.path:
        fix = f"Add `data:` and below it `path: ...` to `{file}`" if file else "Name a file: `burnish train data.jsonl`"
        raise RecipeError("no data was named", fix=fix)
    return LoadedRecipe(recipe, {name: _origin(given, name) for name in options()})


def recipe_from_saved(path: Path) -> Recipe:
    """Reads back the fully resolved recipe of a run folder.

    Raises:
        RecipeError: the file is missing or broken, or holds options that this version does not have.
    """
    given, problems = read_file(path)
    return _build(given, problems)


def dump_recipe(recipe: Recipe, without: Collection[str] = ()) -> str:
    """The recipe as YAML, every option written out, in the order of the schema.

    Args:
        recipe: to be written.
        without: sections to leave out, because nothing in this run reads them.
    """
    import yaml

    values = recipe.model_dump(mode="json", exclude=set(without))
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=110)


def _origin(given: Source, name: str) -> str:
    """Where an option's value came from; for a map, where one of its keys came from."""
    found = next((given[key] for key in reversed(given) if key == name or key.startswith(f"{name}.")), None)
    return found.origin if found else DEFAULT


def _anchor(source: Source, folder: Path, told: bool) -> Source:
    """Paths made absolute, so that the run can be resumed and repeated from anywhere; hub names stay as they are.

    Args:
        folder: what relative paths start from.
        told: a name that looks like a file is one, even where it does not exist (for a clear error later).
    """
    anchored = dict(source)
    for name in _PATHS:
        entry = source.get(name)
        if entry is None or not isinstance(entry.value, str) or entry.value in ("", *_NO_PATHS.get(name, ())):
            continue
        path = (folder / Path(entry.value).expanduser()).absolute()
        if name == "model.name":
            is_path = path.is_dir()
        else:
            is_path = path.exists() or (told and _LOOKS_LIKE_A_FILE.search(entry.value) is not None)
        if is_path:
            anchored[name] = Given(str(path), entry.origin, entry.written)
    return anchored


def _build(given: Source, problems: list[Problem]) -> Recipe:
    """The recipe of the given values.

    Raises:
        RecipeError: `problems`, together with the types and ranges that do not fit.
    """
    misfits = {name: check for name, entry in given.items() if (check := _misfit(name, entry.value)) is not None}
    problems = [*problems, *(_wrong_value(name, given[name], check) for name, check in misfits.items())]
    try:
        recipe = Recipe.model_validate(_nested({name: given[name] for name in given if name not in misfits}))
    except ValidationError as error:
        raise_problems([*problems, *_wrong_values(error, given)])
        raise
    raise_problems(problems)
    return recipe


def _misfit(name: str, value: Any) -> Check | None:
    """What is wrong with a value that pydantic would let pass: `true` as the number 1, infinity as a number."""
    field = options().get(name)
    if isinstance(value, bool) and field is not None and not takes_truth(field):
        return Check.TYPE
    return Check.RANGE if isinstance(value, float) and not math.isfinite(value) else None


def _nested(given: Source) -> dict[str, Any]:
    """Dotted names as the nested maps that the schema takes."""
    nested: dict[str, Any] = {}
    for name, entry in given.items():
        *parents, last = name.split(".")
        target = nested
        for part in parents:
            target = target.setdefault(part, {}) if isinstance(target, dict) else target
        if isinstance(target, dict):
            target[last] = dict(entry.value) if isinstance(entry.value, Mapping) else entry.value
    return nested


def _wrong_values(error: ValidationError, given: Source) -> list[Problem]:
    """One problem for each option that does not fit, however many alternatives pydantic tried."""
    kinds: dict[str, list[str]] = {}
    for detail in error.errors(include_url=False, include_context=False):
        kinds.setdefault(_name_at(detail["loc"]), []).append(detail["type"])
    problems = []
    for name, tried in kinds.items():
        check = Check.RANGE if any(kind in _RANGE_ERRORS for kind in tried) else Check.TYPE
        problems.append(_wrong_value(name, _entry(given, name), check))
    return problems


def _name_at(location: tuple[int | str, ...]) -> str:
    """The option at pydantic's location, which goes deeper into lists, maps and alternatives."""
    return ".".join(str(part) for part in location[: 2 if location[0] in sections() else 1])


def _entry(given: Source, name: str) -> Given:
    """What was given for an option; for a map built from single keys, the last of them."""
    return next((given[key] for key in reversed(given) if key == name or holder(key) == name), Given(None, FLAG, ""))


def _wrong_value(name: str, entry: Given, check: Check) -> Problem:
    where = f" ({entry.written})" if entry.written else ""
    return Problem(check, f"`{name}` cannot be `{shown(entry.value)}`{where}", f"It takes {expected(options()[name])}")
