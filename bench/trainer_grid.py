"""Burnish's defaults beside a grid of transformers' `Trainer`: the same rows and model, and the same test rows.

    python bench/trainer_grid.py run REAL DATA --data clinc150|sst2|wnut17 [--out FOLDER] [--only PATTERNS]
                                 [--minutes M]
    python bench/trainer_grid.py table [--out FOLDER] [--write]

`run` does what is missing in FOLDER, each in a process of its own, and can be stopped and started at any time. REAL is
a folder with the model `minilm`, DATA that of the public files.

- `burnish` is the command `burnish train` with nothing but its defaults, and the files of validation and test rows.
- The others are `Trainer` with all weights or a LoRA adapter (rank 16, queries and values, and the new head), four
  learning rates, 3 and 10 epochs; batches of 32 rows of like length, its linear schedule, mixed precision in bf16. It
  validates after every epoch and keeps the best, as the guides do.

Times are those of the whole command, or of `Trainer.train()`. One function evaluates all results: plain transformers in
fp32, accuracy or entity F1 (of whole entities). `table` prints Burnish, the best of the grid on the validation rows,
and the best on the test rows, which cannot be chosen without them.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy
import torch
from meter import run_metered
from outcomes_rows import Row, read_clinc150, read_sst2, read_wnut17, write_rows
from page import DOCS, write_between

from burnish.metrics.measure import value
from burnish.metrics.tagging import detect_scheme, tag_measures
from burnish.report.figures import duration
from burnish.runs.event_log import read_events
from burnish.runs.folder import RunFolder
from burnish.system.machine import this_machine

RATES = {"full": (2e-5, 5e-5, 1e-4, 2e-4), "lora": (2e-4, 5e-4, 1e-3, 3e-3)}
EPOCHS = (3, 10)
BATCH, RANK, SEED = 32, 16, 0
BURNISH = "burnish"


@dataclass(frozen=True, slots=True)
class DataSet:
    """Public rows in three splits."""

    read: Callable[[Path, str], list[Row]]
    """From the folder of the public files; `train`, `valid` or `test`."""
    is_tagged: bool = False


def _read(reader: Callable[[Path], Any], valid: Callable[[Path], list[Row]]) -> Callable[[Path, str], list[Row]]:
    return lambda folder, split: valid(folder) if split == "valid" else reader(folder)[split == "test"]


DATA = {
    "clinc150": DataSet(_read(read_clinc150, lambda folder: read_clinc150(folder, "valid")[1])),
    "sst2": DataSet(_read(read_sst2, lambda folder: read_sst2(folder, "dev")[1])),
    "wnut17": DataSet(_read(read_wnut17, lambda folder: read_wnut17(folder, "emerging.dev.conll")[1]), is_tagged=True),
}


def names() -> list[str]:
    """All trainings: Burnish's, then those of the grid, the short ones first."""
    grid = [f"{method}-{rate:g}-{epochs}" for epochs in EPOCHS for method in RATES for rate in RATES[method]]
    return [BURNISH, *grid]


def run_all(options: argparse.Namespace) -> None:
    """Does the missing trainings."""
    until = time.monotonic() + 60 * options.minutes
    folder = options.out / options.data
    folder.mkdir(parents=True, exist_ok=True)
    for split in ("train", "valid", "test"):
        write_rows(DATA[options.data].read(options.files, split), folder / f"{split}.jsonl")
    for name in names():
        result = folder / f"{name}.json"
        if result.exists() or not all(re.search(word, name) for word in options.only) or time.monotonic() > until:
            continue
        found = with_burnish(folder, options) if name == BURNISH else with_trainer(name, folder, options)
        result.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        print(f"{options.data} {name}: {found}", flush=True)


