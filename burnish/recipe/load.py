"""Builds a recipe from the command line or Python, a YAML file, flags and `--set`, checked all at once.

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
from burnish.recipe.names import expected, holder, options, sections, shown, takes_bool
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
from burnish.recipe.schema import AUTO, BUNDLED, BUNDLED_MODELS, LARGEST, NONE, Recipe
from burnish.system.machine import expanded
from burnish.system.shell import quoted_bytes
from burnish.templates import yaml_text

RECIPE_SUFFIXES = (".yaml", ".yml")
_MODELS = ("model.name", "start.path")
PATHS = ("data.path", "data.validation", "data.test", *_MODELS, "evaluate.general")
"""Options that name a file or folder to read."""
_FILES = (*PATHS, "runs")
NO_PATHS = {"data.test": (NONE,), "model.name": (AUTO, *BUNDLED_MODELS), "evaluate.general": (AUTO, BUNDLED, NONE)}
"""Values with a meaning of their own, even where a file of that name exists."""
_FILE_PATTERN = re.compile(
    r"^[.~/]|\.(jsonl|ndjson|json|csv|tsv|parquet|arrow|xlsx|txt|md|conllu?)(\.(gz|bz2|xz|zst))?$", re.IGNORECASE
)
_CODE = ("model.trust_remote_code", "model.allow_pickle", "evaluate.metric")
"""Options that run code, unless they have their default."""
_LONGEST_NAME, _LONGEST_PATH = 255, 4_000
"""Bytes of one name in a path, and of a path."""
_RANGE_ERRORS = ("greater_than", "greater_than_equal", "less_than", "less_than_equal", "finite_number")


@dataclass(frozen=True, slots=True)
class LoadedRecipe:
    """A validated recipe, and where each value came from.

    Origins are by dotted name: `flag`, `recipe.yaml line 7` or `default`.
    """

    recipe: Recipe
    origins: dict[str, str]


def load_recipe(
    data: str | Sequence[str] | None, flags: Mapping[str, Any], sets: Sequence[str], needs_data: bool = True
) -> LoadedRecipe:
    """Builds the recipe of a run.

    Args:
        data: a data file, folder or hub name, or several; or a recipe ending in `.yaml` or `.yml`, which then names the
            data.
        flags: values of named flags or Python keywords, by dotted name (`{"model.name": "seedling"}`).
        sets: words like `train.epochs=2`, whose value is YAML.
        needs_data: whether a recipe without data is an error.

    Raises:
        RecipeError: unknown names, wrong types or ranges, options given twice, options of a file that run code, all in
            one error; no data; an unreadable recipe file.
    """
    if data is not None and not isinstance(data, str):
        _check_several(data)
        data = data[0] if len(data) == 1 else list(data) or None
    file = Path(data) if isinstance(data, str) and data.lower().endswith(RECIPE_SUFFIXES) else None
    in_file, problems = read_file(file) if file else ({}, [])
    in_flags, wrong_flags = read_flags({"data.path": data, **flags} if data is not None and not file else flags)
    in_sets, wrong_sets = read_sets(sets)
    given = {
        **_anchor(in_file, file.parent if file else Path(), is_in_file=True),
        **_anchor({**in_flags, **in_sets}, Path(), is_in_file=False),
    }
    wrong = [*problems, *wrong_flags, *wrong_sets, *_given_twice(in_flags, in_sets)]
    recipe = _build(given, [*wrong, *_code_of(in_file, {**in_flags, **in_sets})])
    if needs_data and not recipe.data.path:
        fix = (
            f"Add `data:` with `path: ...` below it to `{file}`" if file else "Give a file: `burnish train data.jsonl`"
        )
        raise RecipeError("no data was given", fix=fix)
    return LoadedRecipe(recipe, {name: _origin(given, name) for name in options()})


def _check_several(data: Sequence[str]) -> None:
    """Refuses a recipe among several files of rows. Raises RecipeError."""
    recipes = [name for name in data if name.lower().endswith(RECIPE_SUFFIXES)]
    if recipes and len(data) > 1:
        raise RecipeError(
            f"`{recipes[0]}` is a recipe, and {len(data) - 1} more DATA {'are' if len(data) > 2 else 'is'} given",
            "A recipe names its own data.",
            "Give the recipe alone, with all data below its `data.path`",
        )


def _given_twice(in_flags: Source, in_sets: Source) -> list[Problem]:
    """One problem for each option that has a flag of its own and a `--set` on the same command line."""
    return [
        Problem(Check.NAME, f"`{name}` is given twice, once by `--set`", "Leave one of them out")
        for name in in_flags
        if name in in_sets
    ]


def code_options(recipe: Recipe) -> dict[str, Any]:
    """The options of a recipe, by dotted name, that make it run code that is not Burnish's."""
    values = {name: _value(recipe, name) for name in _CODE}
    return {name: value for name, value in values.items() if value != options()[name].default}


