"""Events as text: progress, details and warnings."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from burnish.cli.event_text import places, warning_text
from burnish.runs.events import DataChecked, Diagnosed, Event, MicroBatchHalved, Spiked, Warned
from tests.snapshots import check_snapshot
from tests.unit.cli.streams import Screen
from tests.unit.cli.test_progress import play

ROWS = [f"rows.jsonl:{line}" for line in range(1, 9)]
FINDING = {
    "name": "repeated",
    "severity": "warns",
    "count": 1200,
    "what": "rows like an earlier one",
    "fix": "drop them",
}
FINDINGS = [{**FINDING, "places": [f"rows.jsonl:{line}"]} for line in range(1, 6)]
WARNINGS: dict[str, Event] = {
    "a warning": Warned("Something to know."),
    "a finding with advice": Diagnosed(40, "too-few-evaluations", "2 validations", "`--set evaluate.every=10`"),
    "a finding without advice": Diagnosed(40, "learning", "it fell", ""),
    "a spike with few rows": Spiked(31, "gradient norm", 123.456, 1.5, ROWS[:2]),
    "a spike with many rows": Spiked(31, "loss", 9.0, 1.5, [*ROWS[:3], "more.jsonl:7", *ROWS[3:]]),
    "out of memory in a step": MicroBatchHalved(3, False, 2048, 1024, 1, 2),
    "out of memory in a validation": MicroBatchHalved(0, True, 2000, 500, 3, 12),
    "one defect": DataChecked(100, FINDINGS[:1]),
    "many defects": DataChecked(100, FINDINGS),
}


@pytest.mark.parametrize("name", WARNINGS)
def test_warnings(name: str) -> None:
    check_snapshot(f"unit/cli/test_event_text::{name}", warning_text(WARNINGS[name]))  # type: ignore[arg-type]


def test_rows_of_one_file_name_it_once() -> None:
    assert places(["a.txt:1", "a.txt:12", "b.txt:3", "a.txt:4"]) == "a.txt:1, 12; b.txt:3; a.txt:4"
    assert (
        places([str(Path.cwd() / "recipes/../rows.jsonl:3"), "/elsewhere/x.csv:1"])
        == "rows.jsonl:3; /elsewhere/x.csv:1"
    )
    assert places([]) == ""


def lines_of(events: list[Event]) -> list[str]:
    return play(Screen(), events).err.splitlines()


def test_learning_is_no_warning_and_other_findings_are() -> None:
    shown = lines_of([Diagnosed(10, "learning", "it fell", ""), Diagnosed(40, "stuck", "nothing moved", "Try more")])
    assert [line.startswith("warning: ") for line in shown[:2]] == [False, True]


def test_only_the_first_spikes_are_shown() -> None:
    shown = [line for line in lines_of([Spiked(step, "loss", 9.0, 1.0, ["a:1"]) for step in range(30, 40)]) if line]
    assert [re.findall(r"at step (\d+)", line) for line in shown] == [["30"], ["31"], ["32"]]
    assert ["events.jsonl" in line for line in shown] == [False, False, True]


def test_nothing_is_shown_with_json() -> None:
    assert play(Screen("--json"), [Diagnosed(40, "stuck", "nothing moved", "Try more")]).err == ""
