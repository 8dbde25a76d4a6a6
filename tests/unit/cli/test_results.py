"""Results: what they show, and that they fit a screen."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest

from burnish.cli.results import changes, intervals, loss, metric_table, runs_table, show_evaluation
from burnish.cli.table import Facts, Table, cut, megabytes, wrapped
from burnish.report.figures import duration
from tests.snapshots import check_snapshot
from tests.unit.cli.streams import Screen


def metric(name: str, base: float, tuned: float, is_share: bool = False, rows: int = 60) -> dict[str, Any]:
    values = {"base": base, "tuned": tuned, "difference": tuned - base}
    around = {key: {"value": value, "low": value - 0.1, "high": value + 0.1} for key, value in values.items()}
    return {"name": name, "is_share": is_share, "rows": rows, **around}


METRICS = [metric("loss", 2.0, 0.5), metric("perplexity", 1234.5, 90), metric("exact match", 0.2, 0.9, True, rows=20)]
ANSWERS = [
    {"prompt": f"Write record {number}.\n\n{'A long letter. ' * 30}", "expected": "x", "base": " ", "tuned": "x\n"}
    for number in (1, 2)
]
EVALUATION: dict[str, Any] = {
    "rows": 60,
    "held_out": "held out from the training data",
    "split": "test",
    "caveat": "60 test rows show only large differences.",
    "verdict": "The tuned model is better than the base on 60 test rows: the loss fell by 1.500.",
    "by_heart": "Part of it is memorized.",
    "note": "",
    "figures": METRICS,
    "training": [metric("loss", 2.0, 0.25)],
    "general": {"source": "other texts", "loss": metric("loss", 9.0, 9.001, rows=61)},
    "tables": [{"title": "Each label", "columns": ["label", "rows", "F1"], "rows": [["red", 1234, 0.5]]}],
    "answers": ANSWERS,
}


@pytest.mark.parametrize("words", [(), ("--verbose",), ("--quiet",)], ids=lambda words: " ".join(words))
def test_an_evaluation(words: tuple[str, ...]) -> None:
    screen = Screen(*words)
    show_evaluation(screen.console, EVALUATION)
    check_snapshot(f"unit/cli/test_results::an evaluation {' '.join(words)}".rstrip(), screen.out)


def test_an_evaluation_fits_a_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm-256color")
    screen = Screen(is_terminal=True)
    show_evaluation(screen.console, EVALUATION)
    lines = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", screen.out).splitlines()
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 80
    check_snapshot("unit/cli/test_results::an evaluation on 80 columns", "\n".join(lines))


def test_without_a_number_of_rows_every_metric_names_its_own() -> None:
    table = changes([metric("loss", 2.0, 0.5), metric("likely", 0.2, 0.9, is_share=True, rows=20)])
    assert [row[0] for row in table.rows] == ["loss (60 rows)", "likely (20 rows)"]


def test_an_open_interval_is_a_question_mark() -> None:
    open_ended = {"value": 1.0, "low": -math.inf, "high": None}
    one = {
        "name": "loss",
        "base": open_ended,
        "tuned": open_ended,
        "difference": open_ended,
        "is_share": False,
        "rows": 1,
    }
    assert changes([one], 1).rows == [["loss", "1.000", "1.000", "+1.000 [?, ?]"]]
    assert intervals([one], 1).rows == [["loss", "1.000 [?, ?]", "1.000 [?, ?]"]]


def test_numbers_are_aligned_right_and_text_left() -> None:
    rows = [["a", "1", "2"], ["long", "22", "333"]]
    assert Table(["n", "x", "y"], rows, is_numeric=True).plain() == "n      x    y\na      1    2\nlong  22  333"
    assert Table(["n", "x", "y"], rows).plain() == "n     x   y\na     1   2\nlong  22  333"


def test_facts_keep_the_lines_of_a_value() -> None:
    assert Facts([("prompt", "two\nlines"), ("base", "x")]).plain() == "prompt  two\n        lines\nbase    x"


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("short", ["short"]),
        ("a\n\nb", ["a", "b"]),
        ("a\nb\nc", ["a", "b ..."]),
        ("x" * 50, ["x" * 16 + " ..."]),
        ("a\n" + "x" * 50, ["a", "x" * 6 + " ..."]),
        ("", []),
    ],
)
def test_what_is_too_long_is_cut(text: str, lines: list[str]) -> None:
    assert cut(text, 10, 2) == lines
    assert cut(text, 10, 0) == text.split("\n"), "without a limit nothing is cut"


def test_a_long_word_fills_the_lines_it_may_have() -> None:
    assert wrapped("<end> " + "x" * 50, 10, 2) == ["<end> xxxx", "xxxxxx ..."]
    assert wrapped("one two three\n\nfour", 10, 3) == ["one two", "three", "four"]
    assert wrapped("one two three\n\nfour", 10, 2) == ["one two", "three ..."]


def test_tables_hold_text_whole_numbers_and_fractions() -> None:
    shown = {"columns": ["label", "rows", "F1"], "rows": [["red", 1234, 0.98765], ["blue", 7, None]]}
    assert metric_table(shown).plain() == "label   rows     F1\nred    1,234  0.988\nblue       7      ?"


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0.0 MB"), (7_249_999, "7.2 MB"), (99_940_000, "99.9 MB"), (1_234_400_000, "1,234 MB")]
)
def test_bytes(count: int, text: str) -> None:
    assert megabytes(count) == text


def test_runs_are_listed_with_what_is_known() -> None:
    recipe = {"model": {"name": "/models/base/"}, "method": "lora"}
    run = {"name": "r", "state": "finished", "recipe": recipe, "step": 5, "total_steps": 9, "started": "now"}
    described = [{**run, "validation_loss_before": 2.0, "validation_loss_best": None}]
    assert runs_table(described).rows == [["r", "finished", "5/9", "2.000 -> -", "now"]]
    assert runs_table(described, is_full=True).rows == [["r", "finished", "base", "lora", "5/9", "2.000 -> -", "now"]]


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (59.4, "59 s"), (59.6, "1 min 00 s"), (185, "3 min 05 s"), (7625, "2 h 07 min")]
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_loss_of_nothing() -> None:
    assert (loss(None), loss(1.23456)) == ("-", "1.235")


def test_an_evaluation_of_an_earlier_version_is_shown(tmp_path: Path) -> None:
    """Without figures beside those of the validation rows, without answers."""
    earlier = {key: EVALUATION[key] for key in ("rows", "held_out", "verdict", "note", "figures")}
    screen = Screen()
    show_evaluation(screen.console, json.loads(json.dumps({**earlier, "tables": [], "answers": []})))
    assert "exact match (20 rows)" in screen.out
