"""What happens while a run works: a progress bar on a terminal, plain lines when piped.

A `Progress` is a listener: it is called with every event of the run, and shows those that a person wants to see.
"""

from __future__ import annotations

import time
from collections import deque
from types import TracebackType
from typing import TYPE_CHECKING, Any

from burnish.cli.console import Console
from burnish.cli.results import megabytes
from burnish.report.figures import duration
from burnish.runs.events import (
    DataChecked,
    DataReady,
    Diagnosed,
    Event,
    MemoryBounded,
    MemoryMeasured,
    MemoryPlanned,
    MicroBatchHalved,
    ModelReady,
    Note,
    Progressed,
    ResidentMeasured,
    Resolved,
    Spiked,
    Stage,
    StepDone,
    StoppedEarly,
    TimeMeasured,
    TimePlanned,
    TrainingStarted,
    Validated,
    Warned,
)
from burnish.system.machine import memory_size

if TYPE_CHECKING:
    import rich.progress


SECONDS_BETWEEN_LINES = 5.0
_STEPS_AVERAGED = 20
_SPIKES_TOLD = 3


class Progress:
    """Shows events as they come; used as a context manager so that the terminal is left as it was.

    Example: `with Progress(console) as progress: train(recipe, origins, [progress])`
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bar: Bar | None = None
        self._pace: deque[tuple[int, float]] = deque(maxlen=_STEPS_AVERAGED)
        self._validation: float | None = None
        self._last_line = 0.0
        self._spikes = 0

    def __enter__(self) -> Progress:
        if self._console.is_live:
            self._bar = Bar(self._console)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def __call__(self, event: Event) -> None:
        """Shows one event."""
        match event:
            case StepDone():
                self._step(event)
            case Validated():
                self._validation = event.loss
                best = ", best so far" if event.is_best else ""
                figures = "".join(f", {name} {value:,.3f}" for name, value in event.figures.items())
                self._line(f"step {event.step}: held-out loss {event.loss:.3f}{figures}{best}")
            case Progressed():
                self._count(event)
            case TrainingStarted():
                if self._bar is not None:
                    self._bar.begin("training", event.step, event.total_steps)
            case Stage():
                if self._bar is not None:
                    self._bar.begin(event.name, 0, None)
                else:
                    self._line(event.name)
            case Diagnosed(name="learning" | "too-few-evaluations"):
                self._line(caution(event))
            case Warned() | MicroBatchHalved() | DataChecked() | Diagnosed():
                self._console.warn(caution(event))
            case Spiked():
                self._spike(event)
            case _:
                for line in in_words(event):
                    self._line(line)

    def _step(self, event: StepDone) -> None:
        self._pace.append((event.tokens, event.seconds))
        seconds = sum(pace[1] for pace in self._pace)
        rate = sum(pace[0] for pace in self._pace) / seconds if seconds > 0 else 0.0
        if self._bar is not None:
            self._bar.step(event, self._validation, rate)
        elif self._is_time_for_a_line(event.step == event.total_steps):
            pace = f"{rate:,.0f} tokens/s  {duration(event.seconds_left)} left"
            self._line(f"step {event.step}/{event.total_steps}  loss {event.loss:.3f}  {pace}")

    def _spike(self, event: Spiked) -> None:
        """Tells the first spikes; all of them stand in `events.jsonl`."""
        self._spikes += 1
        if self._spikes <= _SPIKES_TOLD:
            more = " Further spikes are only written to `events.jsonl`." if self._spikes == _SPIKES_TOLD else ""
            self._console.warn(caution(event) + more)

    def _count(self, event: Progressed) -> None:
        if self._bar is not None:
            self._bar.count(event)
        elif self._is_time_for_a_line(event.done == event.total):
            self._line(f"{event.what} {event.done}/{event.total}")

    def _is_time_for_a_line(self, is_last: bool) -> bool:
        """Whether a line is due, so that a log stays short however fast the steps are."""
        now = time.monotonic()
        if not is_last and now - self._last_line < SECONDS_BETWEEN_LINES:
            return False
        self._last_line = now
        return True

    def _line(self, text: str) -> None:
        self._console.note(text, "dim")


def in_words(event: Any) -> list[str]:
    """The lines that tell an event; none for events that only files need."""
    match event:
        case Note():
            return [event.text]
        case Resolved():
            return [f"{event.option}: {event.value} ({event.reason})"]
        case DataReady():
            rejected = f", {event.rejected_rows:,} left out" if event.rejected_rows else ""
            return [
                f"data: rows of shape `{event.shape}`, task `{event.task}`; {event.training_rows:,} to train on, "
                f"{event.validation_rows:,} held out{rejected}",
                f"tokens: {event.tokens:,} an epoch, {event.trained_tokens:,} of them trained, "
                f"in {event.packed_rows:,} rows",
            ]
        case MemoryPlanned():
            return planned_memory(event)
        case MemoryBounded():
            return [
                f"memory: at most {memory_size(event.at_most)} of tensors, of {memory_size(event.room)} that may be "
                f"used ({event.room_reason}); not simulated, as everything fits"
            ]
        case MemoryMeasured():
            return [f"memory of a real step: {beside(event)}"]
        case TimePlanned():
            return [
                f"time: about {duration(event.seconds)} of training, at {event.tokens_per_second:,.0f} tokens/s with "
                "padding (measured here)"
            ]
        case TimeMeasured():
            error = 100 * (event.predicted / event.measured - 1) if event.measured else 0.0
            told = f"{duration(event.measured)} measured, {duration(event.predicted)} predicted ({error:+.1f} %)"
            return [f"time of training: {told}"]
        case ResidentMeasured():
            return [f"memory of the process while training: {beside(event)}"]
        case ModelReady():
            share = 100 * event.trained_parameters / event.parameters if event.parameters else 0.0
            held = f"{megabytes(event.base_bytes)} ({megabytes(event.fp32_bytes)} in fp32)"
            return [
                f"model: {event.name} on {event.device} in {event.precision}, {held}; {event.method} trains "
                f"{event.trained_parameters:,} of {event.parameters:,} parameters ({share:.2f} %)"
            ]
        case StoppedEarly():
            return [f"stopped at step {event.step}: {event.reason}"]
        case _:
            return []


def beside(event: MemoryMeasured | ResidentMeasured) -> str:
    """Measured next to predicted, with the error."""
    error = 100 * (event.predicted / event.measured - 1) if event.measured else 0.0
    return f"{memory_size(event.measured)} measured, {memory_size(event.predicted)} predicted ({error:+.1f} %)"


def planned_memory(event: MemoryPlanned) -> list[str]:
    """The peak of a step as the sum that it is."""
    tensors = sum(event.parts.values())
    total = tensors + event.allocator + sum(event.overheads.values())
    named = {**event.parts, "allocator": event.allocator, **event.overheads}
    sums = [f"{name} {memory_size(size)}" for name, size in named.items() if size]
    again = ", activations computed again" if event.checkpointing else ""
    return [
        f"memory: {memory_size(total)} at the peak = {' + '.join(sums)}",
        f"{memory_size(event.room)} may be used ({event.room_reason}); micro-batch of {event.micro_rows} x "
        f"{event.context} tokens{again}",
    ]


class Bar:
    """The progress bar at the foot of a terminal; lines that are noted meanwhile scroll above it."""

    def __init__(self, console: Console) -> None:
        from rich.progress import BarColumn, SpinnerColumn, TextColumn
        from rich.progress import Progress as RichProgress

        self._console = console
        self._progress = RichProgress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            TextColumn("{task.fields[count]}"),
            TextColumn("{task.fields[figures]}"),
            TextColumn("{task.fields[left]}"),
            console=console.live(),
            expand=True,
            transient=True,
        )
        self._what = "starting"
        self._counted = 0.0, 0
        self._task: rich.progress.TaskID = self._new_task(None)
        self._progress.start()

    def begin(self, what: str, done: int, total: int | None) -> None:
        """Shows another piece of work, or how far the same one has come."""
        if what != self._what:
            self._progress.remove_task(self._task)
            self._what = what
            self._task = self._new_task(total)
        count = f"{done}/{total}" if total is not None else ""
        self._progress.update(self._task, completed=done, total=total, count=count)

    def count(self, event: Progressed) -> None:
        """Shows work that is counted, whose parts are taken to be alike."""
        if event.what != self._what:
            self._counted = time.monotonic(), event.done
        self.begin(event.what, event.done, event.total)
        begun, first = self._counted
        each = (time.monotonic() - begun) / max(1, event.done - first)
        left = f"{duration(each * (event.total - event.done))} left" if event.done > first else ""
        self._progress.update(self._task, left=left)

    def _new_task(self, total: int | None) -> rich.progress.TaskID:
        return self._progress.add_task(self._what, total=total, count="", figures="", left="")

    def step(self, event: StepDone, validation: float | None, rate: float) -> None:
        """Shows one training step: loss, validation loss, tokens per second, and how long the run will still take."""
        self.begin("training", event.step, event.total_steps)
        held_out = f"  held out {validation:.3f}" if validation is not None else ""
        figures = f"loss {event.loss:.3f}{held_out}  {rate:,.0f} tokens/s"
        self._progress.update(self._task, figures=figures, left=f"{duration(event.seconds_left)} left")

    def close(self) -> None:
        """Takes the bar away."""
        self._progress.stop()


_ROWS_TOLD = 5
_KINDS_TOLD = 3


def caution(event: Warned | DataChecked | MicroBatchHalved | Diagnosed | Spiked) -> str:
    """What happened, with figures, and where there is something to do, what."""
    match event:
        case MicroBatchHalved():
            return _halved(event)
        case DataChecked():
            return _defects(event)
        case Diagnosed():
            advice = f" {event.advice}." if event.advice else ""
            return f"{event.name.replace('-', ' ')}: {event.evidence}.{advice}"
        case Spiked():
            return _spiked(event)
        case _:
            return event.text


def _defects(event: DataChecked) -> str:
    """What a brief look at the rows found."""
    told = [f"{one['count']:,} × {one['what']} (first {one['places'][0]})" for one in event.findings[:_KINDS_TOLD]]
    more = len(event.findings) - _KINDS_TOLD
    others = f"; and {more} kinds more" if more > 0 else ""
    return f"The rows have defects: {'; '.join(told)}{others}. `burnish check` on the data tells more."


def _halved(event: MicroBatchHalved) -> str:
    """What ran out of memory, and how it goes on."""
    where = f"judging the held-out rows after step {event.step}" if event.held_out else f"step {event.step}"
    whole = "The held-out rows take" if event.held_out else "The step keeps its rows and its arithmetic, and takes"
    return (
        f"Memory ran out in {where}, so a micro-batch now holds at most {event.tokens_after:,} tokens instead of "
        f"{event.tokens_before:,}. {whole} {event.batches_after:,} micro-batches instead of {event.batches_before:,}."
    )


def _spiked(event: Spiked) -> str:
    """The step, how far it stands out, and its first rows."""
    named = ", ".join(event.rows[:_ROWS_TOLD])
    more = f" and {len(event.rows) - _ROWS_TOLD} more" if len(event.rows) > _ROWS_TOLD else ""
    return (
        f"at step {event.step} the {event.what} was {event.value:.3g}, where {event.usual:.3g} is usual. The rows of "
        f"that step: {named}{more}."
    )
