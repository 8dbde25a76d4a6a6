"""Types, ranges and values in plain words, for error messages and for the options page."""

from __future__ import annotations

import json
import types
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

_PLAIN = {str: "text", bool: "`true` or `false`", int: "a whole number", float: "a number", type(None): "nothing"}
_SEVERAL = {str: "texts", int: "whole numbers", float: "numbers"}


def expected(field: FieldInfo) -> str:
    """What an option takes: `"`auto` or a number above 0"`."""
    return _kind(field.annotation, tuple(field.metadata))


def takes_text_only(field: FieldInfo) -> bool:
    """Whether an option takes nothing but text (or nothing), so that `2024` or `on` mean the letters themselves."""
    return all(_is_text(part) for part in _members(field.annotation))


def takes_truth(field: FieldInfo) -> bool:
    """Whether an option takes `true` and `false`."""
    return bool in _members(field.annotation)


def shown(value: Any) -> str:
    """A value as YAML would write it, on one line and cut when long."""
    text = spelled(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def spelled(value: Any) -> str:
    """A value as YAML would write it, on one line."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _members(kind: Any) -> tuple[Any, ...]:
    """The alternatives of a type, with bounds taken off."""
    if get_origin(kind) is Annotated:
        return _members(get_args(kind)[0])
    if get_origin(kind) in (Union, types.UnionType):
        return tuple(member for part in get_args(kind) for member in _members(part))
    return (kind,)


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
    if origin is list:
        return f"a list of {_SEVERAL.get(parts[0], 'values')}"
    if origin is tuple:
        return f"a list of {len(parts)} values, each {_kind(parts[0])}"
    if origin is dict:
        return "a map of text to text"
    return " ".join([_PLAIN.get(kind, getattr(kind, "__name__", str(kind))), *_range(bounds)])


def _one_of(values: list[str]) -> str:
    return values[0] if len(values) == 1 else ", ".join(values[:-1]) + f" or {values[-1]}"


def _range(bounds: tuple[Any, ...]) -> list[str]:
    """The bounds in words: `from 0 to below 1`, `above 0`, `of at least 1`."""
    names = ("ge", "gt", "le", "lt")
    limits = {name: _number(getattr(bound, name)) for bound in bounds for name in names if hasattr(bound, name)}
    if len(limits) == 2:
        low = f"from {limits['ge']} to" if "ge" in limits else f"above {limits['gt']} and"
        return [low, f"below {limits['lt']}" if "lt" in limits else f"up to {limits['le']}"]
    words = {"ge": "of at least", "gt": "above", "le": "of at most", "lt": "below"}
    return [f"{words[name]} {limit}" for name, limit in limits.items()]


def _number(value: Any) -> str:
    return "2^63" if value == 2**63 else f"{value:g}" if isinstance(value, float) else str(value)
