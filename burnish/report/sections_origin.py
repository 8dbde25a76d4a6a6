"""The report's sections on the rows of a run, where it comes from, and how to use it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import Any

from burnish.methods import make_method
from burnish.recipe.names import options, sections, spelled
from burnish.recipe.schema import AUTO
from burnish.report.figures import counted
from burnish.report.markup import (
    Html,
    Section,
    block,
    code,
    facts,
    join,
    paragraph,
    shortened,
    table,
    tag,
    token_row,
    unfold,
)
from burnish.report.record import RunRecord, bare_place
from burnish.report.snippet import use_snippet
from burnish.tasks import task_facts

_LEGEND = (
    "Every token that the model reads of the first training rows. {learned} tokens are learned, {read} ones are only "
    "read; {special} ones mark turns and ends. Point at a token for its number."
)
_SHOWN_AT_ONCE = 2


def seen_rows(record: RunRecord) -> Section:
    """The first rows token by token, those that are learned apart from the others."""
    title = "Rows as the model sees them"
    if not record.views:
        return Section("rows", title, paragraph("The run folder holds no tokens: it has no `views.json`."))
    shown = [Html(token_row({**view, "place": bare_place(view["place"])}, level=3)) for view in record.views]
    marks = {
        "learned": tag("span", "Green", class_="t learned"),
        "read": tag("span", "grey", class_="t"),
        "special": tag("span", "special", class_="t special"),
    }
    more = len(shown) - _SHOWN_AT_ONCE
    parts = [
        paragraph(Html(_LEGEND.format(**marks))),
        *shown[:_SHOWN_AT_ONCE],
        unfold(counted(more, "more row"), join(shown[_SHOWN_AT_ONCE:])) if more > 0 else "",
    ]
    return Section("rows", title, tag("div", join(parts), class_="seen"))


def data(record: RunRecord) -> Section:
    """How many rows there are, which were left out and why, and what was found wrong with the others."""
    ready, told = record.last("DataReady"), record.manifest.get("data", {})
    pairs = [
        ("files", ", ".join(bare_place(file) for file in told.get("files", []))),
        ("shape", ready.get("shape", "")),
        ("trained on", counted(ready["training_rows"], "row") if ready else ""),
        ("held out", counted(ready["validation_rows"], "row") if ready else ""),
        ("left out", counted(ready["rejected_rows"], "row") if ready else ""),
        ("tokens an epoch", f"{ready['tokens']:,}" if ready else ""),
        ("terms of the loss an epoch", f"{ready['trained_tokens']:,}" if ready else ""),
        ("rows after packing", f"{ready['packed_rows']:,}" if ready else ""),
        ("SHA-256 of the rows", tag("code", told["sha256"]) if told.get("sha256") else ""),
    ]
    return Section("data", "Data", join([facts(pairs), _defects(record), _left_out(record)]))


def _defects(record: RunRecord) -> Html:
    checked = record.last("DataChecked")
    heading = tag("h3", "Defects that were found")
    if not checked:
        return join([heading, paragraph("A brief look at the rows found nothing wrong with them.")])
    rows = [
        [one["what"], f"{one['count']:,}", one["severity"], _places(one), one["fix"]] for one in checked["findings"]
    ]
    told = paragraph(f"In the {checked['rows']:,} rows that were looked at.", "note")
    return join([heading, table(["defect", "rows", "severity", "first", "what to do"], rows, figures=(1,)), told])


def _places(one: Mapping[str, Any]) -> Html:
    """Where a defect is, one place a line."""
    return join((tag("div", bare_place(place)) for place in one["places"]), "")


def _left_out(record: RunRecord) -> Html:
    if not record.num_rejected:
        return Html("")
    rows = [[f"{bare_place(row['file'])}:{row['line']}", row["reason"]] for row in record.rejected]
    more = record.num_rejected - len(rows)
    rest = paragraph(f"{counted(more, 'more row')} in rejected.jsonl.", "note") if more > 0 else ""
    shown = join([table(["row", "why"], rows), rest])
    title = f"Rows that were left out: {record.num_rejected:,}"
    return join([tag("h3", title), shown]) if len(rows) <= 10 else unfold(title, shown)


_MOST_CHARACTERS = 240


def use(record: RunRecord) -> Section:
    """Commands that go on from here, and code for programs without Burnish."""
    if not record.folder.result:
        told = ["The run has no result yet. ", code(f"burnish resume {shlex.quote(record.path)}"), " goes on."]
        return Section("use", "How to use it", paragraph(join(told, "")))
    run = shlex.quote(record.path)
    commands = [
        f'burnish generate {run} "..."',
        *([f"burnish chat {run}"] if task_facts(record.task).generates else []),
        f"burnish evaluate {run}",
        f"burnish evaluate {run} other-rows.jsonl",
        *([f"burnish merge {run}"] if make_method(record.method).can_merge else []),
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
    if task_facts(record.task).can_eject and make_method(record.method).can_eject:
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
