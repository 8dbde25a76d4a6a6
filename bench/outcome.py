"""A real outcome: SmolLM2 tuned on public rows by Burnish and by TRL, with test metrics before and after.

    python bench/outcome.py REAL DATA [--data gsm8k|instructions] [--rows N] [--epochs E] [--answers N] [--out FOLDER]
                            [--only burnish|trl|evaluate] [--write]     Linux only

REAL is a folder with the model `smollm2`, DATA one with the public files `gsm8k/train.jsonl`, `gsm8k/test.jsonl` and
`instruction_1100/instruction-data.json`. Both programs train LoRA adapters for the same number of epochs on the same
training rows; neither sees the test rows:

- Burnish is the command `burnish train` with its defaults, from its start to its end: planning, validations, the
  choice of the best checkpoint and the comparison with the base included.
- TRL is its `SFTTrainer` at its best on this machine (`bench/outcome_trl.py`); steps, adapters and schedule are
  Burnish's. Its adapter is also taken at the moment at which it has trained as long as Burnish.

Base and adapters are then evaluated on the test rows by one function (`bench/outcome_evaluation.py`): the loss of the
known answers, and greedy answers to the first `--answers` rows. Differences are paired by row, and intervals are those
of `burnish evaluate`.

Each part runs in a process of its own and leaves a JSON file in `--out`. A part that has left one is not run again, so
the command continues where it was stopped; with other rows or epochs it needs another folder. `--only` runs one part.
`--write` puts the table into docs/performance.md.
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from meter import run_metered
from outcome_rows import DATA, SPLITS, final_number, read_split, write_splits
from page import DOCS, write_between
from transformers import AutoTokenizer

from burnish.evaluate.answers import Answer, answer_measures
from burnish.evaluate.comparison import finite
from burnish.lineage.saved_recipe import open_recipe
from burnish.metrics.intervals import Estimate, difference, estimate
from burnish.metrics.measure import Measure, mean
from burnish.report.figures import counted, duration, with_interval
from burnish.runs.event_log import read_events
from burnish.runs.folder import RunFolder
from burnish.system.machine import this_machine
from burnish.tasks.evaluated import loss_of_rows

HERE = Path(__file__).resolve().parent
PARTS = ("burnish", "trl", "evaluate")
BASE, BURNISH, TRL, ON_THE_WAY = "base", "burnish", "trl", "trl-on-the-way"
NAMES = {BASE: "base", BURNISH: "Burnish", TRL: "TRL, same epochs", ON_THE_WAY: "TRL, same time"}
TITLES = {"loss": "loss of the known answers, nats a token"}
TEST_ROWS, SEED = 200, 0
SPEEDS = {"burnish": 450.0, "trl": 200.0, "evaluate": 400.0}
"""Tokens a second on two cores, only for the announced duration: trained, or those of the test rows."""
ANSWER_SECONDS = 1.0
"""For one answer of 256 tokens, many together."""


def main() -> None:
    """Runs the parts that are missing, and prints the table."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the part that runs is ended as well
    options = read_options()
    folder = options.out
    prepare(options, folder)
    print(announce(folder, options), file=sys.stderr, flush=True)
    for part, run in (("burnish", train_burnish), ("trl", train_trl), ("evaluate", evaluate)):
        if options.only in (None, part):
            run(folder, options)
    if options.only:
        return
    table = make_table(folder, options)
    print(table)
    if options.write:
        write_between(DOCS / "performance.md", f"outcome-{options.data}", table)


def read_options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("real", type=Path, help="folder with the model `smollm2`")
    parser.add_argument("files", type=Path, metavar="data", help="folder of the public files")
    parser.add_argument("--data", choices=sorted(DATA), default="instructions")
    parser.add_argument("--rows", type=int, help="training rows; without it, all")
    parser.add_argument("--epochs", type=float, default=1.0)
    parser.add_argument("--answers", type=int, default=96, help="test rows that are answered; the loss takes all")
    parser.add_argument("--out", type=Path, help="folder of the results; without it, runs/outcome-DATA")
    parser.add_argument("--only", choices=PARTS)
    parser.add_argument("--write", action="store_true", help="into docs/performance.md")
    options = parser.parse_args()
    options.out = options.out or Path("runs") / f"outcome-{options.data}"
    options.out = options.out.resolve()
    if options.only and options.write:
        parser.error("`--write` needs all parts: leave out `--only`")
    if not sys.platform.startswith("linux"):
        parser.error("memory is read from /proc, so this runs on Linux only")
    return options


