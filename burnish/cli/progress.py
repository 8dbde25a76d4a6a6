"""What a run shows while it works: a progress bar on a terminal, plain lines when piped.

A `Progress` is a listener: it is called with every event of a run, and shows those that matter to a person.
"""

from __future__ import annotations

import time
from collections import deque
from types import TracebackType
from typing import TYPE_CHECKING

from burnish.cli.console import Console
from burnish.cli.event_text import detail_lines, progress_lines, warning_text
from burnish.cli.summary import RunSummary
from burnish.report.figures import duration
from burnish.runs.events import (
    DataChecked,
    Diagnosed,
    Event,
    MicroBatchHalved,
    Note,
    Progressed,
    Spiked,
    Stage,
    StepDone,
    TrainingStarted,
    Validated,
    Warned,
    as_dict,
)
from burnish.visible import visible

if TYPE_CHECKING:
    import rich.progress

    from burnish.recipe.schema import Recipe


SECONDS_BETWEEN_LINES = 5.0
_SHARE_BETWEEN_LINES = 0.05
"""Of the time so far: lines of a long run come ever further apart, so that its log stays short."""
_STEPS_AVERAGED = 20
_MAX_SPIKES = 3
_WIDE = 100
"""Columns from which the progress bar shows tokens per second too."""


class Progress:
    """Shows events as they arrive. Used as a context manager, so that the terminal is left as it was.

    Example: `with Progress(console, recipe) as progress: train(recipe, origins, [progress])`

    Args:
        console: to show them on.
        recipe: of a run that is about to train; what was chosen for it is then shown as a table before the first step.
    """

    def __init__(self, console: Console, recipe: Recipe | None = None) -> None:
        self._console = console
        self._summary = RunSummary(recipe) if recipe is not None else None
        self._bar: Bar | None = None
        self._recent: deque[tuple[int, float]] = deque(maxlen=_STEPS_AVERAGED)
        self._validation: float | None = None
        self._total_steps = 0
        self._has_lines = False
        self._begun = self._last_line = time.monotonic()
        self._counted = ""
        self._num_spikes = 0
        self._warned: set[str] = set()
        self.num_warnings = 0
        """Warnings shown so far."""

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
        if self._has_lines and error is None:
            self._line("")

    def __call__(self, event: Event) -> None:
        """Shows one event."""
        self._console.event(as_dict(event))
        if isinstance(event, Note):
            self._console.noted(event.text)
        if self._summary is not None:
            self._summary.add(event)
        match event:
            case StepDone():
                self._step(event)
            case Progressed():
                self._count(event)
            case TrainingStarted():
                self._start(event)
            case Stage():
                if self._bar is not None:
                    self._bar.begin(event.name, 0, None)
                else:
                    self._line(event.name)
            case Diagnosed(name="learning" | "too-few-evaluations"):
                self._line(warning_text(event))
            case Warned() | MicroBatchHalved() | DataChecked() | Diagnosed():
                self._warn(warning_text(event))
            case Spiked():
                self._spike(event)
            case _:
                self._lines(event)

    def drop_summary(self) -> None:
        """Shows no table of what was chosen from now on: further runs differ from the first in a few options."""
        self._summary = None

    def _lines(self, event: Event) -> None:
        if isinstance(event, Validated):
            self._validation = event.loss
        for line in progress_lines(event, self._total_steps):
            self._line(line)
        if self._console.output.verbose:
            for line in detail_lines(event):
                self._line(line, "dim")

    def _line(self, text: str, style: str = "") -> None:
        self._has_lines = True
        self._console.note(text, style)

    def _start(self, event: TrainingStarted) -> None:
        self._total_steps = event.total_steps
        if self._summary is not None:
            self._line("")
            self._console.facts(self._summary.facts(), is_progress=True)
            if not self._console.output.verbose:
                self._line("Add `--verbose` to see every choice with its reason, or open the report.", "dim")
            self._line("")
        if self._bar is not None:
            self._bar.begin("training", event.step, event.total_steps)

    def _step(self, event: StepDone) -> None:
        self._recent.append((event.tokens, event.seconds))
        seconds = sum(step[1] for step in self._recent)
        rate = sum(step[0] for step in self._recent) / seconds if seconds > 0 else 0.0
        if self._bar is not None:
            self._bar.step(event, self._validation, rate)
        elif self._is_line_due() or event.step == event.total_steps:
            number = f"{event.step:>{len(str(event.total_steps))}}/{event.total_steps}"
            left = f"{rate:,.0f} tokens/s  {duration(event.seconds_left)} left"
            self._line(f"step {number}  loss {event.loss:.3f}  {left}", "dim")

    def _warn(self, text: str) -> None:
        if text in self._warned:  # what was known early is found again by the workflow
            return
        self._warned.add(text)
        self.num_warnings += 1
        self._has_lines = True
        self._console.warn(text)

    def _spike(self, event: Spiked) -> None:
        """Shows the first spikes; `events.jsonl` has all of them."""
        self._num_spikes += 1
        if self._num_spikes <= _MAX_SPIKES:
            last = " Further spikes are only written to `events.jsonl`." if self._num_spikes == _MAX_SPIKES else ""
            self._warn(warning_text(event) + last)

    def _count(self, event: Progressed) -> None:
        """Shows work that is counted; when piped, only work that takes more than a few seconds."""
        if self._bar is not None:
            self._bar.count(event)
        elif self._is_line_due() or (event.done == event.total and event.what == self._counted):
            self._counted = event.what
            self._line(f"{event.what} {event.done}/{event.total}", "dim")

    def _is_line_due(self) -> bool:
        """Whether the last line is long enough ago for another one."""
        now = time.monotonic()
        if now - self._last_line < max(SECONDS_BETWEEN_LINES, _SHARE_BETWEEN_LINES * (now - self._begun)):
            return False
        self._last_line = now
        return True


class Bar:
    """The progress bar at the foot of a terminal; other lines scroll above it."""

    def __init__(self, console: Console) -> None:
        from rich.progress import BarColumn, SpinnerColumn, TextColumn
        from rich.progress import Progress as RichProgress

        self._is_wide = console.live().width >= _WIDE
        self._progress = RichProgress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=None),
            TextColumn("{task.fields[count]}", markup=False),
            TextColumn("{task.fields[metrics]}", markup=False),
            TextColumn("{task.fields[left]}", markup=False),
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
        """Shows work that is counted, and how long the rest will take if every part takes as long as those so far."""
        if event.what != self._what:
            self._counted = time.monotonic(), event.done
        self.begin(event.what, event.done, event.total)
        begun, first = self._counted
        each = (time.monotonic() - begun) / max(1, event.done - first)
        left = f"{duration(each * (event.total - event.done))} left" if event.done > first else ""
        self._progress.update(self._task, left=left)

    def _new_task(self, total: int | None) -> rich.progress.TaskID:
        return self._progress.add_task(visible(self._what, kept=""), total=total, count="", metrics="", left="")

    def step(self, event: StepDone, validation: float | None, rate: float) -> None:
        """Shows one training step: loss, validation loss, tokens per second, and how long the run will still take."""
        self.begin("training", event.step, event.total_steps)
        metrics = f"loss {event.loss:.3f}"
        metrics += f"  validation {validation:.3f}" if validation is not None else ""
        metrics += f"  {rate:,.0f} tokens/s" if self._is_wide else ""
        self._progress.update(self._task, metrics=metrics, left=f"{duration(event.seconds_left)} left")

    def close(self) -> None:
        """Removes the bar."""
        self._progress.stop()
