"""What to look at while a run works, in words."""

from __future__ import annotations

import re

import pytest

from burnish.cli.progress import caution
from burnish.runs.events import Diagnosed, Event, Spiked, Warned
from tests.unit.cli.streams import Screen
from tests.unit.cli.test_progress import play

ROWS = [f"rows.jsonl:{line}" for line in range(1, 9)]


def test_a_finding_has_its_evidence_and_what_to_change() -> None:
    event = Diagnosed(40, "too-few-evaluations", "2 validations", "`--set evaluate.every=10`")
    assert caution(event) == "too few evaluations: 2 validations. `--set evaluate.every=10`."
    assert caution(Diagnosed(40, "learning", "it fell", "")) == "learning: it fell."


@pytest.mark.parametrize(
    ("rows", "named"), [(ROWS[:2], ", ".join(ROWS[:2])), (ROWS, ", ".join(ROWS[:5]) + " and 3 more")]
)
def test_a_spike_names_its_first_rows(rows: list[str], named: str) -> None:
    told = caution(Spiked(31, "gradient norm", 123.456, 1.5, rows))
    assert told == (f"at step 31 the gradient norm was 123, where 1.5 is usual. The rows of that step: {named}.")


def test_a_warning_is_told_as_it_is() -> None:
    assert caution(Warned("Look at this.")) == "Look at this."


def lines_of(events: list[Event]) -> list[str]:
    return play(Screen(), events).err.splitlines()


def test_learning_is_no_warning_and_all_else_is() -> None:
    told = lines_of([Diagnosed(10, "learning", "it fell", ""), Diagnosed(40, "stuck", "nothing moved", "Try more")])
    assert told == ["learning: it fell.", "warning: stuck: nothing moved. Try more."]


def test_only_the_first_spikes_are_told() -> None:
    told = lines_of([Spiked(step, "loss", 9.0, 1.0, ["a:1"]) for step in range(30, 40)])
    assert [re.findall(r"step (\d+) the", line) for line in told] == [["30"], ["31"], ["32"]]
    assert [line.endswith("Further spikes are only written to `events.jsonl`.") for line in told] == [
        False,
        False,
        True,
    ]


def test_nothing_is_told_with_json() -> None:
    assert play(Screen("--json"), [Diagnosed(40, "stuck", "nothing moved", "Try more")]).err == ""
