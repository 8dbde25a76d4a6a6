"""Tables: what they say, drawn and plain."""

from __future__ import annotations

import math
from typing import Any

import pytest

from burnish.cli.results import Table, answers, before_after, loss, megabytes, metric_table, runs_table
from burnish.report.figures import duration


def figure(name: str, base: float, tuned: float, is_share: bool = False, rows: int = 60) -> dict[str, Any]:
    around = [{"value": value, "low": value - 0.1, "high": value + 0.1} for value in (base, tuned)]
    return {"name": name, "base": around[0], "tuned": around[1], "is_share": is_share, "rows": rows}


def test_before_and_after() -> None:
    exact = figure("exact match", 0.2, 0.9, is_share=True, rows=20)
    table = before_after([figure("loss", 2.0, 0.5), figure("perplexity", 1234.5, 90), exact], all_rows=60)
    assert table.rows == [
        ["loss", "2.000 [1.900, 2.100]", "0.500 [0.400, 0.600]", "-1.500 (-75 %)"],
        ["perplexity", "1,234 [1,234, 1,235]", "90.000 [89.900, 90.100]", "-1,144 (-93 %)"],
        ["exact match (20 rows)", "20.0 % [10.0 %, 30.0 %]", "90.0 % [80.0 %, 100.0 %]", "+70.0 points"],
    ]


def test_without_a_number_of_rows_every_figure_tells_its_own() -> None:
    table = before_after([figure("loss", 2.0, 0.5), figure("likely", 0.2, 0.9, is_share=True, rows=20)])
    assert [row[0] for row in table.rows] == ["loss (60 rows)", "likely (20 rows)"]


def test_an_open_interval_is_a_question_mark() -> None:
    open_ended = {"value": 1.0, "low": -math.inf, "high": None}
    told = {"name": "loss", "base": open_ended, "tuned": open_ended, "is_share": False, "rows": 1}
    (row,) = before_after([told], all_rows=1).rows
    assert row[1:] == ["1.000 [?, ?]", "1.000 [?, ?]", "+0.000 (+0 %)"]


def test_answers_keep_their_lines() -> None:
    table = answers([{"prompt": "two\nlines", "expected": "x", "base": " ", "tuned": "x\n"}])
    assert table.plain() == "prompt:   two\n          lines\nexpected: x\nbase:     (nothing)\ntuned:    x"


def test_figures_stand_right_and_words_left() -> None:
    rows = [["a", "1", "2"], ["long", "22", "333"]]
    assert Table(["n", "x", "y"], rows, is_figures=True).plain() == "n      x    y\na      1    2\nlong  22  333"
    assert Table(["n", "x", "y"], rows).plain() == "n     x   y\na     1   2\nlong  22  333"


def test_finer_figures_are_words_whole_numbers_and_fractions() -> None:
    told = {"columns": ["label", "rows", "F1"], "rows": [["red", 1234, 0.98765], ["blue", 7, None]]}
    table = metric_table(told)
    assert table.plain() == "label   rows     F1\nred    1,234  0.988\nblue       7      ?"


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0.0 MB"), (7_249_999, "7.2 MB"), (99_940_000, "99.9 MB"), (1_234_400_000, "1,234 MB")]
)
def test_bytes(count: int, text: str) -> None:
    assert megabytes(count) == text


def test_runs_are_listed_with_what_is_known() -> None:
    recipe = {"model": {"name": "/models/base/"}, "method": "lora"}
    run = {"name": "r", "state": "finished", "recipe": recipe, "step": 5, "total_steps": 9, "started": "now"}
    told = runs_table([{**run, "validation_loss_before": 2.0, "validation_loss_best": None}])
    assert told.rows == [["r", "finished", "base", "lora", "5/9", "2.000 -> -", "now"]]


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (59.4, "59 s"), (59.6, "1 min 00 s"), (185, "3 min 05 s"), (7625, "2 h 07 min")]
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_loss_of_nothing() -> None:
    assert (loss(None), loss(1.23456)) == ("-", "1.235")
