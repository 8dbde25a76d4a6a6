"""Figures of generated answers."""

from __future__ import annotations

import json

import pytest

from burnish.evaluate.answers import Answer, answer_measures
from burnish.metrics.measure import Measure, value

JSON = [json.dumps({"name": "Ada", "age": age}) for age in (36, 41)]


def answers(*pairs: tuple[str, str]) -> list[Answer]:
    """Answers from (expected, given)."""
    return [Answer("What?", expected, given, f"made.jsonl:{n}") for n, (expected, given) in enumerate(pairs, 1)]


def result(measures: list[Measure]) -> dict[str, float]:
    """Names and values."""
    return {measure.name: value(measure) for measure in measures}


def test_words_get_exact_match_and_rouge() -> None:
    measures = answer_measures(answers(("the red fox", "the red fox"), ("a cat", "a dog")))
    assert result(measures) == {"exact match": 0.5, "ROUGE-L": pytest.approx(0.75)}
    assert all(measure.higher_is_better and measure.is_share and len(measure.table) == 2 for measure in measures)


def test_json_is_evaluated_where_every_expected_answer_is_json() -> None:
    given = [json.dumps(json.loads(JSON[0]), indent=2), "no JSON"]
    names = list(result(answer_measures(answers(*zip(JSON, given, strict=True)))))
    assert names[:2] == ["exact match", "ROUGE-L"]
    assert len(names) > 2
    figures = result(answer_measures(answers(*zip(JSON, given, strict=True))))
    assert figures["exact match"] == 0.0
    assert all(figures[name] == 0.5 for name in names[2:]), "spelling apart, the first answer is right"


@pytest.mark.parametrize("expected", ["a word", "7", '"quoted"', "{not json", ""])
def test_one_expected_answer_that_is_no_object_or_list_turns_that_off(expected: str) -> None:
    measures = answer_measures(answers((JSON[0], JSON[0]), (expected, "x")))
    assert list(result(measures)) == ["exact match", "ROUGE-L"]


def test_the_users_own_figure_comes_last() -> None:
    asked: list[tuple[str, str]] = []

    def score(answer: str, expected: str) -> float:
        asked.append((answer, expected))
        return len(answer) / 4

    measures = answer_measures(answers(("yes", "no"), ("aye", "nay!")), ("length", score))
    assert measures[-1].name == "length"
    assert value(measures[-1]) == 0.75
    assert (measures[-1].is_share, measures[-1].higher_is_better) == (True, True)
    assert asked == [("no", "yes"), ("nay!", "aye")]


@pytest.mark.parametrize(("scores", "is_share"), [((0.0, 1.0), True), ((0.5, 1.5), False), ((-0.1, 0.5), False)])
def test_numbers_beyond_0_and_1_are_no_share(scores: tuple[float, float], is_share: bool) -> None:
    left = list(scores)
    measures = answer_measures(answers(("a", "b"), ("c", "d")), ("own", lambda answer, expected: left.pop(0)))
    assert measures[-1].is_share is is_share


def test_where_the_known_answer_is_one_of_many_only_the_users_own_figure_evaluates() -> None:
    answers = [Answer("Is it?", "{}", "{}", "made.jsonl:1")]
    assert answer_measures(answers, is_known=False) == []
    (own,) = answer_measures(answers, ("mine", lambda answer, expected: 0.5), is_known=False)
    assert (own.name, value(own)) == ("mine", 0.5)