def prepare(options: argparse.Namespace, folder: Path) -> None:
    """Writes settings and rows; ends with 2 if the folder has the results of others."""
    model = options.real.resolve() / "smollm2"
    if not model.joinpath("config.json").is_file():
        print(f"there is no model in {model}", file=sys.stderr)
        sys.exit(2)
    settings = {
        "model": str(model), "data": options.data, "rows": options.rows, "epochs": options.epochs, "seed": SEED,
    }  # fmt: skip
    file = folder / "settings.json"
    if file.is_file():
        if (before := read_json(file)) != settings:
            print(f"{folder} has results of other settings: {before}.\nName another folder by `--out`", file=sys.stderr)
            sys.exit(2)
        return
    folder.mkdir(parents=True, exist_ok=True)
    write_splits(DATA[options.data].read(options.files, options.rows, TEST_ROWS, SEED), folder)
    write(file, settings)


def announce(folder: Path, options: argparse.Namespace) -> str:
    """How many rows and tokens there are, and about how long all of it will take."""
    tokenizer = AutoTokenizer.from_pretrained(read_json(folder / "settings.json")["model"])
    splits = {name: read_split(folder, name) for name in SPLITS}
    tokens = {
        name: sum(len(tokenizer.apply_chat_template(row["prompt"] + row["completion"])["input_ids"]) for row in rows)
        for name, rows in splits.items()
    }
    known = [len(tokenizer(row["completion"][0]["content"]).input_ids) for row in splits["test"]]
    answers = min(options.answers, len(known)) * min(256, 1.25 * max(known) + 8) / 256
    seconds = expected_seconds(tokens["train"] * options.epochs, tokens["test"], answers)
    rows = ", ".join(f"{counted(len(splits[name]), f'{name} row')} ({tokens[name]:,} tokens)" for name in SPLITS)
    parts = ", ".join(f"{name} {duration(seconds[name])}" for name in PARTS)
    return f"{rows}; epochs: {options.epochs:g}.\nAbout {duration(sum(seconds.values()))} on two free cores: {parts}."


def expected_seconds(trained: float, tested: int, answers: float) -> dict[str, float]:
    """About how long each part takes.

    Args:
        trained: tokens in all epochs.
        tested: tokens of the test rows.
        answers: number of generated answers, as many of 256 tokens each.
    """
    models = len(NAMES)
    return {
        "burnish": trained / SPEEDS["burnish"] + 120,
        "trl": trained / SPEEDS["trl"] + 30,
        "evaluate": models * (tested / SPEEDS["evaluate"] + answers * ANSWER_SECONDS + 15),
    }


def train_burnish(folder: Path, options: argparse.Namespace) -> None:
    """The command `burnish train`."""
    file = folder / "burnish.json"
    if file.is_file():
        return
    runs, settings = folder / "runs", read_json(folder / "settings.json")
    shutil.rmtree(runs, ignore_errors=True)  # of a training that was stopped
    command = [
        sys.executable, "-m", "burnish", "train", str(folder / "train.jsonl"), "--model", settings["model"],
        "--method", "lora", "--runs", str(runs), "--name", "burnish", "--seed", str(settings["seed"]),
        "--set", f"data.validation={folder / 'validation.jsonl'}", "--set", f"train.epochs={settings['epochs']}",
        "--set", "data.test=none",
    ]  # fmt: skip
    seconds, peak = run_metered(command, folder / "burnish.log")
    write(file, {"seconds": seconds, "peak_bytes": peak, **describe_run(RunFolder(runs / "burnish"))})


