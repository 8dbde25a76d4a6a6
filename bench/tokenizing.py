"""Megabytes of text a second that one core turns into token ids: the tokenizers library beside the faster way.

    python bench/tokenizing.py --data wikitext-2/valid.txt --chats alpaca_en_demo.json --tokenizer GPT2 [--write]

Both give the same ids, or the command says so and ends with 1. Each takes turns on the same lines; medians of the
rounds, in seconds of the processor. Lines come again and again, each with a number of its own. `--chats` is a JSON file
of `instruction`, `input` and `output`: its rows become examples, from messages through the chat template to ids and
labels; what counts is the text of the messages.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from itertools import cycle
from pathlib import Path
from typing import Any

from page import DOCS, write_between

SEEDLING = Path(__file__).resolve().parents[1] / "burnish" / "assets" / "seedling"
_LEAST_BYTES = 10_000_000
_BLOCK, _CONTEXT = 1_024, 4_096


def read_lines(file: Path) -> list[str]:
    """The lines of a text file, as often as it takes to have ten megabytes."""
    return _numbered(file.read_text(encoding="utf-8").splitlines())


def _numbered(texts: list[str]) -> list[str]:
    times = -(-_LEAST_BYTES // sum(len(text.encode()) for text in texts))
    return [f"{number}. {text}" for number in range(times) for text in texts]


def read_chats(file: Path) -> list[Any]:
    """Conversations of one question and one answer."""
    from burnish.data.rows.records import ChatRecord

    rows = json.loads(file.read_text(encoding="utf-8"))
    asked = _numbered(["\n\n".join(filter(None, (row["instruction"], row["input"]))) for row in rows])
    answers = cycle(row["output"] for row in rows)
    return [
        ChatRecord(
            ({"role": "user", "content": text}, {"role": "assistant", "content": answer}), None, f"rows:{number}"
        )
        for number, (text, answer) in enumerate(zip(asked, answers, strict=False), start=1)
        if answer.strip()
    ]


def time_chats(file: Path, tokenizer: Any, rounds: int) -> tuple[float, list[float]]:
    """Megabytes of messages, and the seconds of each round."""
    from burnish.data.chat.format import ChatFormat
    from burnish.data.tokens.tokens import run_requests_batched

    records, form = read_chats(file), ChatFormat(tokenizer)
    size = sum(len(message["content"].encode()) for record in records for message in record.messages)
    seconds = []
    for _ in range(rounds):
        begun = time.process_time()
        for begin in range(0, len(records), _BLOCK):
            block = records[begin : begin + _BLOCK]
            run_requests_batched(form.tokens, [form.requests(record, _CONTEXT) for record in block])
        seconds.append(time.process_time() - begun)
    return size / 1e6, seconds


def timed(encode: Callable[[list[str]], list[list[int]]], texts: list[str]) -> tuple[float, list[list[int]]]:
    """Seconds of the processor, and the ids."""
    begun = time.process_time()
    ids = encode(texts)
    return time.process_time() - begun, ids


def main() -> int:
    """Measures, prints and writes; the exit code."""
    arguments = argparse.ArgumentParser(description="Tokenizers library beside tiktoken, megabytes a second and core.")
    arguments.add_argument("--data", type=Path, required=True, help="a text file")
    arguments.add_argument("--chats", type=Path, help="a JSON file of instructions")
    arguments.add_argument("--tokenizer", type=Path, default=SEEDLING)
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--write", action="store_true", help="into docs/performance.md")
    asked = arguments.parse_args()
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    from transformers import AutoTokenizer

    from burnish.data.tokens.byte_pairs import find_byte_pairs
    from burnish.data.tokens.tokens import encode_plainly

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
    size = sum(len(text.encode()) for text in texts) / 1e6
    rates = {name: size / statistics.median(took) for name, took in seconds.items()}
    if asked.chats:
        size, took = time_chats(asked.chats, tokenizer, asked.rounds)
        rates["conversations to examples"] = size / statistics.median(took)
    table = _table(rates, asked.rounds, found_in)
    print(table)
    if asked.write:
        write_between(DOCS / "performance.md", "tokenizing", table)
    return 0


def _table(rates: dict[str, float], rounds: int, found_in: float) -> str:
    lines = ["| | MB/s a core |", "|---|---:|", *(f"| {name} | {rate:.1f} |" for name, rate in rates.items())]
    result = f"Medians of {rounds} rounds over 10 MB or more; analyzing the tokenizer takes {found_in:.2f} s, once."
    return "\n".join([*lines, "", result])


if __name__ == "__main__":
    sys.exit(main())
