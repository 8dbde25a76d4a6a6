"""What a finished run shows: the verdict, base against tuned, a sample, and what to do next."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from burnish.cli.console import Console
from burnish.cli.table import Facts, Table
from burnish.report.figures import (
    SHOWN_ANSWERS,
    counted,
    duration,
    figure_cells,
    figures_beside,
    kept_step,
    number,
    row_of,
)
from burnish.runs.description import describe_run, evaluation_of
from burnish.runs.folder import RunFolder
from burnish.runs.observed import observed
from burnish.system.shell import quoted

_SAMPLE_LINES = 2
"""Lines of a prompt or an answer; the report has all of them."""


def read_result(path: Path) -> dict[str, Any]:
    """A run as `burnish show --json` prints it, with its evaluation where there is one, and with what it said.

    Raises:
        DamagedRun: a file of the run cannot be read.
    """
    folder = RunFolder(path)
    described = describe_run(folder)
    if (evaluation := evaluation_of(folder)) is not None:
        described["evaluation"] = evaluation
    return described | observed(folder)


def show_result(console: Console, path: Path, num_warnings: int = 0) -> None:
    """Shows what training made: the evidence, the run folder, and what to do next. With `--quiet`, the folder alone.

    Args:
        console: to show it on.
        path: of the run folder.
        num_warnings: shown while it trained; by now they may have scrolled away.
    """
    described = read_result(path)
    console.json(described)
    if console.output.quiet:
        console.result(short(path))
        return
    if "evaluation" in described:
        show_evaluation(console, described["evaluation"])
    else:
        before, best = described["validation_loss_before"], described["validation_loss_best"]
        console.say(f"validation loss {loss(before)} -> {loss(best)}, best at step {described['best_step']}")
    if kept := kept_step(described["kept"]):
        console.say()
        console.say(kept)
    console.say()
    facts = [("trained in", duration(described["seconds"]))] if described["seconds"] is not None else []
    facts += [("run folder", short(path)), ("report", short(RunFolder(path).report))]
    facts += [("warnings", f"{num_warnings}, shown above and in the report")] if num_warnings else []
    console.facts(Facts(facts))
    show_next(console, path, described["recipe"])


def show_evaluation(console: Console, evaluation: Mapping[str, Any], has_tables: bool = False) -> None:
    """The verdict, base against tuned, and one sample; with `--verbose`, also intervals, tables and every sample.

    Args:
        console: to show it on.
        evaluation: as in `evaluation.json`.
        has_tables: whether to show tables such as the metrics by label without `--verbose` too.
    """
    is_verbose = console.output.verbose
    console.say(evaluation["verdict"], "bold")
    for remark in (evaluation.get("caveat"), evaluation.get("by_heart"), evaluation["note"]):
        if remark:
            console.say(remark)
    metrics = [*evaluation["figures"], *figures_beside(evaluation)]
    if metrics:
        console.say()
        where = f"On {counted(evaluation['rows'], row_of(evaluation))} ({evaluation['held_out']}):"
        console.say(where if evaluation["figures"] else "There are no test or validation rows.")
        console.table(changes(metrics, evaluation["rows"]))
    if metrics and is_verbose:
        console.say()
        console.table(intervals(metrics, evaluation["rows"]))
    if has_tables or is_verbose:
        for part in evaluation["tables"]:
            console.say()
            console.say(f"{part['title']}:")
            console.table(metric_table(part))
    elif evaluation["tables"]:
        titles = ", ".join(f"{part['title'][:1].lower()}{part['title'][1:]}" for part in evaluation["tables"])
        console.say(f"In the report and with `--verbose`: {titles}.", "dim")
    if evaluation.get("harness"):
        console.say()
        console.say("lm-evaluation-harness:")
        console.table(changes(evaluation["harness"]))
    for sample in evaluation["answers"][: SHOWN_ANSWERS if is_verbose else 1]:
        console.say()
        console.facts(side_by_side(sample, 0 if is_verbose else _SAMPLE_LINES))


def show_merged(console: Console, merged: dict[str, Any]) -> None:
    """Where the merged model is and how close it is to base and adapter. With `--quiet`, the folder alone."""
    folder = short(Path(merged["folder"]))
    if console.output.quiet:
        console.result(folder)
        return
    console.say(f"On {merged['rows']:,} rows, {merged['positions']:,} positions, in {merged['precision']}:")
    console.table(merged_table(merged))
    console.say(f"The differences are within tolerance: {merged['tolerance']['reason']}.")
    console.say()
    console.say(f"merged model: {folder}", "bold")


def show_ejected(console: Console, script: Path, rows: Path) -> None:
    """Where the script and its rows are, and how to run it. With `--quiet`, the script alone."""
    console.json({"script": str(script), "rows": str(rows)})
    if console.output.quiet:
        console.result(short(script))
        return
    console.facts(Facts([("script", short(script)), ("its rows", short(rows))]))
    console.say()
    console.say("It needs torch, transformers, peft, trl and datasets. Run it with:")
    console.command(f"python {quoted(short(script))}")


def show_next(console: Console, path: Path, recipe: Mapping[str, Any]) -> None:
    """The commands to continue with after a finished run.

    Args:
        console: to show them on.
        path: of the run folder.
        recipe: as `describe_run` returns it.
    """
    from burnish.recipe.quickstart import toy_remark
    from burnish.tasks import writes_text

    run, task = quoted(short(path)), recipe["task"]
    console.say()
    console.say("next:", "bold")
    chat = [f"chat {run}"] if writes_text(task) else []
    for rest in (*chat, f'generate {run} "..."', f"evaluate {run}"):
        console.command(f"burnish {rest}")
    if remark := toy_remark(recipe["model"]["name"], task):
        console.say(remark, "dim")


def short(path: Path) -> str:
    """The path as one would type it in the current folder."""
    try:
        return str(path.absolute().relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def changes(metrics: Sequence[Mapping[str, Any]], all_rows: int | None = None) -> Table:
    """Base against tuned, one metric a line, with the 95 % interval of what changed, paired by row.

    Args:
        metrics: maps with `name`, `is_share`, `rows`, and `base`, `tuned` and `difference`, each a map of `value`,
            `low` and `high`.
        all_rows: rows of the evaluation; a metric measured on other rows names their number.
    """
    rows = []
    for metric in metrics:
        is_share, base, tuned = metric["is_share"], metric["base"]["value"], metric["tuned"]["value"]
        others = f" ({metric['rows']:,} rows)" if metric["rows"] != all_rows else ""
        value, low, high = (_change(metric["difference"][name], is_share) for name in ("value", "low", "high"))
        by = f"{value}{' points' if is_share else ''} [{low}, {high}]"
        rows.append([metric["name"] + others, number(base, is_share), number(tuned, is_share), by])
    return Table(["metric", "base", "tuned", "change [95 %]"], rows, is_numeric=True)


def _change(value: float | None, is_share: bool) -> str:
    """A signed difference; one of shares in percentage points, without the unit."""
    if value is None or not math.isfinite(value):
        return "?"
    if is_share:
        return f"{100 * value:+.1f}"
    return f"{value:+.3f}" if abs(value) < 100 else f"{value:+,.0f}"


def intervals(metrics: Sequence[Mapping[str, Any]], all_rows: int | None = None) -> Table:
    """Base and tuned, one metric a line, each model with its own 95 % interval.

    Args:
        metrics: as `figure_cells` takes them.
        all_rows: rows of the evaluation; a metric measured on other rows names their number.
    """
    rows = [cells[:3] for cells in figure_cells(metrics, all_rows)]
    return Table(["metric", "base [95 %]", "tuned [95 %]"], rows, is_numeric=True)


def side_by_side(sample: Mapping[str, str], longest: int = 0) -> Facts:
    """A prompt, the expected answer, and those of base and tuned.

    Args:
        sample: a map with `prompt`, `expected`, `base` and `tuned`.
        longest: lines of each on a terminal; longer ones are cut. 0 for no limit.
    """
    names = ("prompt", "expected", "base", "tuned")
    return Facts([(name, sample[name].strip() or "(nothing)") for name in names], longest)


def metric_table(table: Mapping[str, Any]) -> Table:
    """A table of the tuned model's metrics, such as those by label: a map with `columns` and `rows`."""
    rows = [[cell if isinstance(cell, str) else _cell(cell) for cell in row] for row in table["rows"]]
    return Table(table["columns"], rows, is_numeric=True)


