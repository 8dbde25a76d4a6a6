"""What a run says before its first step, beside what the system measures: memory and time of whole commands.

    python bench/predictions.py REAL [--only tag] [--write]     about an hour for all, on a quiet machine; Linux only

REAL is a folder with the real models `smollm2` and `minilm` (see CONTRIBUTING.md). A line is one `burnish train` in a
process of its own, with the defaults but for early stopping, which no prediction foresees. Memory is the peak of
resident memory that the system reports for the process when it has ended; time goes from the command to its end.
`--write` puts the table into docs/memory.md, between two markers.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from page import DOCS, write_between

SAMPLES = Path(str(resources.files("burnish"))) / "assets" / "samples"
MIB = 2**20


@dataclass(frozen=True, slots=True)
class Run:
    """A command to train."""

    sample: str
    model: str
    method: str
    options: tuple[str, ...] = ()
    """As after `--set`."""

    def command(self, real: Path, runs: str) -> list[str]:
        """Its arguments."""
        model = str(real / self.model) if self.model in ("smollm2", "minilm") else self.model
        settings = [
            argument
            for option in (*self.options, "train.early_stopping=false", f"runs={runs}")
            for argument in ("--set", option)
        ]
        data = str(SAMPLES / self.sample)
        return [sys.executable, "-m", "burnish", "train", data, "--model", model, "--method", self.method, *settings]

    def __str__(self) -> str:
        options = f" {' '.join(self.options)}" if self.options else ""
        return f"{self.sample} {self.model} {self.method}{options}"


_SHORT = ("train.max_steps=12",)
RUNS = (
    Run("orders.jsonl", "seedling", "lora"),
    Run("orders.jsonl", "seedling", "full"),
    Run("orders.jsonl", "seedling", "prompt"),
    Run("helpdesk.jsonl", "seedling", "ia3"),
    Run("helpdesk.jsonl", "seedling", "qlora"),
    Run("journal.jsonl", "seedling", "freeze"),
    Run("preferences.jsonl", "seedling", "lora"),
    Run("tickets.jsonl", "acorn", "lora"),
    Run("tickets.jsonl", "acorn", "full"),
    Run("tickets.jsonl", "minilm", "lora"),
    Run("tickets.jsonl", "minilm", "full"),
    Run("entities.conll", "acorn", "lora"),
    Run("entities.conll", "minilm", "lora"),
    Run("entities.conll", "minilm", "full", ("model.precision=fp32",)),
    Run("notes.json", "acorn", "full", ("data.context=256",)),
    Run("notes.json", "minilm", "lora", ("train.max_steps=40",)),
    Run("orders.jsonl", "smollm2", "lora", _SHORT),
    Run("journal.jsonl", "smollm2", "full", _SHORT),
    Run("helpdesk.jsonl", "smollm2", "qlora", _SHORT),
    Run("preferences.jsonl", "smollm2", "lora", _SHORT),
)


@dataclass(frozen=True, slots=True)
class Measured:
    """Bytes and seconds of a run."""

    run: Run
    memory_predicted: int
    memory: int
    time_predicted: float
    time: float

    @property
    def memory_error(self) -> float:
        """Of the prediction, as a share of what was measured."""
        return self.memory_predicted / self.memory - 1

    @property
    def time_error(self) -> float:
        """The same for the time."""
        return self.time_predicted / self.time - 1


def measure(run: Run, real: Path, cache: Path) -> Measured:
    """Takes a run in a process of its own."""
    with tempfile.TemporaryDirectory() as runs:
        begun = time.perf_counter()
        process = subprocess.Popen(
            run.command(real, runs),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "BURNISH_CACHE": str(cache)},
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.perf_counter() - begun
        if process.returncode:
            raise SystemExit(f"{run} failed with exit code {process.returncode}")
        [file] = Path(runs).glob("*/events.jsonl")
        events = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    said = {event["event"]: event for event in events}
    memory, planned = said["MemoryPredicted"], said["TimePlanned"]
    whole = planned["so_far"] + planned["seconds"] + planned["evaluation"]
    return Measured(run, memory["resident"], usage.ru_maxrss * 1024, whole, seconds)


def table(measured: Sequence[Measured]) -> str:
    """The runs as a table, and the errors in a sentence."""
    lines = [
        "| rows | model | method | memory, predicted | measured | error | time, predicted | measured | error |",
        "|---|---|---|---:|---:|---:|---:|---:|---:|",
    ]
    for one in measured:
        run = one.run
        lines.append(
            f"| {run.sample} | {run.model} | {' '.join((run.method, *run.options))} "
            f"| {one.memory_predicted / MIB:,.0f} | {one.memory / MIB:,.0f} | {one.memory_error:+.1%} "
            f"| {one.time_predicted:,.0f} s | {one.time:,.0f} s | {one.time_error:+.1%} |"
        )
    said = []
    for what, errors in (
        ("memory", [abs(one.memory_error) for one in measured]),
        ("time", [abs(one.time_error) for one in measured]),
    ):
        said.append(f"{what}: median {statistics.median(errors):.1%}, worst {max(errors):.1%}")
    return "\n".join([*lines, "", f"Memory in MiB. Error of {'; of '.join(said)}."])


def main() -> None:
    """Prints the table, and writes it if asked to."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("real", type=Path, help="folder with the real models")
    parser.add_argument("--only", default="", help="runs whose name contains this")
    parser.add_argument("--write", action="store_true", help="into docs/memory.md")
    options = parser.parse_args()
    measured = []
    with tempfile.TemporaryDirectory() as cache:
        for run in RUNS:
            if options.only in str(run):
                measured.append(one := measure(run, options.real, Path(cache)))
                print(
                    f"{one.run!s:60} memory {one.memory / MIB:6,.0f} ({one.memory_error:+.1%})  "
                    f"time {one.time:4.0f} s ({one.time_error:+.1%})",
                    flush=True,
                )
    text = table(measured)
    print(text)
    if options.write:
        write_between(DOCS / "memory.md", "predictions", text)


if __name__ == "__main__":
    main()
