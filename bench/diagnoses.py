"""Whether the diagnosis names runs rightly that were made to go wrong in a known way.

    python bench/diagnoses.py [--task classify] [--seeds 5] [--cases good overfit …] [--keep FOLDER] [--write]

Five runs a seed on a bundled sample, with a bundled base model: a good one; one on few rows for many epochs; two with a
learning rate a hundred times too high and a thousand times too low; and one whose answers were shuffled among the rows.
Prints what each was called, and how many were diagnosed correctly. `--write` puts the table into docs/diagnosis.md.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from page import DOCS, write_between

import burnish
from burnish.runs.events import read_events
from burnish.system.machine import yield_cores

SAMPLES = Path(str(resources.files("burnish"))) / "assets" / "samples"
FEW = 24
"""Rows of the run that is to overfit."""
HELD_OUT = 240
"""Rows held out, in every run the same number."""


@dataclass(frozen=True, slots=True)
class Stage:
    """A sample, and the options of a run on it that goes well."""

    sample: str
    answer: str
    """The column that is shuffled."""
    rows: int
    rate: float
    epochs: int
    epochs_of_few: int
    options: dict[str, Any]


STAGES = {
    "classify": Stage("tickets.jsonl", "label", 800, 3e-3, 4, 40, {"task": "classify"}),
    "chat": Stage("orders.jsonl", "output", 600, 3e-3, 4, 40, {"train.betas": [0.9, 0.95], "train.clip": 0.5}),
}
CASES = {
    "good": {"learning"},
    "overfit": {"overfitting"},
    "rate x 100": {"diverging"},
    "rate / 1000": {"stuck"},
    "shuffled": {"stuck", "overfitting"},
}
"""What each run is rightly called."""
WRONG = {
    "good": {"overfitting", "diverging", "stuck", "underfitting"},
    "overfit": {"diverging", "stuck", "underfitting"},
    "rate x 100": {"overfitting", "learning"},
    "rate / 1000": {"overfitting", "diverging", "learning"},
    "shuffled": {"diverging", "underfitting"},
}
"""What it must not be called."""


def is_right(case: str, names: Sequence[str]) -> bool:
    """Whether what a run was called names it rightly, and nothing else wrongly."""
    return bool(CASES[case] & set(names)) and not WRONG[case] & set(names)


def staged_run(stage: Stage, case: str, seed: int, folder: Path, more: dict[str, Any] | None = None) -> Path:
    """Makes one run; returns its folder."""
    source = random.Random(seed)
    rows = [json.loads(line) for line in (SAMPLES / stage.sample).read_text(encoding="utf-8").splitlines()]
    source.shuffle(rows)
    rows = rows[: stage.rows]
    if case == "shuffled":
        answers = [row[stage.answer] for row in rows]
        source.shuffle(answers)
        rows = [{**row, stage.answer: answer} for row, answer in zip(rows, answers, strict=True)]
    held_out, training = rows[:HELD_OUT], rows[HELD_OUT:]
    if case == "overfit":
        training = training[:FEW]
    name = f"{case.replace(' ', '').replace('/', 'by')}-{seed}"
    data = folder / f"{name}-data"
    data.mkdir(parents=True)
    for part, chosen in {"train": training, "valid": held_out}.items():
        text = "".join(json.dumps(row) + "\n" for row in chosen)
        (data / f"{part}.jsonl").write_text(text, encoding="utf-8")
    factor = {"rate x 100": 100.0, "rate / 1000": 1e-3}.get(case, 1.0)
    options = {
        "train.learning_rate": stage.rate * factor,
        "train.epochs": stage.epochs_of_few if case == "overfit" else stage.epochs,
        "evaluate.answers": 0,
        "seed": seed,
        **stage.options,
        **(more or {}),
    }
    return burnish.train(data, method="lora", name=name, runs=str(folder), set=options).path


def names_of(run: Path) -> list[str]:
    """What a run was called, in order."""
    return [line["name"] for line in read_events(run / "events.jsonl") if line["event"] == "Diagnosed"]


def table(called: dict[str, list[list[str]]]) -> str:
    """A row a case: how often it was diagnosed correctly, and what each run was called."""
    lines = ["| run | diagnosed correctly | findings by seed |", "|---|---:|---|"]
    for case, runs in called.items():
        right = sum(is_right(case, names) for names in runs)
        result = "; ".join(", ".join(names) or "nothing" for names in runs)
        lines.append(f"| {case} | {right} of {len(runs)} | {result} |")
    return "\n".join(lines)


def main() -> None:
    """Makes the runs and prints the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--task", choices=sorted(STAGES), default="classify")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--cases", nargs="*", choices=list(CASES), default=list(CASES))
    parser.add_argument("--keep", type=Path, default=None)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    yield_cores()
    called: dict[str, list[list[str]]] = {case: [] for case in options.cases}
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        for seed in range(options.first, options.first + options.seeds):
            for case in options.cases:
                names = names_of(staged_run(STAGES[options.task], case, seed, folder))
                called[case].append(names)
                sign = "" if is_right(case, names) else "   <- wrong"
                print(f"{seed:4}  {case:12} {', '.join(names)}{sign}", flush=True)
    right = sum(is_right(case, names) for case, runs in called.items() for names in runs)
    total = sum(map(len, called.values()))
    text = f"{table(called)}\n\n{right} of {total} runs are diagnosed correctly."
    print(f"\n{text}\n({time.monotonic() - begun:.0f} s)")
    if options.write:
        write_between(DOCS / "diagnosis.md", options.task, text)


if __name__ == "__main__":
    main()
