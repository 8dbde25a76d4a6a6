"""What the files of a run folder hold at least, so that a damaged one is named instead of failing where it is used.

Keys that earlier or later versions have beside these are kept.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from functools import cache
from typing import Any

from pydantic import BaseModel, ConfigDict, RootModel, ValidationError

from burnish.runs import events


class Form(BaseModel):
    """Part of a file."""

    model_config = ConfigDict(extra="allow", strict=True)


class _Estimate(Form):
    value: float | None
    low: float | None = None
    high: float | None = None


class _Values(Form):
    name: str
    base: _Estimate
    tuned: _Estimate
    lower_is_better: bool = True
    is_share: bool = False
    rows: int = 0


class _Figure(_Values):
    difference: _Estimate | None = None


class _Compared(_Values):
    difference: _Estimate


class _Answer(Form):
    prompt: str
    expected: str
    base: str
    tuned: str
    place: str = ""


class _General(Form):
    source: str
    tokens: int
    loss: _Figure


class _Source(Form):
    name: str
    rows: int
    figures: list[_Figure]


class EvaluationForm(Form):
    """`evaluation.json`."""

    verdict: str
    rows: int = 0
    headline: str = "loss"
    held_out: str = ""
    figures: list[_Figure] = []
    training: list[_Figure] = []
    sources: list[_Source] = []
    validation_sources: dict[str, list[float]] = {}
    harness: list[_Figure] = []
    answers: list[_Answer] = []
    tables: list[dict[str, Any]] = []
    general: _General | None = None
    gap: _Estimate | None = None
    note: str = ""
    split: str = ""
    caveat: str = ""
    distinct: int | None = None
    unscored: int | None = None
    deciding: list[str] = []
    findings: dict[str, str] = {}
    verdict_kind: str = ""
    forgotten: str = ""
    by_heart: str = ""


class _ExportedFile(Form):
    name: str
    bytes: int
    figures: list[_Compared] = []


class ExportForm(Form):
    """`export.json` of an export."""

    to: str
    files: list[_ExportedFile]


class _Token(Form):
    id: int
    text: str
    is_learned: bool
    is_special: bool


class _Passage(Form):
    name: str
    tokens: list[_Token]
    note: str = ""


class _View(Form):
    place: str
    passages: list[_Passage]
    number: int = 1
    of: int = 1


class ViewsForm(RootModel[list[_View]]):
    """`views.json`."""


def fault(form: type[BaseModel], found: Any) -> str:
    """What is wrong with a value, as a phrase; empty if it has the form."""
    try:
        form.model_validate(found)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        return f"`{where}` is missing" if first["type"] == "missing" else f"`{where}` has a wrong value"
    return ""


def fault_of_event(event: dict[str, Any]) -> str:
    """What is wrong with an event of a log, as a phrase; empty if nothing is, or it is of an unknown kind."""
    for name, kinds in _fields(event["event"]).items():
        if name in event and not isinstance(event[name], kinds):
            return f"`{name}` has a wrong value"
    missing = next((name for name in _NEEDED.get(event["event"], ()) if name not in event), None)
    return f"`{missing}` is missing" if missing else ""


_NEEDED = {
    "StepDone": ("step", "total_steps", "loss"),
    "Validated": ("step", "loss", "is_best", "figures"),
    "Finished": ("best_step",),
    "Adapted": ("step",),
    "Resolved": ("option", "value"),
}
"""What every version has logged; other fields may be missing in older logs."""
_PLAIN: dict[Any, tuple[type, ...]] = {
    int: (int,),
    float: (int, float, types.NoneType),
    str: (str,),
    bool: (bool,),
    None: (types.NoneType,),
    types.NoneType: (types.NoneType,),
}
"""Types in a log: a float that is not finite is null there."""


@cache
def _fields(kind: str) -> dict[str, tuple[type, ...]]:
    """The types of an event's fields, as far as they are plain."""
    made = getattr(events, kind, None)
    if not dataclasses.is_dataclass(made):
        return {}
    hints = typing.get_type_hints(made)
    found = {field.name: _kinds(hints[field.name]) for field in dataclasses.fields(made)}
    return {name: kinds for name, kinds in found.items() if kinds}


def _kinds(hint: Any) -> tuple[type, ...]:
    """The types that values of an annotation may have; none if it is not plain."""
    if hint in _PLAIN:
        return _PLAIN[hint]
    origin = typing.get_origin(hint)
    if origin in (types.UnionType, typing.Union):
        parts = [_kinds(part) for part in typing.get_args(hint)]
        return tuple(kind for part in parts for kind in part) if all(parts) else ()
    return (origin,) if origin in (list, dict) else (list,) if origin is tuple else ()
