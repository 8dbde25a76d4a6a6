"""What was chosen for a run, gathered from its events and shown as one short table just before training starts."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from burnish.cli.results import short
from burnish.cli.table import Facts
from burnish.recipe.quickstart import toy_remark
from burnish.recipe.schema import AUTO, Recipe
from burnish.report.figures import duration
from burnish.runs.events import (
    DataReady,
    Event,
    MemoryBounded,
    MemoryPlanned,
    MemoryPredicted,
    ModelReady,
    Resolved,
    TimePlanned,
    TrainingStarted,
)
from burnish.system.load import BUSY
from burnish.system.machine import memory_size


class RunSummary:
    """Gathers what the events of a run say about its setup.

    Args:
        recipe: as it was given, or as it was saved; its `auto` values are replaced as `Resolved` events arrive.
    """

    def __init__(self, recipe: Recipe) -> None:
        self._options: dict[str, Any] = _flat(recipe.model_dump())
        self._latest: dict[type[Event], Any] = {}

    def add(self, event: Event) -> None:
        """Keeps one event; of several of the same kind, the last one counts."""
        if isinstance(event, Resolved):
            self._options[event.option] = event.value
        else:
            self._latest[type(event)] = event

    def facts(self) -> Facts:
        """The table: a line for everything that is known so far."""
        lines = {
            "model": self._model(),
            "": toy_remark(str(self._option("model.name")), str(self._option("task") or "chat")),
            "task": self._task(),
            "method": self._method(),
            "rows": self._rows(),
            "context": f"{context:,} tokens" if (context := self._context()) else "",
            "batch": self._batch(),
            "learning rate": self._learning_rate(),
            "epochs": self._epochs(),
            "memory": self._memory(),
            "time": self._time(),
            "run folder": self._folder(),
        }
        return Facts([(name, value) for name, value in lines.items() if value])

    def _option(self, name: str) -> Any:
        """The value of an option; None where it is unset or not known yet."""
        value = self._options.get(name)
        return None if value == AUTO else value

    def _model(self) -> str:
        name = model_name(str(self._option("model.name") or ""))
        ready: ModelReady | None = self._latest.get(ModelReady)
        if ready is None:
            return name
        return f"{name}, {ready.precision} on {ready.device}"

    def _task(self) -> str:
        data: DataReady | None = self._latest.get(DataReady)
        shape = data.shape if data else self._option("data.shape")
        task = self._option("task") or ""
        return f"{task} (rows of the shape `{shape}`)" if task and shape else task

    def _method(self) -> str:
        name, rank = self._option("method") or "", self._option("lora.rank")
        rank = f", rank {rank}" if rank and "lora" in name else ""
        ready: ModelReady | None = self._latest.get(ModelReady)
        if ready is None or not ready.parameters:
            return name + rank
        share = 100 * ready.trained_parameters / ready.parameters
        shown = f"{share:.2g}" if share < 99.5 else "100"
        return f"{name}{rank}: {ready.trained_parameters:,} of {ready.parameters:,} parameters trainable ({shown} %)"

    def _rows(self) -> str:
        data: DataReady | None = self._latest.get(DataReady)
        if data is None:
            return ""
        parts = [f"{data.training_rows:,} train", f"{data.validation_rows:,} validation"]
        parts += [f"{data.test_rows:,} test"] if data.test_rows else []
        parts += [f"{data.rejected_rows:,} left out"] if data.rejected_rows else []
        return ", ".join(parts)

    def _context(self) -> int | None:
        """Tokens; where the plan had to shorten the context, only its event says so."""
        memory = self._latest.get(MemoryPlanned) or self._latest.get(MemoryBounded)
        return memory.context if memory else self._option("data.context")

    def _batch(self) -> str:
        tokens, rows, context = self._option("batch.tokens"), self._option("batch.rows"), self._context()
        if tokens is None:
            return ""
        data: DataReady | None = self._latest.get(DataReady)
        started: TrainingStarted | None = self._latest.get(TrainingStarted)
        each = data.training_rows * started.epochs / max(1, started.total_steps) if data and started else 0.0
        text = f"{tokens:,} tokens a step" + (f" (about {each:,.0f} rows)" if each >= 1 else "")
        number = math.ceil(tokens / (rows * context)) if rows and context else 1
        return text + (f", in {number:,} micro-batches" if number > 1 else "")

    def _learning_rate(self) -> str:
        rate = self._option("train.learning_rate")
        if rate is None:
            return ""
        schedule, warmup = self._option("train.schedule"), self._option("train.warmup")
        return f"{rate:g}, {schedule} schedule" + (f", {100 * warmup:g} % warmup" if warmup else "")

    def _epochs(self) -> str:
        started: TrainingStarted | None = self._latest.get(TrainingStarted)
        if started is None:
            epochs = self._option("train.epochs")
            return f"{epochs:g}" if epochs else ""
        resumed = f", resumed after step {started.step:,}" if started.step else ""
        every = self._option("evaluate.every")
        rhythm = f", validation every {every:,}" if every else ""
        return f"{started.epochs:.3g} ({started.total_steps:,} steps{rhythm}{resumed})"

    def _memory(self) -> str:
        bounded: MemoryBounded | None = self._latest.get(MemoryBounded)
        memory: MemoryPlanned | None = self._latest.get(MemoryPlanned)
        predicted: MemoryPredicted | None = self._latest.get(MemoryPredicted)
        if predicted is not None:
            again = ", activations recomputed" if memory is not None and memory.checkpointing else ""
            sizes = memory_size(predicted.resident), memory_size(predicted.room)
            return f"about {sizes[0]} at the peak, of {sizes[1]} available{again}"
        if memory is None and bounded is not None:
            return f"at most {memory_size(bounded.at_most)} for a step, of {memory_size(bounded.room)} available"
        if memory is None:
            return ""
        recomputed = ", activations recomputed" if memory.checkpointing else ""
        return f"{memory_size(planned_bytes(memory))} at the peak, of {memory_size(memory.room)} available{recomputed}"

    def _time(self) -> str:
        time: TimePlanned | None = self._latest.get(TimePlanned)
        if time is None:
            return "a few seconds of training, too short for a trial" if MemoryBounded in self._latest else ""
        whole = duration(time.so_far + time.seconds + time.evaluation)
        more = may_go_on(time.seconds, time.longest)
        parts = f"{duration(time.so_far)} until now, {duration(time.seconds)} of training{more}"
        busy = f"; other programs use {100 * time.others:.0f} % of the processor" if time.others > BUSY else ""
        return f"about {whole}: {parts}, {duration(time.evaluation)} of evaluation{busy}"

    def _folder(self) -> str:
        name = self._option("name")
        return short(Path(self._option("runs") or "") / name) if name else ""


def may_go_on(seconds: float, longest: float) -> str:
    """Text that follows the time of a training that may become longer; empty if it does not."""
    return f" ({duration(longest)} if it goes on: `train.adapt`)" if longest > seconds else ""


def planned_bytes(memory: MemoryPlanned) -> int:
    """All bytes of a planned step at its peak."""
    return sum(memory.parts.values()) + memory.allocator + sum(memory.overheads.values())


def model_name(name: str) -> str:
    """A hub or bundled name as it is; of a folder, its own name."""
    return Path(name).name if Path(name).is_dir() else name


def parameters(count: int) -> str:
    """`41,344 parameters`, `2.0 M parameters` or `7.25 B parameters`."""
    if count < 1e6:
        return f"{count:,} parameters"
    return f"{count / 1e9:.2f} B parameters" if count >= 1e9 else f"{count / 1e6:.1f} M parameters"


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested sections as dotted names."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict) and not prefix:
            flat |= _flat(value, f"{name}.")
        else:
            flat[prefix + name] = value
    return flat
