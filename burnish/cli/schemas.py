"""Writes the JSON Schemas of recipes, of events, and of what each command prints with `--json`.

python -m burnish.cli.schemas            writes docs/schemas
python -m burnish.cli.schemas FOLDER     writes another folder
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Sequence
from functools import reduce
from operator import or_
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from burnish.cli.output_forms import FORMS
from burnish.cli.result_forms import Failed
from burnish.recipe.schema import Recipe
from burnish.runs import events

FOLDER = Path("docs/schemas")
_DRAFT = "https://json-schema.org/draft/2020-12/schema"


def schemas() -> dict[str, dict[str, Any]]:
    """All schemas, by the name of their file."""
    found = {"recipe": Recipe.model_json_schema(), "event": event_schema()}
    firsts: dict[tuple[type, ...], str] = {}
    for name, forms in FORMS.items():
        first = firsts.setdefault(forms, name)  # commands that print the same share its description
        found[f"command-{name}"] = command_schema(name) if first == name else {"$ref": f"command-{first}.json"}
    return {f"{name}.json": {"$schema": _DRAFT, **schema} for name, schema in found.items()}


def command_schema(name: str) -> dict[str, Any]:
    """Of what a command prints: its result, or an error."""
    return TypeAdapter(reduce(or_, (*FORMS[name], Failed))).json_schema()


def event_schema() -> dict[str, Any]:
    """Of a line of `events.jsonl`, `metrics.jsonl` or `--json-lines`."""
    kinds = [
        kind
        for kind in vars(events).values()
        if isinstance(kind, type) and issubclass(kind, events.Event) and kind is not events.Event
    ]
    return {"anyOf": [_of_event(kind) for kind in kinds]}


def _of_event(kind: type) -> dict[str, Any]:
    """Of one kind of event: its fields, its name and its time."""
    schema = TypeAdapter(kind).json_schema()
    fields = {name: _or_null(field) for name, field in schema.get("properties", {}).items()}
    return {
        **schema,
        "properties": {"event": {"const": kind.__name__}, "time": {"type": "number"}, **fields},
        "required": ["event", *(field.name for field in dataclasses.fields(kind))],
        "additionalProperties": False,
    }


def _or_null(field: dict[str, Any]) -> dict[str, Any]:
    """The same, and null for a number that is not finite."""
    if field.get("type") == "number":
        return {**field, "type": ["number", "null"]}
    if field.get("type") == "object" and field.get("additionalProperties") == {"type": "number"}:
        return {**field, "additionalProperties": {"type": ["number", "null"]}}
    return field


def main(arguments: Sequence[str]) -> None:
    """Writes the files."""
    folder = Path(arguments[0]) if arguments else FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    for name, schema in schemas().items():
        (folder / name).write_text(json.dumps(schema, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
