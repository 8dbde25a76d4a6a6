"""Tables fit terminals of 60 to 200 columns: where columns do not fit beside each other, rows are stacked."""

from __future__ import annotations

import io

import pytest
from rich.console import Console as RichConsole

from burnish.cli.results import runs_table
from burnish.cli.table import Table

RUN = {
    "name": "orders-SmolLM2-135M-Instruct-lora-2",
    "state": "can be resumed",
    "recipe": {"model": {"name": "HuggingFaceTB/SmolLM2-135M-Instruct"}, "method": "lora"},
    "step": 120,
    "total_steps": 1200,
    "validation_loss_before": 2.345,
    "validation_loss_best": 1.234,
    "started": "2026-01-02 03:04",
}


def shown(table: Table, width: int) -> str:
    stream = io.StringIO()
    RichConsole(file=stream, width=width, force_terminal=False).print(table.drawn(width))
    return stream.getvalue()


@pytest.mark.parametrize("width", [60, 80, 100, 140, 200])
@pytest.mark.parametrize("is_full", [False, True])
def test_the_list_of_runs_fits_and_names_each_run_whole(width: int, is_full: bool) -> None:
    text = shown(runs_table([RUN, {**RUN, "name": "short"}], is_full), width)
    assert max(map(len, text.splitlines())) <= width
    for said in (RUN["name"], "can be resumed", "120/1200", "2.345 -> 1.234", "2026-01-02 03:04"):
        assert said in " ".join(text.split()), said


def test_a_wide_terminal_has_columns_and_a_narrow_one_has_not() -> None:
    table = runs_table([RUN])
    assert shown(table, 200).splitlines()[0].split()[:2] == ["run", "state"]
    assert shown(table, 60).splitlines()[0].strip() == RUN["name"]
