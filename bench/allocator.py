"""How glibc's threshold for large allocations changes the speed and the memory of a training.

    python bench/allocator.py [--cases smollm2-lora,gpt2-lora] [--data FILE] [--steps 8] [--rounds 3]

The trainings are those of `bench/limit.py`, each in its own process, in turns: with glibc's own thresholds, and with
fixed ones (see `burnish.system.machine.return_freed_memory`). Prints medians of the tokens a second, without the first
two steps, and of the peak of resident memory while it trains.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from limit import UNTIMED, prepare
from peers import ASSETS, ORDERS

from burnish.runs.events import Event, StepDone, TrainingStarted
from burnish.system.machine import peak_bytes, reset_peak
from burnish.workflows.train import train

KIB = {"glibc's own": 0, "256 KiB": 256, "1.5 MiB": 1536, "4 MiB": 4096}
_MMAP_THRESHOLD = -3


def run(case: str, options: argparse.Namespace) -> tuple[float, int]:
    """Tokens a second and the peak in bytes of one training."""
    if options.threshold:
        ctypes.CDLL(None).mallopt(_MMAP_THRESHOLD, options.threshold * 1024)
    noted: list[tuple[float, int]] = []

    def note(event: Event) -> None:
        if isinstance(event, TrainingStarted):
            reset_peak()
        if isinstance(event, StepDone):
            noted.append((time.perf_counter(), event.tokens))
            if event.step == options.steps:
                peaks.append(peak_bytes() or 0)

    peaks: list[int] = []
    with tempfile.TemporaryDirectory() as name:
        train(prepare(case, options, Path(name)), listeners=[note])
    timed = noted[UNTIMED - 1 :]
    return sum(count for _, count in timed[1:]) / (timed[-1][0] - timed[0][0]), peaks[0]


def main() -> None:
    """Prints the table, or as a child process one result."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--cases", default="smollm2-lora,gpt2-lora")
    parser.add_argument("--data", type=Path, default=ORDERS)
    parser.add_argument("--tokenizer", default=str(ASSETS / "seedling"))
    parser.add_argument("--rows", type=int, default=200)
    parser.add_argument("--steps", type=int, default=8, help=f"of which {UNTIMED} are not timed")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threshold", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.threshold is not None:
        print(json.dumps(run(options.cases, options)))
        return
    print("| | threshold | tokens/s | peak memory |\n|---|---|---:|---:|")
    for case in options.cases.split(","):
        results: dict[str, list[list[float]]] = {name: [] for name in KIB}
        for _ in range(options.rounds):
            for name, threshold in KIB.items():
                command = [sys.executable, __file__, *sys.argv[1:], "--cases", case, "--threshold", str(threshold)]
                done = subprocess.run(command, capture_output=True, text=True, check=True)
                results[name].append(json.loads(done.stdout.splitlines()[-1]))
        for name, runs in results.items():
            speed, peak = (statistics.median(column) for column in zip(*runs, strict=True))
            print(f"| {case} | {name} | {speed:,.0f} | {peak / 1e9:.2f} GB |", flush=True)


if __name__ == "__main__":
    main()
