"""What a run was made from: its rows, options and manifest; and how to use it and to make it again."""

from __future__ import annotations

import json
from typing import Any

from markupsafe import Markup

from burnish.methods import make_method, method_names
from burnish.recipe.names import options, sections, spelled
from burnish.recipe.schema import AUTO
from burnish.report.figures import counted, exported_cells, shortened
from burnish.report.record import RunRecord, bare_place
from burnish.report.snippet import use_snippet
from burnish.runs.description import chain_in_words
from burnish.system.shell import quoted
from burnish.tasks import task_facts, task_names

_SHOWN_AT_ONCE = 2
_MOST_CHARACTERS = 240


def seen_rows(record: RunRecord) -> dict[str, Any]:
    """The first rows token by token, those that are trained on apart from the others."""
    more = len(record.views) - _SHOWN_AT_ONCE
    return {
        "rows": [{**view, "place": bare_place(view["place"])} for view in record.views],
        "at_once": _SHOWN_AT_ONCE,
        "more": counted(more, "more row") if more > 0 else "",
    }


def data(record: RunRecord) -> dict[str, Any]:
    """How many rows there are, which were rejected and why, and what is wrong with the others."""
    ready, source = record.last("DataReady"), record.manifest.get("data", {})
    checked = record.last("DataChecked")
    more = record.num_rejected - len(record.rejected)
    return {
        "pairs": [
            ("files", ", ".join(bare_place(file) for file in source.get("files", []))),
            ("shape", ready.get("shape", "")),
            ("training", counted(ready["training_rows"], "row") if ready else ""),
            ("validation", counted(ready["validation_rows"], "row") if ready else ""),
            ("test", counted(ready["test_rows"], "row") if ready.get("test_rows") else ""),
            ("rejected", counted(ready["rejected_rows"], "row") if ready else ""),
            ("tokens per epoch", f"{ready['tokens']:,}" if ready else ""),
            ("loss terms per epoch", f"{ready['trained_tokens']:,}" if ready else ""),
            ("rows after packing", f"{ready['packed_rows']:,}" if ready else ""),
            ("SHA-256 of the rows", _code(source.get("sha256"))),
        ],
        "checked": checked.get("rows", 0),
        "problems": [
            {**finding, "places": [bare_place(place) for place in finding["places"]]}
            for finding in checked.get("findings", [])
        ],
        "num_rejected": record.num_rejected,
        "rejected": [[f"{bare_place(row['file'])}:{row['line']}", row["reason"]] for row in record.rejected],
        "more_rejected": f"{counted(more, 'more row')} {'is' if more == 1 else 'are'}" if more > 0 else "",
    }


def use(record: RunRecord) -> dict[str, Any]:
    """Commands that use the result, and code for programs without Burnish."""
    run, result = quoted(record.path), record.folder.result
    if result is None:
        return {"commands": [], "resume": f"burnish resume {run}"}
    commands = [
        f'burnish generate {run} "..."',
        *([f"burnish chat {run}"] if task_facts(record.task).generates else []),
        f"burnish evaluate {run}",
        f"burnish evaluate {run} other-rows.jsonl",
        *([f"burnish merge {run}"] if make_method(record.method).can_merge else []),
        *([f"burnish export {run} --to gguf"] if task_facts(record.task).generates else []),
    ]
    return {
        "commands": commands,
        "exports": [exported_cells(one) for one in record.exports],
        "snippet": use_snippet(record, f"{record.path}/{result.name}"),
        "libraries": "transformers" if result == record.folder.model else "transformers and peft",
    }


def again(record: RunRecord) -> dict[str, Any]:
    """How to check that the run comes out again, and how to repeat it."""
    return {"run": quoted(record.path), "can_eject": _can_eject(record)}


def _can_eject(record: RunRecord) -> bool:
    """Whether plain libraries can repeat the run, as far as its task and method decide."""
    is_known = (
        record.task in task_names() and record.method in method_names()
    )  # before its plan, a run may have neither
    return is_known and bool(task_facts(record.task).trainer) and make_method(record.method).can_eject


def recipe(record: RunRecord) -> dict[str, Any]:
    """Every option of the run with its default, and the reason where Burnish chose the value."""
    reasons = {event["option"]: event["reason"] for event in record.all("Resolved")}
    rows = []
    for name, field in options().items():
        section = name.rpartition(".")[0]
        if section and section not in record.recipe:
            continue
        value, default = record.option(name), field.get_default(call_default_factory=True)
        rows.append(
            {
                "name": name,
                "value": shortened(_spelled(value), _MOST_CHARACTERS),
                "default": _spelled(default),
                "differs": _spelled(value) != _spelled(default),
                "reason": reasons.get(name, "") if default == AUTO else "",
            }
        )
    return {"options": rows, "unused": ", ".join(name for name in sections() if name not in record.recipe)}


def manifest(record: RunRecord) -> dict[str, Any]:
    """What the run was made from, closely enough to make it again."""
    found = record.manifest
    versions = ", ".join(f"{name} {version}" for name, version in found.get("versions", {}).items() if version)
    pairs = [
        ("versions", versions),
        ("processor", found.get("machine", {}).get("processor", "")),
        ("device", f"{found.get('device', '')} {found.get('accelerator') or ''}".strip()),
        ("precision", found.get("precision", "")),
        ("seed", str(found.get("seed", ""))),
        ("goes on from", chain_in_words(found)),
        ("base model, SHA-256", _code(found.get("model", {}).get("sha256"))),
        ("data, SHA-256", _code(found.get("data", {}).get("sha256"))),
        ("resumed elsewhere", ", ".join(f"after step {one['step']:,}" for one in found.get("resumed", []))),
    ]
    return {"pairs": pairs, "text": json.dumps(found, indent=2, ensure_ascii=False) if found else ""}


def _code(text: str | None) -> Markup:
    return Markup("<code>{}</code>").format(text) if text else Markup("")


def _spelled(value: Any) -> str:
    return "none" if value is None else spelled(value)
