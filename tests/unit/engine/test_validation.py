"""A look at held-out rows: what each example and each row gave."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy
import pytest
import torch
from torch.nn import functional

from burnish.data.batching.batches import Batch
from burnish.data.rows.row import IGNORED, Example
from burnish.engine import validation
from burnish.engine.validation import HeldOut, RowResults, _begin, evaluate_rows
from burnish.metrics.measure import mean
from burnish.models.device import RowTooLarge
from burnish.recipe.schema import Recipe
from burnish.tasks import make_task
from burnish.tasks.defaults import NextTokenObjective, PerplexityScorer
from burnish.tasks.evaluated import BatchOutcome, EvaluatedExamples
from burnish.tasks.task import Task
from tests.tiny_data import random_examples
from tests.tiny_models import CONTEXT, make_network
from tests.tiny_training import token_plan

OWNERS = [0, 0, 0, 2, 3, 3, 5, 6, 6]
"""Rows of several examples (a split text), and of none (rejected)."""


def held_out(packing: bool, examples: Sequence[Example] | None = None, owners: Sequence[int] = OWNERS) -> HeldOut:
    """Nine examples of seven rows; some examples of one row lie in different batches."""
    examples = examples or random_examples(9, 3, 40, seed=4)
    plan = token_plan(examples, context=CONTEXT, packing=packing, step_tokens=1, micro_rows=2, seed=0)
    return HeldOut(plan.all_batches(), examples, owners)


@torch.no_grad()
def loss_alone(network: Any, example: Example) -> float:
    """Summed loss of one example by transformers' shift, in fp64."""
    logits = network(input_ids=torch.tensor([example.input_ids])).logits[0, :-1].double()
    return functional.cross_entropy(logits, torch.tensor(example.labels[1:]), reduction="sum").item()


@pytest.mark.parametrize("packing", [True, False])
def test_each_example_and_row_gets_its_own_loss(packing: bool, tiny_tokenizer: Any) -> None:
    network, task = make_network("llama").train(), make_task("chat", tiny_tokenizer, Recipe())
    rows, events = held_out(packing), []
    evaluated = evaluate_rows(network, task, rows, "fp32", lambda done, of: events.append((done, of)))
    assert not network.training
    alone = [loss_alone(network, example) for example in rows.examples]
    assert evaluated.sums == pytest.approx(alone, rel=1e-5)
    assert evaluated.counts.tolist() == [example.num_trained for example in rows.examples]
    assert evaluated.sums.dtype == numpy.float64
    assert (evaluated.examples, evaluated.owners) == (rows.examples, OWNERS)
    assert list(evaluated.outputs) == [None] * 9
    sums, counts = evaluated.by_row()
    for position, row in enumerate(sorted(set(OWNERS))):
        mine = [index for index, owner in enumerate(OWNERS) if owner == row]
        assert sums[position] == pytest.approx(sum(alone[index] for index in mine), rel=1e-5)
        assert counts[position] == sum(rows.examples[index].num_trained for index in mine)
    assert len(sums) == len(counts) == 5
    assert len(rows.batches) > 1
    assert events == [(done, len(rows.batches)) for done in range(1, len(rows.batches) + 1)]


class TellingScorer(PerplexityScorer):
    """Gives a name of each example as its output."""

    def evaluate_batch(self, network: Any, batch: Batch) -> BatchOutcome:
        """Losses as they are."""
        assert not torch.is_grad_enabled()
        return BatchOutcome(self._objective.losses(network, batch), [f"example {index}" for index in batch.examples])


class ForgetfulScorer(PerplexityScorer):
    """Gives an output too few."""

    def evaluate_batch(self, network: Any, batch: Batch) -> BatchOutcome:
        """Losses as they are."""
        return BatchOutcome(self._objective.losses(network, batch), ["one"])


def scored_by(scorer: type[PerplexityScorer], tokenizer: Any) -> Task:
    """The task `chat` with another scorer."""
    task = make_task("chat", tokenizer, Recipe())
    return replace(task, scorer=scorer(task.objective))


@pytest.mark.parametrize("packing", [True, False])
def test_outputs_come_in_the_order_of_the_examples(packing: bool, tiny_tokenizer: Any) -> None:
    """Batches are sorted by length; what they gave is not."""
    rows = held_out(packing)
    read = [index for batch in rows.batches for index in batch.examples]
    assert read != sorted(read)
    evaluated = evaluate_rows(make_network("llama"), scored_by(TellingScorer, tiny_tokenizer), rows, "fp32")
    assert evaluated.outputs == [f"example {index}" for index in range(9)]


