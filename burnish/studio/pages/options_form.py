"""Every option of the recipe as a form, made from its schema; what does nothing for the task or method is left out."""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping
from typing import Any, Literal, Union, get_args, get_origin

import yaml
from pydantic.fields import FieldInfo

from burnish.methods import LIKELY_METHOD, method_names, method_sections
from burnish.recipe.names import expected, options, spelled, takes_text_only
from burnish.recipe.schema import AUTO
from burnish.studio.drafts import CODE, OURS
from burnish.studio.parts import choice, details, field, group
from burnish.tasks import task_names, task_sections

_TITLES = {"": "The run", "model": "Base model", "data": "Rows", "train": "Training", "batch": "Batches"}
_ELSEWHERE = (*OURS, *CODE, "data.path", "data.columns", "task", "method", "model.name")
"""Options that have a place of their own on the pages, or none."""


def options_form(given: Mapping[str, Any], task: str, method: str, change: Callable[[str, Any], Any]) -> None:
    """The form.

    Args:
        given: options by dotted name, as they are set.
        task: of the run; options of other tasks would do nothing, and are not shown.
        method: likewise; `auto` shows those of all methods that it chooses from.
        change: receives the name and the value of an option; None for its default.
    """
    idle = _idle(task, method)
    sections: dict[str, list[str]] = {}
    for name in options():
        section = name.rpartition(".")[0]
        if name not in _ELSEWHERE and section not in idle:
            sections.setdefault(section, []).append(name)
    for section, names in sections.items():
        changed = sum(name in given for name in names)
        title = _TITLES.get(section, section.replace("_", " ").capitalize())
        with details(f"{title}: {changed} changed" if changed else title), group("options"):
            for name in names:
                option_field(name, given.get(name), change)


def option_field(name: str, value: Any, change: Callable[[str, Any], Any], label: str = "") -> None:
    """One option: a choice where its values are known, a line of text otherwise.

    Args:
        name: dotted.
        value: as it is set; None for its default.
        change: receives the name and the value; None for its default.
        label: above it; by default the name of the option.
    """
    found = options()[name]
    title = label or name.rpartition(".")[2].replace("_", " ")
    kind = "option changed" if value is not None else "option"
    default = spelled(found.get_default(call_default_factory=True))
    helps = " ".join((found.description or "").split())
    now = "" if value is None else spelled(value)
    if values := _values(found):
        shown = {"": f"{default}, the default" if default != "null" else "as usual", **{one: one for one in values}}
        choice(title, lambda text: change(name, _read(found, text)), shown, now, help=helps, term=name, kind=kind)
        return
    hint = "" if default in ("null", "[]", "{}") else default
    helps = f"{helps} Takes {expected(found)}."
    field(title, lambda text: change(name, _read(found, text)), now, placeholder=hint, help=helps, term=name, kind=kind)


def _idle(task: str, method: str) -> set[str]:
    """Sections that do nothing for a task and a method."""
    tasks = {section for one in task_names() for section in task_sections(one)}
    methods = {section for one in method_names() for section in method_sections(one)}
    used = set(task_sections(task)) if task in task_names() else tasks
    used |= set(method_sections(method if method in method_names() else LIKELY_METHOD))
    return (tasks | methods | {"distributed"}) - used


def _values(found: FieldInfo) -> list[str]:
    """The values of an option that takes only some, except its default; empty for any other."""
    values = [value for part in _members(found.annotation) for value in _of_part(part)]
    if None in values or not values:
        return []
    default = spelled(found.get_default(call_default_factory=True))
    return [value for value in map(spelled, values) if value != default]


def _of_part(kind: Any) -> list[Any]:
    if get_origin(kind) is Literal:
        return list(get_args(kind))
    return [True, False] if kind is bool else [None]


def _members(kind: Any) -> list[Any]:
    if get_origin(kind) in (Union, types.UnionType):
        return [member for part in get_args(kind) for member in _members(part)]
    return [kind]


def _read(found: FieldInfo, text: str) -> Any:
    """A value as it is written in YAML; None for an empty text."""
    if not text.strip():
        return None
    if takes_text_only(found) or text == AUTO:
        return text.strip()
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text  # the recipe says what it takes instead
