"""The typed events of a run, and the log that stores them, one JSON object per line."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from burnish.runs.atomic import as_disk_error, write_json_lines
from burnish.runs.damage import damaged, why_unreadable
from burnish.system.shell import quoted


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened."""


@dataclass(frozen=True, slots=True)
class Stage(Event):
    """A stage of the work begins, for example `reading data`."""

    name: str


@dataclass(frozen=True, slots=True)
class Note(Event):
    """A sentence of information for the user."""

    text: str


@dataclass(frozen=True, slots=True)
class Warned(Event):
    """A warning for the user, in a sentence."""

    text: str


@dataclass(frozen=True, slots=True)
class Resolved(Event):
    """An `auto` option was given its value."""

    option: str
    value: Any
    reason: str


@dataclass(frozen=True, slots=True)
class DataReady(Event):
    """The rows were read and encoded as examples."""

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
    test_rows: int = 0


@dataclass(frozen=True, slots=True)
class DataChecked(Event):
    """The short check of the rows found problems."""

    rows: int
    """Rows that were checked."""
    findings: list[dict[str, Any]]
    """Each with its `name`, `severity`, `count`, `places`, `what` and `fix`; most severe first."""


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
    """The memory that a training step will need, from a simulation of it."""

    device: str
    method: str
    micro_rows: int
    """Rows of the context length in memory at once (the micro-batch size)."""
    context: int
    checkpointing: bool
    """Whether activations are recomputed in the backward pass."""
    parts: dict[str, int]
    """Bytes of weights, gradients, optimizer, activations, logits and batch at the peak."""
    overheads: dict[str, int]
    """Bytes outside of tensors: the process, libraries, the CUDA context."""
    allocator: int
    """Bytes that the allocator reserves beyond the tensors."""
    room: int
    """Bytes available to the run."""
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
    """Peak tensor memory of a real step beside the prediction, in bytes."""

    predicted: int
    measured: int


@dataclass(frozen=True, slots=True)
class MemoryPredicted(Event):
    """Peak resident memory of the process from its start to its end, predicted from steps tried on this machine."""

    resident: int
    """Bytes."""
    room: int
    """Bytes available to the process, those in use included."""


@dataclass(frozen=True, slots=True)
class TimePlanned(Event):
    """Predicted time of the command, from steps, validation rows and answers timed on this machine."""

    seconds: float
    """Of training, with its validations and checkpoints."""
    tokens_per_second: float
    """Tokens through the network per second, padding included."""
    so_far: float = 0.0
    """Seconds since the command was given."""
    evaluation: float = 0.0
    """Seconds from the end of the training to the end of the command."""
    others: float = 0.0
    """Share of the processor that other programs used when the steps were timed, 0 to 1."""


@dataclass(frozen=True, slots=True)
class TimeMeasured(Event):
    """Training time beside the prediction, in seconds."""

    predicted: float
    measured: float


@dataclass(frozen=True, slots=True)
class CommandMeasured(Event):
    """Time from the command to its report beside the prediction, in seconds."""

    predicted: float
    measured: float


@dataclass(frozen=True, slots=True)
class ResidentMeasured(Event):
    """Peak resident memory of the process beside the prediction, in bytes."""

    predicted: int
    measured: int


@dataclass(frozen=True, slots=True)
class TrainingStarted(Event):
    """The training loop starts."""

    step: int
    """Steps already done, above 0 after a resume."""
    total_steps: int
    epochs: float
    micro_tokens: int | None = None
    """Token limit of a micro-batch of several rows, padding included. It decides the order of summation in a step, so a
    resumed run must use the same value."""


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
    """Tokens processed in this step, without padding."""
    trained_tokens: int
    seconds: float
    seconds_left: float
    """Estimated time of the remaining steps, validations and checkpoints. Early stopping cannot be foreseen."""


@dataclass(frozen=True, slots=True)
class MicroBatchHalved(Event):
    """Memory ran out; the same rows are processed again in smaller micro-batches."""

    step: int
    """The step that ran out of memory, from 1; in a validation, the steps done before it."""
    held_out: bool
    """Whether it happened in a validation."""
    tokens_before: int
    """Tokens of the largest micro-batch, padding included."""
    tokens_after: int
    """Token limit of a micro-batch from now on; a single row may have more."""
    batches_before: int
    """Micro-batches of the step, or of the validation."""
    batches_after: int


@dataclass(frozen=True, slots=True)
class Validated(Event):
    """A validation is done."""

    step: int
    loss: float
    figures: dict[str, float]
    """The task's own metrics by name: `accuracy`, `entity F1`, `perplexity` …"""
    is_best: bool
    """Whether these weights are the result if the run ends now: they are not worse than the best."""
    seconds: float
    changes: dict[str, list[float]] = field(default_factory=dict)
    """This loss minus another on the same rows, as `[difference, low, high]` with the ends of its 95 % interval:
    against the `base`, the `lowest` before, and `chance` (always predicting the label frequencies). Empty with too few
    rows."""
    headline: str = "loss"
    """Name of the task's main metric: `loss`, or one of `figures`."""
    is_share: bool = False
    """Whether the main metric is a number from 0 to 1, shown in percent."""


@dataclass(frozen=True, slots=True)
class Diagnosed(Event):
    """A diagnosis of how the run is going. Each name is reported once per run."""

    step: int
    name: str
    """`learning`, `stuck`, `diverging`, `recovered` (from either), `overfitting`, `underfitting` or
    `too-few-evaluations`."""
    evidence: str
    """The numbers that show it."""
    advice: str
    """What to change, with the option; empty if nothing needs to be."""


