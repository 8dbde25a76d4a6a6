"""Packed = alone = padded: loss and every gradient, in five layouts."""

from __future__ import annotations

from typing import Any

import pytest

from burnish.data.batches import BatchPlan, collate
from burnish.evaluate.row_losses import row_losses
from burnish.tasks import make_task
from tests.tiny_data import random_examples
from tests.tiny_models import CONTEXT, LAYOUTS, make_network
from tests.tiny_training import gradients_of, largest_difference, with_method, without_borders

TOLERANCE = 1e-5


def rows_of(examples: list[Any], packing: bool) -> list[list[int]]:
    """Examples in rows, as the plan lays them out."""
    plan = BatchPlan(examples, context=CONTEXT, packing=packing, step_tokens=1, micro_rows=1, pad_id=0, seed=0)
    return plan.rows


@pytest.mark.parametrize("method", ["full", "lora"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_packed_and_padded_examples_learn_as_if_alone(layout: str, method: str, tiny_tokenizer: Any) -> None:
    examples = random_examples(11, 3, 40, seed=1)
    network = with_method(make_network(layout), method)
    alone = [collate(examples, [[index]], pad_id=0, packed=False) for index in range(len(examples))]
    rows = rows_of(examples, packing=True)
    packed = collate(examples, rows, pad_id=0, packed=True)
    padded = collate(examples, [[index] for index in range(len(examples))], pad_id=0, packed=False)
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
    network, task = make_network(layout), make_task("chat", tiny_tokenizer)
    owners = list(range(len(examples)))
    alone = [collate(examples, [[index]], pad_id=0, packed=False) for index in owners]
    packed = collate(examples, rows_of(examples, packing=True), pad_id=0, packed=True)
    expected, counts = row_losses(network, task, alone, owners, "fp32")
    sums, packed_counts = row_losses(network, task, [packed], owners, "fp32")
    assert packed_counts.tolist() == counts.tolist() == [example.num_trained for example in examples]
    assert sums == pytest.approx(expected, rel=TOLERANCE)
    mixed, _ = row_losses(network, task, [without_borders(packed)], owners, "fp32")
    assert abs(mixed - expected).max() / expected.max() > 1000 * TOLERANCE
