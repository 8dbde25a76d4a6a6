"""What the time of a training step goes to, by kind of operation, and what the matrix products alone would allow.

    python bench/step_parts.py [--cases gpt2-lora,llama-lora] [--data FILE] [--steps 6] [--write]

The trainings are those of `bench/limit.py`. Each is taken once without and once under torch's profiler. The first gives
the speed; the second gives shares: the time that an operation spends by itself, without those that it calls, over the
time of the steps. The rest is Python and the time between operations. The last line is the speed divided by the share
of matrix products: what would be reached if all else took no time.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from limit import UNTIMED, prepare
from page import DOCS, write_between
from peers import ASSETS, ORDERS
from torch.profiler import ProfilerActivity, profile
from transformers.utils import logging

from burnish.recipe.schema import Recipe
from burnish.runs.events import Event, StepDone
from burnish.system.machine import this_machine
from burnish.workflows.train import train

KINDS = {
    "matrix products": ("mm", "addmm", "bmm", "baddbmm", "linear", "matmul", "mkldnn_linear"),
    "attention": ("_scaled_dot_product", "flash"),
    "norms": ("native_layer_norm", "rms_norm", "layer_norm", "rsqrt", "mean", "var"),
    "activations": ("gelu", "silu", "tanh", "sigmoid"),
    "softmax": ("softmax", "exp", "log", "amax", "max", "logsumexp"),
    "copies and casts": ("copy", "cat", "stack", "clone", "index", "gather", "scatter", "embedding", "fill", "zero"),
    "sums and products by element": ("add", "mul", "sub", "div", "neg", "pow", "sum", "where", "masked"),
    "dropout": ("dropout", "bernoulli", "rand"),
}
"""By the beginnings of the operations' names."""
REST = "Python and all else"


def kind_of(operation: str) -> str:
    """The kind that an operation of torch belongs to."""
    name = operation.removeprefix("aten::").removeprefix("_").removeprefix("foreach_")
    return next((kind for kind, begins in KINDS.items() if name.startswith(tuple(b.strip("_") for b in begins))), REST)


def timed(recipe: Recipe, begin: Callable[[], object], end: Callable[[], object]) -> tuple[float, int]:
    """Seconds and tokens of all steps but the first ones."""
    noted: list[tuple[float, int]] = []

    def note(event: Event) -> None:
        if not isinstance(event, StepDone):
            return
        if event.step == UNTIMED:
            begin()
        noted.append((time.perf_counter(), event.tokens))
        if event.step == recipe.train.max_steps:
            end()

    train(recipe, listeners=[note])
    counted = noted[UNTIMED - 1 :]
    return counted[-1][0] - counted[0][0], sum(tokens for _, tokens in counted[1:])


def parts(case: str, options: argparse.Namespace) -> tuple[float, dict[str, float]]:
    """Tokens a second, and the share of each kind."""
    with tempfile.TemporaryDirectory() as name:
        recipe = prepare(case, options, Path(name))
        seconds, tokens = timed(recipe, lambda: None, lambda: None)
        speed = tokens / seconds
        profiler = profile(activities=[ProfilerActivity.CPU])
        seconds, _ = timed(recipe, profiler.start, profiler.stop)
    shares = dict.fromkeys([*KINDS, REST], 0.0)
    for operation in profiler.key_averages():
        shares[kind_of(operation.key)] += operation.self_cpu_time_total / 1e6 / seconds
    shares[REST] += 1 - sum(shares.values())
    return speed, shares


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--cases", default="gpt2-lora,llama-lora")
    parser.add_argument("--data", type=Path, default=ORDERS)
    parser.add_argument("--tokenizer", default=str(ASSETS / "seedling"))
    parser.add_argument("--rows", type=int, default=200)
    parser.add_argument("--steps", type=int, default=6, help=f"of which {UNTIMED} are not timed")
    parser.add_argument("--name", default="parts", help="of the table in the page")
    parser.add_argument("--write", action="store_true", help="into docs/performance.md")
    options = parser.parse_args()
    logging.disable_progress_bar()
    cases = options.cases.split(",")
    result = [parts(case, options) for case in cases]
    lines = [f"| | {' | '.join(case.replace('-', ', ') for case in cases)} |", f"|---|{'---:|' * len(cases)}"]
    lines += [f"| {kind} | {' | '.join(f'{shares[kind]:.0%}' for _, shares in result)} |" for kind in [*KINDS, REST]]
    lines.append(f"| real tokens/s | {' | '.join(f'{speed:,.0f}' for speed, _ in result)} |")
    alone = [speed / shares["matrix products"] for speed, shares in result]
    lines.append(f"| if all but matrix products took no time | {' | '.join(f'{speed:,.0f}' for speed in alone)} |")
    machine = this_machine()
    ran = f"{machine.processor}, {machine.cores} cores, torch {torch.__version__}."
    table = "\n".join([*lines, "", f"{options.steps - UNTIMED} steps each; {ran}"])
    print(table)
    if options.write:
        write_between(DOCS / "performance.md", options.name, table)


if __name__ == "__main__":
    main()
