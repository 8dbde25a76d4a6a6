"""Columns, maps and mixtures of shapes that are refused, and in which words."""

from __future__ import annotations

import pytest

from burnish.data.row import Row
from burnish.data.shapes import detect_shape
from burnish.errors import DataError

MESSAGES = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]


def rows_of(*values):
    return [Row(value, "a.jsonl", line) for line, value in enumerate(values, start=1)]


SHAPE_LIST = (
    "The shapes are messages (messages|conversations); sharegpt (conversations|messages); "
    "alpaca (instruction + output); instruction-response (instruction + response); "
    "prompt-completion (prompt + completion|response|output|answer); question-answer (question + answer); "
    "text (text|content)"
)
MAP_HINT = "Say which column holds what: `--set data.columns.prompt=COLUMN --set data.columns.completion=COLUMN`"
GOOD = {"prompt": "q", "completion": "a"}
REFUSED = {
    "unknown columns": (
        [{"src": "x", "dst": "y"}, {"src": "x", "lang": "z"}],
        {},
        "auto",
        ("`a.jsonl` has no known shape: its columns are `dst`, `lang`, `src`", SHAPE_LIST, MAP_HINT),
    ),
    "content is not alone": (
        [{"content": "x", "id": 1}],
        {},
        "auto",
        ("`a.jsonl` has no known shape: its columns are `content`, `id`", SHAPE_LIST, MAP_HINT),
    ),
    "preference pairs": (
        [{"prompt": "x", "messages": MESSAGES, "chosen": "a", "rejected": "b"}],
        {},
        "auto",
        (
            "`a.jsonl` has no known shape: its columns are `chosen`, `messages`, `prompt`, `rejected`",
            f"`chosen` and `rejected` make preference pairs, which no shape reads. {SHAPE_LIST}",
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
            "The shapes are messages, sharegpt, alpaca, instruction-response, prompt-completion, question-answer, text",
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
            SHAPE_LIST,
            "Map the columns of one shape only",
        ),
    ),
    "map against the wanted shape": (
        [GOOD],
        {"prompt": "prompt"},
        "text",
        (
            "the shape `text` does not read all of `prompt`, which `data.columns` maps",
            SHAPE_LIST,
            "Map the columns of one shape only",
        ),
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name):
    values, columns, wanted, parts = REFUSED[name]
    with pytest.raises(DataError) as caught:
        detect_shape(rows_of(*values), columns, wanted)
    assert (caught.value.what, caught.value.why, caught.value.fix) == parts
