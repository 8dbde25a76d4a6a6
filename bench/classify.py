"""Burnish beside transformers' `Trainer` on a classification: seconds, memory, and accuracy on the same rows.

    python bench/classify.py --train sst2/train.tsv --test sst2/dev.tsv [--rows 1600] [--rounds 3] [--write]

The files have a line of names, then a text, a tab and a label on each line (SST-2 in GLUE's layout). Both train all
weights of all-MiniLM-L6-v2, from the folder that the variable `BURNISH_REAL_MODELS` names, with a new head, for one
epoch on the first rows: the same batches of 32 rows, constant learning rate and AdamW. `Trainer` pads each batch to its
longest row (`DataCollatorWithPadding`), in fp32 and, as `trainer-bf16`, in mixed precision. Seconds are those of the
steps. The accuracy of each result is measured by transformers' own model class, in fp32.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from meter import Meter, listener
from page import DOCS, write_between
from peers import real_model

from burnish.system.machine import this_machine

PROGRAMS = ("burnish", "trainer", "trainer-bf16")
BATCH, RATE, SEED = 32, 5e-5, 1


def read_rows(file: Path, number: int | None = None) -> list[dict[str, Any]]:
    """`text` and `label` of the first rows."""
    with file.open(encoding="utf-8", newline="") as lines:
        rows = [{"text": row[0], "label": row[1]} for row in csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)]
    return rows[1:][:number]


def with_burnish(rows: list[dict[str, Any]], folder: Path, meter: Meter) -> Path:
    """Burnish with its defaults, but for rate, schedule and size of a step."""
    import burnish

    validation = folder / "validation.jsonl"
    validation.write_text("".join(json.dumps(row) + "\n" for row in rows[:2]), encoding="utf-8")
    tokens = BATCH * sum(len(row["text"].split()) + 4 for row in rows) // len(rows)
    options: dict[str, Any] = {
        "train.learning_rate": RATE, "train.schedule": "constant", "train.warmup": 0, "train.epochs": 1,
        "train.early_stopping": False, "train.weight_decay": 0.0, "data.validation": str(validation),
        "data.test": "none",
        "batch.tokens": tokens, "evaluate.every": 10**6, "save.every": 10**6, "seed": SEED, "model.device": "cpu",
    }  # fmt: skip
    run = burnish.train(
        rows,
        model=str(real_model("minilm")),
        task="classify",
        method="full",
        runs=str(folder),
        set=options,
        listeners=[listener(meter)],
    )
    return run.path / "model"


def with_trainer(rows: list[dict[str, Any]], folder: Path, meter: Meter, is_mixed: bool = False) -> Path:
    """transformers' `Trainer`."""
    from datasets import Dataset
    from trainer_note import Note
    from transformers import (
        AutoModelForSequenceClassification,
        AutoTokenizer,
        DataCollatorWithPadding,
        Trainer,
        TrainingArguments,
    )

    tokenizer = AutoTokenizer.from_pretrained(real_model("minilm"))
    names = sorted({row["label"] for row in rows})
    encoded = [{**tokenizer(row["text"], truncation=True), "labels": names.index(row["label"])} for row in rows]
    network = AutoModelForSequenceClassification.from_pretrained(
        real_model("minilm"),
        num_labels=len(names),
        id2label=dict(enumerate(names)),
        label2id={n: i for i, n in enumerate(names)},
    )
    arguments = TrainingArguments(
        output_dir=str(folder / "out"), per_device_train_batch_size=BATCH, num_train_epochs=1, learning_rate=RATE,
        lr_scheduler_type="constant", save_strategy="no", report_to="none", disable_tqdm=True, use_cpu=True, seed=SEED,
        bf16=is_mixed,
    )  # fmt: skip
    trainer = Trainer(
        network, arguments, train_dataset=Dataset.from_list(encoded), data_collator=DataCollatorWithPadding(tokenizer),
        callbacks=[Note(meter)],
    )  # fmt: skip
    trainer.train()
    network.save_pretrained(folder / "result")
    tokenizer.save_pretrained(folder / "result")
    return folder / "result"


@torch.no_grad()
def accuracy(folder: Path, rows: list[dict[str, Any]]) -> float:
    """Share of the rows whose label a model finds, by plain transformers."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    network = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    right = 0
    for begin in range(0, len(rows), BATCH):
        some = rows[begin : begin + BATCH]
        inputs = tokenizer([row["text"] for row in some], padding=True, truncation=True, return_tensors="pt")
        found = network(**inputs).logits.argmax(-1).tolist()
        right += sum(network.config.id2label[one] == row["label"] for one, row in zip(found, some, strict=True))
    return right / len(rows)


def run_one(options: argparse.Namespace) -> dict[str, Any]:
    """One training in this process."""
    rows, meter = read_rows(options.train, options.rows), Meter("cpu")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if options.program == "burnish":
            result = with_burnish(rows, folder, meter)
        else:
            result = with_trainer(rows, folder, meter, is_mixed=options.program == "trainer-bf16")
        meter.look()
        return {
            "seconds": meter.seconds, "steps": meter.steps, "peak_bytes": meter.peak_bytes,
            "accuracy": accuracy(result, read_rows(options.test)),
        }  # fmt: skip


def main() -> None:
    """Prints the table, or as a child process one result."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--train", type=Path, required=True)
    parser.add_argument("--test", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=1600)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--write", action="store_true", help="into docs/performance.md")
    parser.add_argument("--program", choices=PROGRAMS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    real_model("minilm")  # known missing at the start
    if options.program:
        print(json.dumps(run_one(options)))
        return
    results: dict[str, list[dict[str, Any]]] = {program: [] for program in PROGRAMS}
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    for _ in range(options.rounds):
        for program, runs in results.items():
            command = [sys.executable, __file__, *sys.argv[1:], "--program", program]
            done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
            if done.returncode:
                raise SystemExit(f"{program} failed:\n{done.stderr[-2000:]}")
            runs.append(json.loads(done.stdout.splitlines()[-1]))
            print(program, json.dumps(runs[-1]), file=sys.stderr, flush=True)
    lines = ["| | rows/s | peak memory | steps | accuracy | times as fast |", "|---|---:|---:|---:|---:|---:|"]
    for program, runs in results.items():
        pairs = [one["seconds"] / first["seconds"] for one, first in zip(runs, results["burnish"], strict=True)]
        middle = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
        ratio = (
            ""
            if program == "burnish"
            else f"burnish {statistics.median(pairs):.1f} ({min(pairs):.1f}-{max(pairs):.1f})"
        )
        lines.append(
            f"| {program} | {options.rows / middle['seconds']:,.0f} | {middle['peak_bytes'] / 1e9:.2f} GB "
            f"| {middle['steps']:.0f} | {middle['accuracy']:.1%} | {ratio} |"
        )
    machine = this_machine()
    lines += [
        "",
        f"Medians of {options.rounds} rounds; {machine.processor}, {machine.cores} cores, torch {torch.__version__}.",
    ]
    table = "\n".join(lines)
    print(table)
    if options.write:
        write_between(DOCS / "performance.md", "minilm-classify", table)


if __name__ == "__main__":
    main()
