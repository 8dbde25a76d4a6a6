"""Bad data and bad recipes, each with the words it is answered by: exit code 2, and nothing written."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from burnish.data.files.readers import READERS
from burnish.methods import method_names
from burnish.recipe.schema import AUTO
from burnish.tasks import task_names
from tests.e2e import bad_files as bad
from tests.e2e.bad_case import Case, check
from tests.e2e.conftest import Burnish

TRAIN = "train rows.jsonl --model BASE"
ENDINGS = f"The endings read are {' '.join(READERS)}, and each with .gz"


def named(names: Iterable[str]) -> str:
    """Names as a list of choices is told."""
    return ", ".join(f"`{name}`" for name in names)


MEND = "Mend these rows, or name another file"

CASES = [
    Case(
        "empty file",
        bad.holding("rows.jsonl", ""),
        TRAIN,
        "`./rows.jsonl` is empty",
        "It holds 0 bytes",
        "Put at least two rows in it",
    ),
    Case(
        "only blank lines",
        bad.holding("rows.jsonl", "\n \n\n"),
        TRAIN,
        "`./rows.jsonl` has no rows",
        "It was read to its end",
        "Put at least two rows in it",
    ),
    Case(
        "missing file, another is near",
        bad.rows(),
        "train row.jsonl --model BASE",
        "no such file: `row.jsonl`",
        "The folder `.` has none of that name",
        "Did you mean `rows.jsonl`?",
    ),
    Case(
        "missing file",
        bad.holding("notes", ""),
        TRAIN,
        "no such file: `rows.jsonl`",
        "The folder `.` has none of that name",
        "Check the path",
    ),
    Case(
        "missing validation file",
        bad.rows(),
        f"{TRAIN} --set data.validation=valid.csv",
        "no such file: `valid.csv`",
        "The folder `.` has none of that name",
        "Check the path",
    ),
    Case(
        "wrong ending",
        bad.rows(name="rows.docx"),
        "train rows.docx --model BASE",
        "`./rows.docx` has the ending `.docx`, which is not read",
        ENDINGS,
        "Convert the file to one of these, or rename it if it is one",
    ),
    Case(
        "folder without data",
        lambda here, base: (here / "data").mkdir(),
        "train data --model BASE",
        "there is no data in the folder `./data`",
        ENDINGS,
        "Put a file named train.jsonl (or .json, .csv, …) in it",
    ),
    Case(
        "unknown hub dataset",
        bad.rows(),
        "train nobody/nothing --model BASE",
        "there is no file or folder `nobody/nothing`, and no hub dataset of that name is at hand",
        "Not in the cache DATASETS/nobody___nothing; HF_HUB_OFFLINE is set, so the hub is not asked",
        "Name a local file or folder, or fetch the dataset once where there is a network",
    ),
    Case(
        "binary garbage",
        bad.holding("rows.jsonl", bytes(range(256)) * 20),
        TRAIN,
        "`./rows.jsonl` is not a text file: there is a NUL byte in line 1",
        "Binary data, or text that was not saved as UTF-8",
        "Save it as UTF-8 text",
    ),
    Case(
        "binary garbage without NUL",
        bad.holding("rows.jsonl", bytes(range(128, 256)) * 20),
        TRAIN,
        "`./rows.jsonl` has no usable row: its only one is rejected",
        "./rows.jsonl:1: byte 0x80 at position 1 is not UTF-8",
        MEND,
    ),
    Case(
        "gzip cut short",
        bad.broken_gzip,
        "train rows.jsonl.gz --model BASE",
        "`./rows.jsonl.gz` is not a whole gzip file",
        "Compressed file ended before the end-of-stream marker was reached",
        "Compress or download it again, or drop `.gz` from its name if it is not compressed",
    ),
    Case(
        "plain text named gzip",
        bad.rows(name="rows.jsonl.gz"),
        "train rows.jsonl.gz --model BASE",
        "`./rows.jsonl.gz` is not a whole gzip file",
        "Not a gzipped file (b'{\"')",
        "Compress or download it again, or drop `.gz` from its name if it is not compressed",
    ),
    Case(
        "broken JSON document",
        bad.holding("rows.json", '[\n{"prompt": "a", "completion": "b"},\n{"prompt": "a" "completion"}\n]'),
        "train rows.json --model BASE",
        "./rows.json:3:16: broken JSON: Expecting ',' delimiter",
        "A .json file is one document and is read whole or not at all",
        "Mend that place, or save one object a line as .jsonl, where one bad line costs one row",
    ),
    Case(
        "every answer is empty",
        bad.rows(*({"prompt": f"What is {number}?", "completion": " "} for number in range(4))),
        TRAIN,
        "`./rows.jsonl` has no usable row: all 4 are rejected",
        "; ".join(f"./rows.jsonl:{line}: the answer is empty (column `completion`)" for line in (1, 2, 3)) + "; …",
        MEND,
    ),
    Case(
        "every row is over-long",
        bad.rows(*({"prompt": f"What is {number}?", "completion": "word " * 300} for number in range(3))),
        TRAIN,
        "none of the 2 training rows can be learned from",
        "./rows.jsonl:1: the answer alone is 1501 tokens, longer than the context of 64 has room for; "
        "./rows.jsonl:3: the answer alone is 1501 tokens, longer than the context of 64 has room for.",
        "Shorten the rows, or choose a model that reads more than 64 tokens",
    ),
    Case(
        "context asked for too short",
        bad.rows(*bad.good_rows(3)),
        f"{TRAIN} --set data.context=8",
        "none of the 2 training rows can be learned from",
        "./rows.jsonl:1: the answer alone is 8 tokens, longer than the context of 8 has room for; "
        "./rows.jsonl:2: the answer alone is 8 tokens, longer than the context of 8 has room for.",
        "Raise `data.context`: this model reads up to 64 tokens",
    ),
    Case(
        "context larger than the model's",
        bad.rows(),
        f"{TRAIN} --set data.context=100",
        "`data.context` is 100, but this model reads at most 64 tokens",
        "Beyond that it has no positions.",
        "Use `--set data.context=64` or leave it at `auto`",
    ),
    Case(
        "mixed shapes",
        bad.rows(*bad.good_rows(20), *({"text": f"The hat is {number}."} for number in range(5))),
        TRAIN,
        "./rows.jsonl:21: this row looks like `text`, but most rows are `prompt-completion`",
        "5 of 25 rows differ",
        "Split the file by shape, or set `data.shape=prompt-completion` to leave the others out",
    ),
    Case(
        "column map names no column",
        bad.rows(),
        f"{TRAIN} --set data.columns.prompt=promt",
        "there is no column `promt`, which `data.columns.prompt` names",
        "The columns are `completion`, `prompt`",
        "Did you mean `prompt`?",
    ),
    Case(
        "validation data is the training data",
        bad.rows(),
        f"{TRAIN} --set data.validation=rows.jsonl",
        "every training row is also in the validation data",
        "A figure on rows that were trained on proves nothing",
        "Give other validation data, or none: then part of the rows is held out",
    ),
    Case(
        "task does not fit the rows",
        bad.rows(),
        f"{TRAIN} --task text",
        "the rows do not fit the task `text`",
        "They have the shape `prompt-completion`, which is for the task `chat` or `text-to-text`.",
        "Leave `task` at `auto`, or map the columns with `--set data.columns.text=...`",
    ),
    Case(
        "unknown task",
        bad.rows(),
        f"{TRAIN} --task chta",
        "`chta` is no task",
        f"There are {named([AUTO, *task_names()])}.",
        "Did you mean `chat`?",
    ),
    Case(
        "unknown method",
        bad.rows(),
        f"{TRAIN} --method lroa",
        "`lroa` is no method",
        f"There are {named(['auto', *method_names()])}.",
        "Did you mean `lora`?",
    ),
    Case(
        "unknown option as a flag",
        bad.rows(),
        f"{TRAIN} --modle seedling",
        "`burnish train` has no option `--modle`",
        "",
        "Did you mean `--model`?",
    ),
    Case(
        "unknown option in --set",
        bad.rows(),
        f"{TRAIN} --set train.lerning_rate=1e-4",
        "`train.lerning_rate` is not an option (--set)",
        "",
        "Did you mean `train.learning_rate`?",
    ),
    Case(
        "unknown option in a recipe",
        bad.holding("recipe.yaml", "data:\n  path: rows.jsonl\ntrain:\n  lerning_rate: 0.1\n"),
        "train recipe.yaml --model BASE",
        "`train.lerning_rate` is not an option (recipe.yaml line 4)",
        "",
        "Did you mean `train.learning_rate`?",
    ),
    Case(
        "wrong type",
        bad.rows(),
        f"{TRAIN} --set train.epochs=many",
        "`train.epochs` cannot be `many` (--set)",
        "",
        "It takes `auto` or a number above 0",
    ),
    Case(
        "out of range",
        bad.holding("recipe.yaml", "data:\n  path: rows.jsonl\nlora:\n  dropout: 1.5\n"),
        "train recipe.yaml --model BASE",
        "`lora.dropout` cannot be `1.5` (recipe.yaml line 4)",
        "",
        "It takes a number from 0 to below 1",
    ),
    Case(
        "three mistakes at once",
        bad.rows(),
        f"{TRAIN} --set train.epochs=0 --set lora.rnk=3 --set data.packing=7",
        "3 options are wrong",
        "- `lora.rnk` is not an option (--set). Did you mean `lora.rank`?\n"
        "- `data.packing` cannot be `7` (--set). It takes `true` or `false`\n"
        "- `train.epochs` cannot be `0` (--set). It takes `auto` or a number above 0",
        "Mend each of these; nothing was started",
    ),
    Case(
        "recipe that names no data",
        bad.holding("recipe.yaml", "seed: 3\n"),
        "train recipe.yaml",
        "no data was named",
        "",
        "Add `data:` and below it `path: ...` to `recipe.yaml`",
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_data_and_recipe(case: Case, here: Path, base: Path, burnish: Burnish) -> None:
    check(case, here, base, burnish)
