"""Packed = alone = padded: loss and every gradient, in five layouts."""

from __future__ import annotations

from typing import Any

import numpy
import pytest

from burnish.data.batching.batches import Batch, collate_tokens
from burnish.engine.validation import HeldOut, evaluate_rows
from burnish.recipe.schema import Recipe
from burnish.tasks import make_task
from tests.tiny_data import random_examples
from tests.tiny_models import CONTEXT, LAYOUTS, make_network
from tests.tiny_training import gradients_of, largest_difference, token_plan, with_method, without_borders

TOLERANCE = 1e-5


def rows_of(examples: list[Any], packing: bool) -> list[list[int]]:
    """Examples in rows, as the plan lays them out."""
    plan = token_plan(examples, context=CONTEXT, packing=packing, step_tokens=1, micro_rows=1, seed=0)
    return plan.rows


@pytest.mark.parametrize("method", ["full", "lora"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_packed_and_padded_examples_learn_as_if_alone(layout: str, method: str, tiny_tokenizer: Any) -> None:
    examples = random_examples(11, 3, 40, seed=1)
    network = with_method(make_network(layout), method)
    alone = [collate_tokens(examples, [[index]], pad_id=0, packed=False) for index in range(len(examples))]
    rows = rows_of(examples, packing=True)
    packed = collate_tokens(examples, rows, pad_id=0, packed=True)
    padded = collate_tokens(examples, [[index] for index in range(len(examples))], pad_id=0, packed=False)
    assert max(len(row) for row in rows) > 2
    assert packed.num_trained == padded.num_trained == sum(example.num_trained for example in examples)

    expected, wanted = gradients_of(network, tiny_tokenizer, alone)
    for batch in (packed, padded):
        result, gradients = gradients_of(network, tiny_tokenizer, [batch])
        assert result.loss == pytest.approx(expected.loss, rel=TOLERANCE)
        assert result.gradient_norm == pytest.approx(expected.gradient_norm, rel=TOLERANCE)
        assert largest_difference(wanted, gradients) <= TOLERANCE

    _, mixed = gradients_of(network, tiny_tokenizer, [without_borders(packed)])
    assert largest_difference(wanted, mixed) > 1000 * TOLERANCE


@pytest.mark.parametrize("layout", LAYOUTS)
def test_loss_of_each_packed_example_is_its_loss_alone(layout: str, tiny_tokenizer: Any) -> None:
    """The sum could be right by chance; here every single example is."""
    examples = random_examples(9, 3, 30, seed=2)
    network, task = make_network(layout), make_task("chat", tiny_tokenizer, Recipe())
    owners = range(len(examples))

    def sums_of(*batches: Batch) -> numpy.ndarray:
        evaluated = evaluate_rows(network, task, HeldOut(batches, examples, owners), "fp32")
        assert evaluated.counts.tolist() == [example.num_trained for example in examples]
        return evaluated.sums

    packed = collate_tokens(examples, rows_of(examples, packing=True), pad_id=0, packed=True)
    expected = sums_of(*(collate_tokens(examples, [[index]], pad_id=0, packed=False) for index in owners))
    assert sums_of(packed) == pytest.approx(expected, rel=TOLERANCE)
    assert abs(sums_of(without_borders(packed)) - expected).max() / expected.max() > 1000 * TOLERANCE
