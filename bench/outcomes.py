"""Which defaults give the better model: many trainings, evaluated on test rows that chose nothing.

    python bench/outcomes.py run REAL DATA [--out FOLDER] [--only PATTERNS] [--minutes M] [--threads N]
    python bench/outcomes.py keep [--out FOLDER]
    python bench/outcomes.py table [--out FOLDER] [--write]

`run` does the trainings that are missing in FOLDER, each in a process of its own, and can be stopped and started at any
time; REAL is a folder with the models `smollm2` and `minilm`, DATA that of the public files. A training is a cell (a
data set, a number of rows, a seed) and a variant: Burnish's defaults, those of transformers' `Trainer` or of TRL, or a
point of a grid around Burnish's. All are trained by Burnish's engine, so that they differ in nothing but their settings
(`bench/peers.py` and `bench/classify.py` compare the programs). The first run of each method on a data set has all
weights that it passes evaluated on validation and test rows, so that it serves every rule for choosing a checkpoint
(`bench/outcomes_run.py`); of the others the result alone is evaluated.

`keep` adds the results to `bench/outcomes.jsonl`. `table` computes everything from that file and FOLDER, and trains
nothing; `--write` puts it into docs/defaults.md.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from outcomes_rows import DATA, rows_of_cell, write_rows
from outcomes_rules import (
    Gains,
    Result,
    gains_of_variants,
    quantile,
    read_kept,
    read_results,
    regrets_of_rules,
    write_kept,
)
from page import DOCS, write_between

HERE = Path(__file__).resolve().parent
KEPT = HERE / "outcomes.jsonl"
"""The results, so that the table can be made without the trainings."""
ROWS = (50, 200, 1000, 0)
"""For training and validation; 0 for all."""
SEEDS = (0, 1, 2)
VALIDATIONS = 6
ANSWERS = {"orders": 60, "helpdesk": 60}
"""Test questions answered at every evaluation, by data set."""
DEFAULTS, PEERS, METHODS = "defaults", "peers", ("full", "lora")
TRAINER = {
    "method": "full", "train.learning_rate": 5e-5, "train.epochs": 3, "train.schedule": "linear", "train.warmup": 0.0,
    "train.weight_decay": 0.0, "data.packing": False,
}  # fmt: skip
"""Defaults of transformers' `TrainingArguments`, with steps of 8 rows. TRL's own differ in the learning rate."""
TRL_RATES = {"preferences": 1e-6, **dict.fromkeys(("orders", "helpdesk", "journal", "plays", "wikitext"), 2e-5),
             **dict.fromkeys(("instructions", "alpaca", "gsm8k"), 2e-5)}  # fmt: skip
"""Default learning rates of TRL's `DPOTrainer` and `SFTTrainer`, by data set; the others are for `Trainer`."""
PEER_ROWS = 8


@dataclass(frozen=True, slots=True)
class Variant:
    """How a training differs from Burnish's defaults."""

    name: str
    method: str | None = None
    epochs: float = 1.0
    """Factor of the default."""
    rate: float = 1.0
    """Factor of the default."""
    step: float = 1.0
    """Factor of the default tokens of a step."""


VARIANTS = (
    Variant(DEFAULTS),
    Variant(PEERS),
    Variant("full", "full"),
    Variant("lora", "lora"),
    Variant("full-rate3", "full", rate=3),
    Variant("lora-rate3", "lora", rate=3),
    Variant("full-rate1o3", "full", rate=1 / 3),
    Variant("lora-rate10", "lora", rate=10),
    Variant("full-long", "full", epochs=3),
    Variant("lora-long", "lora", epochs=3),
    Variant("full-short", "full", epochs=1 / 3),
    Variant("lora-rate3-short", "lora", epochs=1 / 3, rate=3),
    Variant("full-small", "full", step=0.25),
    Variant("lora-small", "lora", step=0.25),
    Variant("lora-rate3-long", "lora", epochs=3, rate=3),
    Variant("full-large", "full", step=4),
)
"""A fraction of the grid: methods whole, the others one at a time, and the pairs that tend to matter."""


