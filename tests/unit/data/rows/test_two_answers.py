"""Two answers to one prompt, or a list of ranked ones: the command that the error shows writes pairs that are read."""

from __future__ import annotations

import json
from typing import Any

import pytest

from burnish.data.rows.row import Row
from burnish.data.rows.shapes import detect_shape
from burnish.errors import DataError
from tests.typed_commands import run_jq

GOOD, BAD = "A long red lamp.", "I do not know."
ASKED = [{"role": "user", "content": "Which lamp?"}]
TALKS = tuple([*ASKED, {"role": "assistant", "content": text}] for text in (GOOD, BAD))
PAIR = {"prompt": "Which lamp?", "chosen": GOOD, "rejected": BAD}


def refused(rows: list[dict[str, Any]]) -> DataError:
    with pytest.raises(DataError) as caught:
        detect_shape([Row(values, "f.jsonl", place) for place, values in enumerate(rows, start=1)], {})
    return caught.value


def written(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the command of the error makes of the rows."""
    return run_jq(refused(rows).fix, *rows)


@pytest.mark.parametrize(
    ("first", "second", "others", "made"),
    [
        ("response_a", "response_b", [{"winner": "model_a"}, {"winner": "model_b"}, {"winner": "tie (bothbad)"}], PAIR),
        ("response_0", "response_1", [{"better_response_id": 0}, {"better_response_id": 1}], PAIR),
        ("answer_A", "answer_B", [{"score_A": 2, "score_B": 1}, {"score_A": 1, "score_B": 2},
                                  {"score_A": 1, "score_B": 1}, {"score_A": None, "score_B": 1}], PAIR),
        ("response_a", "response_b", [{"winner_model_a": 1, "winner_model_b": 0},
                                      {"winner_model_a": 0, "winner_model_b": 1}], PAIR),
        ("response1", "response2", [{"overall_preference": -3}, {"overall_preference": 1},
                                    {"overall_preference": 0}], PAIR),
    ],
    ids=["name of the winner", "number of the better", "scores", "marks", "signs"],
)  # fmt: skip
def test_the_better_of_two_answers_is_chosen_by_the_command(
    first: str, second: str, others: list[dict[str, Any]], made: dict[str, Any]
) -> None:
    rows = [{"prompt": "Which lamp?", first: GOOD, second: BAD, **other} for other in others]
    rows[1] |= {first: BAD, second: GOOD}
    pairs = written(rows)
    assert pairs == [made, made]  # and no ties
    assert detect_shape([Row(one, "f.jsonl", 1) for one in pairs], {}).name == "preference"


def test_conversations_are_chosen_whole_though_models_have_columns_beside_them() -> None:
    rows = [
        {"model_a": "x one", "model_b": "y two", "winner": "model_a", "conversation_a": TALKS[0],
         "conversation_b": TALKS[1]},
        {"model_a": "x one", "model_b": "y two", "winner": "model_b", "conversation_a": TALKS[1],
         "conversation_b": TALKS[0]},
    ]  # fmt: skip
    assert written(rows) == [{"chosen": TALKS[0], "rejected": TALKS[1]}] * 2


def test_grades_of_how_much_better_are_no_numbers_of_answers() -> None:
    rows = [{"prompt": "Which lamp?", "response1": GOOD, "response2": BAD, "preference": grade} for grade in (1, 2, 3)]
    assert "jq" not in refused(rows).fix


@pytest.mark.parametrize(
    ("name", "key", "grades"), [("completions", "overall_score", (8.5, 3, 5)), ("answers", "rank", (1, 3, 2))]
)
def test_the_best_and_the_worst_of_ranked_answers_are_paired(name: str, key: str, grades: tuple[float, ...]) -> None:
    said = "response" if name == "completions" else "answer"
    texts = (GOOD, BAD, "Some lamp there.")
    listed = [{said: text, key: grade} for text, grade in zip(texts, grades, strict=True)]
    tied = [{said: text, key: 1} for text in texts]
    assert written([{"instruction": "Which lamp?", name: one} for one in (listed, tied)]) == [PAIR]


def test_a_prompt_that_is_written_out_stays_before_its_ranked_answers() -> None:
    listed = [{"answer": GOOD, "rank": 1}, {"answer": BAD, "rank": 2}]
    asked = "\n\nHuman: Which lamp?\n\nAssistant: "
    pairs = written([{"prompt": asked, "answers": listed}])
    assert pairs == [{"chosen": asked + GOOD, "rejected": asked + BAD}]
    assert detect_shape([Row(one, "f.jsonl", 1) for one in pairs], {}).name == "preference-dialogues"


@pytest.mark.parametrize("dumps", [json.dumps, list], ids=["as text", "as lists"])
def test_lists_of_turns_are_written_as_conversations(dumps: Any) -> None:
    """As Chatbot Arena has them."""
    asked, good, bad = ["Which lamp?", "Why?"], [GOOD, "It is red."], [BAD, None]
    rows = [
        {"prompt": dumps(asked), "response_a": dumps(one), "response_b": dumps(other),
         "winner_model_a": int(one is good), "winner_model_b": int(other is good)}
        for one, other in ((good, bad), (bad, good), (bad, bad))
    ]  # fmt: skip
    made = written(rows)
    ends = [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "It is red."}]
    assert made[0] == made[1]
    assert made[0]["chosen"] == [*TALKS[0], *ends]
    assert made[0]["rejected"] == [*TALKS[1], ends[0], {"role": "assistant", "content": ""}]
    assert len(made) == 2
    assert detect_shape([Row(made[0], "f.jsonl", 1)], {}).name == "preference-dialogues"


@pytest.mark.parametrize(
    ("asked", "kept"),
    [
        ({"info": {"id": "t3", "post": "Which lamp?"}}, [{"text": GOOD, "note": None}, {"text": BAD, "note": None}]),
        ({"question": "Which lamp?"}, [GOOD, BAD]),
    ],
    ids=["objects", "texts"],
)
@pytest.mark.parametrize("lowest", [0, 1])
def test_the_number_of_the_better_one_chooses_in_a_list(asked: dict[str, Any], kept: list[Any], lowest: int) -> None:
    rows = [{**asked, "summaries": kept, "choice": lowest}, {**asked, "summaries": kept[::-1], "choice": lowest + 1}]
    assert written(rows) == [PAIR, PAIR]


@pytest.mark.parametrize("choices", [(0, 3), (7, 9), ("good", "bad")])
def test_other_numbers_choose_none_of_two(choices: tuple[Any, ...]) -> None:
    rows = [{"question": "Which lamp?", "replies": [GOOD, BAD], "choice": choice} for choice in choices]
    assert "`jq" not in refused(rows).fix