def _value(recipe: Recipe, name: str) -> Any:
    section, _, option = name.partition(".")
    return getattr(getattr(recipe, section), option)


def _code_of(in_file: Source, in_command: Source) -> list[Problem]:
    """One problem for each option of a recipe file that runs code, unless the command has it, too.

    A recipe may come from someone else, so only the user can decide that.
    """
    return [
        Problem(
            Check.RANGE,
            f"`{name}` ({entry.written}) would run code, which a recipe cannot decide",
            f"If you trust that code, give it yourself: `--set {name}={shown(entry.value)}`",
        )
        for name, entry in in_file.items()
        if name in _CODE and entry.value != options()[name].default and name not in in_command
    ]


def recipe_from_saved(path: Path) -> Recipe:
    """Reads the fully resolved recipe of a run folder; relative paths start from that folder.

    Raises:
        RecipeError: the file is missing or invalid, or has options that this version does not know.
    """
    given, problems = read_file(path)
    return _build(_anchor({**_before_test_splits(given), **given}, path.parent, is_in_file=False), problems)


def _before_test_splits(given: Source) -> Source:
    """The options of the split for a run of a version that did not have them, so that the same rows are held out.

    There was no test split, and `seed` decided which rows were held out.
    """
    if "data.split_seed" in given:
        return {}
    seed = given["seed"].value if "seed" in given else 0
    values = {"data.test": NONE, "data.test_fraction": 0.0, "data.split": "random", "data.split_seed": seed}
    return {name: Given(value, DEFAULT, "") for name, value in values.items()}


def dump_recipe(recipe: Recipe, without: Collection[str] = ()) -> str:
    """The recipe as YAML, every option written out, in the order of the schema.

    Args:
        recipe: the recipe to write.
        without: sections to leave out because this run does not use them.
    """
    return yaml_text(recipe.model_dump(mode="json", exclude=set(without)), width=110)


def _origin(given: Source, name: str) -> str:
    """Where an option's value came from; for a map, where its last key came from."""
    found = next((given[key] for key in reversed(given) if key == name or key.startswith(f"{name}.")), None)
    return found.origin if found else DEFAULT


def _anchor(source: Source, folder: Path, is_in_file: bool) -> Source:
    """Makes paths absolute, so that the run can be resumed and reproduced from anywhere; hub names are kept.

    Args:
        folder: what relative paths start from.
        is_in_file: from a recipe file, where a value with the suffix of a file is always taken as one, so that a
            missing file is reported with its full path.
    """
    anchored = dict(source)
    for name in PATHS:
        entry = source.get(name)
        if entry is not None and name == "data.path" and isinstance(entry.value, list):
            anchored[name] = Given(_anchored_list(entry, folder, is_in_file), entry.origin, entry.written)
            continue
        if entry is None or not isinstance(entry.value, str) or entry.value in ("", *NO_PATHS.get(name, ())):
            continue
        if not _can_be_path(entry.value):
            continue  # reported with the other problems
        path = (folder / expanded(entry.value)).absolute()
        if name in _MODELS:
            is_path = path.is_dir() or Path(str(path).rpartition("@")[0] or path).is_dir()  # `RUN@STEP`
        else:
            is_path = path.exists() or (is_in_file and _FILE_PATTERN.search(entry.value) is not None)
        before, colon, part = str(path).rpartition(":")
        is_part = name not in _MODELS and bool(colon and part) and Path(before).exists()  # such as orders.xlsx:Sheet2
        if is_path or is_part:
            anchored[name] = Given(str(path), entry.origin, entry.written)
    return anchored


def _anchored_list(entry: Given, folder: Path, is_in_file: bool) -> list[Any]:
    """Several sources with absolute paths; what is none is left to the checks of types."""

    def anchored(one: Any) -> Any:
        if isinstance(one, str):
            made = _anchor({"data.path": Given(one, entry.origin, entry.written)}, folder, is_in_file)
            return made["data.path"].value
        if isinstance(one, dict) and isinstance(one.get("path"), str):
            return {**one, "path": anchored(one["path"])}
        return one

    return [anchored(one) for one in entry.value]