def describe_run(run: RunFolder) -> dict[str, Any]:
    """Steps, tokens and seconds of a run, and what of its recipe TRL gets."""
    steps = [event for event in read_events(run.metrics) if event["event"] == "StepDone"]
    finished = next(event for event in read_events(run.events) if event["event"] == "Finished")
    ready = next(event for event in read_events(run.events) if event["event"] == "DataReady")
    recipe = open_recipe(run)
    return {
        "adapter": str(run.adapter),
        "steps": len(steps),
        "tokens": sum(step["tokens"] for step in steps),
        "trained_seconds": finished["seconds"],
        "step_seconds": sum(step["seconds"] for step in steps),
        "best_step": finished["best_step"],
        "learning_rate": recipe.train.learning_rate,
        "recipe": {
            "rank": recipe.lora.rank,
            "alpha": recipe.lora.alpha,
            "targets": recipe.lora.targets,
            "schedule": recipe.train.schedule,
            "warmup": recipe.train.warmup,
            "weight_decay": recipe.train.weight_decay,
            "clip": recipe.train.clip,
            "context": recipe.data.context,
            "step_rows": step_rows(int(recipe.batch.tokens), ready["tokens"], ready["packed_rows"]),
        },
    }


def step_rows(step_tokens: int, tokens: int, packed_rows: int) -> int:
    """Packed rows of a step, as Burnish counts them (`burnish/data/batching/batches.py`).

    Args:
        step_tokens: aimed at.
        tokens: of all rows.
        packed_rows: that hold them.
    """
    return max(1, min(packed_rows, round(step_tokens * packed_rows / tokens)))


def train_trl(folder: Path, options: argparse.Namespace) -> None:
    """`bench/outcome_trl.py`."""
    file = folder / "trl.json"
    if file.is_file():
        return
    if not (folder / "burnish.json").is_file():
        print("TRL gets its settings from Burnish's run, which is missing: run that part first", file=sys.stderr)
        sys.exit(2)
    seconds, peak = run_metered([sys.executable, str(HERE / "outcome_trl.py"), str(folder)], folder / "trl.log")
    write(file, {"seconds": seconds, "peak_bytes": peak, **last_line(folder / "trl.log")})


def evaluate(folder: Path, options: argparse.Namespace) -> None:
    """`bench/outcome_evaluation.py`, for each model in a process of its own."""
    for name, adapter in adapters(folder).items():
        file = evaluated(folder, name, options.answers)
        if file.is_file():
            continue
        log = folder / f"evaluation-{name}.log"
        command = [sys.executable, str(HERE / "outcome_evaluation.py"), str(folder), adapter, str(options.answers)]
        seconds, _ = run_metered(command, log)
        write(file, {"seconds": seconds, **last_line(log)})


def adapters(folder: Path) -> dict[str, str]:
    """The adapters that have been trained, by name; `-` for the base."""
    found = {BASE: "-"}
    if (folder / "burnish.json").is_file():
        found[BURNISH] = read_json(folder / "burnish.json")["adapter"]
    if (folder / "trl.json").is_file():
        found[TRL] = str(folder / TRL)
        if read_json(folder / "trl.json")["on_the_way"]:
            found[ON_THE_WAY] = str(folder / ON_THE_WAY)
    return found


def evaluated(folder: Path, name: str, answers: int) -> Path:
    """The file of a model's results with that many answers."""
    return folder / f"evaluation-{name}-{answers}.json"


