"""Bad data and bad recipes, each with its error: exit code 2, and nothing written."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e import bad_files as bad
from tests.e2e.bad_case import Case, check
from tests.e2e.conftest import Burnish

TRAIN = "train rows.jsonl --model BASE"

CASES = [
    Case(
        "empty file",
        bad.holding("rows.jsonl", ""),
        TRAIN,
        names=("./rows.jsonl",),
    ),
    Case(
        "only blank lines",
        bad.holding("rows.jsonl", "\n \n\n"),
        TRAIN,
        names=("./rows.jsonl",),
    ),
    Case(
        "missing file, another is near",
        bad.rows(),
        "train row.jsonl --model BASE",
        names=("row.jsonl",),
    ),
    Case(
        "missing file",
        bad.holding("notes", ""),
        TRAIN,
        names=("rows.jsonl",),
    ),
    Case(
        "missing validation file",
        bad.rows(),
        f"{TRAIN} --set data.validation=valid.csv",
        names=("valid.csv",),
    ),
    Case(
        "wrong ending",
        bad.rows(name="rows.docx"),
        "train rows.docx --model BASE",
        names=("./rows.docx", ".docx"),
    ),
    Case(
        "folder without data",
        lambda here, base: (here / "data").mkdir(),
        "train data --model BASE",
        names=("./data",),
    ),
    Case(
        "unknown hub dataset",
        bad.rows(),
        "train nobody/nothing --model BASE",
        names=("nobody/nothing",),
    ),
    Case(
        "binary garbage",
        bad.holding("rows.jsonl", bytes(range(256)) * 20),
        TRAIN,
        names=("./rows.jsonl",),
    ),
    Case(
        "binary garbage without NUL",
        bad.holding("rows.jsonl", bytes(range(128, 256)) * 20),
        TRAIN,
        names=("./rows.jsonl",),
    ),
    Case(
        "gzip cut short",
        bad.broken_gzip,
        "train rows.jsonl.gz --model BASE",
        names=("./rows.jsonl.gz",),
    ),
    Case(
        "plain text named gzip",
        bad.rows(name="rows.jsonl.gz"),
        "train rows.jsonl.gz --model BASE",
        names=("./rows.jsonl.gz",),
    ),
    Case(
        "broken JSON document",
        bad.holding("rows.json", '[\n{"prompt": "a", "completion": "b"},\n{"prompt": "a" "completion"}\n]'),
        "train rows.json --model BASE",
        names=("./rows.json:3:16",),
    ),
    Case(
        "every answer is empty",
        bad.rows(*({"prompt": f"What is {number}?", "completion": " "} for number in range(4))),
        TRAIN,
        names=("./rows.jsonl",),
    ),
    Case(
        "every row is over-long",
        bad.rows(*({"prompt": f"What is {number}?", "completion": "word " * 300} for number in range(3))),
        TRAIN,
        names=(),
    ),
    Case(
        "context asked for too short",
        bad.rows(*bad.good_rows(3)),
        f"{TRAIN} --set data.context=8",
        names=(),
    ),
    Case(
        "context larger than the model's",
        bad.rows(),
        f"{TRAIN} --set data.context=100",
        names=("data.context",),
    ),
    Case(
        "mixed shapes",
        bad.rows(*bad.good_rows(20), *({"text": f"The hat is {number}."} for number in range(5))),
        TRAIN,
        names=("text", "prompt-completion", "./rows.jsonl:21"),
    ),
    Case(
        "column map names no column",
        bad.rows(),
        f"{TRAIN} --set data.columns.prompt=promt",
        names=("promt", "data.columns.prompt"),
    ),
    Case(
        "validation data is the training data",
        bad.rows(),
        f"{TRAIN} --set data.validation=rows.jsonl",
        names=(),
    ),
    Case(
        "task does not fit the rows",
        bad.rows(),
        f"{TRAIN} --task text",
        names=("text",),
    ),
    Case(
        "unknown task",
        bad.rows(),
        f"{TRAIN} --task chta",
        names=("chta",),
    ),
    Case(
        "unknown method",
        bad.rows(),
        f"{TRAIN} --method lroa",
        names=("lroa",),
    ),
    Case(
        "unknown option as a flag",
        bad.rows(),
        f"{TRAIN} --modle seedling",
        names=("burnish train", "--modle"),
    ),
    Case(
        "unknown option in --set",
        bad.rows(),
        f"{TRAIN} --set train.lerning_rate=1e-4",
        names=("train.lerning_rate",),
    ),
    Case(
        "unknown option in a recipe",
        bad.holding("recipe.yaml", "data:\n  path: rows.jsonl\ntrain:\n  lerning_rate: 0.1\n"),
        "train recipe.yaml --model BASE",
        names=("train.lerning_rate",),
    ),
    Case(
        "wrong type",
        bad.rows(),
        f"{TRAIN} --set train.epochs=many",
        names=("train.epochs", "many"),
    ),
    Case(
        "out of range",
        bad.holding("recipe.yaml", "data:\n  path: rows.jsonl\nlora:\n  dropout: 1.5\n"),
        "train recipe.yaml --model BASE",
        names=("lora.dropout", "1.5"),
    ),
    Case(
        "three mistakes at once",
        bad.rows(),
        f"{TRAIN} --set train.epochs=0 --set lora.rnk=3 --set data.packing=7",
        names=(),
    ),
    Case(
        "recipe that names no data",
        bad.holding("recipe.yaml", "seed: 3\n"),
        "train recipe.yaml",
        names=(),
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_data_and_recipe(case: Case, here: Path, base: Path, burnish: Burnish) -> None:
    check("bad_input", case, here, base, burnish)
