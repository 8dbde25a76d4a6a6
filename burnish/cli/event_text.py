"""Events of a run as text: the lines about progress, and the warnings."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from typing import Any

from burnish.cli.results import short
from burnish.cli.summary import planned_bytes
from burnish.cli.table import megabytes
from burnish.report.figures import duration
from burnish.runs.events import (
    Adapted,
    CommandMeasured,
    DataChecked,
    DataReady,
    Diagnosed,
    MemoryMeasured,
    MemoryPlanned,
    MicroBatchHalved,
    ModelReady,
    Note,
    ResidentMeasured,
    Resolved,
    Sampled,
    Spiked,
    StoppedEarly,
    TimeMeasured,
    TimePlanned,
    Validated,
    Warned,
)
from burnish.system.machine import memory_size


def progress_lines(event: Any, total_steps: int = 0) -> list[str]:
    """The lines that show an event to everyone; none for other events.

    Args:
        event: any of a run's.
        total_steps: of the run, whose digits align the steps; 0 where it is not known.
    """
    match event:
        case Note():
            return [event.text]
        case Validated():
            worse = "" if event.is_best or event.step == 0 else ", worse than the best"
            metrics = "".join(f", {name} {value:,.3f}" for name, value in event.figures.items())
            return [f"step {event.step:>{len(str(total_steps))}}: validation loss {event.loss:.3f}{metrics}{worse}"]
        case Sampled():
            return [_sample(one, event.step) for one in event.answers]
        case Adapted():
            how = f", with the learning rate at {event.learning_rate:.2g}" if event.factor != 1 else ""
            return [f"going on to step {event.total_steps}{how}: {event.reason}"]
        case StoppedEarly():
            return [f"stopped at step {event.step}: {event.reason}"]
        case _:
            return []


def detail_lines(event: Any) -> list[str]:
    """The lines that only `--verbose` shows: every choice with its reason, and every figure of the plan."""
    match event:
        case Resolved():
            return [f"{event.option}: {event.value} ({event.reason})"]
        case DataReady():
            tested = f", {event.test_rows:,} test" if event.test_rows else ", no test"
            rejected = f", {event.rejected_rows:,} left out" if event.rejected_rows else ""
            return [
                f"data: rows of the shape `{event.shape}`, task `{event.task}`; {event.training_rows:,} train, "
                f"{event.validation_rows:,} validation{tested}{rejected}",
                f"tokens: {event.tokens:,} per epoch, {event.trained_tokens:,} of them trained on, "
                f"packed into {event.packed_rows:,} rows",
            ]
        case MemoryPlanned():
            return _planned_memory(event)
        case MemoryMeasured():
            return [f"memory of a real step: {_beside(event, memory_size)}"]
        case TimePlanned():
            return [
                f"time: about {duration(event.seconds)} of training, at {event.tokens_per_second:,.0f} tokens/s "
                "including padding (measured here)"
            ]
        case TimeMeasured():
            return [f"training time: {_beside(event, duration)}"]
        case CommandMeasured():
            return [f"time of the command: {_beside(event, duration)}"]
        case ResidentMeasured():
            return [f"peak memory of the process: {_beside(event, memory_size)}"]
        case ModelReady():
            share = 100 * event.trained_parameters / event.parameters if event.parameters else 0.0
            size = f"{megabytes(event.base_bytes)} ({megabytes(event.fp32_bytes)} in fp32)"
            return [
                f"model: {event.name} on {event.device} in {event.precision}, {size}; {event.method} trains "
                f"{event.trained_parameters:,} of {event.parameters:,} parameters ({share:.2f} %)"
            ]
        case _:
            return []


_MOST_SHOWN = 60
"""Characters of a text on a line with others."""


def _sample(answer: dict[str, str], step: int) -> str:
    """What the model answers at a step, on a line."""
    said = (textwrap.shorten(answer[name], _MOST_SHOWN, placeholder=" …") for name in ("prompt", "given"))
    prompt, given = (text or "(nothing)" for text in said)
    return f"  {prompt} -> {given} ({f'at step {step}' if step else 'the base model'})"


def _beside(
    event: MemoryMeasured | ResidentMeasured | TimeMeasured | CommandMeasured, spell: Callable[[Any], str]
) -> str:
    """Measured next to predicted, with the error."""
    error = 100 * (event.predicted / event.measured - 1) if event.measured else 0.0
    return f"{spell(event.measured)} measured, {spell(event.predicted)} predicted ({error:+.1f} %)"


def _planned_memory(event: MemoryPlanned) -> list[str]:
    """The peak of a step as a sum."""
    parts = {**event.parts, "allocator": event.allocator, **event.overheads}
    sums = [f"{name} {memory_size(size)}" for name, size in parts.items() if size]
    recomputed = ", activations recomputed" if event.checkpointing else ""
    return [
        f"memory: {memory_size(planned_bytes(event))} at the peak = {' + '.join(sums)}",
        f"memory available: {memory_size(event.room)} ({event.room_reason}); micro-batches of {event.micro_rows} x "
        f"{event.context} tokens{recomputed}",
    ]


_MAX_ROWS = 5
_MAX_FINDINGS = 3


def warning_text(event: Warned | DataChecked | MicroBatchHalved | Diagnosed | Spiked) -> str:
    """What happened, with figures, and what to do where there is something to do."""
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
    """What a quick check of the rows found."""
    findings = [
        f"{one['count']:,} × {one['what']} (first: {one['places'][0]})" for one in event.findings[:_MAX_FINDINGS]
    ]
    more = len(event.findings) - _MAX_FINDINGS
    others = f"; and {more} more kinds" if more > 0 else ""
    return f"The data has defects: {'; '.join(findings)}{others}. See them all with `burnish check`."


def _halved(event: MicroBatchHalved) -> str:
    """What ran out of memory, and how the run continues."""
    where = f"during the validation after step {event.step}" if event.held_out else f"in step {event.step}"
    effect = "The validation now takes" if event.held_out else "The step computes the same result in"
    return (
        f"Out of memory {where}: a micro-batch now holds at most {event.tokens_after:,} tokens instead of "
        f"{event.tokens_before:,}. {effect} {event.batches_after:,} micro-batches instead of {event.batches_before:,}."
    )


def _spiked(event: Spiked) -> str:
    """The step, how far it is from the usual value, and its first rows."""
    more = f" and {len(event.rows) - _MAX_ROWS} more" if len(event.rows) > _MAX_ROWS else ""
    return (
        f"{event.what} {event.value:.3g} at step {event.step}, usually {event.usual:.3g}. "
        f"Rows of that step: {places(event.rows[:_MAX_ROWS])}{more}."
    )


def places(rows: list[str]) -> str:
    """Rows as `file:line`, as one would type the file here; each file is named once: `rows.jsonl:3, 7, 9`."""
    split = [row.rpartition(":") for row in rows]
    named = [(name, [line for _, _, line in group]) for name, group in groupby(split, key=lambda one: one[0])]
    return "; ".join(
        f"{short(Path(os.path.normpath(name)))}:{', '.join(lines)}" if name else ", ".join(lines)
        for name, lines in named
    )
