"""What happens in a run, as typed events, and the log that keeps them: one JSON line each."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from burnish.runs.atomic import told_as_disk_error, write_json_lines


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened."""


@dataclass(frozen=True, slots=True)
class Stage(Event):
    """A part of the work begins, for example `reading data`."""

    name: str


@dataclass(frozen=True, slots=True)
class Note(Event):
    """Something the user should know, in a sentence."""

    text: str


@dataclass(frozen=True, slots=True)
class Warned(Event):
    """Something the user should look at, in a sentence."""

    text: str


@dataclass(frozen=True, slots=True)
class Resolved(Event):
    """An `auto` was filled in."""

    option: str
    value: Any
    reason: str


@dataclass(frozen=True, slots=True)
class DataReady(Event):
    """The rows were read and became examples."""

    shape: str
    task: str
    training_rows: int
    validation_rows: int
    rejected_rows: int
    tokens: int
    """Training tokens of one epoch, without padding."""
    trained_tokens: int
    """Terms of the loss in one epoch: trained tokens, or rows, or pairs."""
    packed_rows: int


@dataclass(frozen=True, slots=True)
class DataChecked(Event):
    """A brief look at the rows found something wrong with them."""

    rows: int
    """That were looked at."""
    findings: list[dict[str, Any]]
    """Each with its `name`, `severity`, `count`, `places`, `what` and `fix`; the worst first."""


@dataclass(frozen=True, slots=True)
class ModelReady(Event):
    """The base model is loaded and the method applied."""

    name: str
    method: str
    device: str
    precision: str
    parameters: int
    trained_parameters: int
    base_bytes: int
    """Memory that the base model's weights take."""
    fp32_bytes: int
    """What they would take in fp32."""


@dataclass(frozen=True, slots=True)
class MemoryPlanned(Event):
    """What a step will take, from a simulation of it."""

    device: str
    method: str
    micro_rows: int
    """Rows of the context length in memory at once."""
    context: int
    checkpointing: bool
    """Whether activations are computed again in the backward pass."""
    parts: dict[str, int]
    """Bytes of weights, gradients, optimizer, activations, logits and batch at the peak."""
    overheads: dict[str, int]
    """Bytes that no tensor takes."""
    allocator: int
    """Bytes that the allocator adds to those of the tensors."""
    room: int
    """Bytes that the run may take."""
    room_reason: str


@dataclass(frozen=True, slots=True)
class MemoryBounded(Event):
    """A step needs so little memory that it was not simulated: what its tensors take at most, by formula."""

    device: str
    method: str
    micro_rows: int
    """Rows of the context length in memory at once."""
    context: int
    at_most: int
    """Bytes of tensors."""
    room: int
    """Bytes that the run may take."""
    room_reason: str


@dataclass(frozen=True, slots=True)
class MemoryMeasured(Event):
    """What a real step took, next to what was planned: bytes of tensors at the peak."""

    predicted: int
    measured: int


@dataclass(frozen=True, slots=True)
class TimePlanned(Event):
    """How long the training will take, from a step that was measured here."""

    seconds: float
    tokens_per_second: float
    """Tokens that go through the network, padding included."""


@dataclass(frozen=True, slots=True)
class TimeMeasured(Event):
    """How long the training took, next to what was planned."""

    predicted: float
    measured: float


@dataclass(frozen=True, slots=True)
class ResidentMeasured(Event):
    """What the process took while it trained, next to what was planned: bytes of resident memory at the peak."""

    predicted: int
    measured: int


@dataclass(frozen=True, slots=True)
class TrainingStarted(Event):
    """The loop begins."""

    step: int
    """Steps already done, above 0 after a resume."""
    total_steps: int
    epochs: float
    micro_tokens: int | None = None
    """Most tokens of a micro-batch of several rows, padding included: it decides in which order a step is summed."""


@dataclass(frozen=True, slots=True)
class StepDone(Event):
    """One optimizer step."""

    step: int
    total_steps: int
    epoch: float
    loss: float
    """Mean loss per trained token, row or pair, in nats."""
    learning_rate: float
    gradient_norm: float
    tokens: int
    """Tokens read in this step, without padding."""
    trained_tokens: int
    seconds: float
    seconds_left: float
    """What the steps, validations and checkpoints to come will take, as far as can be told; early stopping cannot."""


