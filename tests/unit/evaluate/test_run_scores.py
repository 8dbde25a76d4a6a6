"""Which figures of runs may be held against each other."""

from __future__ import annotations

import numpy
import pytest

from burnish.data.rows.records import ChatRecord, LabelledRecord, TextRecord
from burnish.evaluate.run_comparison import PER_BYTE, Comparable, RunScore, find_comparable, learned_bytes
from burnish.metrics.measure import Measure, mean, value

ROWS = 40


def score(sums: float, counts: numpy.ndarray, headline: Measure | None = None) -> RunScore:
    """A run whose loss on each row is the same."""
    return RunScore(numpy.full(ROWS, sums), counts, headline)


def names(found: Comparable) -> list[str]:
    """Of the figures."""
    return [figures[0].name for figures in found.figures]


def test_the_same_terms_are_compared_as_they_are() -> None:
    counts = numpy.full(ROWS, 4)
    found = find_comparable([score(2.0, counts), score(3.0, counts)], [9] * ROWS)
    assert names(found) == ["loss"]
    assert [value(one) for one in found.figures[0]] == [0.5, 0.75]
    assert found.scales == {"loss": [1.0, 1.0]}
    assert found.remarks == []


def test_a_figure_of_the_task_comes_first() -> None:
    counts = numpy.ones(ROWS)
    runs = [score(2.0, counts, mean("accuracy", numpy.full(ROWS, share))) for share in (0.5, 0.75)]
    found = find_comparable(runs, None)
    assert names(found) == ["accuracy", "loss"]
    short = score(2.0, counts, mean("accuracy", numpy.ones(ROWS - 1)))
    found = find_comparable([runs[0], short], None)
    assert names(found) == ["loss"]
    assert "not measured on the same parts" in found.remarks[0]


def test_a_few_rows_that_were_cut_are_left_out_of_the_loss() -> None:
    whole, cut = numpy.full(ROWS, 4), numpy.full(ROWS, 4)
    cut[:3] = 2
    found = find_comparable([score(2.0, whole), score(3.0, cut)], [9] * ROWS)
    assert names(found) == ["loss"]
    assert len(found.figures[0][0].table) == ROWS - 3
    assert found.remarks == ["3 rows differ in length between runs and are left out of the loss."]


def test_other_tokens_are_reported_per_byte() -> None:
    """Per token the second looks better, for it cuts the texts smaller; the texts are less likely under it."""
    found = find_comparable([score(2.0, numpy.full(ROWS, 2)), score(2.5, numpy.full(ROWS, 5))], [10] * ROWS)
    assert names(found) == [PER_BYTE]
    assert [value(one) for one in found.figures[0]] == [0.2, 0.25]
    assert found.scales == {PER_BYTE: [0.2, 0.5]}, "a loss per token times tokens per byte"
    assert "tokenize these texts differently" in found.remarks[0]


def test_other_terms_of_no_text_are_not_compared() -> None:
    found = find_comparable([score(2.0, numpy.full(ROWS, 2)), score(2.5, numpy.full(ROWS, 5))], None)
    assert found.figures == []
    assert "losses are not compared" in found.remarks[0]


def test_losses_of_other_kinds_are_not_compared() -> None:
    counts = numpy.ones(ROWS)
    runs = [score(2.0, counts, mean("reward accuracy", numpy.ones(ROWS))) for _ in range(2)]
    found = find_comparable(runs, None, ["preference.loss"])
    assert names(found) == ["reward accuracy"]
    assert "`preference.loss`" in found.remarks[0]


def test_bytes_of_what_is_learned() -> None:
    turns = ({"role": "user", "content": "Hey?"}, {"role": "assistant", "content": "Grüße"})
    assert learned_bytes([TextRecord("abc", True, "x:1")]) == [3]
    assert learned_bytes([ChatRecord(turns, None, "x:1")]) == [7]
    call = {"type": "function", "function": {"name": "look", "arguments": {}}}
    called = ({"role": "user", "content": "Hey?"}, {"role": "assistant", "content": None, "tool_calls": [call]})
    (size,) = learned_bytes([ChatRecord(called, None, "x:1")]) or [0]
    assert size > 20
    assert learned_bytes([LabelledRecord(("a",), ("b",), False, "x:1")]) is None


@pytest.mark.parametrize("number", [2, 3])
def test_all_runs_or_none(number: int) -> None:
    counts = [numpy.full(ROWS, 4)] * (number - 1) + [numpy.full(ROWS, 6)]
    found = find_comparable([score(1.0, one) for one in counts], [8] * ROWS)
    assert names(found) == [PER_BYTE]
    assert len(found.figures[0]) == number