def _build(given: Source, problems: list[Problem]) -> Recipe:
    """Validates the given values as a recipe.

    Raises:
        RecipeError: `problems`, and every wrong type or range.
    """
    wrong = {name: check for name, entry in given.items() if (check := _extra_check(name, entry.value)) is not None}
    problems = [*problems, *(_wrong_value(name, given[name], check) for name, check in wrong.items())]
    try:
        recipe = Recipe.model_validate(_nested({name: given[name] for name in given if name not in wrong}))
    except ValidationError as error:
        raise_problems([*problems, *_wrong_values(error, given)])
        raise
    raise_problems(problems)
    return recipe


def _extra_check(name: str, value: Any) -> Check | None:
    """The check that a value fails although pydantic accepts it: `true` as the number 1, infinity as a number, and text
    that no file can have as its name.
    """
    if name in _FILES and isinstance(value, str) and not _can_be_path(value):
        return Check.RANGE
    field = options().get(name)
    if isinstance(value, bool) and field is not None and not takes_bool(field):
        return Check.TYPE
    return Check.RANGE if isinstance(value, float) and not math.isfinite(value) else None


def _can_be_path(text: str) -> bool:
    """Whether the system could have a file of that name; pieces of more than 255 bytes are none anywhere."""
    try:
        encoded = text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return (
        len(encoded) <= _LONGEST_PATH
        and b"\0" not in encoded
        and all(len(piece) <= _LONGEST_NAME for piece in re.split(rb"[/\\]", encoded))
    )


def _nested(given: Source) -> dict[str, Any]:
    """Dotted names as the nested maps that the schema takes."""
    nested: dict[str, Any] = {}
    for name, entry in given.items():
        # the key of a map is kept whole, as the role `gpt.v1` in `data.roles.gpt.v1`
        option = holder(name)
        *parents, last = name.split(".") if option is None else (*option.split("."), name[len(option) + 1 :])
        target = nested
        for part in parents:
            target = target.setdefault(part, {}) if isinstance(target, dict) else target
        if isinstance(target, dict):
            target[last] = dict(entry.value) if isinstance(entry.value, Mapping) else entry.value
    return nested


def _wrong_values(error: ValidationError, given: Source) -> list[Problem]:
    """One problem per invalid option, however many alternatives of its type pydantic tried."""
    kinds: dict[str, list[str]] = {}
    for detail in error.errors(include_url=False, include_context=False):
        kinds.setdefault(_name_at(detail["loc"]), []).append(detail["type"])
    problems = []
    for name, tried in kinds.items():
        check = Check.RANGE if any(kind in _RANGE_ERRORS for kind in tried) else Check.TYPE
        problems.append(_wrong_value(name, _entry(given, name), check))
    return problems


def _name_at(location: tuple[int | str, ...]) -> str:
    """The option that holds pydantic's location, which goes deeper into lists, maps and unions."""
    return ".".join(str(part) for part in location[: 2 if location[0] in sections() else 1])


def _entry(given: Source, name: str) -> Given:
    """The value given for an option; for a map built from single keys, the last of them."""
    return next((given[key] for key in reversed(given) if key == name or holder(key) == name), Given(None, FLAG, ""))


def _wrong_value(name: str, entry: Given, check: Check) -> Problem:
    where = f" ({entry.written})" if entry.written else ""
    takes = expected(options()[name])
    if name in _FILES and isinstance(entry.value, str) and not _can_be_path(entry.value):
        takes = _path_taken(entry.value)
    if isinstance(entry.value, int) and entry.value > LARGEST and "2^" not in takes:
        takes += ", and at most 2^53"
    return Problem(check, f"`{name}` cannot be `{shown(entry.value)}`{where}", f"It takes {takes}")


def _path_taken(given: str) -> str:
    """What an option that names a file takes instead of a name that it cannot take."""
    takes = f"the name of a file or folder, whose pieces have at most {_LONGEST_NAME} bytes of UTF-8 each"
    try:
        coded = given.encode("utf-8", "surrogateescape")  # as Python reads names that are not UTF-8
        coded.decode("utf-8")
    except UnicodeDecodeError as error:
        byte = f"{error.object[error.start]:02x}"
        renamed = f"mv {quoted_bytes(coded)} NEW"
        return f"names in UTF-8, since a recipe is text, and the byte 0x{byte} is none; rename it: `{renamed}`"
    except UnicodeEncodeError:
        pass
    return takes