def make_table(folder: Path, options: argparse.Namespace) -> str:
    """Markdown: what the trainings took, and the metrics of all models."""
    settings = read_json(folder / "settings.json")
    burnish, trl = read_json(folder / "burnish.json"), read_json(folder / "trl.json")
    results = {name: read_json(evaluated(folder, name, options.answers)) for name in adapters(folder)}
    data, epochs = DATA[options.data], settings["epochs"]
    found = {name: measures(result, data.has_numbers) for name, result in results.items()}
    sizes = {name: len(read_split(folder, name)) for name in SPLITS}
    machine, way = this_machine(), trl["on_the_way"]
    notes = [
        f"{data.title}: {counted(sizes['train'], 'training row')}, {counted(sizes['validation'], 'validation row')}, "
        f"{epochs:g} {'epoch' if epochs == 1 else 'epochs'}; "
        f"{sizes['test']} test rows, {len(results[BASE]['given'])} of them answered, in at most "
        f"{results[BASE]['most_tokens']} tokens.",
        f"Rates: Burnish {burnish['learning_rate']:g} (its best checkpoint: step {burnish['best_step']}), "
        f"TRL {trl['learning_rate']:g}.",
        f"After {duration(burnish['trained_seconds'])}, as long as Burnish trained, TRL had done {way['step']} of its "
        f"{trl['steps']} steps."
        if way
        else "TRL had finished before Burnish.",
        f"{machine.processor}, {machine.cores} cores, torch {torch.__version__}.",
    ]
    return "\n".join([*cost_lines(burnish, trl), "", *metric_lines(found), "", " ".join(notes)])


def cost_lines(burnish: Mapping[str, Any], trl: Mapping[str, Any]) -> list[str]:
    """What the trainings took: the whole commands, and of them the training loops (Burnish's with its validations)."""
    lines = [
        "| | whole command | of it training | peak memory | steps | tokens | real tokens/s |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for name, took in (("Burnish", burnish), ("TRL", trl)):
        lines.append(
            f"| {name} | {duration(took['seconds'])} | {duration(took['trained_seconds'])} | "
            f"{took['peak_bytes'] / 1e9:.2f} GB | {took['steps']} | {took['tokens']:,} | "
            f"{took['tokens'] / took['step_seconds']:,.0f} |"
        )
    return lines


def metric_lines(found: Mapping[str, Sequence[Measure]]) -> list[str]:
    """Every metric of every model, the change from the base, and Burnish less TRL; all with 95 % intervals.

    Args:
        found: the same metrics of each model, by its name; `base` and `burnish` are among them.
    """
    lines = [
        "| on the test rows [95 %] | | value | less the base | Burnish less it |",
        "|---|---|---:|---:|---:|",
    ]
    for number, one in enumerate(found[BASE]):
        for name, measured in found.items():
            own, is_share = measured[number], one.is_share
            less_base = "" if name == BASE else _change(difference(one, own), is_share)
            less_it = _change(difference(own, found[BURNISH][number]), is_share) if name in (TRL, ON_THE_WAY) else ""
            title = TITLES.get(one.name, one.name) if name == BASE else ""
            lines.append(f"| {title} | {NAMES[name]} | {_shown(estimate(own), is_share)} | {less_base} | {less_it} |")
    return lines


def _shown(value: Estimate, is_share: bool) -> str:
    return with_interval(finite(asdict(value)), is_share)


def _change(value: Estimate, is_share: bool) -> str:
    """Shares differ by points."""
    sign = "+" if value.value > 0 else ""
    return sign + _shown(value, is_share).replace(" %", " points")


def measures(result: Mapping[str, Any], has_numbers: bool) -> list[Measure]:
    """The metrics of a model: loss, and of its answers the share of right final numbers, or exact match and ROUGE-L.

    Args:
        result: what `bench/outcome_evaluation.py` prints.
        has_numbers: whether the final number of an answer counts.
    """
    loss = loss_of_rows(*(torch.tensor(result[name], dtype=torch.float64).numpy() for name in ("sums", "counts")))
    answers = [Answer("", *pair, "") for pair in zip(result["expected"], result["given"], strict=True)]
    if not has_numbers:
        return [loss, *answer_measures(answers)]
    right = [final_number(answer.given) == final_number(answer.expected) for answer in answers]
    return [loss, mean("right final numbers", right)]


def last_line(log: Path) -> dict[str, Any]:
    """The JSON object that a process has printed at its end."""
    return json.loads(log.read_text(encoding="utf-8").strip().splitlines()[-1])


def read_json(file: Path) -> Any:
    """The content of a JSON file."""
    return json.loads(file.read_text(encoding="utf-8"))


def write(file: Path, content: Any) -> None:
    """Writes a JSON file, whole or not at all."""
    part = file.with_suffix(".part")
    part.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    part.replace(file)


if __name__ == "__main__":
    main()
