"""Columns, maps and mixtures of shapes that are refused, and in which words."""

from __future__ import annotations

import pytest

from burnish.data.rows.patterns import BY_NAME, describe_patterns
from burnish.data.rows.row import Row
from burnish.data.rows.shapes import detect_shape
from burnish.errors import DataError

MESSAGES = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]


def rows_of(*values):
    return [Row(value, "a.jsonl", line) for line, value in enumerate(values, start=1)]


MAP_HINT = "Say which column holds what: `--set data.columns.prompt=COLUMN --set data.columns.completion=COLUMN`"
GOOD = {"prompt": "q", "completion": "a"}
REFUSED = {
    "unknown columns": (
        [{"src": "x", "dst": "y"}, {"src": "x", "lang": "z"}],
        {},
        "auto",
        (
            "`a.jsonl` has no known shape: its columns are `dst`, `lang`, `src`",
            describe_patterns({"dst", "lang", "src"}),
            MAP_HINT,
        ),
    ),
    "content is not alone": (
        [{"content": "x", "id": 1}],
        {},
        "auto",
        (
            "`a.jsonl` has no known shape: its columns are `content`, `id`",
            describe_patterns({"content", "id"}),
            MAP_HINT,
        ),
    ),
    "half a pair": (
        [{"prompt": "x", "chosen": "a"}],
        {},
        "auto",
        (
            "`a.jsonl` has no known shape: its columns are `chosen`, `prompt`",
            "`chosen` is half of a pair; the other half, `rejected`, is not there",
            MAP_HINT,
        ),
    ),
    "mixed shapes": (
        [GOOD] * 70 + [{"text": "x"}] + [GOOD] * 20,
        {},
        "auto",
        (
            "a.jsonl:71: this row looks like `text`, but most rows are `prompt-completion`",
            "1 of 91 rows differ",
            "Split the file by shape, or set `data.shape=prompt-completion` to leave the others out",
        ),
    ),
    "mixed columns": (
        [GOOD] * 3 + [{"x": "y"}] * 2,
        {},
        "auto",
        (
            "a.jsonl:4: this row has the columns `x`, but most rows are `prompt-completion`",
            "2 of 5 rows differ",
            "Split the file by shape, or set `data.shape=prompt-completion` to leave the others out",
        ),
    ),
    "unknown shape": (
        [GOOD],
        {},
        "aplaca",
        (
            "`data.shape: aplaca` is not a shape",
            f"The shapes are {', '.join(BY_NAME)}",
            "Did you mean `alpaca`?",
        ),
    ),
    "wanted shape does not fit": (
        [GOOD],
        {},
        "alpaca",
        (
            "`a.jsonl` is not `alpaca`: its columns are `completion`, `prompt`",
            "That needs the columns instruction + output",
            MAP_HINT,
        ),
    ),
    "map without its column": (
        [GOOD],
        {"prompt": "promt"},
        "auto",
        (
            "there is no column `promt`, which `data.columns.prompt` names",
            "The columns are `completion`, `prompt`",
            "Did you mean `prompt`?",
        ),
    ),
    "map across shapes": (
        [GOOD],
        {"text": "prompt", "output": "completion"},
        "auto",
        (
            "no shape reads all of `text`, `output`, which `data.columns` maps",
            describe_patterns(["text", "output"]),
            "Map the columns of one shape only",
        ),
    ),
    "map against the wanted shape": (
        [GOOD],
        {"prompt": "prompt"},
        "text",
        (
            "the shape `text` does not read all of `prompt`, which `data.columns` maps",
            describe_patterns(["prompt"]),
            "Map the columns of one shape only",
        ),
    ),
}


def test_all_shapes_are_told_and_of_those_that_are_near_what_they_need():
    names = "The shapes are " + ", ".join(BY_NAME)
    assert describe_patterns() == describe_patterns(["src", "dst"]) == names
    assert describe_patterns(["output", "src"]).removeprefix(f"{names}; near are ").split("; ") == [
        "rated (prompt|question|instruction + completion|response|output|answer + label)",
        "picture-question (images|image + prompt|question|instruction + completion|response|output|answer)",
        "alpaca (instruction + output)",
        "prompt-completion (prompt + completion|response|output|answer)",
    ]


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name):
    values, columns, wanted, parts = REFUSED[name]
    with pytest.raises(DataError) as caught:
        detect_shape(rows_of(*values), columns, wanted)
    assert (caught.value.what, caught.value.why, caught.value.fix) == parts
