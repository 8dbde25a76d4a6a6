"""Names of the options and their types, as written in YAML, flags, Python and messages."""

from __future__ import annotations

import difflib
import functools
import json
import re
import types
from importlib import resources
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from burnish.errors import RecipeError
from burnish.recipe.schema import LARGEST, Example, Recipe, Section

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic.fields import FieldInfo


_MIN_SIMILARITY = 0.7
_MOST_FOUND = 3
"""Options named in a hint where only their help has the words."""
_LEADING_OPTIONS = ("name", "path")
"""The option meant by the bare name of a section: `model="gpt2"` is `model.name`, `data="rows.jsonl"` is
`data.path`."""


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
    """The class of a section field; None for a plain option."""
    kind = field.annotation
    return kind if isinstance(kind, type) and issubclass(kind, Section) else None


def expand(name: str) -> str:
    """The dotted name of a bare one: `epochs` is `train.epochs`, `model` is `model.name`.

    Raises:
        RecipeError: no option or several options have that name.
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
    """The option with free keys that `name` belongs to: `data.columns` for `data.columns.prompt`; None if there is
    none."""
    for option, field in options().items():
        if name.startswith(f"{option}.") and get_origin(field.annotation) is dict:
            return option
    return None


def suggest(name: str) -> str | None:
    """The option most likely meant by `name`, or None if nothing is similar.

    A correct name in the wrong section (or without one) counts as similar, and so does another library's name for it,
    which may mean a value, too: `method=qlora`.
    """
    last = name.rpartition(".")[2]
    elsewhere = names_elsewhere().get(last)
    if elsewhere is not None:
        return elsewhere
    ranked = sorted(((_similarity(name, option), option) for option in options()), reverse=True)
    best, option = ranked[0]
    return option if best >= _MIN_SIMILARITY else None


def did_you_mean(name: str) -> str:
    """The hint for an unknown option: a similar name, or else options whose help has its words."""
    if name in sections():
        return f"It is a section, and `burnish options {name}.` lists its options"
    if near := suggest(name):
        return f"Did you mean `{near}`?"
    if found := search_options(name.replace("_", " "))[:_MOST_FOUND]:
        return f"Did you mean {_one_of([f'`{one}`' for one in found])}?"
    return "All options are listed by `burnish options` and in `docs/options.md`"


def search_options(words: str) -> list[str]:
    """The options that some words lead to, best first: by name, by another library's name, or by their help.

    Args:
        words: all of them must be in the name, in another name, or in the help; the case does not matter.
    """
    wanted = words.lower().replace("-", " ").replace("_", " ").replace(".", " ").split()
    elsewhere: dict[str, str] = {}
    for other, option in names_elsewhere().items():
        option = option.partition("=")[0]
        elsewhere[option] = f"{elsewhere.get(option, '')} {other}"
    ranked: list[tuple[int, int, str]] = []
    for position, (name, field) in enumerate(options().items()):
        places = (name, elsewhere.get(name, ""), field.description or "")
        texts = [_spaced(place) for place in places]
        reach = [next((rank for rank, text in enumerate(texts) if _begins_in(word, text)), None) for word in wanted]
        if wanted and None not in reach:
            is_whole = name == words or name.rpartition(".")[2] == "_".join(wanted)
            ranked.append((-1 if is_whole else max(rank for rank in reach if rank is not None), position, name))
    return [name for *_, name in sorted(ranked)]


def _spaced(text: str) -> str:
    return f" {re.sub(r'[^a-z0-9]+', ' ', text.lower())} "


def _begins_in(word: str, spaced: str) -> bool:
    """Whether a word of a text begins so; a word of up to two letters has to be whole."""
    return f" {word} " in spaced if len(word) <= 2 else f" {word}" in spaced


@functools.cache
def names_elsewhere() -> Mapping[str, str]:
    """Other libraries' names of our options, for hints only; they are not accepted."""
    import yaml

    text = resources.files("burnish.recipe").joinpath("names_elsewhere.yaml").read_text(encoding="utf-8")
    return yaml.safe_load(text)


def _similarity(name: str, option: str) -> float:
    """Similarity of a name to an option's, from 0 to 1; the last part has most of the weight."""
    section, _, last = name.rpartition(".")
    option_section, _, option_last = option.rpartition(".")
    ending = _ratio(last, option_last)
    parts = 0.8 * ending + 0.2 * _ratio(section, option_section) if section else 0.94 * ending
    return max(_ratio(name, option), parts)


def _ratio(one: str, other: str) -> float:
    return difflib.SequenceMatcher(None, one, other).ratio()


