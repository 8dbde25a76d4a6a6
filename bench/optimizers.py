"""Every optimizer learns: the loss on test rows before and after as many steps with each.

    python bench/optimizers.py [--steps 80] [--seeds 3] [--write]

Bundled models on bundled rows: an adapter on a decoder, all weights of an encoder, everything else at its defaults, and
the same held-out rows for all. An optimizer whose library is missing is left out.
`--write` puts the table into docs/optimizers.md.
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import tempfile
from importlib import resources
from pathlib import Path

import torch
from page import DOCS, write_between

import burnish

SAMPLES = Path(str(resources.files("burnish"))) / "assets" / "samples"
OPTIMIZERS = {
    "adamw": "torch",
    "muon": "torch",
    "adafactor": "torch",
    "schedule-free": "schedulefree",
    "adamw-8bit": "bitsandbytes",
}
"""And the library of each."""
TASKS = (("orders.jsonl", "seedling", "lora"), ("tickets.jsonl", "acorn", "full"))
"""Rows, model and method."""


def losses(sample: str, model: str, method: str, optimizer: str, steps: int, seed: int) -> tuple[float, float]:
    """On the test rows: the base's, and the tuned model's."""
    with tempfile.TemporaryDirectory() as folder:
        run = burnish.train(
            SAMPLES / sample,
            set={
                "model.name": model, "method": method, "runs": folder, "seed": seed, "data.split_seed": 0,
                "train.optimizer": optimizer, "train.max_steps": steps, "train.epochs": 100,
                "train.early_stopping": False, "train.adapt": False, "evaluate.answers": 0,
            },
        )  # fmt: skip
        found = next(one for one in run.evaluation["figures"] if one["name"] == "loss")
    return found["base"]["value"], found["tuned"]["value"]


def make_table(steps: int, seeds: int) -> str:
    """A line for each optimizer on each of the tasks, as Markdown."""
    lines = ["| rows, model, method | optimizer | loss before | after, by seed | mean |", "|---|---|---:|---|---:|"]
    for task in TASKS:
        for optimizer, library in OPTIMIZERS.items():
            if importlib.util.find_spec(library) is None:
                continue
            found = [losses(*task, optimizer, steps, seed) for seed in range(seeds)]
            after = [loss for _, loss in found]
            shown = ", ".join(f"{loss:.3f}" for loss in after)
            lines.append(
                f"| {', '.join(task)} | `{optimizer}` | {found[0][0]:.3f} | {shown} | {statistics.mean(after):.3f} |"
            )
            print(lines[-1], flush=True)
    return "\n".join([*lines, "", f"After {steps} steps; torch {torch.__version__}."])


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--steps", type=int, default=80)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--write", action="store_true", help="into docs/optimizers.md")
    options = parser.parse_args()
    table = make_table(options.steps, options.seeds)
    print(table)
    if options.write:
        write_between(DOCS / "optimizers.md", "optimizers", table)


if __name__ == "__main__":
    main()
