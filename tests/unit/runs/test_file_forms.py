"""Damaged values in the files of a run are found where they are read, and what earlier versions wrote is none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from burnish.evaluate.comparison import Comparison
from burnish.runs.damage import DamagedRun
from burnish.runs.event_log import EventLog, read_events
from burnish.runs.events import Finished, StepDone, Validated, as_dict
from burnish.runs.file_forms import EvaluationForm, ManifestForm, ViewsForm, fault, fault_of_event
from tests.unit.report.made_run import manifest

STEP = as_dict(StepDone(1, 9, 0.1, float("nan"), 1e-3, 0.7, 100, 60, 0.25, 2.0))
ESTIMATE = {"value": 1.0, "low": None, "high": 2}
FIGURE = {"name": "loss", "base": ESTIMATE, "tuned": ESTIMATE, "difference": ESTIMATE}
EVALUATION = {"rows": 3, "verdict": "The tuned model is better.", "figures": [FIGURE], "answers": [], "later": {"a": 1}}
TOKEN = {"id": 1, "text": "a", "is_learned": True, "is_special": False}
VIEWS = [{"place": "a:1", "passages": [{"name": "text", "tokens": [TOKEN]}]}]


_NEVER_READ = {"trained_tokens"}


def changed(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    """A copy with another value at a place; None removes it."""
    copied = json.loads(json.dumps(value))
    holder = copied
    for key in path[:-1]:
        holder = holder[key]
    if new is None:
        del holder[path[-1]]
    else:
        holder[path[-1]] = new
    return copied


def test_the_form_has_what_a_comparison_writes_and_no_more() -> None:
    written = set(Comparison(3, 40, "rows").to_dict())
    assert written - _NEVER_READ == set(EvaluationForm.model_fields)


def test_whole_ones_have_no_fault() -> None:
    assert fault(EvaluationForm, EVALUATION) == fault(ViewsForm, VIEWS) == fault_of_event(STEP) == ""


@pytest.mark.parametrize(
    ("form", "value", "path", "new", "said"),
    [
        (EvaluationForm, EVALUATION, ("verdict",), None, "`verdict` is missing"),
        (EvaluationForm, EVALUATION, ("figures", 0, "base"), None, "`figures.0.base` is missing"),
        (EvaluationForm, EVALUATION, ("figures", 0, "name"), 3, "`figures.0.name` has a wrong value"),
        (EvaluationForm, EVALUATION, ("answers",), [3], "`answers.0` has a wrong value"),
        (ViewsForm, VIEWS, (0, "passages", 0, "tokens", 0, "id"), None, "`0.passages.0.tokens.0.id` is missing"),
        (ViewsForm, VIEWS, (0, "place"), 3, "`0.place` has a wrong value"),
        (ManifestForm, manifest("x"), ("model", "hashed"), "partly", "`model.hashed` has a wrong value"),
        (ManifestForm, manifest("x"), ("data", "files"), 3, "`data.files` has a wrong value"),
    ],
)
def test_what_is_wrong_is_named(form: Any, value: Any, path: tuple[Any, ...], new: Any, said: str) -> None:
    assert fault(form, changed(value, path, new)) == said


@pytest.mark.parametrize(
    ("event", "said"),
    [
        ({**STEP, "step": "1"}, "`step` has a wrong value"),
        ({**STEP, "loss": [1.0]}, "`loss` has a wrong value"),
        ({"event": "StepDone", "step": 1, "total_steps": 9, "epoch": 0.1}, "`loss` is missing"),
        ({**STEP, "learning_rate": []}, "`learning_rate` has a wrong value"),
        ({**STEP, "seconds": None}, "`seconds` has a wrong value"),
        ({"event": "DataChecked", "rows": 1, "findings": [3]}, "`findings.0` has a wrong value"),
        ({"event": "Finished"}, "`best_step` is missing"),
        ({"event": "Validated", "step": 1, "loss": 1.0, "is_best": True}, "`figures` is missing"),
        ({"event": "Stage", "name": None}, "`name` has a wrong value"),
    ],
)
def test_a_wrong_event_ends_the_reading(event: dict[str, Any], said: str, tmp_path: Path) -> None:
    assert fault_of_event(event) == said
    path = tmp_path / "events.jsonl"
    EventLog(tmp_path)(Finished(3, 1.0, 0.5, 2.0, "adapter", ""))
    path.write_text(path.read_text() + json.dumps(event) + "\n")
    with pytest.raises(DamagedRun) as caught:
        read_events(path)
    assert f"in line 2, {said}" in caught.value.why


def test_events_of_other_versions_are_read() -> None:
    earlier = {name: value for name, value in STEP.items() if name != "seconds_left"}
    model = {"event": "ModelReady", "name": "a", "method": "lora", "device": "cpu", "precision": "fp32"}
    assert fault_of_event({**model, "parameters": 9, "trained_parameters": 1}) == ""
    assert fault_of_event(earlier) == fault_of_event({"event": "Later", "step": []}) == ""
    assert fault_of_event(as_dict(Validated(1, 2.0, {"accuracy": 0.4}, True, 0.1))) == ""
