"""Which share of the machine's matrix rate a training reaches.

    python bench/limit.py [--cases gpt2-lora,llama-lora,gpt2-full,llama-full] [--data FILE] [--steps 10]
                          [--name limit] [--write]

Measures the rate of matrix products in this process (2 x m x k x n operations over the shortest of several times, m =
1,024 and k, n as in the model's largest layer), before and after each training, trains the models that
`bench/peers.py` builds, and divides:

    share = FLOPs of a step / seconds of a step / rate

FLOPs are those of matrix products and attention, counted operation by operation by torch's own formulas
(`torch.utils.flop_counter`) in the plan's simulation of that very step; nothing is counted that the step does not
compute, so a forward pass that is computed twice would count twice. Element-wise work counts as nothing: the share is
at most what the matrix products leave of the time. The first two steps are not timed. `--write` puts the table into
docs/performance.md.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from page import DOCS, write_between
from peers import ASSETS, CONTEXT, ORDERS, REAL, TARGETS, find_tokenizer, make_model
from texts import read_texts
from transformers.utils import logging

from burnish.recipe.schema import Recipe
from burnish.runs.events import Event, StepDone
from burnish.system.machine import this_machine
from burnish.workflows.plan import Place, plan
from burnish.workflows.train import train

CASES = ("smollm2-lora", "smollm2-full", "gpt2-lora", "llama-lora", "gpt2-full", "llama-full")
LARGEST = {"gpt2": (768, 3072), "llama": (576, 1536), REAL: (576, 1536)}
"""Inputs and outputs of the model's largest layer."""
_TRIES = 7
UNTIMED = 2


def matrix_rate(dtype: torch.dtype, inner: int, outer: int, rows: int = 1024) -> float:
    """Operations a second of `[rows, inner] @ [inner, outer]`."""
    left, right = torch.randn(rows, inner).to(dtype), torch.randn(outer, inner).to(dtype)
    times = []
    for _ in range(_TRIES):
        begun = time.perf_counter()
        torch.nn.functional.linear(left, right)
        if left.is_cuda:
            torch.cuda.synchronize()
        times.append(time.perf_counter() - begun)
    return 2 * rows * inner * outer / min(times)


def recipe_of(model: str, method: str, steps: int, folder: Path) -> Recipe:
    """The training that is measured."""
    values: dict[str, Any] = {
        "method": method,
        "model": {"name": str(folder / "model"), "device": "cpu"},
        "data": {"path": str(folder / "rows.jsonl"), "context": CONTEXT},
        "batch": {"tokens": CONTEXT},
        "train": {"max_steps": steps, "epochs": 100, "early_stopping": False},
        "evaluate": {"every": 10**6, "answers": 0},
        "save": {"every": 10**6},
        "runs": str(folder / "runs"),
    }
    if method == "lora":
        values["lora"] = {"rank": 8, "targets": TARGETS[model]}
    return Recipe.model_validate(values)


def prepare(case: str, options: argparse.Namespace, folder: Path) -> Recipe:
    """Makes model and rows in a folder, and returns the recipe that trains on them."""
    model, method = case.split("-")
    tokenizer = find_tokenizer(model, options.tokenizer)
    make_model(model, tokenizer, folder / "model")
    lines = (json.dumps({"text": text}) + "\n" for text in read_texts(options.data, options.rows, tokenizer))
    (folder / "rows.jsonl").write_text("".join(lines), encoding="utf-8")
    return recipe_of(model, method, options.steps, folder)


def measure(case: str, options: argparse.Namespace) -> str:
    """A line of the table."""
    model, method = case.split("-")
    noted: list[tuple[float, int]] = []

    def note(event: Event) -> None:
        if isinstance(event, StepDone):
            noted.append((time.perf_counter(), event.tokens))

    with tempfile.TemporaryDirectory() as name:
        recipe = prepare(case, options, Path(name))
        planned = plan(recipe, Place())
        precision = planned.recipe.model.precision
        dtype = torch.bfloat16 if precision == "bf16" else torch.float32
        rates = [matrix_rate(dtype, *LARGEST[model])]
        train(recipe, listeners=[note])
        rates.append(matrix_rate(dtype, *LARGEST[model]))
    timed = noted[UNTIMED - 1 :]
    speed = sum(count for _, count in timed[1:]) / (timed[-1][0] - timed[0][0])
    rate, per_token = statistics.mean(rates), planned.flops_per_token
    return (
        f"| {model}, {method} | {precision} | {speed:,.0f} | {per_token / 1e9:.3f} | {speed * per_token / 1e9:,.0f} "
        f"| {rate / 1e9:,.0f} | {speed * per_token / rate:.0%} |"
    )


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--cases", default=",".join(case for case in CASES if not case.startswith(REAL)))
    parser.add_argument("--data", type=Path, default=ORDERS)
    parser.add_argument("--tokenizer", default=str(ASSETS / "seedling"))
    parser.add_argument("--rows", type=int, default=200)
    parser.add_argument("--steps", type=int, default=10, help=f"of which {UNTIMED} are not timed")
    parser.add_argument("--name", default="limit", help="of the table in the page")
    parser.add_argument("--write", action="store_true", help="into docs/performance.md")
    options = parser.parse_args()
    if unknown := set(options.cases.split(",")) - set(CASES):
        parser.error(f"unknown cases: {', '.join(sorted(unknown))}; there are {', '.join(CASES)}")
    if options.steps <= UNTIMED:
        parser.error(f"--steps has to be more than {UNTIMED}, as so many are not timed")
    logging.disable_progress_bar()
    machine = this_machine()
    lines = [
        "| | precision | real tokens/s | GFLOP a token | GFLOP/s | GFLOP/s of matrix products alone | share |",
        "|---|---|---:|---:|---:|---:|---:|",
        *(measure(case, options) for case in options.cases.split(",")),
        "",
        f"{options.steps - UNTIMED} steps each; {machine.processor}, {machine.cores} cores, torch {torch.__version__}.",
    ]
    table = "\n".join(lines)
    print(table)
    if options.write:
        write_between(DOCS / "performance.md", options.name, table)


if __name__ == "__main__":
    main()
