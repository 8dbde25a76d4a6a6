"""Events, their log, and what a resumed run forgets."""

from __future__ import annotations

from pathlib import Path

from burnish.runs.event_log import EventLog, drop_after, read_events
from burnish.runs.events import CheckpointSaved, Event, Note, Progressed, Resolved, Stage, StepDone, Validated, as_dict


def step(number: int) -> StepDone:
    """A step like any other."""
    return StepDone(number, 9, number / 3, 1.5, 1e-3, 0.7, 100, 60, 0.25, 2.0)


def test_steps_and_validations_are_metrics_and_the_rest_is_words(tmp_path: Path) -> None:
    log = EventLog(tmp_path)
    for event in (
        Stage("training"),
        step(1),
        Validated(1, 2.0, {"accuracy": 0.4}, True, 0.1),
        CheckpointSaved(1, "step-000001", 9),
    ):
        log(event)
    assert [line["event"] for line in read_events(tmp_path / "metrics.jsonl")] == ["StepDone", "Validated"]
    assert [line["event"] for line in read_events(tmp_path / "events.jsonl")] == ["Stage", "CheckpointSaved"]
    line = read_events(tmp_path / "metrics.jsonl")[0]
    assert line.pop("time") > 1.7e9
    assert line == as_dict(step(1)) == {"event": "StepDone", **line}
    assert list(as_dict(step(1)))[0] == "event"


def test_listeners_hear_everything_in_order_with_and_without_a_folder(tmp_path: Path) -> None:
    for folder in (None, tmp_path):
        heard: list[tuple[str, Event]] = []
        log = EventLog(
            folder, [lambda event, to=heard: to.append(("first", event)), lambda e, to=heard: to.append(("second", e))]
        )
        log(Note("a"))
        log(Progressed("answers", 1, 2))
        assert heard == [
            ("first", Note("a")),
            ("second", Note("a")),
            ("first", Progressed("answers", 1, 2)),
            ("second", Progressed("answers", 1, 2)),
        ]


def test_passing_progress_is_not_written(tmp_path: Path) -> None:
    EventLog(tmp_path)(Progressed("answers", 1, 2))
    assert list(tmp_path.iterdir()) == []


def test_what_happened_before_the_folder_is_written_when_it_is_there(tmp_path: Path) -> None:
    log = EventLog(None)
    log(Stage("reading data"))
    log(Resolved("data.context", 64, "the model's own limit"))
    log.attach(tmp_path)
    log(Note("grüße"))
    lines = read_events(tmp_path / "events.jsonl")
    assert [line["event"] for line in lines] == ["Stage", "Resolved", "Note"]
    assert lines[1]["value"] == 64
    assert "grüße" in (tmp_path / "events.jsonl").read_text(encoding="utf-8")


def test_a_line_cut_by_a_kill_is_left_out(tmp_path: Path) -> None:
    log = EventLog(tmp_path)
    log(step(1))
    log(step(2))
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(path.read_bytes()[:-30])
    assert [line["step"] for line in read_events(path)] == [1]
    assert read_events(tmp_path / "nothing.jsonl") == []


def test_later_steps_are_forgotten_and_earlier_lines_stay_as_they_are(tmp_path: Path) -> None:
    log = EventLog(tmp_path)
    for number in range(1, 7):
        log(step(number))
        log(Validated(number, 2.0, {"accuracy": 0.4}, True, 0.1))
    path = tmp_path / "metrics.jsonl"
    before = path.read_text().splitlines()
    with path.open("a") as file:
        file.write('{"event": "StepDone", "st')
    drop_after(path, 4)
    assert path.read_text().splitlines() == before[:8]
    drop_after(path, -1)
    assert path.read_text() == ""
    assert [file.name for file in tmp_path.iterdir()] == ["metrics.jsonl"]


def test_numbers_come_back_exactly(tmp_path: Path) -> None:
    """Losses are compared bit for bit after a resume."""
    loss = 0.1 + 0.2
    event = StepDone(1, 9, 1 / 3, loss, 2e-4 / 3, 1e-300, 1, 1, 0.0, 0.0)
    EventLog(tmp_path)(event)
    drop_after(tmp_path / "metrics.jsonl", 1)
    (line,) = read_events(tmp_path / "metrics.jsonl")
    assert (line["loss"], line["learning_rate"], line["gradient_norm"]) == (loss, 2e-4 / 3, 1e-300)
