"""Rows that are only asked about: their answers are neither needed nor read."""

from __future__ import annotations

import pytest

from burnish.data.rows.patterns import PATTERNS
from burnish.data.rows.row import Row
from burnish.data.rows.unanswered import UnansweredRows


@pytest.mark.parametrize("pattern", PATTERNS, ids=lambda pattern: pattern.name)
def test_answers_are_among_the_required_columns_and_leave_a_question(pattern):
    assert set(pattern.answers) < set(pattern.required)


@pytest.mark.parametrize(
    ("shape", "columns", "values", "used"),
    [
        ("prompt-completion", {}, {"Prompt": "p?", "response": "r", "id": 1}, {"Prompt"}),
        ("prompt-completion", {"completion": "said"}, {"prompt": "p?", "said": "r", "x": 1}, {"prompt"}),
        ("rated", {}, {"prompt": "p?", "score": 3, "output": "o"}, {"prompt"}),
        ("rated", {"label": "liked"}, {"prompt": "p?", "liked": "no", "output": "o"}, {"prompt"}),
        ("preference", {}, {"prompt": "p?", "input": "i", "chosen": "c", "rejected": "r"}, {"prompt", "input"}),
        ("source-target", {}, {"article": "a", "summary": "s"}, {"article"}),
        ("messages", {}, {"messages": [{"role": "user", "content": "p?"}], "source": "x"}, {"messages"}),
    ],
)  # fmt: skip
def test_a_row_is_read_with_and_without_its_answer(shape, columns, values, used):
    rows = UnansweredRows.like(shape, columns, {})
    assert rows.used(values) == used
    whole = rows.to_record(Row(values, "a.jsonl", 1))
    alone = rows.to_record(Row({name: values[name] for name in used}, "a.jsonl", 1))
    assert whole == alone
