"""Columns, maps and mixtures of shapes that are refused, and in which words."""

from __future__ import annotations

import pytest

from burnish.data.rows.patterns import BY_NAME
from burnish.data.rows.row import Row
from burnish.data.rows.shapes import describe_patterns, detect_shape
from burnish.errors import DataError
from tests.snapshots import check_message, check_text

MESSAGES = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]


def rows_of(*values):
    return [Row(value, "a.jsonl", line) for line, value in enumerate(values, start=1)]


MAP_HINT = "Say which column holds what: `--set data.columns.prompt=COLUMN --set data.columns.completion=COLUMN`"
GOOD = {"prompt": "q", "completion": "a"}
REFUSED = {
    "unknown columns": ([{"src": "x", "dst": "y"}, {"src": "x", "lang": "z"}], {}, "auto"),
    "content is not alone": ([{"content": "x", "id": 1}], {}, "auto"),
    "half a pair": ([{"prompt": "x", "chosen": "a"}], {}, "auto"),
    "two answers": ([{"prompt": "x", "response_a": "a", "response_b": "b", "preferred": "a"}], {}, "auto"),
    "mixed shapes": ([GOOD] * 70 + [{"text": "x"}] + [GOOD] * 20, {}, "auto"),
    "mixed columns": ([GOOD] * 3 + [{"x": "y"}] * 2, {}, "auto"),
    "unknown shape": ([GOOD], {}, "aplaca"),
    "wanted shape does not fit": ([GOOD], {}, "alpaca"),
    "map without its column": ([GOOD], {"prompt": "promt"}, "auto"),
    "map across shapes": ([GOOD], {"text": "prompt", "chosen": "completion"}, "auto"),
    "map against the wanted shape": ([GOOD], {"prompt": "prompt"}, "text"),
}


def test_all_shapes_are_named_with_what_the_nearest_ones_need():
    assert describe_patterns() == describe_patterns(["here", "there"])
    assert all(name in describe_patterns() for name in BY_NAME)
    check_text(describe_patterns(["chosen", "here"]))


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name):
    values, columns, wanted = REFUSED[name]
    with pytest.raises(DataError) as caught:
        detect_shape(rows_of(*values), columns, wanted)
    check_message(caught.value)
