"""The rows of `bench/outcome.py`: public files, split into training, validation and test rows once for every program.

Both programs and the evaluation read the same files: on each line a conversation, cut into `prompt` and `completion`,
each a list of messages. No prompt is in more than one of the splits.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

SPLITS = ("train", "validation", "test")
_VALIDATION, _TEST = 0.05, 0.10
"""Shares of a file that has no test rows of its own; 85 % remain for training."""
_NUMBER = re.compile(r"((?<![\w)])[-\u2212])?\s?\$?\s?(\d+(?:,\d{3})*(?:\.\d+)?|\.\d+)")
_FINAL = "####"

Row = dict[str, Any]
Splits = dict[str, list[Row]]


@dataclass(frozen=True, slots=True)
class DataSet:
    """Public rows, and what their answers are measured by."""

    title: str
    read: Callable[[Path, int | None, int, int], Splits]
    """From the folder of the public files, the number of training rows (None for all), that of test rows, the seed."""
    has_numbers: bool
    """Whether each answer ends with a number, which alone has to be right."""


def read_gsm8k(folder: Path, rows: int | None, test_rows: int, seed: int) -> Splits:
    """Grade-school problems: `rows` of the training file, a twentieth as many for validation, and rows of the test
    file."""
    train, test = (
        [_row(row["question"], row["answer"]) for row in _lines(folder / "gsm8k" / f"{name}.jsonl")]
        for name in ("train", "test")
    )
    return split(train, test, rows, test_rows, seed)


def read_instructions(folder: Path, rows: int | None, test_rows: int, seed: int) -> Splits:
    """Short instructions, some with an input: 85 % of them for training, 10 % for the test and 5 % for validation."""
    found = json.loads((folder / "instruction_1100" / "instruction-data.json").read_text(encoding="utf-8"))
    whole = [_row("\n\n".join(filter(None, (row["instruction"], row["input"]))), row["output"]) for row in found]
    return split(whole, None, rows, test_rows, seed)


DATA = {
    "gsm8k": DataSet("GSM8K", read_gsm8k, has_numbers=True),
    "instructions": DataSet("1,100 instructions", read_instructions, has_numbers=False),
}


def split(train: Sequence[Row], test: Sequence[Row] | None, rows: int | None, test_rows: int, seed: int) -> Splits:
    """Shuffled training, validation and test rows, without a prompt in common.

    Of rows with the same prompt only the first is kept.

    Args:
        train: to draw from.
        test: rows that are only tested on; None to hold a tenth of the others out.
        rows: most training rows; None for all.
        test_rows: most test rows.
        seed: of the order. The same seed gives the same test rows, whatever `rows` is.
    """
    order = random.Random(seed)
    seen: set[str] = set()
    tested = _distinct(test or (), seen)
    others = _distinct(train, seen)
    order.shuffle(tested)
    order.shuffle(others)
    held_out = round(_VALIDATION * len(others))
    if test is None:
        number = round(_TEST * len(others))
        tested, others = others[:number], others[number:]
    validation, others = others[:held_out], others[held_out:]
    if rows is not None:
        validation, others = validation[: max(1, round(rows * _VALIDATION / (1 - _VALIDATION - _TEST)))], others[:rows]
    return {"train": others, "validation": validation, "test": tested[:test_rows]}


def write_splits(splits: Splits, folder: Path) -> None:
    """A JSONL file for each."""
    for name, rows in splits.items():
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (folder / f"{name}.jsonl").write_text(text, encoding="utf-8")


def read_split(folder: Path, name: str) -> list[Row]:
    """The rows of one of them."""
    return _lines(folder / f"{name}.jsonl")


def final_number(answer: str) -> Decimal | None:
    """The number that an answer arrives at: the first one after `####`, or else its last number; None without one."""
    _, mark, after = answer.partition(_FINAL)
    after_mark = _NUMBER.search(after) if mark else None
    found = after_mark or next(reversed(list(_NUMBER.finditer(answer))), None)
    if found is None:
        return None
    number = Decimal(found[2].replace(",", ""))
    return -number if found[1] else number


def _row(prompt: str, answer: str) -> Row:
    return {
        "prompt": [{"role": "user", "content": prompt}],
        "completion": [{"role": "assistant", "content": answer}],
    }


def _distinct(rows: Sequence[Row], seen: set[str]) -> list[Row]:
    """The rows whose prompt is not in `seen`, which gets those of all."""
    kept = []
    for row in rows:
        prompt = " ".join(row["prompt"][0]["content"].split())
        if prompt not in seen:
            seen.add(prompt)
            kept.append(row)
    return kept


def _lines(file: Path) -> list[Any]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
