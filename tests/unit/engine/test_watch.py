"""What is read off a run is reported after the event that shows it, once, also over a resume."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import torch

from burnish.data.rows.row import Example
from burnish.engine.watch import Watch, places
from burnish.runs.event_log import EventLog, read_events
from burnish.runs.events import Diagnosed, Event, Spiked, StepDone, Validated
from tests.unit.engine.made_curves import STEPS, made_recipe, made_run, step_done

EXAMPLES = [Example([1, 2], [1, 2], f"rows.jsonl:{line}") for line in (1, 2, 2, 7)]
CHOSEN = [3, 0, 1, 2]


def watch_over(emit: Any) -> Watch:
    return Watch(emit, made_recipe(warmup=0.0), STEPS, torch.device("cpu"))


def play(watch: Watch, events: list[Event]) -> None:
    """Steps with their batches, other events as they are."""
    for event in events:
        if isinstance(event, StepDone):
            watch.step_done(event, CHOSEN, EXAMPLES)
        else:
            watch(event)


def spiked_run() -> list[Event]:
    """Learns, learns by heart, and spikes at step 30."""
    events = made_run(lambda share: 2 * 0.01**share, lambda share: 2 - 3 * min(share, 0.4) + 2 * max(0, share - 0.4))
    at = next(index for index, event in enumerate(events) if isinstance(event, StepDone) and event.step == 30)
    events[at] = step_done(30, 9.0)
    return events


def findings(events: list[Event]) -> list[Event]:
    return [event for event in events if isinstance(event, Diagnosed | Spiked)]


def test_places_are_those_of_the_rows_each_once() -> None:
    assert places(CHOSEN, EXAMPLES) == ["rows.jsonl:7", "rows.jsonl:1", "rows.jsonl:2"]


def test_what_an_event_shows_comes_right_after_it() -> None:
    events: list[Event] = []
    play(watch_over(events.append), spiked_run())
    kinds = [type(event).__name__ for event in findings(events)]
    assert kinds == ["Diagnosed", "Spiked", "Diagnosed"]
    spike = next(event for event in events if isinstance(event, Spiked))
    assert (spike.step, spike.what, spike.value) == (30, "loss", 9.0)
    assert spike.rows == ["rows.jsonl:7", "rows.jsonl:1", "rows.jsonl:2"]
    assert events[events.index(spike) - 1] == step_done(30, 9.0)


def test_a_resumed_run_says_nothing_twice_and_nothing_less(tmp_path: Path) -> None:
    events = spiked_run()
    straight: list[Event] = []
    play(watch_over(straight.append), events)
    for cut in (3, 25, 33, 60, 80, len(events)):
        folder = tmp_path / str(cut)
        folder.mkdir()
        play(watch_over(EventLog(folder)), events[:cut])
        resumed = watch_over(EventLog(folder))
        resumed.recall(read_events(folder / "metrics.jsonl"), read_events(folder / "events.jsonl"))
        play(resumed, events[cut:])
        result = [line for line in read_events(folder / "events.jsonl") if line["event"] in ("Diagnosed", "Spiked")]
        known = [dataclasses.asdict(event) for event in findings(straight)]
        assert [{key: line[key] for key in one} for line, one in zip(result, known, strict=True)] == known


def test_what_was_said_after_the_last_checkpoint_is_not_said_again(tmp_path: Path) -> None:
    """A crash throws back to an earlier step; the spike after it was reported already."""
    events = spiked_run()
    log = EventLog(tmp_path)
    play(watch_over(log), events)
    before = (tmp_path / "events.jsonl").read_text(encoding="utf-8")
    early = [line for line in read_events(tmp_path / "metrics.jsonl") if line["step"] <= 20]
    resumed = watch_over(log)
    resumed.recall(early, read_events(tmp_path / "events.jsonl"))
    play(resumed, [event for event in events if isinstance(event, StepDone | Validated) and event.step > 20])
    assert (tmp_path / "events.jsonl").read_text(encoding="utf-8") == before


def test_events_are_plain_json(tmp_path: Path) -> None:
    play(watch_over(EventLog(tmp_path)), spiked_run())
    for name in ("events.jsonl", "metrics.jsonl"):
        assert all(json.loads(line) for line in (tmp_path / name).read_text(encoding="utf-8").splitlines())