def merged_table(merged: Mapping[str, Any]) -> Table:
    """How far the logits of the merged model are from base and adapter, beside what was learned and what is allowed.

    Args:
        merged: the content of `merge.json`.
    """
    names = {
        "merged": "merged vs. adapter",
        "quantized": "merged vs. adapter on quantized base",
        "learned": "adapter vs. base",
    }
    rows = [
        [shown, f"{merged[name]['mean']:.2g}", f"{merged[name]['largest']:.2g}", f"{merged[name]['same_choice']:.1%}"]
        for name, shown in names.items()
        if merged[name] is not None
    ]
    tolerance = merged["tolerance"]
    rows.insert(1, ["tolerance", f"{tolerance['mean']:.2g}", f"{tolerance['largest']:.2g}", ""])
    return Table(["logits", "mean difference", "largest", "same top token"], rows, is_numeric=True)


def _cell(value: float | None) -> str:
    if value is None:
        return "?"
    return f"{value:,}" if isinstance(value, int) else f"{value:.3f}"


def runs_table(described: Sequence[Mapping[str, Any]], is_full: bool = False) -> Table:
    """The list of runs.

    Args:
        described: as `describe_run` returns them.
        is_full: whether model and method have columns of their own, which a run's name mostly says.
    """
    rows = []
    for run in described:
        recipe = run["recipe"]
        steps = f"{run['step']}/{run['total_steps']}" if run["total_steps"] else str(run["step"])
        model = recipe["model"]["name"].rstrip("/").rpartition("/")[2]
        losses = f"{loss(run['validation_loss_before'])} -> {loss(run['validation_loss_best'])}"
        more = [model, recipe["method"]] if is_full else []
        rows.append([run["name"], run["state"], *more, steps, losses, run["started"]])
    more = ["model", "method"] if is_full else []
    return Table(["run", "state", *more, "steps", "validation loss", "started"], rows)


def loss(value: float | None) -> str:
    """A loss in nats per token; `-` where there is none yet."""
    return "-" if value is None else f"{value:.3f}"
