"""Rows that say the same count each, and are drawn as one, so that copies make no figure surer."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy
import pytest

from burnish.data.rows.records import LabelledRecord, TextRecord
from burnish.evaluate.comparison import Repeats, make_figures, repeated_records, repeats_among
from burnish.metrics.intervals import difference, proportion
from burnish.metrics.measure import Measure, mean, ratio, value
from burnish.recipe.load import load_recipe
from burnish.workflows.train import train

COPIES = 4


def losses(seed: int, rows: int, moved: float = 0.0) -> tuple[Measure, Measure]:
    """Two models' losses on some rows, each of which stands there several times."""
    source = numpy.random.default_rng(seed)
    counts = source.integers(5, 50, rows)
    before = counts * source.normal(3, 0.5, rows)
    after = before + counts * source.normal(moved, 0.4, rows)
    base, tuned = (
        ratio("loss", numpy.repeat(sums, COPIES), numpy.repeat(counts, COPIES), False, False)
        for sums in (before, after)
    )
    return base, tuned


def repeats(rows: int) -> Repeats:
    found = repeats_among(numpy.repeat(numpy.arange(rows), COPIES).tolist())
    assert found is not None
    return found


def test_rows_that_all_differ_have_no_repeats() -> None:
    assert repeats_among(["a", "b", "c"]) is None
    assert repeats_among([]) is None


def test_a_figure_stays_what_it_is_and_is_as_sure_as_its_different_rows_make_it() -> None:
    base, tuned = losses(0, 30)
    (figure,) = make_figures([base], [tuned], repeats(30))
    assert figure.tuned.value == pytest.approx(value(tuned))
    assert figure.rows == 30 * COPIES
    single = [ratio("loss", one.table[::COPIES, 0], one.table[::COPIES, 1], False, False) for one in (base, tuned)]
    alone = difference(single[0], single[1])
    assert figure.difference.low == pytest.approx(alone.low)
    assert figure.difference.high == pytest.approx(alone.high)


def test_copies_of_one_row_show_nothing() -> None:
    base, tuned = losses(1, 1)
    (figure,) = make_figures([base], [tuned], repeats(1))
    assert (figure.difference.low, figure.difference.high) == (-math.inf, math.inf)


@pytest.mark.parametrize(("trials", "least"), [(100, 0.91), pytest.param(400, 0.92, marks=pytest.mark.slow)])
def test_intervals_hold_what_they_promise_where_rows_repeat(trials: int, least: float) -> None:
    held = surest = 0
    for seed in range(trials):
        base, tuned = losses(seed, 40)
        with_copies, as_news = make_figures([base], [tuned], repeats(40))[0], make_figures([base], [tuned])[0]
        held += with_copies.difference.low <= 0 <= with_copies.difference.high
        surest += as_news.difference.low <= 0 <= as_news.difference.high
    assert least <= held / trials <= 1.9 - least
    assert surest / trials < 0.8, "drawn apart, copies make the interval half as wide"


def test_a_share_of_rows_is_merged_too() -> None:
    hits = [1, 1, 0, 0, 1, 1]
    share = mean("accuracy", hits)
    merged = Repeats(numpy.array([0, 0, 1, 1, 2, 2]), numpy.array([0, 0, 1, 1, 2, 2])).merge(share)
    assert value(merged) == value(share)
    assert merged.table.tolist() == [[2, 2], [0, 2], [2, 2]]


def test_records_repeat_by_what_they_say_and_examples_belong_to_theirs() -> None:
    records = [TextRecord(text, True, f"a:{line}") for line, text in enumerate(["x", "y", "x", "lost", "y"])]
    found = repeated_records(records, [0, 0, 1, 2, 2, 4])
    assert found is not None
    assert found.rows.tolist() == [0, 1, 0, 1]
    assert found.distinct == 2
    assert found.examples.tolist() == [0, 0, 1, 0, 0, 1]
    by_row, by_example = mean("a", [1, 2, 3, 4]), mean("b", [1, 2, 3, 4, 5, 6])
    assert found.merge(by_row).table.tolist() == [[4, 2], [6, 2]]
    assert found.merge(by_example).table.tolist() == [[1 + 2 + 4 + 5, 4], [3 + 6, 2]]
    other = mean("c", [1, 2, 3])
    assert found.merge(other) is other
    assert repeated_records(records, [0, 1, 3]) is None


def test_a_repeated_row_takes_no_certainty_out_of_a_share() -> None:
    """Of 60 rows two say the same: the intervals are those of 59 rows but for a hair, and none has no width."""
    pair = repeats_among([0, *range(59)])
    plain = make_figures([mean("accuracy", [0] * 4 + [1] * 55)], [mean("accuracy", [1] * 59)])[0]
    figure = make_figures([mean("accuracy", [0] * 4 + [1] * 56)], [mean("accuracy", [1] * 60)], pair)[0]
    assert figure.tuned.low == pytest.approx(plain.tuned.low, abs=0.01)
    assert (figure.tuned.value, figure.tuned.high) == (1, 1)
    assert figure.difference.low == pytest.approx(plain.difference.low, abs=0.02)
    assert figure.difference.high == pytest.approx(plain.difference.high, abs=0.02)
    assert plain.difference.low < 0 < plain.difference.high


@dataclass(frozen=True)
class Held:
    """An example with a term of the loss, or without one."""

    num_trained: int


def test_rows_without_a_term_of_the_loss_are_repeats_in_the_other_metrics_only() -> None:
    records = [LabelledRecord((text,), ("a",), False, f"a:{row}") for row, text in enumerate("xxyyz")]
    found = repeated_records(records, range(5), [Held(count) for count in (1, 1, 1, 1, 0)])
    assert found is not None
    assert found.distinct == 3
    assert len(found.merge(mean("accuracy", [1, 1, 0, 0, 0])).table) == 3
    assert len(found.merge(ratio("loss", [1, 1, 2, 2], [1, 1, 1, 1], False, False)).table) == 2


def test_only_whole_conversations_are_repeats(tmp_path: Path) -> None:
    """The same last turn after another history is another question."""
    lines = []
    for number in range(40):
        first = {"role": "user", "content": f"my thing is the {'lamp' if number % 2 else 'kettle'} number {number}"}
        turns = [first, {"role": "assistant", "content": "yes"}, {"role": "user", "content": "which thing?"}]
        lines.append(json.dumps({"messages": [*turns, {"role": "assistant", "content": "a thing"}]}))
    data = tmp_path / "chats.jsonl"
    data.write_text("\n".join(lines), encoding="utf-8")
    options = {"runs": str(tmp_path / "runs"), "train.max_steps": 1, "evaluate.answers": 20, "data.context": 64}
    options |= {"evaluate.general": "none"}
    recipe = load_recipe(str(data), {**options, "data.test_fraction": 0.5, "evaluate.max_new_tokens": 2}, [])
    evaluation = train(recipe.recipe).evaluation
    assert evaluation is not None
    (exact,) = [figure for figure in evaluation["figures"] if figure["name"] == "exact match"]
    assert exact["rows"] == 20
    assert exact["tuned"]["value"] == 0.0
    assert exact["tuned"]["high"] == pytest.approx(proportion(0, 20).high)
