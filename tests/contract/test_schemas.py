"""The JSON Schemas in `docs/schemas`: current, one for each command, and refusing what has another form."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from burnish.cli.command import name_of
from burnish.cli.main import COMMANDS
from burnish.cli.output_forms import FORMS
from burnish.cli.schemas import FOLDER, main, schemas
from burnish.recipe.schema import Recipe
from burnish.runs.events import Event, StepDone, Warned, as_dict
from burnish.visible import finite

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def made() -> dict[str, dict[str, Any]]:
    """Every schema by the name of its file."""
    return schemas()


def test_the_files_are_current(tmp_path: Path) -> None:
    main([str(tmp_path)])
    written = {path.name: path.read_text(encoding="utf-8") for path in tmp_path.iterdir()}
    found = {path.name: path.read_text(encoding="utf-8") for path in (ROOT / FOLDER).iterdir()}
    assert found == written, "run `make docs`"


def test_every_command_has_a_schema() -> None:
    assert set(FORMS) == {name_of(function) for group in COMMANDS.values() for function in group}


def test_a_reference_leads_to_a_schema(made: dict[str, dict[str, Any]]) -> None:
    leading = {name: schema["$ref"] for name, schema in made.items() if set(schema) == {"$schema", "$ref"}}
    assert leading["command-resume.json"] == "command-quickstart.json"
    assert all("anyOf" in made[target] for target in leading.values())


def test_each_is_a_schema(made: dict[str, dict[str, Any]]) -> None:
    assert len(made) > 25
    for schema in made.values():
        Draft202012Validator.check_schema(schema)


def test_a_recipe_is_held_to_its_schema(made: dict[str, dict[str, Any]]) -> None:
    validator = Draft202012Validator(made["recipe.json"])
    assert not list(validator.iter_errors(Recipe().model_dump(mode="json")))
    assert list(validator.iter_errors({"train": {"epochs": "many"}}))
    assert list(validator.iter_errors({"trian": {}}))


def test_every_event_is_described(made: dict[str, dict[str, Any]]) -> None:
    kinds = {one["properties"]["event"]["const"] for one in made["event.json"]["anyOf"]}
    assert kinds == {kind.__name__ for kind in Event.__subclasses__()}


@pytest.mark.parametrize(
    ("event", "is_right"),
    [
        (as_dict(Warned("look")), True),
        (as_dict(Warned("look")) | {"time": 1.5}, True),
        (as_dict(StepDone(1, 2, 0.5, float("nan"), 1e-4, float("inf"), 10, 5, 0.1, 0.2)), True),
        ({"event": "Warned"}, False),
        ({"event": "Warned", "text": 3}, False),
        ({"event": "Warned", "text": "look", "more": 1}, False),
        ({"event": "Unknown"}, False),
    ],
)
def test_a_line_is_an_event_or_not(event: dict[str, object], is_right: bool, made: dict[str, dict[str, Any]]) -> None:
    validator = Draft202012Validator(made["event.json"])
    assert validator.is_valid(json.loads(json.dumps(finite(event), allow_nan=False))) is is_right
