"""Predicted against measured memory of each process of a sharded full fine-tuning, and against one process.

    python bench/ranks_memory.py --model FOLDER [--processes 1 2 4] [--tokens 64] [--write]     Linux only

Trains the model for two steps, with `--processes` processes of one thread each, in fp32. While it trains, the system
keeps the high-water mark of resident memory of each process, which begins again before the first step. Beside it is
what the plan of the same run says: tensors, and what the process itself takes. `--write` puts the table into
docs/scale.md.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
from page import DOCS, write_between

from burnish.runs.event_log import read_events
from burnish.runs.paths import RunFolder

_STEPS, _MICRO_BATCHES = 2, 4
_WORDS = "The river runs past the mill and under the old bridge to the sea, where boats wait for the morning wind. "
_PATIENCE_SECONDS = 900.0
MIB = 2**20


@dataclass(frozen=True, slots=True)
class Found:
    """What a number of processes took."""

    processes: int
    parts: dict[str, int]
    """Planned bytes of tensors in each process."""
    others: int
    """Planned bytes of each process outside of tensors."""
    measured: list[int]
    """High-water mark of resident memory of each process, in bytes."""

    @property
    def planned(self) -> int:
        """Of each process."""
        return sum(self.parts.values()) + self.others

    @property
    def kept(self) -> int:
        """Planned bytes of parameters, gradients and moments."""
        return sum(self.parts.get(name, 0) for name in ("weights", "gradients", "optimizer"))


def measure(model: Path, processes: int, tokens: int, folder: Path) -> Found:
    """Trains two steps.

    Args:
        model: folder of the base model.
        processes: their number.
        tokens: of each row.
        folder: for rows and run.
    """
    rows = folder / "rows.jsonl"
    rows.write_text("".join(json.dumps({"text": _WORDS * (1 + tokens // 12)}) + "\n" for _ in range(64)))
    options = {
        "model.device": "cpu",
        "model.precision": "fp32",
        "model.compile": "false",
        "model.memory": "4GB",  # little enough that a bound does not suffice, and a step is simulated
        "data.context": tokens,
        "batch.rows": 1,
        "batch.tokens": _MICRO_BATCHES * tokens,
        "train.max_steps": _STEPS + 2,
        "train.gradient_checkpointing": "false",
        "evaluate.every": 1000,
        "evaluate.general": "none",
        "save.every": 1000,
        "distributed.strategy": "sharded" if processes > 1 else "auto",
    }
    sets = [word for name, value in options.items() for word in ("--set", f"{name}={value}")]
    words = ["train", str(rows), "--model", str(model), "--task", "text", "--method", "full", *sets]
    run = RunFolder(folder / "runs" / f"made-{processes}")
    more = ["--runs", str(run.path.parent), "--name", run.path.name, "--processes", str(processes), "--quiet"]
    with started([*words, *more], folder) as child:
        wait_for_step(child, run, _STEPS)
        measured = [high_water(one) for one in ranks_of(child, processes)]
    (planned,) = [line for line in read_events(run.events) if line["event"] == "MemoryPlanned"] or [None]
    if planned is None:
        raise SystemExit("the plan did not simulate a step")
    return Found(processes, planned["parts"], sum(planned["overheads"].values()) + planned["allocator"], measured)


@contextmanager
def started(words: list[str], folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A command of Burnish, which is ended afterwards together with the processes that it has started."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with (folder / "log.txt").open("wb") as log:
        child = subprocess.Popen(
            [sys.executable, "-m", "burnish", *words], env=environment, stdout=log, stderr=subprocess.STDOUT
        )
        try:
            yield child
        finally:
            with suppress(psutil.NoSuchProcess):
                for one in psutil.Process(child.pid).children(recursive=True):
                    one.kill()
            child.kill()
            child.wait()


def wait_for_step(child: subprocess.Popen[bytes], run: RunFolder, step: int) -> None:
    """Waits until a step is done."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not any(line["event"] == "StepDone" and line["step"] >= step for line in read_events(run.metrics)):
        if child.poll() is not None or time.monotonic() > deadline:
            raise SystemExit((run.path.parents[1] / "log.txt").read_text(errors="replace")[-3000:])
        time.sleep(0.05)


def ranks_of(child: subprocess.Popen[bytes], processes: int) -> list[psutil.Process]:
    """The processes that train, by rank."""
    if processes == 1:
        return [psutil.Process(child.pid)]
    found = [one for one in psutil.Process(child.pid).children() if "RANK" in one.environ()]
    return sorted(found, key=lambda one: int(one.environ()["RANK"]))


def high_water(process: psutil.Process) -> int:
    """Most resident memory since it was set back, in bytes."""
    status = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
    return next(1024 * int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:"))


def table(found: list[Found]) -> str:
    """As Markdown."""
    lines = [
        "| processes | parameters, gradients, moments | planned | measured, by rank | off | of one process |",
        "|---:|---:|---:|---:|---:|---:|",
    ]
    alone = next((one for one in found if one.processes == 1), None)
    for one in found:
        most = max(one.measured)
        ranks = ", ".join(f"{peak / MIB:,.0f}" for peak in one.measured)
        share = f"{most / max(alone.measured):.0%}" if alone else ""
        figures = (
            f"{one.kept / MIB:,.0f}",
            f"{one.planned / MIB:,.0f}",
            ranks,
            f"{one.planned / most - 1:+.1%}",
            share,
        )
        lines.append(f"| {one.processes} | {' | '.join(figures)} |")
    return "\n".join(lines)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    found = []
    for processes in options.processes:
        with tempfile.TemporaryDirectory() as folder:
            found.append(measure(options.model.absolute(), processes, options.tokens, Path(folder)))
        print(found[-1], flush=True)
    text = f"MiB of each process, rows of {options.tokens} tokens:\n\n{table(found)}"
    print(text)
    if options.write:
        write_between(DOCS / "scale.md", "ranks-memory", text)


if __name__ == "__main__":
    main()
