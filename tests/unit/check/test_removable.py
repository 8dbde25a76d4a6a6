"""Rows that can be removed without loss: by place, like the dictionary that they would be, in a few bytes each."""

from __future__ import annotations

import numpy
import pytest

from burnish.check.duplicates import Fingerprints, compute_fingerprints
from burnish.check.rows import TRAIN, SeenRows
from burnish.data.rows.records import TextRecord


def seen(*texts: tuple[str, str, str]) -> SeenRows:
    """Rows of (split, place, text)."""
    rows = SeenRows()
    for split, place, text in texts:
        rows.add(split, [TextRecord(text, True, place)])
    return rows


def test_each_place_says_what_it_repeats() -> None:
    rows = seen(
        (TRAIN, "b.txt:7", "one"),
        (TRAIN, "a.txt:1", "two"),
        (TRAIN, "b.txt:9", "two"),
        (TRAIN, "a.txt:3", "one"),
        (TRAIN, "a.txt:4", "one"),
        ("validation", "v.txt:1", "one"),
    )
    list(rows.repeated())
    assert rows.same == {
        "b.txt:9": "has the same content as a.txt:1",
        "a.txt:3": "has the same content as b.txt:7",
        "a.txt:4": "has the same content as b.txt:7",
    }
    assert "a.txt:3" in rows.same and len(rows.same) == 3
    for place in ("a.txt:1", "v.txt:1", "a.txt:33", "c.txt:3", "a.txt", "a.txt:x", ""):
        assert place not in rows.same


def test_nothing_is_repeated_before_it_is_found() -> None:
    rows = seen((TRAIN, "a:1", "one"), (TRAIN, "a:2", "one"))
    assert rows.same == {}


def test_repeated_rows_are_found_again_in_the_same_way() -> None:
    rows = seen(*((TRAIN, f"a:{number}", f"text {number % 40}") for number in range(100)))
    found = [[(kind, count, list(instances)) for kind, count, instances in rows.repeated()] for _ in range(2)]
    assert found[0] == found[1] and found[0][0][1] == 60


@pytest.mark.parametrize("cuts", [(), (1,), (3, 3, 9)])
def test_fingerprints_that_are_taken_are_those_that_are_joined(cuts: tuple[int, ...]) -> None:
    texts = [f"some words and the number {number}" for number in range(10)]
    parts = [compute_fingerprints(texts[begin:end]) for begin, end in zip((0, *cuts), (*cuts, len(texts)), strict=True)]
    expected = Fingerprints.join(parts)
    taken = Fingerprints.taken_from(parts)
    assert numpy.array_equal(taken.full, expected.full) and numpy.array_equal(taken.bins, expected.bins)
    assert not parts
