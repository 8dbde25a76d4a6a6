"""What the files of a run folder hold at least, so that a damaged one is named instead of failing where it is used.

Keys that earlier or later versions have beside these are kept.
"""

from __future__ import annotations

import dataclasses
import functools
import operator
import types
import typing
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, RootModel, ValidationError, create_model

from burnish.runs import events


class Form(BaseModel):
    """Part of a file."""

    model_config = ConfigDict(extra="allow", strict=True)


class _Estimate(Form):
    value: float | None
    low: float | None = None
    high: float | None = None


class _Figure(Form):
    name: str
    base: _Estimate
    tuned: _Estimate
    difference: _Estimate
    lower_is_better: bool = True
    is_share: bool = False
    rows: int = 0


class _Table(Form):
    """Metrics by label, and the like."""

    title: str
    columns: list[str]
    rows: list[list[str | int | float | None]]


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
    tables: list[_Table] = []
    general: _General | None = None
    gap: _Estimate | None = None
    note: str = ""
    split: str = "other"
    caveat: str = ""
    distinct: int | None = None
    unscored: int | None = None
    deciding: list[str] = []
    findings: dict[str, str] = {}
    verdict_kind: str = ""
    forgotten: str = ""
    by_heart: str = ""


class _Machine(Form):
    processor: str
    processor_features: list[str]
    platform: str


class _Hashed(Form):
    sha256: str
    name: str = ""
    files: list[str] = []
    file_sha256: list[str | None] = []
    unquantized: list[str] = []
    hashed: Literal["whole"] | None = None


class _Session(Form):
    step: int


class _Link(Form):
    name: str = ""
    task: str = ""
    how: str = ""
    base: str = ""
    step: int | None = None


class ManifestForm(Form):
    """`manifest.json`."""

    versions: dict[str, str | None]
    machine: _Machine
    device: str
    accelerator: str | None = None
    threads: int | None = None
    processes: int | None = None
    precision: str = ""
    seed: int = 0
    data: _Hashed
    model: _Hashed
    resumed: list[_Session] = []
    chain: list[_Link] = []
    recipe: dict[str, Any] | None = None


class _ExportedFile(Form):
    name: str
    bytes: int
    figures: list[_Figure] = []


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


def fault(form: type[BaseModel], found: Any, may_lack: bool = False) -> str:
    """What is wrong with a value, as a phrase; empty if it has the form.

    Args:
        form: that it should have.
        found: the value.
        may_lack: whether missing keys are no fault: whoever reads it can do without.
    """
    try:
        form.model_validate(found)
    except ValidationError as error:
        first = next((one for one in error.errors() if not (may_lack and one["type"] == "missing")), None)
        if first is None:
            return ""
        where = ".".join(map(str, first["loc"]))
        return f"`{where}` is missing" if first["type"] == "missing" else f"`{where}` has a wrong value"
    return ""


def completed(form: type[BaseModel], found: Any) -> Any:
    """A value that has the form, with what it lacks: files of earlier versions hold less."""
    return form.model_validate(found).model_dump()


def fault_of_event(event: dict[str, Any]) -> str:
    """What is wrong with an event of a log, as a phrase; empty if nothing is, or it is of an unknown kind."""
    form = _event_form(event["event"])
    return fault(form, event) if form is not None else ""


_ADDED_LATER = {"ModelReady": {"base_bytes", "fp32_bytes"}, "StepDone": {"seconds_left"}}
"""Fields without a default that the first version to log the event did not have."""

_FINITE = {"seconds", "predicted", "measured", "tokens_per_second"}
"""Figures that were measured or planned, and always are numbers."""


@functools.cache
def _event_form(kind: str) -> type[BaseModel] | None:
    """What an event holds at least; None for an unknown kind."""
    made = getattr(events, kind, None)
    if not dataclasses.is_dataclass(made):
        return None
    hints = typing.get_type_hints(made)
    fields: dict[str, Any] = {}
    for field in dataclasses.fields(made):
        is_needed = (
            field.default is field.default_factory is dataclasses.MISSING
            and field.name not in _ADDED_LATER.get(kind, ())
        )
        hint = hints[field.name] if field.name in _FINITE else _logged(hints[field.name])
        fields[field.name] = (hint, ... if is_needed else None)
    return create_model(kind, __base__=Form, **fields)


def _logged(hint: Any) -> Any:
    """The type of a value in a log: a float that is not finite is null there, and a tuple a list."""
    if hint is float:
        return float | None
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        return functools.reduce(operator.or_, map(_logged, parts))
    if origin is tuple:
        return list[Any]
    if origin is dict:
        key, value = map(_logged, parts)
        return dict[key, value]
    return list[_logged(parts[0])] if origin is list else hint
