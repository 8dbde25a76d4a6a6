"""Short answers; expected values are those of SQuAD's `evaluate-v2.0.py`, worked by its rules."""

from __future__ import annotations

import pytest

from burnish.metrics.answers import answer_measures, answer_tables, exact_match, normalize, token_f1
from burnish.metrics.measure import value
from tests.unit.metrics.redraws import check


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The Cat,  sat\ton a MAT!", "cat sat on mat"),
        ("the-end", "theend"),
        ("A.", ""),
        ("an apple a day", "apple day"),
        ("another theatre", "another theatre"),
        ("...", ""),
        ("", ""),
        ("ÄRGER im Café", "ärger im café"),
        ("\u201cquoted\u201d", "\u201cquoted\u201d"),
        ("l\u2019a b", "l\u2019 b"),
        ("U.S.", "us"),
        ("$1,000.50", "100050"),
    ],
)
def test_normalize(text: str, expected: str) -> None:
    assert normalize(text) == expected


@pytest.mark.parametrize(
    ("given", "known", "exact", "overlap"),
    [
        ("the Eiffel Tower.", ["Eiffel tower"], 1, 1),
        ("tower", ["the Eiffel tower", "Big Ben"], 0, 2 / 3),
        ("Ben Nevis peak", ["Eiffel", "Ben", "Ben Nevis"], 0, 0.8),
        ("x", ["y"], 0, 0),
        ("", [], 1, 1),
        ("...", [], 1, 1),
        ("the", [], 1, 1),
        ("x", [], 0, 0),
        ("", ["x"], 0, 0),
        ("the", ["x"], 0, 0),
        ("", ["the"], 1, 1),
        ("x", ["the", "!"], 0, 0),
        ("", ["the", "x"], 0, 0),
        ("a a a", ["an the"], 1, 1),
        ("go go go", ["go go stop"], 0, 2 / 3),
        ("go", ["go go go"], 0, 0.5),
        ("Ångström", ["ångström"], 1, 1),
        ("東京", ["東京 都"], 0, 2 / 3),
    ],
)
def test_one_answer(given: str, known: list[str], exact: int, overlap: float) -> None:
    assert exact_match(given, known) == exact
    assert token_f1(given, known) == pytest.approx(overlap)


GIVEN = ["Paris", "", "x", "", "big red dog", "y"]
KNOWN = [["Paris"], [], [], ["no"], ["red dog", "a cat"], ["z", "y"]]


def test_both_kinds_of_questions_apart() -> None:
    found = {measure.name: value(measure) for measure in answer_measures(GIVEN, KNOWN)}
    assert found == {
        "exact match": 3 / 6,
        "F1": pytest.approx(3.8 / 6),
        "exact match, answerable": 2 / 4,
        "F1, answerable": pytest.approx(2.8 / 4),
        "right, unanswerable": 1 / 2,
    }


@pytest.mark.parametrize("known", [[["x"], ["y"]], [[], []]])
def test_one_kind_has_no_parts(known: list[list[str]]) -> None:
    assert [measure.name for measure in answer_measures(["x", "x"], known)] == ["exact match", "F1"]


def test_redrawn_rows() -> None:
    given, known = GIVEN * 4, KNOWN * 4

    for number, measure in enumerate(answer_measures(given, known)):
        check(
            measure,
            lambda rows, n=number: answer_measures([given[r] for r in rows], [known[r] for r in rows])[n],
        )


def test_a_table_of_both_kinds() -> None:
    (table,) = answer_tables(GIVEN, KNOWN)
    assert table.columns == ("questions", "number", "answered", "exact match", "F1")
    assert table.rows == (
        ("answerable", 4, 3, 2 / 4, pytest.approx(2.8 / 4)),
        ("unanswerable", 2, 1, 1 / 2, 1 / 2),
    )
    assert answer_tables(["x"], [["y"]]) == answer_tables(["x"], [[]]) == []


def test_a_single_question_of_each_kind_has_figures_of_its_own() -> None:
    names = [measure.name for measure in answer_measures(["x", ""], [["x"], []])]
    assert len(names) == 5
    assert all(one.higher_is_better and one.is_share for one in answer_measures(["x", ""], [["x"], []]))


def test_each_question_needs_an_answer() -> None:
    for figures in (answer_measures, answer_tables):
        with pytest.raises(ValueError, match="zip"):
            figures(["x"], [["x"], []])