def test_a_task_gives_an_output_for_each_example_or_for_none(tiny_tokenizer: Any) -> None:
    with pytest.raises(ValueError, match="zip"):
        evaluate_rows(make_network("llama"), scored_by(ForgetfulScorer, tiny_tokenizer), held_out(True), "fp32")


def test_rows_without_a_plan_keep_their_batches() -> None:
    rows = held_out(packing=False)
    batches = list(rows.batches)
    assert rows.padded_tokens() == sum(example.num_tokens for example in rows.examples)
    assert rows.longest_row() == max(example.num_tokens for example in rows.examples)
    rows.limit(1)
    assert not rows.halve()
    assert list(rows.batches) == batches


def test_the_batches_of_a_plan_are_made_smaller() -> None:
    """Rows of 8, 6, 4 and 2 tokens; two of them to a batch at first."""
    examples = [Example([5] * length, [5] * length, f"made.jsonl:{length}") for length in (2, 4, 6, 8)]
    plan = token_plan(examples, context=8, packing=False, step_tokens=1, micro_rows=2, seed=0)
    rows = HeldOut.of(plan, range(4))

    def shapes() -> list[tuple[int, ...]]:
        return [tuple(batch.input_ids.shape) for batch in rows.batches]

    assert (shapes(), rows.padded_tokens(), rows.longest_row()) == ([(2, 8), (2, 4)], 24, 8)
    assert rows.halve()
    assert (shapes(), rows.padded_tokens(), rows.longest_row()) == ([(1, 8), (1, 6), (2, 4)], 22, 8)
    batches = rows.batches
    rows.limit(plan.micro_tokens)
    assert rows.batches is batches, "made with this limit already"
    rows.limit(4)
    assert (shapes(), rows.padded_tokens()) == ([(1, 8), (1, 6), (1, 4), (1, 2)], 20)
    assert not rows.halve()


class LittleRoom(PerplexityScorer):
    """Evaluates batches of at most `most` tokens."""

    most: int
    error: Exception = MemoryError()

    def evaluate_batch(self, network: Any, batch: Batch) -> BatchOutcome:
        """A loss of 1 for each token."""
        if batch.input_ids.numel() > self.most:
            raise self.error
        return BatchOutcome(torch.ones(batch.num_trained), [])


class Begun(NextTokenObjective):
    """Notes how many batches each evaluation begins with."""

    def __init__(self) -> None:
        super().__init__("fast")
        self.batches: list[int] = []

    def begin_step(self, network: Any, batches: Iterable[Batch]) -> None:
        """Sees them all."""
        self.batches.append(len(list(batches)))


