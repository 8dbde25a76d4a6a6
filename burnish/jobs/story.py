"""What happened to a job: the sentences of the queue, and the events and metrics of its run, in the order of time."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from burnish.jobs.job import Job, JobFolder
from burnish.runs.event_log import read_events
from burnish.runs.folder import RunFolder, checkpoint_folders

INFO, WARN, ERROR = "info", "warn", "error"


@dataclass(frozen=True, slots=True)
class Entry:
    """Something that happened to a job."""

    id: str
    """Follows from what it says, so that it is the same whenever it is read."""
    time: float
    """In seconds since the epoch."""
    level: str
    text: str
    data: dict[str, Any]
    is_metric: bool = False


def story_of(job: Job, folder: JobFolder) -> list[Entry]:
    """Everything that happened to a job, the oldest first.

    Raises:
        DamagedRun: a log of its run cannot be read.
    """
    said = [_entry(one["time"], one["level"], one["text"], {}, one) for one in job.said]
    events = (entry for event in read_events(folder.run.events) if (entry := _of_event(event)) is not None)
    metrics = (entry for event in read_events(folder.run.metrics) if (entry := _of_metric(event)) is not None)
    return sorted([*said, *events, *metrics], key=lambda entry: entry.time)


def _entry(
    time: float, level: str, text: str, data: dict[str, Any], source: dict[str, Any], is_metric: bool = False
) -> Entry:
    digest = hashlib.sha256(json.dumps(source, sort_keys=True).encode("utf-8")).hexdigest()
    return Entry(f"ftevent-{digest[:24]}", time, level, text, data, is_metric)


def _of_event(event: dict[str, Any]) -> Entry | None:
    """An event of a run as a sentence; None for those that only say in numbers what others say."""
    level, words = _SENTENCES.get(event["event"], (INFO, None))
    if words is None:
        return None
    if event["event"] == "Diagnosed" and not event["advice"]:
        level = INFO  # all is well
    return _entry(_time(event), level, words(event).strip(), _plain(event), event)


def _of_rows(event: dict[str, Any]) -> str:
    return (
        f"{event['training_rows']:,} rows to train on, {event['validation_rows']:,} for validation, "
        f"{event.get('test_rows', 0):,} for the test, {event['rejected_rows']:,} left out."
    )


_SENTENCES: dict[str, tuple[str, Callable[[dict[str, Any]], str]]] = {
    "Stage": (INFO, lambda event: f"Now: {event['name']}."),
    "Note": (INFO, lambda event: event["text"]),
    "Warned": (WARN, lambda event: event["text"]),
    "Resolved": (INFO, lambda event: f"`{event['option']}` is {event['value']}: {event['reason']}."),
    "DataReady": (INFO, _of_rows),
    "DataChecked": (
        WARN,
        lambda event: " ".join(f"{one['count']:,} × {one['what']} ({one['places'][0]})." for one in event["findings"]),
    ),
    "TrainingStarted": (
        INFO,
        lambda event: f"Training begins at step {event['step']} of {event['total_steps']}.",
    ),
    "Diagnosed": (
        WARN,
        lambda event: f"{event['name'].replace('-', ' ')}: {event['evidence']}. {event['advice']}",
    ),
    "Spiked": (
        WARN,
        lambda event: f"{event['what']} {event['value']:.3g} at step {event['step']}, usually {event['usual']:.3g}.",
    ),
    "MicroBatchHalved": (
        WARN,
        lambda event: f"Memory ran out at step {event['step']}; micro-batches are smaller from now on.",
    ),
    "CheckpointSaved": (INFO, lambda event: f"Checkpoint saved at step {event['step']}."),
    "StoppedEarly": (INFO, lambda event: f"Stopped at step {event['step']}: {event['reason']}."),
    "Adapted": (INFO, lambda event: f"Going on to step {event['total_steps']}: {event['reason']}."),
    "Finished": (
        INFO,
        lambda event: (
            f"The result is that of step {event['best_step']}, because {event['reason'] or 'it is the best'}."
        ),
    ),
}
"""Level and sentence of an event, by its kind."""


def _of_metric(event: dict[str, Any]) -> Entry | None:
    match event["event"]:
        case "StepDone":
            text = f"Step {event['step']}/{event['total_steps']}: training loss={_loss(event)}"
            data = {
                "step": event["step"],
                "total_steps": event["total_steps"],
                "train_loss": event["loss"],
                "learning_rate": event.get("learning_rate"),
                "tokens": event.get("tokens"),
            }
        case "Validated":
            text = f"Step {event['step']}: validation loss={_loss(event)}"
            data = {"step": event["step"], "full_valid_loss": event["loss"], **event.get("figures", {})}
        case _:
            return None
    return _entry(_time(event), INFO, text, data, event, is_metric=True)


def _loss(event: dict[str, Any]) -> str:
    return "not a number" if event["loss"] is None else f"{event['loss']:.4f}"


def _time(event: dict[str, Any]) -> float:
    return float(event.get("time") or 0.0)


def _plain(event: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in event.items() if name not in ("event", "time")}


@dataclass(frozen=True, slots=True)
class Saved:
    """A checkpoint that a run still has."""

    id: str
    step: int
    time: float
    """When it was saved, in seconds since the epoch."""
    loss: float | None
    """Of its step."""
    validation_loss: float | None
    """Of the validation at its step; None if there was none."""


def checkpoints_of(run: RunFolder) -> list[Saved]:
    """The checkpoints of a run, the oldest first."""
    steps = [int(path.name.removeprefix("step-")) for path in checkpoint_folders(run.checkpoints)]
    saved = {one["step"]: one for one in read_events(run.events) if one["event"] == "CheckpointSaved"}
    metrics = read_events(run.metrics)
    losses = {one["step"]: one["loss"] for one in metrics if one["event"] == "StepDone"}
    validations = {one["step"]: one["loss"] for one in metrics if one["event"] == "Validated"}
    stem = f"ftckpt-{run.name.removeprefix('ftjob-')}"
    return [
        Saved(f"{stem}-{step}", step, _time(saved[step]), losses.get(step), validations.get(step))
        for step in steps
        if step in saved
    ]


def metrics_table(run: RunFolder) -> bytes:
    """The metrics of a run as CSV: a line per step, with the validation at that step where there was one."""
    metrics = read_events(run.metrics)
    validations = {one["step"]: one for one in metrics if one["event"] == "Validated"}
    steps = {one["step"]: one for one in metrics if one["event"] == "StepDone"}
    figures = list(dict.fromkeys(name for one in validations.values() for name in one.get("figures", {})))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["step", *_OF_STEP.values(), "full_valid_loss", *figures])
    for step in sorted({*steps, *validations}):
        writer.writerow([step, *_cells(steps.get(step, {}), validations.get(step, {}), figures)])
    return text.getvalue().encode("utf-8")


def _cells(step: dict[str, Any], validation: dict[str, Any], figures: Iterable[str]) -> Iterator[Any]:
    yield from (step.get(name) for name in _OF_STEP)
    yield validation.get("loss")
    yield from (validation.get("figures", {}).get(name) for name in figures)


_OF_STEP = {
    "epoch": "epoch",
    "loss": "train_loss",
    "learning_rate": "learning_rate",
    "gradient_norm": "gradient_norm",
    "tokens": "tokens",
    "trained_tokens": "trained_tokens",
    "seconds": "seconds",
}
"""Columns of a step by the name of its field."""
