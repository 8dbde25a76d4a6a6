"""Monitors a run while it trains: diagnosis, outlier steps, and the GPU."""

from __future__ import annotations

import importlib
import importlib.util
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from burnish.engine.curves import Outliers
from burnish.engine.diagnosis import Diagnosis
from burnish.engine.schedule import warmup_steps
from burnish.recipe.schema import Recipe
from burnish.runs.events import Event, Note, Spiked, StepDone, Validated, Warned
from burnish.system.machine import memory_size

HOT = 85
"""Degrees Celsius. Most NVIDIA GPUs throttle a few degrees above this."""
LEAST_FREE = 0.03
"""Share of free memory below which a warning is given."""
SECONDS_BETWEEN_CHECKS = 30.0


class NotMonitoredError(Exception):
    """The temperature cannot be read; the message gives the reason."""


def read_temperature(device: torch.device) -> int:
    """Temperature of a CUDA device in degrees Celsius, from its driver.

    Raises:
        NotMonitoredError: the package nvidia-ml-py is missing, or the driver does not report it.
    """
    if importlib.util.find_spec("pynvml") is None:
        raise NotMonitoredError("the package nvidia-ml-py is missing")
    driver_error = importlib.import_module("pynvml").NVMLError
    try:
        return torch.cuda.temperature(device)
    except (driver_error, RuntimeError) as error:
        raise NotMonitoredError(str(error)) from error


@dataclass(slots=True)
class DeviceWatch:
    """Checks a CUDA device from time to time, and warns once of heat and once of low memory; ignores other devices."""

    device: torch.device
    temperature: Callable[[torch.device], int] = read_temperature
    """Degrees Celsius; raises NotMonitoredError."""
    memory: Callable[[torch.device], tuple[int, int]] = torch.cuda.mem_get_info
    """Free and total bytes; memory reserved by torch counts as used."""
    reserved: Callable[[torch.device], int] = torch.cuda.memory_reserved
    """Bytes reserved by torch."""
    allocated: Callable[[torch.device], int] = torch.cuda.memory_allocated
    """Bytes used by tensors."""
    clock: Callable[[], float] = time.monotonic
    _checked_at: float | None = None
    _warned: set[str] = field(default_factory=set)

    def observe(self, event: Event) -> list[Event]:
        """Warnings after this event: checks at every validation, and at steps at most every half minute."""
        if self.device.type != "cuda" or not isinstance(event, StepDone | Validated):
            return []
        now = self.clock()
        is_due = self._checked_at is None or now - self._checked_at >= SECONDS_BETWEEN_CHECKS
        if not is_due and not isinstance(event, Validated):
            return []
        self._checked_at = now
        return [*self._check_heat(event.step), *self._check_memory(event.step)]

    def _check_heat(self, step: int) -> list[Event]:
        if "heat" in self._warned:
            return []
        try:
            degrees = self.temperature(self.device)
        except NotMonitoredError as error:
            self._warned.add("heat")
            return [Note(f"The temperature of the GPU is not monitored: {str(error).rstrip('.')}.")]
        if degrees <= HOT:
            return []
        self._warned.add("heat")
        return [
            Warned(
                f"The GPU is at {degrees} degrees Celsius at step {step}; above {HOT} it may throttle. Check its "
                "cooling."
            )
        ]

    def _check_memory(self, step: int) -> list[Event]:
        if "memory" in self._warned:
            return []
        free, total = self.memory(self.device)
        # memory that torch has reserved but no tensor uses is available
        free += self.reserved(self.device) - self.allocated(self.device)
        if free >= LEAST_FREE * total:
            return []
        self._warned.add("memory")
        return [
            Warned(
                f"Only {memory_size(free)} of the GPU's {memory_size(total)} is free at step {step}. If memory runs "
                "out, micro-batches are made smaller; to avoid that, lower `batch.rows` in the next run."
            )
        ]


_KINDS = {"StepDone": StepDone, "Validated": Validated}


@dataclass(slots=True)
class Watch:
    """Forwards every event, followed by the diagnoses and warnings it leads to."""

    emit: Callable[[Event], None]
    recipe: Recipe
    """Fully resolved."""
    total_steps: int
    device: torch.device
    diagnosis: Diagnosis = field(init=False)
    _outliers: Outliers = field(init=False)
    _device_watch: DeviceWatch = field(init=False)
    _reported: set[tuple[int, str]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.diagnosis = Diagnosis(self.recipe, self.total_steps)
        self._outliers = Outliers(warmup_steps(self.total_steps, self.recipe.train))
        self._device_watch = DeviceWatch(self.device)

    def recall(self, metrics: Iterable[dict[str, Any]], events: Iterable[dict[str, Any]]) -> None:
        """Restores the state from the log of a resumed run, so that nothing is reported twice.

        Args:
            metrics: lines of `metrics.jsonl` up to the step where it resumes.
            events: lines of `events.jsonl`.
        """
        events = list(events)
        extended = {line["step"]: line["total_steps"] for line in events if line["event"] == "Adapted"}
        for line in metrics:
            if kind := _KINDS.get(line["event"]):
                if kind is Validated and line["step"] in extended:
                    self.diagnosis.extend(extended[line["step"]])
                event = kind(**{name: value for name, value in line.items() if name not in ("event", "time")})
                self.diagnosis.observe(event)
                if isinstance(event, StepDone):
                    self._outliers.observe(event)
        for line in events:
            if line["event"] == "Diagnosed":
                self.diagnosis.reported.add(line["name"])
                self.diagnosis.evidence[line["name"]] = line["evidence"]
            elif line["event"] == "Spiked":
                self._reported.add((line["step"], line["what"]))

    def __call__(self, event: Event) -> None:
        """Emits an event, followed by the diagnoses and warnings it leads to."""
        self.emit(event)
        for finding in [*self.diagnosis.observe(event), *self._device_watch.observe(event)]:
            self.emit(finding)

    def step_done(self, event: StepDone, indices: Sequence[int], examples: Sequence[Any]) -> None:
        """Emits a step, and the rows of an outlier step.

        Args:
            event: the step.
            indices: of its examples.
            examples: all of the run.
        """
        self(event)
        for outlier in self._outliers.observe(event):
            if (event.step, outlier.what) not in self._reported:
                rows = places(indices, examples)
                self.emit(Spiked(event.step, outlier.what, outlier.value, outlier.usual, rows))

    def not_finite(self, step: int, what: str) -> None:
        """Emits the diagnosis of a run that ended because its loss was not finite."""
        for finding in self.diagnosis.not_finite(step, what):
            self.emit(finding)


def places(indices: Sequence[int], examples: Sequence[Any]) -> list[str]:
    """Locations of the rows of a step, as `file:line`, each once."""
    return list(dict.fromkeys(examples[index].place for index in indices))