@pytest.mark.parametrize(("most", "begun"), [(16, [2]), (8, [2, 3]), (7, [2, 3, 4])])
def test_batches_are_halved_until_they_fit(
    most: int, begun: list[int], tiny_tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows of 8, 6, 4 and 2 tokens; the longest does not fit into 7."""
    examples = [Example([5] * length, [5] * length, f"made.jsonl:{length}") for length in (2, 4, 6, 8)]
    plan = token_plan(examples, context=8, packing=False, step_tokens=1, micro_rows=2, seed=0)
    objective, freed = Begun(), list[int]()
    scorer = LittleRoom(objective)
    scorer.most = most
    task = replace(make_task("chat", tiny_tokenizer, Recipe()), objective=objective, scorer=scorer)
    monkeypatch.setattr(validation, "free_memory", lambda: freed.append(len(objective.batches)))
    if most < 8:
        with pytest.raises(RowTooLarge) as caught:
            evaluate_rows(make_network("llama"), task, HeldOut.of(plan, range(4)), "fp32")
        assert caught.value.tokens == 8
    else:
        evaluated = evaluate_rows(make_network("llama"), task, HeldOut.of(plan, range(4)), "fp32")
        assert evaluated.sums.tolist() == [1, 3, 5, 7], "a token less than the row has, each once"
    assert objective.batches == begun
    assert freed == [1, 2, 3][: len(begun) - (most >= 8)]
    scorer.most, scorer.error = 0, RuntimeError("a shape is wrong")
    with pytest.raises(RuntimeError, match="a shape is wrong"):
        evaluate_rows(make_network("llama"), task, HeldOut.of(plan, range(4)), "fp32")


def test_nothing_held_out_gives_nothing(tiny_tokenizer: Any) -> None:
    evaluated = evaluate_rows(
        make_network("llama"), make_task("chat", tiny_tokenizer, Recipe()), HeldOut([], [], []), "fp32"
    )
    assert (len(evaluated.sums), len(evaluated.by_row()[0])) == (0, 0)


def test_an_example_without_trained_tokens_takes_no_part(tiny_tokenizer: Any) -> None:
    examples = [*random_examples(2, 8, 20), Example([5, 6, 7], [IGNORED] * 3, "made.jsonl:3")]
    rows = held_out(True, examples, owners=[0, 1, 2])
    evaluated = evaluate_rows(make_network("llama"), make_task("chat", tiny_tokenizer, Recipe()), rows, "fp32")
    assert evaluated.counts[2] == evaluated.sums[2] == 0
    assert len(evaluated.by_row()[1]) == 2


def test_evaluating_in_bf16_is_near_and_not_the_same(tiny_tokenizer: Any) -> None:
    network, task = make_network("llama"), make_task("chat", tiny_tokenizer, Recipe())
    exact, near = (evaluate_rows(network, task, held_out(True), precision).sums for precision in ("fp32", "bf16"))
    assert near == pytest.approx(exact, rel=0.05)
    assert not numpy.array_equal(near, exact)


def test_gives_a_measure_like_any_task(tiny_tokenizer: Any) -> None:
    task = make_task("chat", tiny_tokenizer, Recipe())
    evaluated = evaluate_rows(make_network("llama"), task, held_out(True), "fp32")
    assert isinstance(evaluated, EvaluatedExamples)
    assert [measure.name for measure in task.scorer.measures(evaluated)] == ["perplexity"]


@pytest.mark.parametrize(("rows", "has_interval"), [(4, False), (5, True)])
def test_five_rows_have_an_interval(rows: int, has_interval: bool) -> None:
    results = RowResults.of(5, 1.0, [mean("accuracy", [0] * rows)])
    assert (results.change(mean("accuracy", [1] * rows)) is not None) == has_interval
    assert RowResults.of(5, 1.0, [mean("accuracy", [1] * rows)]).is_better_than(mean("accuracy", [0] * rows)) is (
        True if has_interval else None
    )
    assert results.change(mean("exact match", [1] * rows)) is None, "another metric"
    assert results.change(mean("accuracy", [1] * (rows + 1))) is None, "other rows"


def test_no_rows_have_no_interval() -> None:
    """As where every word of a validation row has an unknown tag."""
    none = replace(mean("accuracy", [0]), table=numpy.zeros((0, 2)))
    results = RowResults.of(5, 0.0, [none])
    assert (results.change(none), results.is_better_than(none)) == (None, None)


def test_a_validation_is_better_than_a_later_one_that_is_worse_beyond_the_interval() -> None:
    """A loss that is higher, or an accuracy that is lower, on nearly every row."""
    rows = numpy.arange(40)
    losses = 2.0 + 0.1 * (rows % 7)
    loss, right = mean("loss", losses, higher_is_better=False, is_share=False), mean("accuracy", rows % 4 == 0)
    results = RowResults.of(5, 2.3, [loss, right])
    lower = mean("loss", losses - 0.2, higher_is_better=False, is_share=False)
    higher = mean("loss", losses + 0.2, higher_is_better=False, is_share=False)
    more, fewer = mean("accuracy", rows % 4 != 1), mean("accuracy", rows % 40 == 0)
    found = [results.is_better_than(later) for later in (loss, lower, higher, right, more, fewer)]
    assert found == [False, False, True, False, False, True]
    assert results.is_better_than(mean("accuracy", [1, 0, 1])) is None, "other rows"
    length = mean("length", losses, is_share=False)
    assert RowResults.of(5, 2.3, [length]).is_better_than(length) is False, "no worse is not worse"
    change = results.change(more)
    assert change is not None
    assert change.value == pytest.approx(0.5)


def test_an_objective_goes_by_the_sums_of_all_processes() -> None:
    """KTO's reference point, for example, is a mean over the batches of all of them."""
    taken: list[list[float]] = []
    objective = SimpleNamespace(
        begin_step=lambda network, batches: list(batches), shared_sums=lambda: [2.0, 3.0], take_sums=taken.append
    )
    task: Any = SimpleNamespace(objective=objective)
    others: Any = SimpleNamespace(is_alone=False, total=lambda sums: [10 * one for one in sums])
    _begin(torch.nn.Linear(1, 1), task, [], torch.device("cpu"), "fp32", others)
    assert taken == [[20.0, 30.0]]
    others.total = lambda sums: [1.0, *sums[1:]]
    with pytest.raises(MemoryError, match="in one of the processes"):
        _begin(torch.nn.Linear(1, 1), task, [], torch.device("cpu"), "fp32", others)