def with_burnish(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """The command, and what its result is worth."""
    with tempfile.TemporaryDirectory() as name:
        command = [
            sys.executable, "-m", "burnish", "train", str(folder / "train.jsonl"), "--model",
            str(options.real.resolve() / "minilm"), "--runs", name, "--name", BURNISH, "--seed", str(SEED),
            "--set", f"data.validation={folder / 'valid.jsonl'}", "--set", f"data.test={folder / 'test.jsonl'}",
        ]  # fmt: skip
        seconds, peak = run_metered(command, folder / "burnish.log")
        run = RunFolder(Path(name) / BURNISH)
        result = run.result
        if result is None:
            raise SystemExit(f"`burnish train` has left no result; see {folder / 'burnish.log'}")
        finished = next(one for one in read_events(run.events) if one["event"] == "Finished")
        return {
            "seconds": seconds, "trained_seconds": finished["seconds"], "peak_bytes": peak,
            **{split: evaluate(result, folder / f"{split}.jsonl") for split in ("valid", "test")},
        }  # fmt: skip


def with_trainer(name: str, folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """One point of the grid, in a process of its own."""
    with tempfile.TemporaryDirectory() as out:
        command = [
            sys.executable, __file__, "train", str(options.real), str(folder), "--name", name, "--out", out,
            *(["--tagged"] if DATA[options.data].is_tagged else []),
        ]  # fmt: skip
        _, peak = run_metered(command, folder / f"{name}.log")
        found = json.loads((folder / f"{name}.log").read_text(encoding="utf-8").strip().splitlines()[-1])
        result = Path(out) / "result"
        return {
            "seconds": found["seconds"], "peak_bytes": peak,
            **{split: evaluate(result, folder / f"{split}.jsonl") for split in ("valid", "test")},
        }  # fmt: skip


def train(options: argparse.Namespace) -> None:
    """Trains with `Trainer`, saves the best weights, an adapter merged, in `result`, and prints the seconds."""
    from datasets import Dataset
    from peft import LoraConfig, get_peft_model
    from transformers import (
        AutoModelForSequenceClassification,
        AutoModelForTokenClassification,
        AutoTokenizer,
        DataCollatorForTokenClassification,
        DataCollatorWithPadding,
        Trainer,
        TrainingArguments,
    )

    method, rate, epochs = _parts(options.name)
    model = options.real / "minilm"
    tokenizer = AutoTokenizer.from_pretrained(model)
    rows = {split: read_rows(options.folder / f"{split}.jsonl") for split in ("train", "valid")}
    labels = label_names(rows["train"])
    encoded = {
        split: Dataset.from_list([encode(row, tokenizer, labels) for row in some if is_known(row, labels)])
        for split, some in rows.items()
    }
    kind = AutoModelForTokenClassification if options.tagged else AutoModelForSequenceClassification
    named = {"id2label": dict(enumerate(labels)), "label2id": {one: n for n, one in enumerate(labels)}}
    network: Any = kind.from_pretrained(model, num_labels=len(labels), **named)
    if method == "lora":
        task = "TOKEN_CLS" if options.tagged else "SEQ_CLS"
        network = get_peft_model(
            network, LoraConfig(r=RANK, lora_alpha=2 * RANK, target_modules=["query", "value"], task_type=task)
        )

    def score(outcome: Any) -> dict[str, float]:
        found, known = outcome.predictions.argmax(-1), outcome.label_ids
        if not options.tagged:
            return {"score": float((found == known).mean())}
        gold = [[labels[one] for one in row[row >= 0]] for row in known]
        given = [[labels[one] for one in mine[row >= 0]] for mine, row in zip(found, known, strict=True)]
        return {"score": entity_f1(gold, given)}

    arguments = TrainingArguments(
        output_dir=str(Path(options.out) / "out"), per_device_train_batch_size=BATCH, per_device_eval_batch_size=64,
        num_train_epochs=float(epochs), learning_rate=float(rate), eval_strategy="epoch", save_strategy="epoch",
        save_total_limit=1, load_best_model_at_end=True, metric_for_best_model="score", report_to="none",
        disable_tqdm=True, use_cpu=True, seed=SEED, bf16=True, train_sampling_strategy="group_by_length",
    )  # fmt: skip
    collator = DataCollatorForTokenClassification(tokenizer) if options.tagged else DataCollatorWithPadding(tokenizer)
    trainer = Trainer(
        network, arguments, train_dataset=encoded["train"], eval_dataset=encoded["valid"], data_collator=collator,
        compute_metrics=score,
    )  # fmt: skip
    begun = time.perf_counter()
    trainer.train()
    seconds = time.perf_counter() - begun
    best = trainer.model.merge_and_unload() if method == "lora" else trainer.model
    best.save_pretrained(Path(options.out) / "result")
    tokenizer.save_pretrained(Path(options.out) / "result")
    print(json.dumps({"seconds": seconds}))


def _parts(name: str) -> tuple[str, str, str]:
    """Method, rate and epochs; a rate like 2e-05 has a hyphen of its own."""
    method, rest = name.split("-", 1)
    rate, epochs = rest.rsplit("-", 1)
    return method, rate, epochs


def read_rows(file: Path) -> list[Row]:
    """The rows of a file."""
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def label_names(rows: Sequence[Row]) -> list[str]:
    """All labels or tags, sorted."""
    return sorted({one for row in rows for one in row.get("ner_tags", [row.get("label")])})


def is_known(row: Row, labels: Sequence[str]) -> bool:
    """Whether its labels are among those of the training rows."""
    return all(one in labels for one in row.get("ner_tags", [row.get("label")]))


def encode(row: Row, tokenizer: Any, labels: Sequence[str]) -> dict[str, Any]:
    """A row for the network; the first piece of each word has the word's tag."""
    if "label" in row:
        return {**tokenizer(row["text"], truncation=True, max_length=512), "labels": labels.index(row["label"])}
    encoded = tokenizer(row["tokens"], is_split_into_words=True, truncation=True, max_length=512)
    words = encoded.word_ids()
    firsts = [word is not None and (place == 0 or words[place - 1] != word) for place, word in enumerate(words)]
    known = [labels.index(row["ner_tags"][words[place]]) if first else -100 for place, first in enumerate(firsts)]
    return {**encoded, "labels": known}


def entity_f1(gold: Sequence[Sequence[str]], given: Sequence[Sequence[str]]) -> float:
    """F1 of whole entities."""
    measures = tag_measures(gold, given, detect_scheme(gold))
    return value(next(one for one in measures if one.name == "entity F1"))


def evaluate(result: Path, file: Path) -> float:
    """Accuracy, or entity F1, of a saved model in a process of its own."""
    command = [sys.executable, __file__, "evaluate", str(result), str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout.strip().splitlines()[-1])


@torch.no_grad()
def print_score(options: argparse.Namespace) -> None:
    """Prints what a model is worth on rows, by plain transformers in fp32."""
    from transformers import AutoModelForSequenceClassification, AutoModelForTokenClassification, AutoTokenizer

    rows, tokenizer = read_rows(options.rows), AutoTokenizer.from_pretrained(options.result)
    is_tagged = "ner_tags" in rows[0]
    kind = AutoModelForTokenClassification if is_tagged else AutoModelForSequenceClassification
    network = kind.from_pretrained(options.result, dtype=torch.float32).eval()
    labels = [network.config.id2label[number] for number in range(network.config.num_labels)]
    given: list[Any] = [None] * len(rows)
    order = sorted(range(len(rows)), key=lambda n: len(rows[n].get("text", rows[n].get("tokens", ""))))
    for begin in range(0, len(order), BATCH):
        numbers = order[begin : begin + BATCH]
        texts = [rows[n]["tokens"] if is_tagged else rows[n]["text"] for n in numbers]
        inputs = tokenizer(
            texts, is_split_into_words=is_tagged, padding=True, truncation=True, max_length=512, return_tensors="pt"
        )
        found = network(**inputs).logits.argmax(-1)
        for place, number in enumerate(numbers):
            if not is_tagged:
                given[number] = labels[int(found[place])]
                continue
            words = inputs.word_ids(place)
            first = {word: spot for spot, word in reversed(list(enumerate(words))) if word is not None}
            given[number] = [
                labels[int(found[place, first[word]])] if word in first else "O"
                for word in range(len(rows[number]["tokens"]))
            ]
    if is_tagged:
        print(entity_f1([row["ner_tags"] for row in rows], given))
    else:
        print(float(numpy.mean([row["label"] == one for row, one in zip(rows, given, strict=True)])))


def make_table(out: Path) -> str:
    """Markdown: Burnish, and of the grid the best by validation rows and the best by test rows."""
    lines = [
        "| data | metric | | settings | on test rows | time | peak memory |",
        "|---|---|---|---|---:|---:|---:|",
    ]
    for data, kind in DATA.items():
        files = {name: out / data / f"{name}.json" for name in names()}
        found = {name: json.loads(file.read_text(encoding="utf-8")) for name, file in files.items() if file.is_file()}
        grid = [name for name in found if name != BURNISH]
        if BURNISH not in found or not grid:
            continue
        metric = "entity F1" if kind.is_tagged else "accuracy"
        chosen, top = (max(grid, key=lambda name: found[name][split]) for split in ("valid", "test"))
        count = f"of {len(grid)} of {len(names()) - 1}"
        for title, name in (("Burnish", BURNISH), (f"Trainer, best {count} by validation rows", chosen),
                            (f"Trainer, best {count} by test rows", top)):  # fmt: skip
            one = found[name]
            settings = "defaults" if name == BURNISH else "{}, rate {}, {} epochs".format(*_parts(name))
            figures = f"{100 * one['test']:.1f} % | {duration(one['seconds'])} | {one['peak_bytes'] / 1e9:.2f} GB"
            lines.append(f"| {data} | {metric} | {title} | {settings} | {figures} |")
    machine = this_machine()
    return "\n".join([*lines, "", f"{machine.processor}, {machine.cores} cores, torch {torch.__version__}."])


def main() -> None:
    """Runs what is missing, or prints the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    run, table = commands.add_parser("run"), commands.add_parser("table")
    run.add_argument("real", type=Path)
    run.add_argument("files", type=Path, metavar="data")
    run.add_argument("--data", choices=sorted(DATA), required=True)
    run.add_argument("--only", nargs="*", default=[], help="patterns that the name of a training must have")
    run.add_argument("--minutes", type=float, default=1e9)
    for command in (run, table):
        command.add_argument("--out", type=Path, default=Path("runs/trainer-grid"))
    table.add_argument("--write", action="store_true", help="into docs/defaults.md")
    child, score = commands.add_parser("train"), commands.add_parser("evaluate")
    child.add_argument("real", type=Path)
    child.add_argument("folder", type=Path)
    child.add_argument("--name", required=True)
    child.add_argument("--out", required=True)
    child.add_argument("--tagged", action="store_true")
    score.add_argument("result", type=Path)
    score.add_argument("rows", type=Path)
    options = parser.parse_args()
    if options.command == "table":
        text = make_table(options.out)
        print(text)
        if options.write:
            write_between(DOCS / "defaults.md", "trainer-grid", text)
    else:
        {"run": run_all, "train": train, "evaluate": print_score}[options.command](options)


if __name__ == "__main__":
    main()
