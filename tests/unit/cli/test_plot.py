"""Curves over one another, in plain characters."""

from __future__ import annotations

import math

from burnish.cli.comparison import SEVERAL, is_steep, mark, plot


def test_two_curves_by_hand() -> None:
    lines = plot([[(0, 3.0), (10, 1.0)], [(0, 3.0), (10, 2.0)]], width=11, height=3)
    assert lines == [
        "        3 |*",
        "          |          b",
        "        1 |          a",
        "          +-----------",
        "           0        10",
    ]


def test_a_fall_by_much_is_drawn_by_its_logarithm() -> None:
    curve = [(0, 100.0), (1, 10.0), (2, 1.0)]
    assert is_steep([curve])
    assert not is_steep([[(0, 3.0), (1, 1.0)]])
    assert not is_steep([[(0, 30.0), (1, 0.0)]]), "zero has no logarithm"
    lines = plot([curve], width=3, height=3)
    assert [line[11:] for line in lines[:3]] == ["a", " a", "  a"]


def test_what_is_not_known_is_left_out() -> None:
    assert plot([]) == []
    assert plot([[(0, None), (1, math.nan)]]) == []
    assert sum(line.count("a") for line in plot([[(0, 1.0), (1, None), (2, math.inf), (3, 2.0)]])) == 2


def test_one_point_is_a_plot() -> None:
    assert any("a" in line for line in plot([[(0, 1.0)]]))


def test_marks_come_round_again() -> None:
    assert (mark(0), mark(25), mark(26)) == ("a", "z", "a")
    assert SEVERAL not in {mark(number) for number in range(26)}


def test_lines_are_no_wider_than_asked() -> None:
    curve = [(step, 1 / (step + 1)) for step in range(100)]
    assert {len(line) for line in plot([curve], width=30, height=5)} <= set(range(42))
