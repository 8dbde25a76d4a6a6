"""Batches: examples laid side by side as tensors."""

from __future__ import annotations

import pytest
import torch

from burnish.data.batching.batches import Batch, collate_tokens
from burnish.data.rows.row import IGNORED, Example
from tests.tiny_data import random_examples

PAD = 0


def example(ids: list[int], prompt: int = 0) -> Example:
    """An example whose first `prompt` tokens are not trained on."""
    return Example(ids, [IGNORED] * prompt + ids[prompt:], "made.jsonl:1")


def test_a_packed_batch_by_hand() -> None:
    examples = [example([11, 12, 13], prompt=1), example([21, 22]), example([31, 32, 33, 34], prompt=3)]
    batch = collate_tokens(examples, [[2], [0, 1]], PAD, packed=True)
    assert set(batch.inputs) == {"input_ids", "position_ids"}
    assert batch.input_ids.tolist() == [[31, 32, 33, 34, PAD], [11, 12, 13, 21, 22]]
    assert batch.targets.tolist() == [
        [IGNORED, IGNORED, 34, IGNORED, IGNORED],
        [12, 13, IGNORED, 22, IGNORED],
    ]
    assert batch.inputs["position_ids"].tolist() == [[0, 1, 2, 3, 0], [0, 1, 2, 0, 1]]
    assert batch.examples == (2, 0, 1)
    assert batch.owners.tolist() == [2, 0, 0, 1]
    assert batch.num_tokens == 9
    assert batch.num_trained == 4
    assert batch.extras == {}
    assert batch.input_ids.dtype == batch.targets.dtype == batch.owners.dtype == torch.int64


def test_a_padded_batch_by_hand() -> None:
    batch = collate_tokens([example([11, 12, 13]), example([21, 22])], [[1], [0]], PAD, packed=False)
    assert set(batch.inputs) == {"input_ids"}
    assert batch.input_ids.tolist() == [[21, 22, PAD], [11, 12, 13]]
    assert batch.targets.tolist() == [[22, IGNORED, IGNORED], [12, 13, IGNORED]]
    assert batch.owners.tolist() == [1, 0, 0]
    assert batch.num_tokens == 5


def test_the_last_token_of_an_example_never_predicts_the_next_example() -> None:
    batch = collate_tokens([example([11, 12]), example([21, 22])], [[0, 1]], PAD, packed=True)
    assert batch.targets[0, 1] == IGNORED


def test_the_end_is_learned_even_where_it_pads_too() -> None:
    """A tokenizer without a pad token of its own: padding with EOS takes no label from the EOS that ends a text."""
    end = 2
    examples = [example([11, 12, end]), example([21, 22, 23, 24, end])]
    batch = collate_tokens(examples, [[0], [1]], pad_id=end, packed=False)
    assert batch.targets[0].tolist() == [12, end, IGNORED, IGNORED, IGNORED]
    assert batch.num_trained == 6


@pytest.mark.parametrize("packed", [True, False])
def test_every_trained_token_has_its_owner(packed: bool) -> None:
    """In the order in which the losses of a batch come: row by row, column by column."""
    examples = [*random_examples(12, 3, 30), example([5, 6, 7], prompt=3)]
    rows = [[4, 0], [12, 7, 1], [9]] if packed else [[index] for index in (4, 12, 0, 7, 1, 9)]
    batch = collate_tokens(examples, rows, PAD, packed)
    owner_of_cell = torch.full_like(batch.targets, -1)
    for number, row in enumerate(rows):
        begin = 0
        for index in row:
            owner_of_cell[number, begin : begin + len(examples[index].input_ids)] = index
            begin += len(examples[index].input_ids)
    assert batch.owners.tolist() == owner_of_cell[batch.targets != IGNORED].tolist()
    assert batch.num_trained == sum(examples[index].num_trained for row in rows for index in row)


def test_to_moves_what_is_computed_with_and_nothing_else() -> None:
    made = collate_tokens([example([11, 12])], [[0]], PAD, packed=True)
    extras = {"reference": torch.zeros(1)}
    batch = Batch(made.inputs, made.targets, made.examples, made.owners, made.num_tokens, extras)
    moved = batch.to(torch.device("meta"))
    assert isinstance(moved, Batch)
    assert all(tensor.is_meta for tensor in (*moved.inputs.values(), moved.targets, *moved.extras.values()))
    assert (set(moved.inputs), set(moved.extras)) == ({"input_ids", "position_ids"}, {"reference"})
    assert torch.equal(moved.owners, batch.owners), "numbers of examples are for the CPU"
    assert (moved.examples, moved.num_tokens, moved.num_trained) == (batch.examples, 2, 1)
