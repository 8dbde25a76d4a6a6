"""The GPU while a run trains: how hot it is, and how much memory is left."""

from __future__ import annotations

import importlib
import importlib.util
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from burnish.machine import memory_size
from burnish.runs.events import Event, Note, StepDone, Validated, Warned

HOT = 85
"""Degrees Celsius. Most of NVIDIA's GPUs slow themselves down a few degrees above."""
LEAST_FREE = 0.03
"""Share of the memory."""
SECONDS_BETWEEN_LOOKS = 30.0


class UnwatchedError(Exception):
    """The temperature cannot be read; the message says why."""


def read_temperature(device: torch.device) -> int:
    """Degrees Celsius of a CUDA device, from its driver.

    Raises:
        UnwatchedError: the package nvidia-ml-py is missing, or the driver does not tell.
    """
    if importlib.util.find_spec("pynvml") is None:
        raise UnwatchedError("the package nvidia-ml-py is missing")
    driver_error = importlib.import_module("pynvml").NVMLError
    try:
        return torch.cuda.temperature(device)
    except (driver_error, RuntimeError) as error:
        raise UnwatchedError(str(error)) from error


@dataclass(slots=True)
class DeviceWatch:
    """Looks at a CUDA device now and then, and warns once of heat and once of scarce memory; silent elsewhere."""

    device: torch.device
    temperature: Callable[[torch.device], int] = read_temperature
    """Degrees Celsius; raises UnwatchedError."""
    memory: Callable[[torch.device], tuple[int, int]] = torch.cuda.mem_get_info
    """Bytes that are free, and in all; what torch has set aside for itself counts as taken."""
    reserved: Callable[[torch.device], int] = torch.cuda.memory_reserved
    """Bytes that torch has set aside."""
    allocated: Callable[[torch.device], int] = torch.cuda.memory_allocated
    """Bytes of them that tensors take."""
    clock: Callable[[], float] = time.monotonic
    _looked: float | None = None
    _said: set[str] = field(default_factory=set)

    def heed(self, event: Event) -> list[Event]:
        """What there is to say after this event: a look at every validation, and at steps at most every half minute."""
        if self.device.type != "cuda" or not isinstance(event, StepDone | Validated):
            return []
        now = self.clock()
        is_due = self._looked is None or now - self._looked >= SECONDS_BETWEEN_LOOKS
        if not is_due and not isinstance(event, Validated):
            return []
        self._looked = now
        return [*self._look_at_heat(event.step), *self._look_at_memory(event.step)]

    def _look_at_heat(self, step: int) -> list[Event]:
        if "heat" in self._said:
            return []
        try:
            degrees = self.temperature(self.device)
        except UnwatchedError as error:
            self._said.add("heat")
            return [Note(f"The temperature of the GPU is not watched: {str(error).rstrip('.')}.")]
        if degrees <= HOT:
            return []
        self._said.add("heat")
        return [
            Warned(
                f"The GPU is at {degrees} degrees Celsius at step {step}; above {HOT} it may slow itself down. See to "
                "its cooling."
            )
        ]

    def _look_at_memory(self, step: int) -> list[Event]:
        if "memory" in self._said:
            return []
        free, total = self.memory(self.device)
        # what torch has set aside but no tensor takes is as good as free
        free += self.reserved(self.device) - self.allocated(self.device)
        if free >= LEAST_FREE * total:
            return []
        self._said.add("memory")
        return [
            Warned(
                f"Only {memory_size(free)} of the GPU's {memory_size(total)} are free at step {step}. Should memory "
                "run out, micro-batches are made smaller; to be sure, lower `batch.rows` in the next run."
            )
        ]
