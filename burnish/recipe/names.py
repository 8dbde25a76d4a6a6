"""The names of the options, as YAML, flags and Python write them, and the near name for a mistyped one."""

from __future__ import annotations

import difflib
import functools
from importlib import resources
from typing import TYPE_CHECKING

from burnish.errors import RecipeError
from burnish.recipe.schema import Recipe, Section

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic.fields import FieldInfo

_NEAR_ENOUGH = 0.7
_LEADING_OPTIONS = ("name", "path")
"""The option that a bare section name means: `model="gpt2"` is `model.name`, `data="rows.jsonl"` is `data.path`."""


@functools.cache
def options() -> Mapping[str, FieldInfo]:
    """Every option by its dotted name, in the order of the schema: `task`, …, `model.name`, `model.revision`, …"""
    found: dict[str, FieldInfo] = {}
    for name, field in Recipe.model_fields.items():
        section = section_type(field)
        if section is None:
            found[name] = field
        else:
            found.update({f"{name}.{option}": inner for option, inner in section.model_fields.items()})
    return found


@functools.cache
def sections() -> Mapping[str, type[Section]]:
    """Every section by its name, in the order of the schema."""
    found = {name: section_type(field) for name, field in Recipe.model_fields.items()}
    return {name: section for name, section in found.items() if section is not None}


def section_type(field: FieldInfo) -> type[Section] | None:
    """The class of a field that is a section, or None for a plain option."""
    kind = field.annotation
    return kind if isinstance(kind, type) and issubclass(kind, Section) else None


def expand(name: str) -> str:
    """The dotted name that a bare one means: `epochs` is `train.epochs`, `model` is `model.name`.

    Raises:
        RecipeError: no option has that name, or several sections have one.
    """
    if name in options() or holder(name):
        return name
    if name in sections():
        return next((f"{name}.{lead}" for lead in _LEADING_OPTIONS if f"{name}.{lead}" in options()), name)
    matches = [option for option in options() if option.rpartition(".")[2] == name]
    if len(matches) == 1:
        return matches[0]
    if matches:
        listed = ", ".join(f"`{match}`" for match in matches)
        raise RecipeError(f"`{name}` could mean {listed}", fix=f"Say which: `set={{'{matches[0]}': ...}}`")
    raise RecipeError(f"`{name}` is not an option", fix=did_you_mean(name))


def holder(name: str) -> str | None:
    """The option that takes free keys and holds `name`: `data.columns` for `data.columns.prompt`; None if none does."""
    for option, field in options().items():
        if name.startswith(f"{option}.") and field.annotation == dict[str, str]:
            return option
    return None


def suggest(name: str) -> str | None:
    """The option most likely meant by `name`, or None when nothing is near.

    A right name in the wrong section (or in none) counts as near, and so does another library's spelling.
    """
    last = name.rpartition(".")[2]
    elsewhere = other_spellings().get(last)
    if elsewhere is not None:
        return elsewhere
    rated = sorted(((_likeness(name, option), option) for option in options()), reverse=True)
    best, option = rated[0]
    return option if best >= _NEAR_ENOUGH else None


def did_you_mean(name: str) -> str:
    """The hint for a name that is no option."""
    near = suggest(name)
    return f"Did you mean `{near}`?" if near else "All options are listed in `docs/options.md`"


@functools.cache
def other_spellings() -> Mapping[str, str]:
    """What other libraries call our options, for hints only: they are never accepted in place of ours."""
    import yaml

    text = resources.files("burnish.recipe").joinpath("other_spellings.yaml").read_text(encoding="utf-8")
    return yaml.safe_load(text)


def _likeness(name: str, option: str) -> float:
    """From 0 to 1: how near a written name is to an option's, weighing the last part most."""
    section, _, last = name.rpartition(".")
    option_section, _, option_last = option.rpartition(".")
    ending = _ratio(last, option_last)
    parts = 0.8 * ending + 0.2 * _ratio(section, option_section) if section else 0.94 * ending
    return max(_ratio(name, option), parts)


def _ratio(one: str, other: str) -> float:
    return difflib.SequenceMatcher(None, one, other).ratio()
