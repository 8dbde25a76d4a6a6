"""What a finished run shows: its evaluation, answers side by side, and the table of all runs."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from burnish.cli.console import Console
from burnish.report.figures import COLUMNS, duration, figure_cells, figures_beside
from burnish.runs.folder import RunFolder, describe_run

if TYPE_CHECKING:
    import rich.table


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
    from burnish.tasks import writes_text

    run = shlex.quote(short(path))
    console.say()
    console.say("next:", "bold")
    chat = [f"chat {run}"] if writes_text(task) else []
    for words in (f'generate {run} "..."', *chat, f"evaluate {run}"):
        console.say(f"  burnish {words}", "cyan")


def short(path: Path) -> str:
    """The path as one would type it from here."""
    try:
        return str(path.absolute().relative_to(Path.cwd()))
    except ValueError:
        return str(path)


@dataclass(frozen=True, slots=True)
class Table:
    """Columns and rows of text; `is_figures` aligns all columns but the first to the right.

    `is_prose` marks cells that are long or have several lines: piped, each row becomes a block, one line a column.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    is_figures: bool = False
    is_prose: bool = False

    def drawn(self) -> rich.table.Table:
        """The table for a terminal; long cells fold inside their column."""
        from rich import box
        from rich.table import Table as RichTable
        from rich.text import Text

        table = RichTable(box=box.SIMPLE_HEAD, show_lines=self.is_prose, pad_edge=False)
        for position, column in enumerate(self.columns):
            align = "right" if position > 0 and self.is_figures else "left"
            table.add_column(Text(column), justify=align, overflow="fold", ratio=1 if self.is_prose else None)
        for row in self.rows:
            table.add_row(*(Text(cell) for cell in row))
        return table

    def plain(self) -> str:
        """The table as plain lines."""
        if self.is_prose:
            return "\n\n".join(self._block(row) for row in self.rows)
        widths = [max(map(len, column)) for column in zip(self.columns, *self.rows, strict=True)]
        return "\n".join(self._line(row, widths) for row in (self.columns, *self.rows))

    def _block(self, row: Sequence[str]) -> str:
        width = max(map(len, self.columns)) + 2
        indented = (cell.replace("\n", "\n" + " " * width) for cell in row)
        return "\n".join(f"{column + ':':<{width}}{cell}" for column, cell in zip(self.columns, indented, strict=True))

    def _line(self, row: Sequence[str], widths: Sequence[int]) -> str:
        first, *rest = zip(row, widths, strict=True)
        align = ">" if self.is_figures else "<"
        return "  ".join([f"{first[0]:<{first[1]}}", *(f"{cell:{align}{width}}" for cell, width in rest)]).rstrip()


def before_after(figures: Sequence[Mapping[str, Any]], all_rows: int | None = None) -> Table:
    """Base against tuned, one line a figure, each with its 95 % interval.

    Args:
        figures: as `figure_cells` takes them.
        all_rows: rows judged in all; a figure that was measured on others says on how many.
    """
    return Table(COLUMNS, figure_cells(figures, all_rows), is_figures=True)


def answers(samples: Sequence[Mapping[str, str]]) -> Table:
    """Prompts answered by base and by tuned, side by side.

    Args:
        samples: maps with `prompt`, `expected`, `base` and `tuned`.
    """
    columns = ["prompt", "expected", "base", "tuned"]
    rows = [[sample[column].strip() or "(nothing)" for column in columns] for sample in samples]
    return Table(columns, rows, is_prose=True)


def metric_table(table: Mapping[str, Any]) -> Table:
    """A finer figure of the tuned model: a map with `columns` and `rows` of text and numbers."""
    rows = [[cell if isinstance(cell, str) else _cell(cell) for cell in row] for row in table["rows"]]
    return Table(table["columns"], rows, is_figures=True)


def merged_table(merged: Mapping[str, Any]) -> Table:
    """How far the merged model is from base and adapter in its logits, beside what was learned and what is allowed.

    Args:
        merged: as `merge.json` tells it.
    """
    names = {
        "merged": "merged, from base and adapter",
        "quantized": "merged, from quantized base and adapter",
        "learned": "base and adapter, from base",
    }
    rows = [
        [told, f"{merged[name]['mean']:.2g}", f"{merged[name]['largest']:.2g}", f"{merged[name]['same_choice']:.1%}"]
        for name, told in names.items()
        if merged[name] is not None
    ]
    tolerance = merged["tolerance"]
    rows.insert(1, ["tolerance", f"{tolerance['mean']:.2g}", f"{tolerance['largest']:.2g}", ""])
    return Table(["logits", "mean difference", "largest", "same choice"], rows, is_figures=True)


def _cell(value: float | None) -> str:
    if value is None:
        return "?"
    return f"{value:,}" if isinstance(value, int) else f"{value:.3f}"


def megabytes(count: int) -> str:
    """Bytes as `7.2 MB` or `1,234 MB`, of a million bytes each."""
    millions = count / 1e6
    return f"{millions:,.1f} MB" if millions < 100 else f"{millions:,.0f} MB"


def runs_table(described: Sequence[Mapping[str, Any]]) -> Table:
    """The list of runs, as `describe_run` tells them."""
    rows = []
    for run in described:
        recipe = run["recipe"]
        steps = f"{run['step']}/{run['total_steps']}" if run["total_steps"] else str(run["step"])
        model = recipe["model"]["name"].rstrip("/").rpartition("/")[2]
        losses = f"{loss(run['validation_loss_before'])} -> {loss(run['validation_loss_best'])}"
        rows.append([run["name"], run["state"], model, recipe["method"], steps, losses, run["started"]])
    return Table(["run", "state", "model", "method", "steps", "held-out loss", "started"], rows)


def loss(value: float | None) -> str:
    """A loss in nats per token; `-` where there is none yet."""
    return "-" if value is None else f"{value:.3f}"
