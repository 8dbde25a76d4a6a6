"""Megabytes of text a second that one core turns into token ids: the tokenizers library beside the faster way.

    python bench/tokenizing.py --data wikitext-2/valid.txt --tokenizer GPT2 [--write]

Both give the same ids, or the command says so and ends with 1. Each takes turns on the same lines; medians of the
rounds, in seconds of the processor.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from page import DOCS, write_between

SEEDLING = Path(__file__).resolve().parents[1] / "burnish" / "assets" / "seedling"
_LEAST_BYTES = 10_000_000


def read_lines(file: Path) -> list[str]:
    """The lines of a text file, as often as it takes to have ten megabytes."""
    lines = file.read_text(encoding="utf-8").splitlines()
    size = sum(len(line.encode()) for line in lines)
    return lines * -(-_LEAST_BYTES // size)


def timed(encode: Callable[[list[str]], list[list[int]]], texts: list[str]) -> tuple[float, list[list[int]]]:
    """Seconds of the processor, and the ids."""
    begun = time.process_time()
    ids = encode(texts)
    return time.process_time() - begun, ids


def main() -> int:
    """Measures, prints and writes; the exit code."""
    arguments = argparse.ArgumentParser(description="Tokenizers library beside tiktoken, megabytes a second and core.")
    arguments.add_argument("--data", type=Path, required=True, help="a text file")
    arguments.add_argument("--tokenizer", type=Path, default=SEEDLING)
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--write", action="store_true", help="into docs/performance.md")
    asked = arguments.parse_args()
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    from transformers import AutoTokenizer

    from burnish.data.byte_pairs import encode_plainly, find_byte_pairs

    tokenizer = AutoTokenizer.from_pretrained(asked.tokenizer)
    begun = time.perf_counter()
    fast = find_byte_pairs(tokenizer)
    found_in = time.perf_counter() - begun
    if fast is None:
        print("This tokenizer is not of the form that the faster way takes; name another one")
        return 2
    texts = read_lines(asked.data)
    ways: dict[str, Callable[[list[str]], Any]] = {
        "tokenizers": lambda lines: encode_plainly(tokenizer, lines),
        "tiktoken": fast.encode,
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(asked.rounds):
        made = []
        for name, encode in ways.items():
            took, ids = timed(encode, texts)
            seconds[name].append(took)
            made.append(ids)
        if made[0] != made[1]:
            print("The two ways give different ids for these texts")
            return 1
    table = _table(seconds, sum(len(text.encode()) for text in texts) / 1e6, found_in)
    print(table)
    if asked.write:
        write_between(DOCS / "performance.md", "tokenizing", table)
    return 0


def _table(seconds: dict[str, list[float]], megabytes: float, found_in: float) -> str:
    lines = ["| | MB/s a core |", "|---|---:|"]
    lines += [f"| {name} | {megabytes / statistics.median(took):.1f} |" for name, took in seconds.items()]
    rounds = len(next(iter(seconds.values())))
    told = f"Medians of {rounds} rounds over {megabytes:.0f} MB; to look at the tokenizer takes {found_in:.2f} s, once."
    return "\n".join([*lines, "", told])


if __name__ == "__main__":
    sys.exit(main())
