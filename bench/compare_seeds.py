"""How often `burnish compare` takes another seed for another recipe.

    python bench/compare_seeds.py [--task classify] [--runs 12] [--rows 240] [--epochs 3] [--keep FOLDER] [--write]

Trains a bundled base model on a bundled sample a number of times, each time with another seed, with the same held-out
rows. Every second run also sets an option that teaches nothing here (`data.validation_rows`, where validation rows are
given), so that `compare` has to take it for another recipe. Every run of the one kind is then compared with every run
of the other: each significant difference is a false positive. Besides, it shows how often the rows alone would have
given one, and how far apart the seeds really are compared with the estimate from the runs' own validations. Pairs that
share a run depend on each other, so the counts vary more than as many pairs of their own would. Runs that `--keep` has
kept are not trained again. `--write` puts the table into docs/comparing.md.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import tempfile
import time
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

import numpy
from page import DOCS, write_between

import burnish
from burnish.runs.folder import RunFolder
from burnish.system.machine import yield_cores
from burnish.workflows.compare import compare

SAMPLES = Path(str(resources.files("burnish"))) / "assets" / "samples"
HELD_OUT = 240
STAGES: dict[str, tuple[str, dict[str, Any]]] = {
    "classify": ("tickets.jsonl", {"task": "classify", "train.learning_rate": 3e-3}),
    "chat": ("orders.jsonl", {"train.learning_rate": 3e-3}),
}


@dataclass(slots=True)
class Count:
    """What became of one figure over all pairs."""

    pairs: int = 0
    shown: int = 0
    by_rows: int = 0
    """Pairs that the rows alone would have shown."""
    values: dict[str, float] = field(default_factory=dict)
    """Of each run."""
    by_validations: list[float] = field(default_factory=list)
    """For each pair the standard deviation estimated from the validations."""


def write_data(folder: Path, sample: str, rows: int) -> Path:
    """The same rows for all runs, part of them held out."""
    lines = (SAMPLES / sample).read_text(encoding="utf-8").splitlines(keepends=True)
    random.Random(0).shuffle(lines)
    if len(lines) < HELD_OUT + rows:
        raise SystemExit(f"`{sample}` has {len(lines)} rows; at most {len(lines) - HELD_OUT} are left to train on")
    data = folder / "data"
    data.mkdir(parents=True, exist_ok=True)
    (data / "valid.jsonl").write_text("".join(lines[:HELD_OUT]), encoding="utf-8")
    (data / "train.jsonl").write_text("".join(lines[HELD_OUT : HELD_OUT + rows]), encoding="utf-8")
    return data


def compare_all(runs: list[RunFolder]) -> dict[str, Count]:
    """Every run of an even seed with every one of an odd seed, figure by figure."""
    counts: dict[str, Count] = {}
    for first in runs[::2]:
        for second in runs[1::2]:
            for figure in compare([first, second]).figures:
                (pair,) = figure.pairs
                count = counts.setdefault(figure.name, Count())
                count.pairs += 1
                count.shown += pair.is_shown
                count.by_rows += pair.rows_alone.chance <= 0.05
                count.values |= {first.name: figure.runs[0].value, second.name: figure.runs[1].value}
                count.by_validations.append(figure.noise.deviation or math.nan)
    return counts


def table(counts: dict[str, Count]) -> str:
    """A row a figure."""
    lines = [
        "| figure | pairs | shown | rows alone would show | between seeds | estimated from validations (median) |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for name, count in counts.items():
        real = numpy.std(list(count.values.values()), ddof=1)
        shares = [f"{number} ({100 * number / count.pairs:.1f} %)" for number in (count.shown, count.by_rows)]
        by_validations = float(numpy.median(count.by_validations))
        lines.append(f"| {name} | {count.pairs} | {shares[0]} | {shares[1]} | {real:.2g} | {by_validations:.2g} |")
    return "\n".join(lines)


def main() -> None:
    """Trains, compares and prints the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--task", choices=sorted(STAGES), default="classify")
    parser.add_argument("--runs", type=int, default=12)
    parser.add_argument("--rows", type=int, default=240)
    parser.add_argument("--epochs", type=float, default=3.0)
    parser.add_argument("--keep", type=Path, default=None)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    yield_cores()
    begun = time.monotonic()
    sample, settings = STAGES[options.task]
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        data = write_data(folder, sample, options.rows)
        runs = []
        for seed in range(options.runs):
            # the second kind of run says how many rows to hold out of the training rows, of which none are held out
            more = {"data.validation_rows": 999} if seed % 2 else {}
            chosen = {"seed": seed, "train.epochs": options.epochs, "evaluate.answers": 0, **settings, **more}
            runs.append(RunFolder(folder / f"seed-{seed}"))
            if not runs[-1].evaluation.is_file():
                burnish.train(data, method="lora", name=runs[-1].name, runs=str(folder), set=chosen)
            by_validations = json.loads(runs[-1].evaluation.read_text(encoding="utf-8"))
            print(f"{seed:4}  {by_validations['verdict']}", flush=True)
        text = table(compare_all(runs))
    print(f"\n{text}\n({time.monotonic() - begun:.0f} s)")
    if options.write:
        write_between(DOCS / "comparing.md", options.task, text)


if __name__ == "__main__":
    main()
