"""Which share of the machine's matrix rate a training reaches.

    python bench/limit.py [--model gpt2|llama] [--method lora|full] [--data FILE] [--steps 10] [--write]

Measures the rate of matrix products in this process (2 x m x k x n operations over the shortest of several times, m =
1,024 and k, n as in the model's largest layer), trains the model that `bench/peers.py` builds, and divides:

    share = FLOPs of a step / seconds of a step / rate

FLOPs are those of matrix products and attention, counted operation by operation by torch's own formulas
(`torch.utils.flop_counter`) in the plan's simulation of that very step; nothing is counted that the step does not
compute, so a forward pass that is computed twice would count twice. Element-wise work counts as nothing: the share is
at most what the matrix products leave of the time.
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
from peers import ASSETS, TARGETS, make_model, read_texts, write_between

from burnish.machine import this_machine
from burnish.recipe.schema import Recipe
from burnish.runs.events import Event, StepDone
from burnish.workflows.plan import Place, plan
from burnish.workflows.train import train

_TRIES = 7


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


def recipe_of(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """The training that is measured."""
    texts = read_texts(options.data, options.rows)
    (folder / "rows.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
    values: dict[str, Any] = {
        "method": options.method,
        "model": {"name": str(folder / "model")},
        "data": {"path": str(folder / "rows.jsonl"), "context": 1024},
        "batch": {"tokens": 1024},
        "train": {"max_steps": options.steps, "epochs": 100, "early_stopping": False},
        "evaluate": {"every": 10**6, "answers": 0},
        "save": {"every": 10**6},
        "runs": str(folder / "runs"),
    }
    if options.method == "lora":
        values["lora"] = {"rank": 8, "targets": TARGETS[options.model]}
    return values


def main() -> None:
    """Prints rate, speed and share."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", choices=sorted(TARGETS), default="gpt2")
    parser.add_argument("--method", choices=["lora", "full"], default="lora")
    parser.add_argument("--data", default="")
    parser.add_argument("--tokenizer", default=str(ASSETS / "seedling"))
    parser.add_argument("--rows", type=int, default=200)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--write", action="store_true", help="into docs/performance.md")
    options = parser.parse_args()
    noted: list[tuple[float, int]] = []

    def note(event: Event) -> None:
        if isinstance(event, StepDone):
            noted.append((time.perf_counter(), event.tokens))

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_model(options.model, options.tokenizer, folder / "model")
        values = recipe_of(options, folder)
        planned = plan(Recipe.model_validate(values), Place())
        dtype = torch.bfloat16 if planned.recipe.model.precision == "bf16" else torch.float32
        sizes = (768, 3072) if options.model == "gpt2" else (576, 1536)
        rates = [matrix_rate(dtype, *sizes)]
        train(Recipe.model_validate(values), listeners=[note])
        rates.append(matrix_rate(dtype, *sizes))
    begun = noted[1][0]
    tokens = sum(count for _, count in noted[2:])
    seconds = noted[-1][0] - begun
    per_token = planned.flops_per_token
    speed = tokens / seconds
    rate = statistics.mean(rates)
    machine = this_machine()
    text = (
        f"{options.model}, `{options.method}`, {planned.recipe.model.precision}: {speed:,.0f} real tokens/s x "
        f"{per_token / 1e9:.3f} GFLOP a token = {speed * per_token / 1e9:,.0f} GFLOP/s, {speed * per_token / rate:.0%} "
        f"of the {rate / 1e9:,.0f} GFLOP/s of matrix products alone ({machine.processor}, {machine.cores} cores)."
    )
    print(text)
    if options.write:
        write_between(f"limit-{options.model}-{options.method}", text)


if __name__ == "__main__":
    main()
