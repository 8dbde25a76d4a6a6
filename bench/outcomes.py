"""Which defaults give the better model: many trainings, evaluated on test rows that chose nothing.

    python bench/outcomes.py run REAL DATA [--out FOLDER] [--only WORDS] [--minutes M]
    python bench/outcomes.py table [--out FOLDER] [--write]

`run` does the trainings that are missing in FOLDER, each in a process of its own, and can be stopped and started at any
time; REAL is a folder with the models `smollm2` and `minilm`, DATA that of the public files. A training is a cell (a
data set, a number of rows, a seed) with options; all weights that it passes are evaluated on validation and test rows
(`bench/outcomes_run.py`), so that one run serves every rule for choosing a checkpoint and for stopping. `table`
computes everything from the results and trains nothing.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from outcomes_rows import DATA, rows_of_cell, write_rows
from outcomes_rules import RULES, Result, gains_of_settings, quantile, read_results, regrets_of_rules

HERE = Path(__file__).resolve().parent
ROWS = (50, 200, 1000, 0)
"""For training and validation; 0 for all."""
SEEDS = (0, 1, 2)
RATES = (1.0, 3.0, 10.0)
"""Factors of the default learning rate."""
STEPS = (1.0, 0.25)
"""Factors of the default tokens of a step."""
EPOCHS = (3, 10, 30)
METHODS = ("lora", "full")
MOST_EPOCHS = {50: 30, 200: 30, 1000: 10, 0: 10}
VALIDATIONS = 6
ANSWERS = {"orders": 60, "helpdesk": 60}
"""Test questions answered at every validation, by data set."""


@dataclass(frozen=True, slots=True)
class Training:
    """One training of the bench."""

    data: str
    rows: int
    seed: int
    method: str
    epochs: int
    step: float
    rate: float

    @property
    def name(self) -> str:
        """Its file in the folder of results."""
        rows = str(self.rows or "all")
        return f"{self.data}_{rows}_s{self.seed}_{self.method}_e{self.epochs}_b{self.step:g}_x{self.rate:g}"


def trainings() -> Iterator[Training]:
    """All trainings, the cheap ones first."""
    for rows, seed, method, epochs, step, rate, data in itertools.product(
        ROWS, SEEDS, METHODS, EPOCHS, STEPS, RATES, DATA
    ):
        if epochs <= MOST_EPOCHS[rows]:
            yield Training(data, rows, seed, method, epochs, step, rate)


def run_all(options: argparse.Namespace) -> None:
    """Does the missing trainings."""
    until = time.monotonic() + 60 * options.minutes
    for one in trainings():
        result = options.out / f"{one.name}.json"
        if result.exists() or not all(re.search(word, f"_{one.name}_") for word in options.only):
            continue
        if time.monotonic() > until:
            return
        run_one(one, result, options)


def run_one(one: Training, result: Path, options: argparse.Namespace) -> None:
    """One training in a process of its own."""
    work = options.out / "work"
    work.mkdir(parents=True, exist_ok=True)
    data = DATA[one.data]
    train, test = rows_of_cell(data, options.data, one.rows, one.seed)
    files = {name: work / f"{one.data}-{one.rows}-{one.seed}-{name}.jsonl" for name in ("train", "test")}
    for name, rows in (("train", train), ("test", test)):
        write_rows(rows, files[name])
    model = data.model if data.model in ("seedling", "acorn") else str(options.real.resolve() / data.model)
    settings = {
        "train": str(files["train"]), "test": str(files["test"]), "rate": one.rate, "step": one.step,
        "validations": VALIDATIONS, "threads": options.threads,
        "answers": ANSWERS.get(one.data, 0),
        "options": {"seed": one.seed, "model.name": model, "task": data.task, "method": one.method,
                    "train.epochs": one.epochs},
    }  # fmt: skip
    asked = work / f"{one.name}.json"
    asked.write_text(json.dumps(settings), encoding="utf-8")
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    begun = time.monotonic()
    command = [sys.executable, str(HERE / "outcomes_run.py"), str(asked), str(result)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    state = "" if done.returncode == 0 else f" failed: {done.stderr.strip().splitlines()[-1:]}"
    print(f"{one.name}: {time.monotonic() - begun:.0f} s{state}", flush=True)


def make_table(results: list[Result], rule: str) -> str:
    """The regret of rules, then that of settings by data set and number of rows, as Markdown."""
    lines = [
        f"{len(results)} trainings.",
        "",
        "| rule | rows or metric | median | mean | 95 % | worst |",
        "|---|---|---:|---:|---:|---:|",
    ]
    sizes = sorted({one.cell[1] for one in results}, key=lambda rows: (len(rows), rows))
    for rows in ["every", "loss", "another metric", *sizes]:
        chosen = [one for one in results if rows in ("every", one.cell[1], one.ranked_by)]
        for name, regrets in regrets_of_rules(chosen).items():
            mean = sum(regrets) / len(regrets)
            figures = f"{quantile(regrets, 0.5):.2f} | {mean:.2f} | {quantile(regrets, 0.95):.1f} | {max(regrets):.1f}"
            lines.append(f"| {name} | {rows} | {figures} |")
    lines += ["", "| data | rows | " + "settings, the best first: points below the best |", "|---|---|---|"]
    for (data, rows), gains in sorted(gains_of_settings(results, rule).items()):
        top = max(gains.values())
        ranked = sorted(gains.items(), key=lambda item: -item[1])
        lines.append(f"| {data} | {rows} | " + ", ".join(f"{name} {top - gain:.1f}" for name, gain in ranked) + " |")
    return "\n".join(lines)


def main() -> None:
    """Runs what is missing, or prints the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run")
    run.add_argument("real", type=Path)
    run.add_argument("data", type=Path)
    run.add_argument("--only", nargs="*", default=[], help="patterns that the name of a training must have")
    run.add_argument("--minutes", type=float, default=1e9)
    run.add_argument("--threads", type=int, default=2)
    table = commands.add_parser("table")
    for command in (run, table):
        command.add_argument("--out", type=Path, default=Path("runs/outcomes"))
    table.add_argument("--rule", default="Burnish", choices=list(RULES), help="that chooses the weights")
    options = parser.parse_args()
    if options.command == "run":
        run_all(options)
    else:
        print(make_table(read_results(options.out), options.rule))


if __name__ == "__main__":
    main()
