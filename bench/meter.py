"""What a training takes: seconds of the wall and of the processor, steps, and memory; and what notifies of them."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any


class Meter:
    """Adds up the spans between `begin` and `pause`, and up to the last `step`, and keeps the largest memory."""

    def __init__(self, device: str) -> None:
        self.seconds = self.cpu_seconds = 0.0
        self.steps = 0
        self.peak_bytes = 0
        """Resident memory of the whole process, or on CUDA what torch has allocated."""
        self._device = device
        self._kept = (0.0, 0.0)
        self._since: tuple[float, float] | None = None

    def begin(self) -> None:
        """What counts is about to begin; a span that is open goes on."""
        if self._since is None:
            self._since = time.perf_counter(), time.process_time()

    def pause(self) -> None:
        """What counts is over for now."""
        self._read()
        self._kept, self._since = (self.seconds, self.cpu_seconds), None

    def drop(self) -> None:
        """What was counted since `begin` was not part of it."""
        self._since = None

    def step(self) -> None:
        """A step of the optimizer is done."""
        self._read()
        self.steps += 1

    def look(self) -> None:
        """Notes the high-water mark of memory; to be called before anything that sets it back."""
        if self._device == "cuda":
            import torch

            peak = torch.cuda.max_memory_allocated()
        else:
            unit = 1 if sys.platform == "darwin" else 1024
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
        self.peak_bytes = max(self.peak_bytes, peak)

    def _read(self) -> None:
        if self._since is not None:
            self.seconds = self._kept[0] + time.perf_counter() - self._since[0]
            self.cpu_seconds = self._kept[1] + time.process_time() - self._since[1]


def listener(meter: Meter, counts_measuring: bool = False) -> Callable[[Any], None]:
    """Notifies a meter of Burnish's training, without the validation of the base model, which no other program has.

    Args:
        meter: to notify.
        counts_measuring: whether what is measured on the base model before the training counts as well.
    """
    from burnish.runs.events import DataReady, Stage, StepDone, TrainingStarted, Validated

    def note(event: Any) -> None:
        meter.look()  # Burnish sets the high-water mark back before its loop
        if isinstance(event, TrainingStarted) or (counts_measuring and event == Stage("measuring the base model")):
            meter.begin()
        elif counts_measuring and isinstance(event, DataReady):
            meter.pause()
        elif isinstance(event, StepDone):
            meter.step()
        elif isinstance(event, Validated) and not meter.steps:
            meter.drop()
            meter.begin()

    return note


_EVERY = 0.1
"""Seconds between two readings of another process's memory."""


def run_metered(command: Sequence[str], output: Path) -> tuple[float, int]:
    """Runs a command to its end. Linux only.

    Args:
        command: its output, errors included, goes to `output`.
        output: a file.

    Returns:
        Seconds, and the peak of its resident memory in bytes. The high-water mark is read ten times a second, because
        a process may set it back.

    Raises:
        SystemExit: it failed.
    """
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    begun, peak = time.perf_counter(), 0
    with output.open("w", encoding="utf-8") as file:
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, env=environment)
        try:
            while process.poll() is None:
                peak = max(peak, _high_water(process.pid))
                time.sleep(_EVERY)
        finally:
            process.kill()
            process.wait()
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{output.read_text(encoding='utf-8')[-2000:]}")
    return time.perf_counter() - begun, peak


def _high_water(pid: int) -> int:
    """Peak resident memory of a process in bytes; 0 if it has just ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    except ProcessLookupError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), 0)
