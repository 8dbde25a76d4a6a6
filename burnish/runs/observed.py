"""What a run said and measured, from its log: for programs, the same that people saw."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from burnish.runs.event_log import read_events
from burnish.runs.folder import RunFolder
from burnish.visible import parse_json

_MEASURED = {
    "MemoryMeasured": "tensor bytes",
    "ResidentMeasured": "process bytes",
    "TimeMeasured": "training seconds",
    "CommandMeasured": "command seconds",
}
"""Events that have a figure of the plan beside what was measured."""
_DIAGNOSIS = ("step", "name", "evidence", "advice")


def observed(run: RunFolder) -> dict[str, Any]:
    """Warnings, notes, diagnoses, findings, rejected rows, and the plan beside what was measured.

    Raises:
        DamagedRun: the log cannot be read.
    """
    events = read_events(run.events)
    checked = next(_last_first(events, "DataChecked"), {})
    return {
        "measured": [
            {"what": what, "predicted": event["predicted"], "measured": event["measured"]}
            for kind, what in _MEASURED.items()
            if (event := next(_last_first(events, kind), None)) is not None
        ],
        "diagnoses": [{name: event[name] for name in _DIAGNOSIS} for event in events if event["event"] == "Diagnosed"],
        "findings": checked.get("findings", []),
        "rejected_rows": _rejected(run),
        "warnings": _texts(events, "Warned"),
        "notes": _texts(events, "Note"),
    }


def _last_first(events: Sequence[Mapping[str, Any]], kind: str) -> Iterator[Mapping[str, Any]]:
    return (event for event in reversed(events) if event["event"] == kind)


def _texts(events: Sequence[Mapping[str, Any]], kind: str) -> list[str]:
    """Each text once, in their order: a resumed run says some of them again."""
    return list(dict.fromkeys(event["text"] for event in events if event["event"] == kind))


def _rejected(run: RunFolder) -> list[dict[str, Any]]:
    if not run.rejected.is_file():
        return []
    return [parse_json(line) for line in run.rejected.read_text(encoding="utf-8").splitlines() if line.strip()]
