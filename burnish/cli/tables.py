"""Tables: what a run changed, answers side by side, and the list of runs. Each is data first, then drawn or aligned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from burnish.report.figures import COLUMNS, figure_cells

if TYPE_CHECKING:
    import rich.table


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