@dataclass(frozen=True, slots=True)
class MicroBatchHalved(Event):
    """Memory ran out; the same rows are gone through again in smaller pieces."""

    step: int
    """The step that ran out, from 1; for held-out rows, the steps done before."""
    held_out: bool
    """Whether it was in judging the held-out rows."""
    tokens_before: int
    """Tokens of the largest micro-batch, padding included."""
    tokens_after: int
    """Most tokens of a micro-batch from now on; a single row may have more."""
    batches_before: int
    """Micro-batches of the step, or of the held-out rows."""
    batches_after: int


@dataclass(frozen=True, slots=True)
class Validated(Event):
    """The held-out rows were judged."""

    step: int
    loss: float
    figures: dict[str, float]
    """The task's own figures, by name: `accuracy`, `entity F1`, `perplexity` …"""
    is_best: bool
    """Whether its checkpoint is the result, should no later one be shown to be better."""
    seconds: float
    changes: dict[str, list[float]] = field(default_factory=dict)
    """This loss minus others on the same rows, each as the difference and the ends of its 95 % interval: that of the
    `base`, the `lowest` before, and `chance`, which is that of answers by frequency. Empty with too few rows."""


@dataclass(frozen=True, slots=True)
class Diagnosed(Event):
    """How a run goes, in plain words. Each name is said once in a run."""

    step: int
    name: str
    """`learning`, `stuck`, `diverging`, `overfitting`, `underfitting` or `too-few-evaluations`."""
    evidence: str
    """The figures that show it."""
    advice: str
    """What to change, with the option; empty where nothing need be."""


@dataclass(frozen=True, slots=True)
class Spiked(Event):
    """A step whose loss or gradient stands far out."""

    step: int
    what: str
    """`loss` or `gradient norm`."""
    value: float
    usual: float
    """The median of the steps before."""
    rows: list[str]
    """Places of all rows of the step, as `file:line`."""


@dataclass(frozen=True, slots=True)
class CheckpointSaved(Event):
    """A checkpoint is whole on disk."""

    step: int
    path: str
    bytes: int


@dataclass(frozen=True, slots=True)
class StoppedEarly(Event):
    """Training ended before its last step."""

    step: int
    reason: str


@dataclass(frozen=True, slots=True)
class Progressed(Event):
    """A long piece of work other than training went on."""

    what: str
    done: int
    total: int


@dataclass(frozen=True, slots=True)
class Finished(Event):
    """The result is written."""

    best_step: int
    loss_before: float | None
    loss_after: float | None
    seconds: float
    result: str


Listener = Callable[[Event], None]


_METRICS = (StepDone, Validated)
_NOT_WRITTEN = (Progressed,)


def as_dict(event: Event) -> dict[str, Any]:
    """The event as JSON-ready values, with its kind first."""
    return {"event": type(event).__name__, **asdict(event)}


class EventLog:
    """Writes events to the run folder as they come, and hands them to listeners.

    Args:
        folder: the run folder, or None while there is none yet.
        listeners: called in order with every event.
    """

    def __init__(self, folder: Path | None, listeners: Iterable[Listener] = ()) -> None:
        self._folder = folder
        self._listeners = tuple(listeners)
        self._waiting: list[tuple[str, str]] = []

    def attach(self, folder: Path) -> None:
        """Writes to `folder` from now on, beginning with what happened before it was there."""
        self._folder = folder
        for name, line in self._waiting:
            self._append(name, line)
        self._waiting = []

    def __call__(self, event: Event) -> None:
        """Records one event."""
        if not isinstance(event, _NOT_WRITTEN):
            name = "metrics.jsonl" if isinstance(event, _METRICS) else "events.jsonl"
            line = json.dumps({**as_dict(event), "time": round(time.time(), 3)}, ensure_ascii=False)
            if self._folder is None:
                self._waiting.append((name, line))
            else:
                self._append(name, line)
        for listener in self._listeners:
            listener(event)

    def _append(self, name: str, line: str) -> None:
        if self._folder is not None:
            path = self._folder / name
            with told_as_disk_error(path), path.open("a", encoding="utf-8") as file:
                file.write(line + "\n")


def read_events(path: Path) -> list[dict[str, Any]]:
    """Every whole line of a JSON Lines log; a last line cut by a kill is left out."""
    if not path.exists():
        return []
    events = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            events.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return events


def forget_after(path: Path, step: int) -> None:
    """Takes the lines of later steps out of a metrics log, so that a resumed run does not tell them twice."""
    kept = [event for event in read_events(path) if event.get("step", 0) <= step]
    write_json_lines(path, kept)
