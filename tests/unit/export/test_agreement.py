"""Differences between models, and how large they may be."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from burnish.data.rows.row import Example
from burnish.errors import BurnishError
from burnish.export.merge import Difference, Merged, Tolerance, difference, logits_of, row_batches
from burnish.recipe.schema import Recipe
from burnish.tasks import make_task
from tests.tiny_models import make_network


def test_a_difference_is_reported_by_mean_largest_and_choice() -> None:
    first = [torch.tensor([[1.0, 0.0], [0.0, 2.0]]), torch.tensor([[3.0, 1.0]])]
    second = [torch.tensor([[1.0, 0.5], [2.5, 2.0]]), torch.tensor([[3.0, 1.0]])]
    result = difference(first, second).to_dict()
    assert result == pytest.approx({"largest": 2.5, "mean": 0.5, "same_choice": 2 / 3})


@pytest.mark.parametrize(("precision", "share"), [("fp32", 2e-5), ("fp16", 1e-2), ("bf16", 5e-2)])
def test_the_tolerance_follows_the_spread_of_the_logits(precision: str, share: float) -> None:
    tolerance = Tolerance.of(precision, [torch.tensor([[-3.0, 3.0]])])
    assert tolerance.mean == pytest.approx(3 * share)
    assert tolerance.largest == pytest.approx(60 * share)
    assert tolerance.reason
    assert tolerance.admits(Difference(60 * share * 0.99, 3 * share * 0.99, 1.0))
    assert not tolerance.admits(Difference(60 * share * 1.01, 0.0, 1.0))
    assert not tolerance.admits(Difference(0.0, 3 * share * 1.01, 1.0))
    assert not tolerance.admits(Difference(math.nan, math.nan, 1.0))


def test_rows_are_read_alone_and_thinned(tiny_tokenizer: Any) -> None:
    task = make_task("text", tiny_tokenizer, Recipe())
    examples = [Example(list(range(3, 3 + length)), list(range(3, 3 + length)), "a:1") for length in (5, 50)] * 9
    batches = row_batches(task.encoder, examples)
    assert len(batches) == 16
    assert {tuple(batch.input_ids.shape) for batch in batches} == {(1, 5), (1, 50)}
    network = make_network("llama")
    found = logits_of(network, batches[:2], "fp32")
    assert [tuple(piece.shape) for piece in found] == [(5, 300), (32, 300)]
    whole = network(input_ids=torch.arange(3, 53)[None]).logits[0]
    assert found[1][0].equal(whole[0])
    assert found[1][-1].equal(whole[-1])


def make_merged(mean: float, learned: float | None, precision: str = "bf16") -> Merged:
    return Merged(
        run="mine",
        base="tiny",
        method="lora",
        precision=precision,
        rows=1,
        positions=1,
        merged=Difference(mean, mean, 1.0),
        tolerance=Tolerance(0.1, 2.0, "rounding"),
        learned=None if learned is None else Difference(learned, learned, 1.0),
        quantized=None,
    )


def test_what_rounding_takes_away_is_reported() -> None:
    assert make_merged(0.05, 1.0).remarks == []
    assert make_merged(0.05, None).remarks == []
    (result,) = make_merged(0.05, 0.06).remarks
    assert "--precision fp32" in result


def test_more_than_rounding_is_an_error() -> None:
    make_merged(0.1, 1.0).check()
    with pytest.raises(BurnishError, match="gives different outputs than its base with the adapter") as caught:
        make_merged(0.2, 1.0).check()
    assert caught.value.exit_code == 1
    assert "--precision fp32" in caught.value.fix
    with pytest.raises(BurnishError) as caught:
        make_merged(0.2, 1.0, "fp32").check()
    assert caught.value.fix == "Use the adapter as it is"