@dataclass(frozen=True, slots=True)
class Training:
    """One training of the bench."""

    data: str
    rows: int
    seed: int
    variant: Variant

    @property
    def name(self) -> str:
        """Its file in the folder of results."""
        return f"{self.data}_{self.rows or 'all'}_s{self.seed}_{self.variant.name}"


def trainings() -> Iterator[Training]:
    """All trainings: first the defaults and those of the peers, the cheap ones before the others."""
    for group in (VARIANTS[:2], VARIANTS[2:]):
        for rows, seed, data, variant in itertools.product(ROWS, SEEDS, DATA, group):
            yield Training(data, rows, seed, variant)


def run_all(options: argparse.Namespace) -> None:
    """Does the missing trainings."""
    until = time.monotonic() + 60 * options.minutes
    kept = {one.name for one in read_kept(KEPT)}
    for one in trainings():
        result = options.out / f"{one.name}.json"
        if result.exists() or one.name in kept or not all(re.search(word, f"_{one.name}_") for word in options.only):
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
        "train": str(files["train"]), "test": str(files["test"]), "threads": options.threads,
        "answers": ANSWERS.get(one.data, 0), **variant_settings(one),
    }  # fmt: skip
    settings["options"] |= {"seed": one.seed, "model.name": model, "task": data.task}
    asked = work / f"{one.name}.json"
    asked.write_text(json.dumps(settings), encoding="utf-8")
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    begun = time.monotonic()
    command = [sys.executable, str(HERE / "outcomes_run.py"), str(asked), str(result)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    state = "" if done.returncode == 0 else f" failed: {done.stderr.strip().splitlines()[-1:]}"
    print(f"{one.name}: {time.monotonic() - begun:.0f} s{state}", flush=True)


def variant_settings(one: Training) -> dict[str, Any]:
    """What `bench/outcomes_run.py` gets of a variant."""
    variant = one.variant
    is_first = variant.name in METHODS and one.seed == SEEDS[0]
    settings: dict[str, Any] = {
        "rate": variant.rate, "step": variant.step, "epochs": variant.epochs, "step_rows": None,
        "validations": VALIDATIONS, "rhythm": "every" if is_first else "kept",
        "options": {"train.early_stopping": False, "train.adapt": False},
    }  # fmt: skip
    if variant.method:
        settings["options"]["method"] = variant.method
    if variant.name == DEFAULTS:
        settings |= {"validations": None, "options": {}}
    elif variant.name == PEERS:
        rate = TRL_RATES.get(one.data, TRAINER["train.learning_rate"])
        own = {**TRAINER, "train.learning_rate": rate, "train.head_learning_rate": rate}
        settings |= {"step_rows": PEER_ROWS, "rhythm": "last", "options": settings["options"] | own}
    return settings


def make_table(results: list[Result]) -> str:
    """What the defaults are worth beside all variants, in each cell and as a whole; then the rules, as Markdown."""
    cells = {cell: gains for cell, gains in _cells(results).items() if DEFAULTS in gains}
    lines = [
        "| data | rows | seeds | metric | Burnish's | Trainer's or TRL's | difference | best variant | regret |",
        "|---|---:|---:|---|---:|---:|---:|---|---:|",
    ]
    metrics = {one.cell[:2]: one for one in results}
    settings = {(*one.cell[:2], one.variant): one.settings for one in results}
    for cell in sorted(cells, key=lambda cell: (cell[0], len(cell[1]), cell[1])):
        gains = cells[cell]
        own, peer = mean(gains[DEFAULTS]), mean(gains[PEERS]) if PEERS in gains else None
        name, regret = best_variant(gains)
        best = name if name == DEFAULTS else settings[(*cell, name)]
        less = f"{own - peer:+.1f}{'' if is_certain(gains) else ' ?'}" if peer is not None else ""
        shown = f"{own:.1f} | {peer:.1f}" if peer is not None else f"{own:.1f} | "
        metric, number = metrics[cell].headline, len(gains[DEFAULTS])
        lines.append(f"| {cell[0]} | {cell[1]} | {number} | {metric} | {shown} | {less} | {best} | {regret:.1f} |")
    return "\n".join([*lines, "", summary(cells), "", *rule_lines(results)])


def _cells(results: list[Result]) -> dict[tuple[str, str], Gains]:
    return gains_of_variants(results, {PEERS: "last"})


def mean(gains: Mapping[str, float]) -> float:
    """Over the seeds."""
    return sum(gains.values()) / len(gains)


def best_variant(gains: Gains) -> tuple[str, float]:
    """The variant that is better than the defaults by most, and by how much: the mean over the seeds that it has.

    The best of many noisy means is too good by chance, so that the regret is rather overstated.
    """
    own = gains[DEFAULTS]
    more = {
        name: mean({seed: found[seed] - own[seed] for seed in found.keys() & own.keys()})
        for name, found in gains.items()
        if name != PEERS and found.keys() & own.keys()
    }
    top = max(more, key=lambda name: more[name])
    return top, more[top]


def is_certain(gains: Gains) -> bool:
    """Whether the difference between the defaults of both is twice its standard error over the seeds, or more."""
    pairs = [own - gains[PEERS][seed] for seed, own in gains[DEFAULTS].items() if seed in gains[PEERS]]
    if len(pairs) < 2:
        return False
    return abs(statistics.mean(pairs)) >= 2 * statistics.stdev(pairs) / math.sqrt(len(pairs))


def summary(cells: Mapping[tuple[str, str], Gains]) -> str:
    """The regret of the defaults, and how often they are better than those of the peers."""
    compared = [gains for gains in cells.values() if len(gains) > 2]
    regrets = [best_variant(gains)[1] for gains in compared]
    found = ""
    if regrets:
        found = f"Regret of the defaults: median {quantile(regrets, 0.5):.1f}, worst {max(regrets):.1f} points. "
    both = [gains for gains in cells.values() if PEERS in gains]
    better, surely, surely_worse = 0, 0, 0
    for gains in both:
        more = mean(gains[DEFAULTS]) > mean(gains[PEERS])
        better += more
        surely += more and is_certain(gains)
        surely_worse += not more and is_certain(gains)
    return (
        f"{found}Better than the defaults of Trainer or TRL in {better} of {len(both)} cells, beyond noise in "
        f"{surely}; worse beyond noise in {surely_worse}."
    )


def rule_lines(results: list[Result]) -> list[str]:
    """The regret of every rule for choosing weights, over all trainings with every validation evaluated."""
    lines = [
        "| rule | ranked by | trainings | median | mean | 95 % | worst |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    whole = [one for one in results if one.is_whole]
    for ranked_by in ("loss", "another metric"):
        chosen = [one for one in whole if one.ranked_by == ranked_by]
        for name, regrets in regrets_of_rules(chosen).items():
            average = sum(regrets) / len(regrets)
            figures = (
                f"{quantile(regrets, 0.5):.2f} | {average:.2f} | {quantile(regrets, 0.95):.1f} | {max(regrets):.1f}"
            )
            lines.append(f"| {name} | {ranked_by} | {len(regrets)} | {figures} |")
    return lines


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
    keep = commands.add_parser("keep")
    table = commands.add_parser("table")
    for command in (run, keep, table):
        command.add_argument("--out", type=Path, default=Path("runs/outcomes"))
    table.add_argument("--write", action="store_true", help="into docs/defaults.md")
    options = parser.parse_args()
    if options.command == "run":
        run_all(options)
        return
    results = [*read_kept(KEPT), *read_results(options.out)]
    if options.command == "keep":
        write_kept(results, KEPT)
        return
    text = make_table(list({one.name: one for one in results}.values()))
    print(text)
    if options.write:
        write_between(DOCS / "defaults.md", "outcomes", text)


if __name__ == "__main__":
    main()
