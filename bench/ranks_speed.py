"""Two processes with a thread each beside one with two threads, and beside TRL under `accelerate launch`.

    python bench/ranks_speed.py --model FOLDER [--method lora] [--rows 32] [--passes 4] [--data FILE] [--rounds 1]
                                [--write]

All train in fp32 on the CPU, each in processes of its own, one after the other, and the loss of each result is measured
in the same way. A step holds all rows, and there are as many as `--passes`, so that the programs take the same steps in
whatever order they draw the rows. With `full` nothing else is drawn, and the losses are equal; LoRA draws the adapters.
The share of exchange is what the first process of Burnish spends in sums over all, the waiting for the slower one
included. `--data` as in `bench/peers.py`. Needs TRL and accelerate. `--write` puts the table into docs/scale.md.

    python bench/ranks_speed.py rank SETTINGS.json FOLDER     one of Burnish's two processes, under torchrun
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from meter import Meter
from page import DOCS, write_between
from peer import with_burnish
from peers import ORDERS, loss_before
from settings import MODEL, read_settings, write_settings
from texts import read_texts

from burnish.system.machine import this_machine

HERE = Path(__file__).parent
AGENT = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
ACCELERATE = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"]
"""Its way to start processes by torchrun; `use_cpu` of the trainer then keeps them on the CPU."""
WAYS: dict[str, tuple[list[str], int]] = {
    "Burnish, 1 process with 2 threads": ([sys.executable, str(HERE / "peer.py"), "burnish"], 2),
    "Burnish, 2 processes with 1 thread": ([*AGENT, str(HERE / "ranks_speed.py"), "rank"], 1),
    "TRL, 2 processes with 1 thread": ([*ACCELERATE, str(HERE / "peer.py"), "trl-fp32"], 1),
}
"""Command, and threads of each process."""


def run_rank(settings: Path, folder: Path) -> dict[str, Any]:
    """Trains in one of two processes, and times what it spends in sums over both."""
    from burnish.engine.process import Group

    spent = [0.0]

    def timed(work: Callable[..., Any]) -> Callable[..., Any]:
        def run(*given: Any) -> Any:
            begun = time.perf_counter()
            try:
                return work(*given)
            finally:
                spent[0] += time.perf_counter() - begun

        return run

    for name in ("total", "add_up"):
        setattr(Group, name, timed(getattr(Group, name)))
    meter = Meter("cpu")
    found = read_settings(settings)
    result = with_burnish(found, folder, meter)
    meter.look()
    return {
        "result": str(result),
        "seconds": meter.seconds,
        "steps": meter.steps,
        "tokens": found.trained_tokens,
        "peak_bytes": meter.peak_bytes,
        "exchange_seconds": spent[0],
    }


def measure(way: str, settings: Path) -> dict[str, Any]:
    """One training, and its final loss."""
    command, threads = WAYS[way]
    with tempfile.TemporaryDirectory() as folder:
        lines = _run([*command, str(settings), folder], threads, way)
        found = max(lines, key=lambda line: line["steps"])  # of Burnish, the first process counts
        found["peak_bytes"] = [line["peak_bytes"] for line in lines]
        (found["loss"],) = _run([sys.executable, str(HERE / "judge.py"), str(settings), found["result"]], 2, way)
    return found


def _run(command: list[str], threads: int, way: str) -> list[Any]:
    """What the processes of a command print as JSON."""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    environment |= {"OMP_NUM_THREADS": str(threads), "ACCELERATE_MIXED_PRECISION": "no"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        raise SystemExit(f"{way} failed:\n{done.stdout[-1000:]}\n{done.stderr[-3000:]}")
    found = []
    for line in done.stdout.splitlines():
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return found


def make_settings(options: argparse.Namespace, folder: Path) -> Path:
    """Rows, and settings that all programs read."""
    from transformers import AutoTokenizer

    shutil.copytree(options.model, folder / MODEL)
    tokenizer = AutoTokenizer.from_pretrained(folder / MODEL)
    texts = read_texts(options.data, options.rows, tokenizer)
    lengths = [len(tokenizer(text).input_ids) + 1 for text in texts]
    others = {"task": "text", "method": options.method, "device": "cpu", "rank": 8, "targets": ["q_proj", "v_proj"]}
    own = {"precision": "fp32", "passes": options.passes, "learning_rate": options.rate, "context": max(lengths)}
    return write_settings(folder, [{"text": text} for text in texts], lengths, sum(lengths), **own, **others)


def table(found: dict[str, list[dict[str, Any]]]) -> str:
    """As Markdown; the last column is relative to the first row, by round."""
    lines = [
        "| | tokens/s | times as fast | memory, by process (MB) | exchange | steps | loss after |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    first = next(iter(found.values()))
    for way, runs in found.items():
        speed = statistics.median(run["tokens"] / run["seconds"] for run in runs)
        ratio = statistics.median(one["seconds"] / run["seconds"] for one, run in zip(first, runs, strict=True))
        memory = ", ".join(f"{peak / 1e6:,.0f}" for peak in runs[-1]["peak_bytes"])
        exchange = [run["exchange_seconds"] / run["seconds"] for run in runs if "exchange_seconds" in run]
        share = f"{statistics.median(exchange):.0%}" if exchange else ""
        figures = (f"{speed:,.0f}", f"{ratio:.2f}", memory, share, runs[-1]["steps"], f"{runs[-1]['loss']:.4f}")
        lines.append(f"| {way} | {' | '.join(map(str, figures))} |")
    return "\n".join(lines)


def main() -> None:
    """Prints the table, or trains in one of two processes."""
    if sys.argv[1:2] == ["rank"]:
        print(json.dumps(run_rank(Path(sys.argv[2]), Path(sys.argv[3]))))
        return
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--method", choices=("lora", "full"), default="lora")
    parser.add_argument("--rows", type=int, default=32)
    parser.add_argument("--passes", type=int, default=4)
    parser.add_argument("--data", type=Path, default=ORDERS)
    parser.add_argument("--rate", type=float, default=1e-4)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    found: dict[str, list[dict[str, Any]]] = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory() as folder:
        settings = make_settings(options, Path(folder))
        for _ in range(options.rounds):
            for way, runs in found.items():
                runs.append(measure(way, settings))
                print(way, json.dumps(runs[-1]), file=sys.stderr, flush=True)
        before = loss_before(settings)
    size = f"{options.rows} rows in each of {options.passes} steps"
    text = (
        f"{table(found)}\n\n{size}; {this_machine().processor}, torch {torch.__version__}. Loss before: {before:.4f}."
    )
    print(text)
    if options.write:
        write_between(DOCS / "scale.md", f"ranks-speed-{options.method}", text)


if __name__ == "__main__":
    main()
