"""Generated answers, and the loss of every single row."""

from __future__ import annotations

from typing import Any

import numpy
import pytest
import torch
from torch.nn import functional

from burnish.data.batches import BatchPlan
from burnish.data.row import Example
from burnish.evaluate.answers import answer_questions
from burnish.evaluate.row_losses import row_losses
from burnish.models.generation import generate_batch
from burnish.tasks import make_task
from burnish.tasks.task import Question
from tests.tiny_data import random_examples
from tests.tiny_models import CONTEXT, make_network

EOS = 2


def questions_of(tokenizer: Any, number: int) -> list[Question]:
    """Prompts of many lengths, in no order."""
    words = ["the", "red", "fox", "is", "in", "the", "garden", "by", "the", "river", "and"]
    prompts = [" ".join(words[: 1 + (7 * index) % len(words)]) + f" {index}" for index in range(number)]
    return [Question(tokenizer(text).input_ids, text, "yes", f"made.jsonl:{n}") for n, text in enumerate(prompts, 1)]


def test_answers_come_in_the_order_of_the_questions(tiny_tokenizer: Any) -> None:
    """They are batched by length, more than one batch of them, and still each prompt gets its own answer."""
    network, questions = make_network("llama").train(), questions_of(tiny_tokenizer, 70)
    told: list[tuple[int, int]] = []
    task = make_task("chat", tiny_tokenizer)
    assert task.stop_ids == [EOS]
    answers = answer_questions(
        network, tiny_tokenizer, task, questions, 6, "fp32", lambda done, total: told.append((done, total))
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
    assert told == [(32, 70), (64, 70), (70, 70)]
    assert not network.training


def test_no_questions_no_answers(tiny_tokenizer: Any) -> None:
    assert (
        answer_questions(make_network("llama"), tiny_tokenizer, make_task("chat", tiny_tokenizer), [], 6, "fp32") == []
    )


@torch.no_grad()
def loss_alone(network: Any, example: Example) -> float:
    """Summed loss of one example by transformers' shift, in fp64."""
    logits = network(input_ids=torch.tensor([example.input_ids])).logits[0, :-1].double()
    return functional.cross_entropy(logits, torch.tensor(example.labels[1:]), reduction="sum").item()


@pytest.mark.parametrize("packing", [True, False])
def test_each_row_gets_the_loss_of_its_own_examples(packing: bool, tiny_tokenizer: Any) -> None:
    """Rows of several examples (a split text), rows of none (rejected), examples of one row in several batches."""
    network, task = make_network("llama").train(), make_task("chat", tiny_tokenizer)
    examples = random_examples(9, 3, 40, seed=4)
    owners = [0, 0, 0, 2, 3, 3, 5, 6, 6]
    plan = BatchPlan(examples, context=CONTEXT, packing=packing, step_tokens=1, micro_rows=2, pad_id=0, seed=0)
    told: list[tuple[int, int]] = []
    batches = plan.all_batches()
    sums, counts = row_losses(network, task, batches, owners, "fp32", lambda done, of: told.append((done, of)))
    rows = sorted(set(owners))
    network.eval()
    for position, row in enumerate(rows):
        mine = [example for example, owner in zip(examples, owners, strict=True) if owner == row]
        assert sums[position] == pytest.approx(sum(loss_alone(network, example) for example in mine), rel=1e-5)
        assert counts[position] == sum(example.num_trained for example in mine)
    assert len(sums) == len(counts) == len(rows)
    assert sums.dtype == numpy.float64
    assert told == [(done, len(batches)) for done in range(1, len(batches) + 1)]