_PLAIN = {str: "text", bool: "`true` or `false`", int: "a whole number", float: "a number", type(None): "nothing"}
_SEVERAL = {str: "texts", int: "whole numbers", float: "numbers"}


def expected(field: FieldInfo) -> str:
    """The values that an option takes, in words: `"`auto` or a number above 0"`."""
    return _kind(field.annotation, tuple(field.metadata))


def takes_text_only(field: FieldInfo) -> bool:
    """Whether an option takes only text (or nothing), so that `2024` and `on` are kept as written."""
    return all(_is_text(part) or _is_several(part) for part in _members(field.annotation))


def takes_texts(field: FieldInfo) -> bool:
    """Whether an option is a map of text to text, so that its values are kept as written."""
    return dict[str, str] in _members(field.annotation)


def takes_bool(field: FieldInfo) -> bool:
    """Whether an option takes `true` and `false`."""
    return bool in _members(field.annotation)


def takes_whole_numbers(field: FieldInfo) -> bool:
    """Whether the numbers that an option takes are whole."""
    members = _members(field.annotation)
    return int in members and float not in members


_MOST_SHOWN = 1_000
"""Characters that are read; fewer are shown."""


def shown(value: Any) -> str:
    """A value as YAML would write it, on one line, shortened if it is long, and without control characters."""
    text = "".join(one if one.isprintable() else ascii(one)[1:-1] for one in spelled(value)[:_MOST_SHOWN])
    return text if len(text) <= 60 else f"{text[:57]}..."


def spelled(value: Any) -> str:
    """A value as YAML would write it, on one line."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _members(kind: Any) -> tuple[Any, ...]:
    """The members of a union type, without their bounds."""
    if get_origin(kind) is Annotated:
        return _members(get_args(kind)[0])
    if get_origin(kind) in (Union, types.UnionType):
        return tuple(member for part in get_args(kind) for member in _members(part))
    return (kind,)


def _is_several(kind: Any) -> bool:
    """Whether a kind is a list of sections, each of which may be written as text."""
    inner = get_args(kind)
    return get_origin(kind) is list and isinstance(inner[0], type) and issubclass(inner[0], Section)


def _is_text(kind: Any) -> bool:
    if get_origin(kind) is Literal:
        return all(isinstance(value, str) for value in get_args(kind))
    return kind in (str, type(None))


def _kind(kind: Any, bounds: tuple[Any, ...] = ()) -> str:
    origin, parts = get_origin(kind), get_args(kind)
    if origin is Annotated:
        inner = [entry for item in parts[1:] for entry in (item.metadata if isinstance(item, FieldInfo) else [item])]
        return _kind(parts[0], (*bounds, *inner))
    if origin in (Union, types.UnionType):
        return " or ".join(_kind(part, bounds) for part in parts)
    if origin is Literal:
        return _one_of([f"`{value}`" for value in parts])
    if origin is list and _is_several(kind):
        return "a list of names or of `{path: ..., weight: ..., rows: ...}`"
    if origin is list:
        return f"a list of {_SEVERAL.get(parts[0], 'values')}"
    if origin is tuple:
        return f"a list of {len(parts)} values, each {_kind(parts[0])}"
    if origin is dict:
        return "a map of text to text" if parts[1] is str else "a map of text to values"
    if examples := [bound for bound in bounds if isinstance(bound, Example)]:
        return f"text such as `{examples[0]}`"
    return " ".join([_PLAIN.get(kind, getattr(kind, "__name__", str(kind))), *_range(bounds)])


def _one_of(values: list[str]) -> str:
    return values[0] if len(values) == 1 else ", ".join(values[:-1]) + f" or {values[-1]}"


def _range(bounds: tuple[Any, ...]) -> list[str]:
    """The bounds in words: `from 0 to below 1`, `above 0`, `of at least 1`; without one that no user comes near."""
    names = ("ge", "gt", "le", "lt")
    limits = {name: _number(getattr(bound, name)) for bound in bounds for name in names if hasattr(bound, name)}
    if limits.get("le") == _number(LARGEST):
        del limits["le"]
    if len(limits) == 2:
        low = f"from {limits['ge']} to" if "ge" in limits else f"above {limits['gt']} and"
        return [low, f"below {limits['lt']}" if "lt" in limits else f"up to {limits['le']}"]
    words = {"ge": "of at least", "gt": "above", "le": "of at most", "lt": "below"}
    return [f"{words[name]} {limit}" for name, limit in limits.items()]


def _number(value: Any) -> str:
    return "2^63" if value == 2**63 else f"{value:g}" if isinstance(value, float) else str(value)
