"""Ratings of answers, decided over all rows: good or bad, a scale that is asked about, and scores of pairs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from burnish.data.rows.records import ChatRecord, PreferenceRecord, RatedRecord
from burnish.data.rows.row import Row, RowError
from burnish.data.rows.settled import Asked
from burnish.data.rows.shapes import Shape, detect_shape
from burnish.errors import DataError
from burnish.recipe.schema import AnnotationSection
from tests.snapshots import check_message, check_text
from tests.typed_commands import run_jq


def shape_of(values: Sequence[dict[str, Any]], wanted: str = "auto", **annotation: Any) -> Shape:
    rows = [Row(value, "a.jsonl", line) for line, value in enumerate(values, start=1)]
    return detect_shape(rows, {}, wanted, Asked(annotation=AnnotationSection(**annotation)))


def rated(ratings: Sequence[Any], column: str = "label", **more: Any) -> list[dict[str, Any]]:
    return [{"prompt": f"q{n}", "completion": f"a{n}", column: rating, **more} for n, rating in enumerate(ratings)]


def is_good(shape: Shape, values: dict[str, Any]) -> bool:
    record = shape.to_record(Row(values, "a.jsonl", 1))
    assert isinstance(record, RatedRecord)
    return record.good


TWO = [
    ([0, 1], "label", 1),
    ([0.0, 1.0], "label", 1.0),
    (["0", "1"], "rating", "1"),
    ([False, True], "is_good", True),
    (["bad", "good"], "label", "good"),
    (["thumbs_down", "thumbs_up"], "feedback", "thumbs_up"),
    (["👎", "👍"], "feedback", "👍"),
    ([-1, 1], "vote", 1),
    (["Rejected", "Accepted"], "label", "Accepted"),
    (["no", "yes"], "correct", "yes"),
]


@pytest.mark.parametrize(("ratings", "column", "good"), TWO, ids=str)
def test_two_ratings_are_good_and_bad(ratings: list[Any], column: str, good: Any) -> None:
    values = rated(ratings * 6, column)
    shape = shape_of(values)
    assert shape.name == "rated"
    assert [is_good(shape, row) for row in values[:2]] == [row[column] == good for row in values[:2]]


def test_what_was_taken_as_good_is_said_with_another_way() -> None:
    check_text("\n".join(shape_of(rated([0, 1, 1] * 6)).notes))
    assert shape_of(rated([True, False] * 6)).notes == ()
    plain = shape_of(rated([0, 1] * 6), "prompt-completion")
    assert plain.record is ChatRecord
    assert plain.ignored == ("label",)


def test_other_columns_of_questions_and_answers_are_rated_too() -> None:
    values = [{"instruction": "q", "input": f"i{n}", "output": "a", "label": n % 2} for n in range(9)]
    shape = shape_of(values)
    record = shape.to_record(Row(values[1], "a.jsonl", 2))
    assert isinstance(record, RatedRecord)
    assert (record.prompt[0]["content"], record.good) == ("q\n\ni1", True)
    assert "`--set data.shape=alpaca`" in shape.notes[0]
    turns = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
    assert shape_of([{"messages": turns, "rating": n % 2} for n in range(9)]).name == "rated-messages"


@pytest.mark.parametrize(
    "ratings", [[1, 2, 3, 4, 5], [0.1, 0.5, 0.9], ["faithful", "hallucinated"]], ids=["stars", "rewards", "words"]
)
def test_a_scale_or_unknown_words_are_asked_about(ratings: list[Any]) -> None:
    with pytest.raises(DataError) as caught:
        shape_of(rated(ratings * 6, "score"))
    check_message(caught.value)


def test_the_user_says_which_answers_are_good() -> None:
    stars = shape_of(rated([1, 2, 3, 4, 5] * 3, "score"), good_from=4)
    assert [is_good(stars, row) for row in rated([3, 4, "5"], "score")] == [False, True, True]
    words = shape_of(rated(["faithful", "hallucinated"] * 6), good=["faithful"])
    assert [is_good(words, row) for row in rated(["Faithful", "hallucinated"])] == [True, False]


@pytest.mark.parametrize("rating", [None, "", "neutral", 0], ids=str)
def test_neither_good_nor_bad_is_left_out(rating: Any) -> None:
    shape = shape_of(rated(["good", "bad", rating] * 6 if rating != 0 else [1, -1, 0] * 6))
    with pytest.raises(RowError) as caught:
        is_good(shape, rated([rating])[0])
    check_message(caught.value)


NO_RATING = [
    (["math", "code", "art", "law", "food", "travel"] * 3, "label"),
    (["same"] * 9, "label"),
    ([None] * 9, "score"),
    ([f"Because of {n}" for n in range(9)], "feedback"),
]


@pytest.mark.parametrize(("cells", "column"), NO_RATING, ids=lambda value: str(value)[:20])
def test_topics_and_comments_are_no_ratings(cells: list[Any], column: str) -> None:
    shape = shape_of(rated(cells, column))
    assert (shape.name, shape.ignored) == ("prompt-completion", (column,))


def pairs(scores: Sequence[tuple[float, float]], names: tuple[str, str]) -> list[dict[str, Any]]:
    return [
        {"prompt": f"q{n}", "chosen": f"a{n}", "rejected": f"b{n}", **dict(zip(names, score, strict=True))}
        for n, score in enumerate(scores)
    ]


@pytest.mark.parametrize("names", [("score_chosen", "score_rejected"), ("chosen-rating", "rejected-rating")])
def test_pairs_whose_scores_do_not_order_them_are_left_out(names: tuple[str, str]) -> None:
    values = pairs([(4, 2), (3, 3), (1, 5), (5, 1), (4, 1)], names)
    shape = shape_of(values)
    assert shape.ignored == ()
    found = []
    for line, row in enumerate(values, 1):
        try:
            assert isinstance(shape.to_record(Row(row, "a.jsonl", line)), PreferenceRecord)
        except RowError as error:
            found.append(str(error))
    check_text("\n".join([*shape.notes, *found]))


def test_scores_that_contradict_most_pairs_mean_something_else() -> None:
    shape = shape_of(pairs([(1, 2), (1, 3), (4, 2)], ("score_chosen", "score_rejected")))
    assert shape.ignored == ("score_chosen", "score_rejected")
    check_text("\n".join(shape.notes))


def test_good_answers_alone_may_be_learned_as_conversations() -> None:
    rows = [Row(values, "a.jsonl", line) for line, values in enumerate(rated(["good"] * 9), 1)]
    assert detect_shape(rows, {}, asked=Asked(records=(ChatRecord,))).name == "prompt-completion"
    both = [Row(values, "a.jsonl", line) for line, values in enumerate(rated([0, 1] * 9), 1)]
    assert detect_shape(both, {}, asked=Asked(records=(ChatRecord,))).name == "rated"


@pytest.mark.parametrize(
    ("column", "ratings"),
    [
        ("answer_quality", ["good", "bad"]),
        ("user_score", [1, 2, 5]),
        ("thumb", ["up", "down"]),
        ("is_liked", [0, 1]),
        ("reaction", ["like", "dislike"]),
        ("state", ["accepted", "rejected"]),
        ("kto", [True, False]),
    ],
)
def test_another_column_that_rates_answers_is_asked_about(column: str, ratings: list[Any]) -> None:
    values = rated(ratings * 6, column)
    with pytest.raises(DataError) as caught:
        shape_of(values)
    check_message(caught.value)
    assert shape_of(values, "prompt-completion").record is ChatRecord


@pytest.mark.parametrize(("column", "cells"), [("category", ["a", "b"]), ("score_note", ["x y", "z"]), ("n", [1, 2])])
def test_other_columns_beside_answers_are_named_and_not_asked_about(column: str, cells: list[Any]) -> None:
    shape = shape_of(rated(cells * 6, column))
    assert (shape.name, shape.ignored) == ("prompt-completion", (column,))


def test_ratings_beside_a_source_and_its_target_are_asked_about() -> None:
    values = [
        {"source": f"How many is {number}?", "target": "Many of them.", "answer_quality": quality}
        for number, quality in enumerate(["good", "bad"] * 6)
    ]
    with pytest.raises(DataError, match="seems to rate the answers"):
        shape_of(values)
    assert shape_of(values, "source-target").record is ChatRecord


def test_the_tag_of_llama_factory_rates_answers() -> None:
    shape = shape_of(rated([True, False] * 6, "kto_tag"))
    assert (shape.name, shape.ignored) == ("rated", ())


@pytest.mark.parametrize(("column", "cells"), [("weight", [0, 1]), ("train", [True, False]), ("weight", ["0", "1.0"])])
def test_a_row_of_weight_0_is_left_out_and_counted(column: str, cells: list[Any]) -> None:
    values = rated(cells * 6, column)
    for wanted in ("auto", "prompt-completion"):  # a saved recipe names the shape, and reads the same rows
        shape = shape_of(values, wanted)
        assert (shape.name, shape.ignored) == ("prompt-completion", ())
        made = [is_made(shape, row) for row in values]
        assert made == [str(row[column]).lower() in ("1", "1.0", "true") for row in values]
    check_text("\n".join(shape_of(values).notes))


def is_made(shape: Shape, values: dict[str, Any]) -> bool:
    try:
        return isinstance(shape.to_record(Row(values, "a.jsonl", 1)), ChatRecord)
    except RowError as error:
        assert "not to be learned" in str(error)
        return False


def test_weights_between_are_named_as_unused() -> None:
    assert shape_of(rated([0.5, 1.0, 2.0] * 6, "weight")).ignored == ("weight",)


@pytest.mark.parametrize(
    ("key", "good", "bad"), [("rating", 5, 2), ("score", "0.9", "0.1"), ("feedback", "good", "bad"), ("vote", 1, -1)]
)
def test_the_command_for_rated_messages_leaves_the_bad_answers_out(key: str, good: Any, bad: Any) -> None:
    """The question and answers without a rating stay what they are."""
    asked = {"role": "user", "content": "Which?"}
    answers = [{"role": "assistant", "content": text, key: mark} for text, mark in (("a", good), ("b", bad))]
    values = {"messages": [asked, answers[0], asked, answers[1], asked, {"role": "assistant", "content": "c"}]}
    with pytest.raises(DataError) as caught:
        shape_of([values] * 3)
    (made,) = run_jq(caught.value.fix, values)
    record = shape_of([made]).to_record(Row(made, "a.jsonl", 1))
    assert isinstance(record, ChatRecord)
    learned = {turn["content"]: turn.get("weight", 1) for turn in record.messages if turn["role"] == "assistant"}
    assert learned == {"a": 1, "b": 0, "c": 1}
