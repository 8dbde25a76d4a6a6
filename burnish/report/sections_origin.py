"""Where a run comes from and what it is for: the recipe, the manifest, how to use the result, how to make it again."""

from __future__ import annotations

import json
import shlex
from typing import Any

from burnish.recipe.names import options, sections
from burnish.recipe.schema import AUTO, WRITING_TASKS
from burnish.recipe.wording import spelled
from burnish.report.markup import Html, Section, block, code, facts, join, paragraph, shortened, table, tag, unfold
from burnish.report.record import RunRecord
from burnish.report.snippet import use_snippet

_MOST_CHARACTERS = 240
FOLDABLE = ("lora", "qlora", "int8-lora", "ia3")
"""Methods whose adapters can be merged."""
EJECTABLE_TASKS, EJECTABLE_METHODS = ("text", "chat", "preference"), ("full", "lora", "qlora", "int8-lora")


def use(record: RunRecord) -> Section:
    """Commands that go on from here, and code for programs without Burnish."""
    if not record.folder.result:
        told = ["The run has no result yet. ", code(f"burnish resume {shlex.quote(record.path)}"), " goes on."]
        return Section("use", "How to use it", paragraph(join(told, "")))
    run = shlex.quote(record.path)
    commands = [
        f'burnish generate {run} "..."',
        *([f"burnish chat {run}"] if record.task in WRITING_TASKS else []),
        f"burnish evaluate {run}",
        f"burnish evaluate {run} other-rows.jsonl",
        *([f"burnish merge {run}"] if record.method in FOLDABLE else []),
    ]
    snippet = use_snippet(record, f"{record.path}/{record.folder.result.name}")
    libraries = "transformers" if record.folder.result == record.folder.model else "transformers and peft"
    plain = [tag("h3", f"Without Burnish: {libraries}"), block(snippet)] if snippet else []
    return Section("use", "How to use it", join([block("\n".join(commands)), *plain]))


def again(record: RunRecord) -> Section:
    """How to check that the run comes out again, and how to repeat it."""
    run = shlex.quote(record.path)
    lines = [
        f"burnish reproduce {run}    # its first steps again: the same losses, or what has changed",
        f"burnish train {run}/recipe.yaml --name again    # all of it, as a new run",
    ]
    if record.task in EJECTABLE_TASKS and record.method in EJECTABLE_METHODS:
        lines.append(f"burnish eject {run}    # a plain script of transformers, peft and trl that repeats it")
    return Section("again", "How to make it again", block("\n".join(lines)))


def recipe(record: RunRecord) -> Section:
    """Every option of the run; those that differ from their defaults first."""
    reasons = {event["option"]: event["reason"] for event in record.all("Resolved")}
    rows: list[tuple[bool, list[object]]] = []
    for name, field in options().items():
        section = name.rpartition(".")[0]
        if section and section not in record.recipe:
            continue
        value, default = record.option(name), field.get_default(call_default_factory=True)
        differs = _spelled(value) != _spelled(default)
        cells = [code(name), _value(value), code(_spelled(default)), reasons.get(name, "") if default == AUTO else ""]
        rows.append((differs, cells))
    columns = ["option", "value", "default", "why"]
    unread = [name for name in sections() if name not in record.recipe]
    left = paragraph(f"Nothing in this run reads the sections {', '.join(unread)}.", "note") if unread else ""
    parts = [
        paragraph("The options that differ from their defaults; what was chosen for the run stands with its reason."),
        table(columns, [cells for differs, cells in rows if differs]),
        unfold("All other options", join([table(columns[:2], [cells[:2] for differs, cells in rows if not differs])])),
        left,
    ]
    return Section("recipe", "Recipe", join(parts))


def manifest(record: RunRecord) -> Section:
    """What the run was made from, closely enough to make it again."""
    told = record.manifest
    if not told:
        return Section("manifest", "Manifest", paragraph("The run has no manifest."))
    versions = ", ".join(f"{name} {version}" for name, version in told.get("versions", {}).items() if version)
    machine, model, data = told.get("machine", {}), told.get("model", {}), told.get("data", {})
    pairs: list[tuple[str, object]] = [
        ("versions", versions),
        ("processor", machine.get("processor", "")),
        ("device", f"{told.get('device', '')} {told.get('accelerator') or ''}".strip()),
        ("precision", told.get("precision", "")),
        ("seed", str(told.get("seed", ""))),
        ("base model, SHA-256", code(str(model["sha256"])) if model.get("sha256") else ""),
        ("data, SHA-256", code(str(data["sha256"])) if data.get("sha256") else ""),
        ("went on elsewhere", ", ".join(f"after step {one['step']:,}" for one in told.get("resumed", []))),
    ]
    whole = block(json.dumps(told, indent=2, ensure_ascii=False))
    return Section("manifest", "Manifest", join([facts(pairs), unfold("All of manifest.json", whole)]))


def _value(value: Any) -> Html:
    return code(shortened(_spelled(value), _MOST_CHARACTERS))


def _spelled(value: Any) -> str:
    return "nothing" if value is None else spelled(value)
