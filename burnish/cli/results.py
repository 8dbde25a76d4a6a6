"""What a finished run shows, rebuilt from its folder."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

from burnish.cli.console import Console
from burnish.cli.tables import answers, before_after, loss, merged_table, metric_table
from burnish.report.figures import figures_beside
from burnish.report.numbers import duration
from burnish.runs.folder import RunFolder
from burnish.runs.store import describe_run

_ANSWERS_SHOWN = 2


def read_result(path: Path) -> dict[str, Any]:
    """A run as `burnish show --json` prints it, with its evaluation where there is one."""
    folder = RunFolder(path)
    told = describe_run(folder)
    if folder.evaluation.is_file():
        told["evaluation"] = json.loads(folder.evaluation.read_text(encoding="utf-8"))
    return told


def show_result(console: Console, path: Path) -> None:
    """Shows what training made: the evidence, the folder, and what to do next. With `--quiet`, the folder alone."""
    told = read_result(path)
    console.json(told)
    if console.output.quiet:
        console.result(short(path))
        return
    console.say()
    if "evaluation" in told:
        show_evaluation(console, told["evaluation"])
    else:
        before, best = told["validation_loss_before"], told["validation_loss_best"]
        console.say(f"held-out loss {loss(before)} -> {loss(best)}, best at step {told['best_step']}")
    if told["seconds"] is not None:
        console.say(f"trained in {duration(told['seconds'])}")
    console.say(f"run folder: {short(path)}")
    console.say(f"report: {short(RunFolder(path).report)}")
    show_next(console, path, told["recipe"]["task"])


def show_evaluation(console: Console, evaluation: dict[str, Any]) -> None:
    """The table of base against tuned, the first answers side by side, and the verdict in a sentence."""
    figures = [*evaluation["figures"], *figures_beside(evaluation)]
    if evaluation["figures"]:
        console.say(f"On {evaluation['rows']:,} rows ({evaluation['held_out']}):")
    elif figures:
        console.say("No rows are held out.")
    if figures:
        console.table(before_after(figures, evaluation["rows"]))
    for said in (evaluation["note"], evaluation.get("by_heart")):
        if said:
            console.say(said)
    for table in evaluation["tables"]:
        console.say()
        console.say(table["title"])
        console.table(metric_table(table))
    if evaluation.get("harness"):
        console.say()
        console.say("lm-evaluation-harness:")
        console.table(before_after(evaluation["harness"]))
    if evaluation["answers"]:
        console.say()
        console.table(answers(evaluation["answers"][:_ANSWERS_SHOWN]))
    console.say()
    console.say(evaluation["verdict"], "bold")


def show_merged(console: Console, merged: dict[str, Any]) -> None:
    """Where the merged model lies and how near it is to base and adapter. With `--quiet`, the folder alone."""
    folder = short(Path(merged["folder"]))
    if console.output.quiet:
        console.result(folder)
        return
    console.say(f"On {merged['rows']:,} rows, {merged['positions']:,} positions, in {merged['precision']}:")
    console.table(merged_table(merged))
    console.say(f"Within what is explained by {merged['tolerance']['reason']}.")
    console.say()
    console.say(f"merged model: {folder}", "bold")


def show_ejected(console: Console, script: Path, rows: Path) -> None:
    """Where the script and its rows lie, and how to run it. With `--quiet`, the script alone."""
    console.json({"script": str(script), "rows": str(rows)})
    if console.output.quiet:
        console.result(short(script))
        return
    console.say(f"script: {short(script)}", "bold")
    console.say(f"its rows: {short(rows)}")
    console.say()
    console.say("It needs torch, transformers, peft, trl and datasets. Run it with:")
    console.say(f"  python {shlex.quote(short(script))}", "cyan")


def show_next(console: Console, path: Path, task: str) -> None:
    """The commands that go on from a finished run."""
    from burnish.recipe.schema import WRITING_TASKS

    run = shlex.quote(short(path))
    console.say()
    console.say("next:", "bold")
    chat = [f"chat {run}"] if task in WRITING_TASKS else []
    for words in (f'generate {run} "..."', *chat, f"evaluate {run}"):
        console.say(f"  burnish {words}", "cyan")


def short(path: Path) -> str:
    """The path as one would type it from here."""
    try:
        return str(path.absolute().relative_to(Path.cwd()))
    except ValueError:
        return str(path)