@dataclass(frozen=True, slots=True)
class Spiked(Event):
    """A step whose loss or gradient norm is an outlier."""

    step: int
    what: str
    """`loss` or `gradient norm`."""
    value: float
    usual: float
    """Median of the preceding steps."""
    rows: list[str]
    """Locations of all rows of the step, as `file:line`."""


@dataclass(frozen=True, slots=True)
class CheckpointSaved(Event):
    """A checkpoint is completely written to disk."""

    step: int
    path: str
    bytes: int


@dataclass(frozen=True, slots=True)
class StoppedEarly(Event):
    """Training ended before its last step."""

    step: int
    reason: str


@dataclass(frozen=True, slots=True)
class Adapted(Event):
    """The run begins another learning-rate schedule from the current weights (`train.adapt`)."""

    step: int
    """Steps done before it."""
    total_steps: int
    """Of the run from now on."""
    factor: float
    """Times the learning rate of the recipe."""
    learning_rate: float
    """Peak of the schedule."""
    reason: str


@dataclass(frozen=True, slots=True)
class Progressed(Event):
    """Progress of a long piece of work other than training."""

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
    reason: str = ""
    """Why the weights of `best_step` are the result, as the end of a sentence that begins with "because"."""


@dataclass(frozen=True, slots=True)
class Ranked(Event):
    """A sweep has ranked this run among its others, by the validation rows."""

    sweep: str
    """Name of the sweep."""
    rank: int
    """Place of the run's setting, from 1."""
    settings: int
    """Number of settings."""
    is_chosen: bool
    """Whether the sweep chose this run, which alone is evaluated on the test rows."""


Listener = Callable[[Event], None]


_METRICS = (StepDone, Validated)
_NOT_WRITTEN = (Progressed,)
_BLOCK_BYTES = 1 << 16


def as_dict(event: Event) -> dict[str, Any]:
    """The event as JSON-ready values, with its kind first."""
    return {"event": type(event).__name__, **asdict(event)}


class EventLog:
    """Appends events to the run folder as they happen and passes them to listeners.

    Args:
        folder: the run folder; None if it does not exist yet.
        listeners: called in order with every event.
    """

    def __init__(self, folder: Path | None, listeners: Iterable[Listener] = ()) -> None:
        self._folder = folder
        self._listeners = tuple(listeners)
        self._pending: list[tuple[str, str]] = []
        self._checked: set[Path] = set()

    def attach(self, folder: Path) -> None:
        """Writes to `folder` from now on, starting with the events that happened before it existed."""
        self._folder = folder
        for name, line in self._pending:
            self._append(name, line)
        self._pending = []

    def __call__(self, event: Event) -> None:
        """Logs one event and notifies the listeners."""
        if not isinstance(event, _NOT_WRITTEN):
            name = "metrics.jsonl" if isinstance(event, _METRICS) else "events.jsonl"
            line = json.dumps({**as_dict(event), "time": round(time.time(), 3)}, ensure_ascii=False)
            if self._folder is None:
                self._pending.append((name, line))
            else:
                self._append(name, line)
        for listener in self._listeners:
            listener(event)

    def _append(self, name: str, line: str) -> None:
        if self._folder is not None:
            path = self._folder / name
            with as_disk_error(path):
                if path not in self._checked:
                    _drop_cut_line(path)
                    self._checked.add(path)
                with path.open("a", encoding="utf-8") as file:
                    file.write(line + "\n")


def _drop_cut_line(path: Path) -> None:
    """Removes a last line that was cut short by a kill or a full disk: the next event would become a part of it."""
    if not path.is_file():
        return
    with path.open("rb+") as file:
        size = end = file.seek(0, os.SEEK_END)
        while end > 0:
            start = max(0, end - _BLOCK_BYTES)
            file.seek(start)
            if (found := file.read(end - start).rfind(b"\n")) >= 0:
                end = start + found + 1
                break
            end = start
        if end < size:
            file.truncate(end)


def read_events(path: Path) -> list[dict[str, Any]]:
    """Every event of a JSON Lines log; lines cut short by a kill or a full disk are left out.

    Raises:
        DamagedRun: the file is unreadable, or a line is not an event.
    """
    if not path.exists():
        return []
    try:
        # only at line feeds: a text may hold other characters that end a line, such as U+2028
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise damaged(path, why_unreadable(error)) from error
    events = []
    for number, line in enumerate(lines, start=1):
        if (event := parse_event(line)) is not None:
            events.append(event)
        elif number < len(lines) and not _is_cut(line):
            raise damaged(
                path, f"line {number} is not an event", f"Remove that line: `sed -i.bak {number}d {quoted(str(path))}`"
            )
    return events


def parse_event(line: bytes) -> dict[str, Any] | None:
    """The event in a line of a log; None if it is damaged or cut short."""
    try:
        event = json.loads(line.decode("utf-8"))
    except (ValueError, RecursionError):
        return None
    return event if isinstance(event, dict) and isinstance(event.get("event"), str) else None


def _is_cut(line: bytes) -> bool:
    """Whether a line is the beginning of an event: in earlier versions, the next event could follow on the same
    line."""
    return not line or line.startswith(b'{"event": "')


def drop_after(path: Path, step: int) -> None:
    """Removes the lines of later steps from a metrics log, so that a resumed run does not log them twice.

    Raises:
        DamagedRun: a line is not an event.
    """
    kept = [event for event in read_events(path) if event.get("step", 0) <= step]
    write_json_lines(path, kept)
