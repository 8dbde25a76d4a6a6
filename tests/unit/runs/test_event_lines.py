"""Whatever characters a row or a name has, its line in a log can be written and is found again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from burnish.runs import event_log
from burnish.runs.atomic import write_json, write_json_lines
from burnish.runs.event_log import EventLog, drop_after, read_events
from burnish.runs.events import Adapted, StoppedEarly, Warned

UNUSUAL = ["a\u2028b", "a\x85b", "a\x1cb\x0cc\rd", "half \ud83d", "\u202egpj", "é 漢 🎉"]


@pytest.mark.parametrize("text", UNUSUAL)
def test_no_event_is_lost(text: str, tmp_path: Path) -> None:
    log = EventLog(tmp_path)
    log(Warned(text))
    log(Warned("after it"))
    path = tmp_path / "events.jsonl"
    assert [event["text"] for event in read_events(path)] == [text, "after it"]
    drop_after(path, 3)
    assert [event["text"] for event in read_events(path)] == [text, "after it"]


def test_lines_of_earlier_versions_are_whole(tmp_path: Path) -> None:
    (tmp_path / "events.jsonl").write_text(
        '{"event": "Note", "text": "a\u2028b\x85c"}\n{"event": "Note", "text": "cut sh', encoding="utf-8"
    )
    assert read_events(tmp_path / "events.jsonl") == [{"event": "Note", "text": "a\u2028b\x85c"}]


@pytest.mark.parametrize("text", UNUSUAL)
def test_json_files_hold_any_text(text: str, tmp_path: Path) -> None:
    write_json(tmp_path / "one.json", {text: [text]})
    assert json.loads((tmp_path / "one.json").read_text(encoding="utf-8")) == {text: [text]}
    write_json_lines(tmp_path / "lines.jsonl", [{"event": text}, {"event": "b"}])
    assert read_events(tmp_path / "lines.jsonl") == [{"event": text}, {"event": "b"}]


def test_decisions_that_are_made_again_are_dropped_and_nothing_else(tmp_path: Path) -> None:
    log = EventLog(tmp_path)
    events = [Adapted(2, 9, 1.0, 1e-3, "why"), Adapted(5, 9, 3.0, 3e-3, "why"), Warned("later"), StoppedEarly(7, "why")]
    for event in events:
        log(event)
    path = tmp_path / "events.jsonl"
    drop_after(path, 4, ("Adapted", "Diagnosed"))
    assert [line["event"] for line in read_events(path)] == ["Adapted", "Warned", "StoppedEarly"]
    before = path.stat().st_ino
    drop_after(path, 4, ("Adapted",))
    assert path.stat().st_ino == before, "what is whole is not written again"


def test_a_line_far_longer_than_any_event_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = EventLog(tmp_path)
    for text in ("before", "a" * 1000, "after"):
        log(Warned(text))
    monkeypatch.setattr(event_log, "LONGEST_BYTES", 1000)
    assert [event["text"] for event in read_events(tmp_path / "events.jsonl")] == ["before", "after"]
