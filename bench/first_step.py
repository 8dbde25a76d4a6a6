"""How soon training begins: seconds from the command to the first step, and what one warm step costs.

    python bench/first_step.py [--runs 3] [--rows 200] [--profile]

The first figure is that of `burnish train` in a process of its own, with the caches that an earlier run left; the
others are the processor time of a one-step `train()` in a process that has trained before, on the bundled model and on
the tiny one that the tests train. They have one thread, as tests do: a second one would wait most of the time, and a
thread of OpenMP that waits takes processor time as well. `--profile` prints where the former goes.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import os
import pstats
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from tests.tiny_data import make_recipe, write_rows
from tests.tiny_models import make_network, make_tokenizer, save_model

SEEDLING = Path("seedling")


def main() -> None:
    """Measures and prints both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--rows", type=int, default=200)
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ |= {"BURNISH_CACHE": str(folder / "cache"), "HF_HUB_OFFLINE": "1"}
        rows = write_rows(folder / "rows.jsonl", options.rows)
        seconds = [from_command(rows, folder / f"runs-{number}") for number in range(options.runs + 1)]
        tokenizer = make_tokenizer()
        tiny = save_model(folder / "tiny", make_network("llama", len(tokenizer)), tokenizer)
        few = write_rows(folder / "few.jsonl")
        torch.set_num_threads(1)
        spent = [one_step(rows, SEEDLING, folder / f"warm-{number}") for number in range(options.runs + 1)]
        small = [one_step(few, SEEDLING, folder / f"few-{number}") for number in range(options.runs + 1)]
        little = [one_step(few, tiny, folder / f"tiny-{number}") for number in range(options.runs + 1)]
        print(f"first command of all: first step after {seconds[0]:.2f} s")
        print(f"from command to first step: {statistics.median(seconds[1:]):.2f} s, of {shown(seconds[1:])}")
        print(f"one warm step, processor time: {statistics.median(spent[1:]):.2f} s, of {shown(spent[1:])}")
        print(f"the same, 40 rows: {statistics.median(small[1:]):.2f} s, of {shown(small[1:])}")
        print(f"the same, tiny model, 40 rows: {statistics.median(little[1:]):.2f} s, of {shown(little[1:])}")
        if options.profile:
            profile = cProfile.Profile()
            profile.runcall(one_step, rows, SEEDLING, folder / "profiled")
            pstats.Stats(profile).sort_stats("cumulative").print_stats(70)


def shown(values: list[float]) -> str:
    """All of them."""
    return ", ".join(f"{value:.2f}" for value in values)


def from_command(rows: Path, runs: Path) -> float:
    """Seconds of wall time from starting the process to the end of its first step."""
    command = [sys.executable, "-m", "burnish", "train", str(rows), "--json", "--set", "train.max_steps=2"]
    begun = time.time()
    subprocess.run([*command, "--set", f"runs={runs}"], check=True, capture_output=True)
    (run,) = runs.iterdir()
    for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines():
        event: dict[str, Any] = json.loads(line)
        if event["event"] == "StepDone":
            return event["time"] - begun
    raise SystemExit("no step was logged")


def one_step(rows: Path, model: Path, runs: Path) -> float:
    """Seconds of processor time, of all threads, of a run of one step."""
    from burnish.workflows.train import train

    options = {"train__max_steps": 1, "evaluate__answers": 0}
    begun = time.process_time()
    train(make_recipe(rows, model, runs, **options))
    return time.process_time() - begun


if __name__ == "__main__":
    main()
