"""What is seen in parts and joined is what is seen in one go."""

from __future__ import annotations

import random
from types import SimpleNamespace
from typing import Any

import pytest

from burnish.check.contents import SpecialTokens
from burnish.check.examination import Examination
from burnish.check.rows import TRAIN
from burnish.data.rows.records import ChatRecord, LabelledRecord, Record
from burnish.data.rows.row import EncodedRow, Example, Rejected

WORDS = [
    "lantern",
    "keeper",
    "writes",
    "every",
    "morning",
    "letter",
    "shore",
    "boat",
    "naïve",
    "fianc\u00c3\u00a9",
    "<s>",
]
SPECIAL = SpecialTokens(SimpleNamespace(added_tokens_decoder={}, all_special_tokens=["<s>"]), "")


def says(draw: random.Random) -> str:
    return " ".join(draw.choices(WORDS, k=draw.choice((4, 12, 30))))


def labelled(draw: random.Random, place: str) -> Record:
    return LabelledRecord(
        (says(draw),), (draw.choice(["good", "Good", "bad", "bad", "bad"]),), draw.random() < 0.01, place
    )


def chat(draw: random.Random, place: str) -> Record:
    roles = draw.choice([("user", "assistant"), ("user", "assistant"), ("assistant", "assistant")])
    turns = [{"role": role, "content": says(draw)} for role in roles]
    turns[-1]["content"] = draw.choice([" Yes. ", "Yes.", turns[-1]["content"]])
    return ChatRecord(tuple(turns), None, place)


def seen(make: Any, begin: int, end: int) -> Examination:
    """Of rows `begin` to `end`; each is the same whatever else is seen."""
    examination = Examination(SPECIAL, [9])
    for number in range(begin, end):
        draw = random.Random(number % 150)  # some say the same
        split, file = (TRAIN, f"f{number // 100}.jsonl") if number < 250 else ("validation", "v.jsonl")
        record = make(draw, f"{file}:{number}")
        labels = [1] * draw.randrange(5) + [draw.choice([9, 2])]
        examination.figures.add(
            record, EncodedRow([Example(labels, labels, record.place)], number % 3), examination.tally
        )
        examination.add(split, [record])
        if number % 7 == 0:
            examination.reject([Rejected("r.jsonl", number, "the row is empty")])
    return examination


def result(examination: Examination) -> dict[str, Any]:
    figures = examination.figures
    return {
        "findings": [finding.to_dict() for finding in examination.conclude()],
        "rows": len(examination.rows),
        "rejected": examination.rejected,
        "removable": examination.removable,
        "labels": examination.labels.summary(),
        "languages": examination.languages.shares(),
        "lengths": figures.lengths(),
        "longest": figures.longest_place,
        "share": figures.share,
        "tokens": (figures.tokens, figures.trained),
    }


@pytest.mark.parametrize("make", [labelled, chat])
@pytest.mark.parametrize("ends", [(400,), (1, 400), (130, 131, 290, 400), tuple(range(50, 401, 50))])
def test_parts_that_are_joined_are_the_whole(make: Any, ends: tuple[int, ...]) -> None:
    joined, begin = Examination(SPECIAL, [9]), 0
    for end in ends:
        joined.join(seen(make, begin, end))
        begin = end
    whole = result(seen(make, 0, 400))
    assert result(joined) == whole
    assert len(whole["findings"]) >= 6
