"""Whether the diagnosis names runs rightly that were made to go wrong in a known way.

    python bench/diagnoses.py [--task classify] [--seeds 5] [--cases good overfit …] [--keep FOLDER] [--again] [--write]

Five runs a seed on a bundled sample, with a bundled base model: a good one; one on few rows for many epochs; two with a
learning rate a hundred times too high and a thousand times too low (also for a new head); and one whose answers were
shuffled among the rows (tags among all words). Prints what each was called, how many were diagnosed correctly, and
whether any finding contradicts the verdict on the same run. `--write` puts the table into docs/diagnosis.md; `--again`
diagnoses the kept runs once more from their logs, without training.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from page import DOCS, write_between

import burnish
from burnish.engine.diagnosis import Diagnosis
from burnish.recipe.load import recipe_from_saved
from burnish.runs.event_log import read_events
from burnish.runs.events import StepDone, StoppedEarly, TrainingStarted, Validated
from burnish.system.machine import yield_cores

SAMPLES = Path(str(resources.files("burnish"))) / "assets" / "samples"
FEW = 24
"""Rows of the run that is to overfit."""
HELD_OUT = 240
"""Rows held out, in every run the same number."""


@dataclass(frozen=True, slots=True)
class Stage:
    """A sample, and the options of a run on it that goes well."""

    sample: str
    answer: str
    """The column that is shuffled."""
    rows: int
    rate: float
    epochs: int
    epochs_of_few: int
    options: dict[str, Any]
    has_new_head: bool
    """Whether an output layer is new, with a learning rate of its own."""
    right_if_shuffled: frozenset[str] = frozenset({"stuck", "overfitting"})
    """What a run on shuffled answers is rightly called: written answers still have a form that can be learned."""


STAGES = {
    "classify": Stage("tickets.jsonl", "label", 800, 3e-3, 4, 40, {"task": "classify"}, True),
    "tag": Stage("entities.conll", "tags", 700, 3e-3, 4, 40, {"task": "tag"}, True),
    "chat": Stage(
        "orders.jsonl",
        "output",
        600,
        3e-3,
        4,
        40,
        {"train.betas": [0.9, 0.95], "train.clip": 0.5},
        False,
        frozenset({"learning", "stuck", "overfitting"}),
    ),
}
CASES = {
    "good": {"learning"},
    "overfit": {"overfitting"},
    "rate x 100": {"diverging"},
    "rate / 1000": {"stuck"},
    "shuffled": {"stuck", "overfitting"},
}
"""What each run is rightly called."""
WRONG = {
    "good": {"overfitting", "diverging", "stuck", "underfitting"},
    "overfit": {"diverging", "stuck", "underfitting"},
    "rate x 100": {"overfitting", "learning", "underfitting"},
    "rate / 1000": {"overfitting", "diverging", "learning", "recovered"},
    "shuffled": {"diverging", "underfitting"},
}
"""What it must not be called."""


def is_right(case: str, names: Sequence[str], task: str = "classify") -> bool:
    """Whether what a run was called names it rightly, and nothing else wrongly."""
    right = STAGES[task].right_if_shuffled if case == "shuffled" else CASES[case]
    return bool(right & set(names)) and not WRONG[case] & set(names)


def rows_of(stage: Stage) -> list[dict[str, Any]]:
    """All rows of a sample; a sentence of a CoNLL file has its words and their tags."""
    text = (SAMPLES / stage.sample).read_text(encoding="utf-8")
    if stage.sample.endswith(".jsonl"):
        return [json.loads(line) for line in text.splitlines()]
    sentences = [[line.split("\t") for line in part.splitlines()] for part in text.strip().split("\n\n")]
    return [{"tokens": [word for word, _ in one], "tags": [tag for _, tag in one]} for one in sentences]


def shuffled(rows: Sequence[dict[str, Any]], answer: str, source: random.Random) -> list[dict[str, Any]]:
    """The rows with their answers exchanged; tags one by one, since rows differ in length."""
    answers = [row[answer] for row in rows]
    if isinstance(answers[0], list):
        tags = [tag for one in answers for tag in one]
        source.shuffle(tags)
        answers = [[tags.pop() for _ in one] for one in answers]
    else:
        source.shuffle(answers)
    return [{**row, answer: one} for row, one in zip(rows, answers, strict=True)]


def staged_run(stage: Stage, case: str, seed: int, folder: Path, more: dict[str, Any] | None = None) -> Path:
    """Makes one run; returns its folder."""
    source = random.Random(seed)
    rows = rows_of(stage)
    source.shuffle(rows)
    rows = rows[: stage.rows]
    if case == "shuffled":
        rows = shuffled(rows, stage.answer, source)
    held_out, training = rows[:HELD_OUT], rows[HELD_OUT:]
    if case == "overfit":
        training = training[:FEW]
    name = name_of(case, seed)
    data = folder / f"{name}-data"
    data.mkdir(parents=True)
    for part, chosen in {"train": training, "valid": held_out}.items():
        text = "".join(json.dumps(row) + "\n" for row in chosen)
        (data / f"{part}.jsonl").write_text(text, encoding="utf-8")
    factor = {"rate x 100": 100.0, "rate / 1000": 1e-3}.get(case, 1.0)
    options = {
        "train.learning_rate": stage.rate * factor,
        # by itself, a new head has at least its usual rate, and learns beside an adapter that does not
        **({"train.head_learning_rate": stage.rate * factor} if factor < 1 and stage.has_new_head else {}),
        "train.epochs": stage.epochs_of_few if case == "overfit" else stage.epochs,
        "evaluate.answers": 0,
        "seed": seed,
        **stage.options,
        **(more or {}),
    }
    return burnish.train(data, method="lora", name=name, runs=str(folder), set=options).path


def name_of(case: str, seed: int) -> str:
    """The name of a run."""
    return f"{case.replace(' ', '').replace('/', 'by')}-{seed}"


def names_of(run: Path) -> list[str]:
    """What a run was called, in order."""
    return [line["name"] for line in read_events(run / "events.jsonl") if line["event"] == "Diagnosed"]


def names_again(run: Path) -> list[str]:
    """What a run is called by the present rules, from its logs."""
    kinds = {kind.__name__: kind for kind in (TrainingStarted, StepDone, Validated, StoppedEarly)}
    lines = [line for name in ("metrics", "events") for line in read_events(run / f"{name}.jsonl")]
    lines = sorted((line for line in lines if line["event"] in kinds), key=lambda line: line["time"])
    total = next(line["total_steps"] for line in lines if line["event"] == "TrainingStarted")
    diagnosis = Diagnosis(recipe_from_saved(run / "recipe.yaml"), total)
    found = []
    for line in lines:
        values = {name: value for name, value in line.items() if name not in ("event", "time")}
        found += [one.name for one in diagnosis.observe(kinds[line["event"]](**values))]
    return found


def contradiction(run: Path, names: Sequence[str]) -> str:
    """Where the verdict on a run and its findings exclude each other; empty where they do not."""
    evaluation = json.loads((run / "evaluation.json").read_text(encoding="utf-8"))
    kind = evaluation.get("verdict_kind", "better" if "is better" in evaluation["verdict"] else "")
    trouble = {"stuck", "diverging"} & set(names) if "recovered" not in names else set[str]()
    if (kind.startswith("better") or "is better" in evaluation["verdict"]) and trouble:
        return f"better, but {', '.join(sorted(trouble))}"
    return "by heart, but underfitting" if evaluation["by_heart"] and "underfitting" in names else ""


def table(called: dict[str, list[list[str]]], task: str = "classify") -> str:
    """A row a case: how often it was diagnosed correctly, and what each run was called."""
    lines = ["| run | diagnosed correctly | findings by seed |", "|---|---:|---|"]
    for case, runs in called.items():
        right = sum(is_right(case, names, task) for names in runs)
        result = "; ".join(", ".join(names) or "nothing" for names in runs)
        lines.append(f"| {case} | {right} of {len(runs)} | {result} |")
    return "\n".join(lines)


def main() -> None:
    """Makes the runs and prints the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--task", choices=sorted(STAGES), default="classify")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--cases", nargs="*", choices=list(CASES), default=list(CASES))
    parser.add_argument("--keep", type=Path, default=None)
    parser.add_argument("--again", action="store_true", help="diagnose the kept runs once more from their logs")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    yield_cores()
    called: dict[str, list[list[str]]] = {case: [] for case in options.cases}
    begun, contradicting = time.monotonic(), 0
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        for seed in range(options.first, options.first + options.seeds):
            for case in options.cases:
                if options.again:
                    run = folder / name_of(case, seed)
                    names = names_again(run)
                else:
                    run = staged_run(STAGES[options.task], case, seed, folder)
                    names = names_of(run)
                called[case].append(names)
                against = contradiction(run, names)
                contradicting += bool(against)
                sign = "" if is_right(case, names, options.task) else "   <- wrong"
                print(
                    f"{seed:4}  {case:12} {', '.join(names)}{sign}{f'   <- {against}' if against else ''}", flush=True
                )
    right = sum(is_right(case, names, options.task) for case, runs in called.items() for names in runs)
    total = sum(map(len, called.values()))
    text = (
        f"{table(called, options.task)}\n\n{right} of {total} runs are diagnosed correctly; {contradicting} have a "
        "verdict that contradicts a finding."
    )
    print(f"\n{text}\n({time.monotonic() - begun:.0f} s)")
    if options.write:
        write_between(DOCS / "diagnosis.md", options.task, text)


if __name__ == "__main__":
    main()
