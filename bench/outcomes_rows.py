"""The rows of `bench/outcomes.py`: public and bundled files, each with test rows that no training sees."""

from __future__ import annotations

import csv
import json
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Row = dict[str, Any]
Pool = tuple[list[Row], list[Row]]
"""Rows to train and validate on, and test rows; none of the latter if the file has no split of its own."""

BUNDLED = Path(__file__).resolve().parents[1] / "burnish" / "assets" / "samples"
_TEST_SHARE = 0.25
"""Of the rows, if the file has no test rows of its own."""
_CHARACTERS = 600
"""Of a passage of plain text."""


@dataclass(frozen=True, slots=True)
class DataSet:
    """Rows, and the model that is trained on them."""

    model: str
    """`seedling` or `acorn`, which are bundled, or a folder among the real models."""
    read: Callable[[Path], Pool]
    """From the folder of the public files."""
    test_rows: int = 200
    """Most test rows."""
    group: Callable[[Row], str] | None = None
    """What rows must share to stay together; without it, their content."""
    task: str = "auto"


def read_clinc150(folder: Path, test_file: str = "test") -> Pool:
    """150 intents."""
    train, test = (list(_csv(folder / "clinc150" / f"{name}.csv", ",")) for name in ("train", test_file))
    names = ("text", "label")
    return [dict(zip(names, row, strict=True)) for row in train[1:]], [
        dict(zip(names, row, strict=True)) for row in test[1:]
    ]


def read_sst2(folder: Path, test_file: str = "test") -> Pool:
    """Sentences of film reviews, good or bad."""
    train, test = (
        [{"text": row[0], "label": ("negative", "positive")[int(row[1])]} for row in _csv(folder / "sst2" / file, "\t")]
        for file in ("train.tsv", f"{test_file}.tsv")
    )
    return train, test


def read_wnut17(folder: Path, test_file: str = "emerging.test.annotated") -> Pool:
    """Rare entities in posts."""
    train, test = (list(_conll(folder / "wnut17" / name)) for name in ("wnut17train.conll", test_file))
    return train, test


def read_entities(folder: Path) -> Pool:
    """The bundled entities."""
    return list(_conll(BUNDLED / "entities.conll")), []


def read_squad(file: Path) -> Pool:
    """Questions about texts, in SQuAD's layout."""
    found = json.loads(file.read_text(encoding="utf-8"))["data"]
    rows = [
        {
            "context": paragraph["context"],
            "question": one["question"],
            "answers": {
                "text": [answer["text"] for answer in one["answers"]],
                "answer_start": [answer["answer_start"] for answer in one["answers"]],
            },
        }
        for article in found
        for paragraph in article["paragraphs"]
        for one in paragraph["qas"]
        if one["answers"]
    ]
    return rows, []


def read_instructions(folder: Path) -> Pool:
    """1,100 short instructions."""
    return json.loads((folder / "instruction_1100" / "instruction-data.json").read_text(encoding="utf-8")), []


def read_alpaca(folder: Path) -> Pool:
    """1,000 instructions with longer answers."""
    return json.loads((folder / "alpaca_demo" / "alpaca_en_demo.json").read_text(encoding="utf-8")), []


def read_gsm8k(folder: Path) -> Pool:
    """Grade-school problems."""
    train, test = (
        [{"prompt": row["question"], "completion": row["answer"]} for row in _lines(folder / "gsm8k" / f"{name}.jsonl")]
        for name in ("train", "test")
    )
    return train, test


def read_preferences(folder: Path) -> Pool:
    """Better and worse answers."""
    return json.loads((folder / "preference_dpo" / "dpo_en_demo.json").read_text(encoding="utf-8")), []


def read_plays(folder: Path) -> Pool:
    """Passages of plays."""
    return _passages((folder / "tinyshakespeare" / "input.txt").read_text(encoding="utf-8")), []


def read_wikitext(folder: Path) -> Pool:
    """Passages of articles."""
    train, test = (
        _passages((folder / "wikitext-2" / f"{name}.txt").read_text(encoding="utf-8")) for name in ("valid", "test")
    )
    return train, test


def bundled(name: str) -> Callable[[Path], Pool]:
    """Reads a bundled file of rows."""
    return lambda _: (_lines(BUNDLED / name), [])


DATA = {
    "clinc150": DataSet("minilm", read_clinc150, test_rows=1000),
    "sst2": DataSet("minilm", read_sst2, test_rows=400),
    "wnut17": DataSet("minilm", read_wnut17),
    "xquad": DataSet("minilm", lambda folder: read_squad(folder / "xquad_en" / "xquad.en.json"), 120,
                     group=lambda row: row["context"]),
    "sst2-acorn": DataSet("acorn", read_sst2, test_rows=400),
    "tickets": DataSet("acorn", bundled("tickets.jsonl")),
    "stars": DataSet("acorn", bundled("reviews.jsonl")),
    "entities": DataSet("acorn", read_entities),
    "orders": DataSet("seedling", bundled("orders.jsonl")),
    "helpdesk": DataSet("seedling", bundled("helpdesk.jsonl")),
    "journal": DataSet("seedling", bundled("journal.jsonl")),
    "preferences": DataSet("seedling", bundled("preferences.jsonl")),
    "plays": DataSet("seedling", read_plays, test_rows=60),
    "wikitext": DataSet("seedling", read_wikitext, test_rows=60),
    "instructions": DataSet("smollm2", read_instructions, test_rows=100),
    "alpaca": DataSet("smollm2", read_alpaca, test_rows=60),
    "gsm8k": DataSet("smollm2", read_gsm8k, test_rows=100),
}  # fmt: skip


def rows_of_cell(data: DataSet, folder: Path, rows: int, seed: int) -> Pool:
    """The training and validation rows of a cell, in a random order, and its test rows, which every cell shares.

    Args:
        data: to draw from.
        folder: of the public files.
        rows: number of rows for training and validation; 0 for all.
        seed: of the draw.
    """
    train, test = data.read(folder)
    group = data.group or (lambda row: json.dumps(row, sort_keys=True))
    random.Random(0).shuffle(test)
    if not test:
        keys = sorted({group(row) for row in train})
        random.Random(0).shuffle(keys)
        held_out = set(keys[: round(_TEST_SHARE * len(keys))])
        test = [row for row in train if group(row) in held_out]
        random.Random(0).shuffle(test)
    tested = {group(row) for row in test}
    train = [row for row in train if group(row) not in tested]
    random.Random(seed).shuffle(train)
    return train[: rows or None], test[: data.test_rows]


def write_rows(rows: Sequence[Row], file: Path) -> None:
    """One row a line."""
    file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def _csv(file: Path, delimiter: str) -> Iterator[list[str]]:
    quoting = csv.QUOTE_MINIMAL if delimiter == "," else csv.QUOTE_NONE
    with file.open(encoding="utf-8", newline="") as lines:
        yield from csv.reader(lines, delimiter=delimiter, quoting=quoting)


def _conll(file: Path) -> Iterator[Row]:
    for block in file.read_text(encoding="utf-8").replace("\r", "").split("\n\n"):
        pairs = [line.split("\t") for line in block.splitlines() if line.strip()]
        if pairs:
            yield {"tokens": [pair[0] for pair in pairs], "ner_tags": [pair[-1].strip() for pair in pairs]}


def _lines(file: Path) -> list[Row]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]


def _passages(text: str) -> list[Row]:
    """Passages of about as many characters each, cut at the ends of lines."""
    found, passage = [], ""
    for line in text.splitlines(keepends=True):
        passage += line
        if len(passage) >= _CHARACTERS:
            found.append({"text": passage})
            passage = ""
    return found
