"""Generated answers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from burnish.decoding.context import prompt_room
from burnish.decoding.generate import generate_batch
from burnish.evaluate.answers import Answer, answer_questions, describe_cut
from burnish.recipe.schema import Recipe
from burnish.tasks import make_task
from burnish.tasks.task import Question
from tests.snapshots import check_text
from tests.tiny_models import make_network

EOS = 2


def questions_of(tokenizer: Any, number: int) -> list[Question]:
    """Prompts of many lengths, in no order."""
    words = ["the", "red", "fox", "is", "in", "the", "garden", "by", "the", "river", "and"]
    prompts = [" ".join(words[: 1 + (7 * index) % len(words)]) + f" {index}" for index in range(number)]
    return [Question(tokenizer(text).input_ids, text, "yes", f"made.jsonl:{n}") for n, text in enumerate(prompts, 1)]


def test_answers_come_in_the_order_of_the_questions(tiny_tokenizer: Any) -> None:
    """They are batched by length, more than one batch of them, and still each prompt gets its own answer."""
    network, questions = make_network("llama").train(), questions_of(tiny_tokenizer, 70)
    events: list[tuple[int, int]] = []
    task = make_task("chat", tiny_tokenizer, Recipe())
    assert task.predictor.stop_ids == [EOS]
    answers = answer_questions(
        network, tiny_tokenizer, task.predictor, questions, 6, "fp32", lambda done, total: events.append((done, total))
    )
    alone = [generate_batch(network, tiny_tokenizer, [question.prompt_ids], [EOS], 6)[0] for question in questions]
    assert [answer.given for answer in answers] == [
        tiny_tokenizer.decode(ids, skip_special_tokens=True).strip() for ids in alone
    ]
    assert len({answer.given for answer in answers}) > 20
    assert [answer.place for answer in answers] == [question.place for question in questions]
    assert all(
        (answer.prompt, answer.expected) == (q.prompt, "yes") for answer, q in zip(answers, questions, strict=True)
    )
    assert events == [(32, 70), (64, 70), (70, 70)]
    assert not network.training


def test_prompts_that_are_cut_are_counted_and_named(tiny_tokenizer: Any) -> None:
    network, questions = make_network("llama"), questions_of(tiny_tokenizer, 9)
    assert describe_cut(network, questions, 6) == ""
    room = prompt_room(network, 6)
    assert room is not None
    for place in (1, 4):
        questions[place] = replace(questions[place], prompt_ids=[5] * (room + 1))
    questions[5] = replace(questions[5], prompt_ids=[5] * room)
    check_text(describe_cut(network, questions, 6))
    check_text(describe_cut(network, questions[3:], 6))
    check_text(describe_cut(network, [questions[1]] * 7, 6))


def test_no_questions_no_answers(tiny_tokenizer: Any) -> None:
    task = make_task("chat", tiny_tokenizer, Recipe())
    assert answer_questions(make_network("llama"), tiny_tokenizer, task.predictor, [], 6, "fp32") == []


def test_exact_is_exact_up_to_white_space_at_the_ends() -> None:
    given = ["yes", " yes\n", "Yes", "yes.", "ye s", ""]
    evaluated = [Answer("Is it?", "yes", text, "made.jsonl:1").is_exact for text in given]
    assert evaluated == [True, True, False, False, False, False]
