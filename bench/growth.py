"""How cost grows: training speed against context length and parameters, the data path against rows; as plots.

    python bench/growth.py context|parameters|rows [--write]

`context` trains a Llama's layout of 121 M parameters (LoRA, rank 8) on texts that fill contexts of 128 to 8,192
tokens, and on texts of 64 tokens packed into rows of the same lengths. `parameters` trains Llama's layouts of 1 to
232 M parameters on a context of 512. Of each, the fastest of a few steps is shown: what else the machine does only adds
to it. `rows` reads, tokenizes and packs 10² to 10⁶ made-up instructions (some 400 bytes each) with the bundled
tokenizer, twice: the second time their tokens come from the cache. Each measurement has a process of its own, so that
its memory is its own. `--write` puts the table into docs/performance.md and the plot beside it.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from growth_run import SIZES
from page import DOCS, write_between

CONTEXTS = (128, 256, 512, 1024, 2048, 4096, 8192)
SHORT = 64
"""Tokens of the texts that are packed."""
ROWS = (100, 1_000, 10_000, 100_000, 1_000_000)
_WORDS = ("lamp", "ship", "storm", "wind", "keeper", "island", "harbour", "light", "boat", "sea", "rope", "oar")


def write_rows(file: Path, count: int) -> None:
    """Made-up instructions of some 400 bytes, no two alike."""
    source = random.Random(0)

    def sentence(length: int) -> str:
        return " ".join(source.choice(_WORDS) for _ in range(length)).capitalize() + "."

    with file.open("w", encoding="utf-8") as out:
        for number in range(count):
            row = {"instruction": f"{number}: {sentence(12)}", "input": "", "output": f"{sentence(25)} {sentence(25)}"}
            out.write(json.dumps(row) + "\n")


def in_a_process(name: str, *given: Any, cache: str = "") -> dict[str, Any]:
    """The result of one function of `growth_run.py`."""
    environment = {**os.environ, **({"BURNISH_CACHE": cache} if cache else {})}
    command = [sys.executable, str(Path(__file__).resolve().parent / "growth_run.py"), name, json.dumps(given)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        raise SystemExit(f"{name} {given} failed:\n{done.stderr[-2000:]}")
    result = json.loads(done.stdout.strip().splitlines()[-1])
    print(json.dumps(result), file=sys.stderr, flush=True)
    return result


def over_contexts() -> tuple[str, Callable[[Any], None]]:
    """Speed against context length."""
    filled = [in_a_process("train_steps", "base", context, context) for context in CONTEXTS]
    packed = [in_a_process("train_steps", "base", context, SHORT) for context in CONTEXTS]
    lines = [
        "| context | tokens/s, one text fills it | peak memory | tokens/s, packed texts of 64 tokens | peak memory |",
        "|---:|---:|---:|---:|---:|",
        *(
            f"| {one['context']:,} | {one['tokens_per_second']:,.0f} | {one['peak_bytes'] / 1e9:.2f} GB "
            f"| {other['tokens_per_second']:,.0f} | {other['peak_bytes'] / 1e9:.2f} GB |"
            for one, other in zip(filled, packed, strict=True)
        ),
    ]
    return "\n".join(lines), partial(draw_contexts, filled=filled, packed=packed)


def draw_contexts(axes: Any, filled: Sequence[dict[str, Any]], packed: Sequence[dict[str, Any]]) -> None:
    """Both kinds of texts; contexts are powers of two."""
    for runs, label in ((filled, "one text fills the context"), (packed, f"packed texts of {SHORT} tokens")):
        _line(axes, runs, "context", "tokens_per_second", label)
    _label(axes, "context (tokens)", "tokens per second")
    axes.set_xticks(CONTEXTS, [f"{context:,}" for context in CONTEXTS])
    axes.set_xticks([], minor=True)
    axes.set_yscale("linear")
    axes.set_ylim(bottom=0)


def over_parameters() -> tuple[str, Callable[[Any], None]]:
    """Speed against the size of the model."""
    runs = [in_a_process("train_steps", size, 512, 512) for size in SIZES]
    lines = [
        "| parameters | tokens/s | times parameters | peak memory |",
        "|---:|---:|---:|---:|",
        *(
            f"| {run['parameters'] / 1e6:,.1f} M | {run['tokens_per_second']:,.0f} "
            f"| {run['tokens_per_second'] * run['parameters'] / 1e9:,.0f} · 10⁹ | {run['peak_bytes'] / 1e9:.2f} GB |"
            for run in runs
        ),
    ]

    def draw(axes: Any) -> None:
        _line(axes, runs, "parameters", "tokens_per_second", "LoRA, context 512")
        _label(axes, "parameters", "tokens per second")

    return "\n".join(lines), draw


def over_rows() -> tuple[str, Callable[[Any], None]]:
    """Seconds of the data path against rows, first and second time."""
    first, second = [], []
    with tempfile.TemporaryDirectory() as folder:
        for count in ROWS:
            file = Path(folder) / f"{count}.jsonl"
            write_rows(file, count)
            for runs in (first, second):
                runs.append(in_a_process("read_rows", count, str(file), cache=str(Path(folder) / "cache")))
            file.unlink()
    lines = [
        "| rows | size | reading | tokenizing | again | packing | peak memory |",
        "|---:|---:|---:|---:|---:|---:|---:|",
        *(
            f"| {one['rows']:,} | {one['megabytes']:,.1f} MB | {one['reading']:.2f} s | {one['encoding']:.2f} s "
            f"| {other['encoding']:.2f} s | {one['packing']:.2f} s | {one['peak_bytes'] / 1e9:.2f} GB |"
            for one, other in zip(first, second, strict=True)
        ),
    ]

    def draw(axes: Any) -> None:
        for runs, part, label in (
            (first, "reading", "reading"),
            (first, "encoding", "tokenizing"),
            (second, "encoding", "the second time"),
            (first, "packing", "packing"),
        ):
            _line(axes, runs, "rows", part, label)
        _label(axes, "rows", "seconds")

    return "\n".join(lines), draw


def _line(axes: Any, runs: Sequence[dict[str, Any]], across: str, up: str, label: str) -> None:
    axes.plot([run[across] for run in runs], [run[up] for run in runs], marker="o", label=label)


def _label(axes: Any, across: str, up: str) -> None:
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel(across)
    axes.set_ylabel(up)
    axes.grid(True, which="major", alpha=0.3)
    axes.legend(frameon=False)


KINDS = {"context": over_contexts, "parameters": over_parameters, "rows": over_rows}


def main() -> None:
    """Prints a table, and draws it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("--write", action="store_true", help="into docs/performance.md")
    options = parser.parse_args()
    table, draw = KINDS[options.kind]()
    print(table)
    if options.write:
        import matplotlib.pyplot as plt

        figure, axes = plt.subplots(figsize=(6, 3.6), layout="constrained")
        draw(axes)
        figure.savefig(DOCS / f"growth-{options.kind}.svg", metadata={"Date": None})
        write_between(DOCS / "performance.md", f"growth-{options.kind}", table)


if __name__ == "__main__":
    main()
