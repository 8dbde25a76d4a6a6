"""An answer is the same alone, in any batch, behind any beginning, and as transformers' `generate` writes it."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import pytest
import torch

from burnish.inference import key_values
from burnish.inference.batch import Asked, Batch, Row, Token
from burnish.inference.sampling import Chooser, Sampling
from burnish.models.generation import generate_batch
from tests.numeric.test_gguf import MODELS
from tests.tiny_models import make_network, make_tokenizer

LAYOUTS = ("llama", "gpt2", "gemma2", "gemma3", "phi3", "qwen3")
STOPS = tuple(range(2, 300, 9))
"""Enough that some answers end early."""


def prompts(number: int, seed: int = 0) -> list[list[int]]:
    drawn = random.Random(seed)
    return [[drawn.randrange(3, 290) for _ in range(drawn.randrange(1, 30))] for _ in range(number)]


def asked(ids: list[int], most: int = 12, sampling: Sampling | None = None, top: int | None = None) -> Row:
    sampling = sampling or Sampling()
    return Row(Asked(ids, STOPS, most, sampling, top), Chooser(sampling))


def alone(network: Any, row: Row) -> list[int]:
    batch = Batch(network, "fp32")
    batch.join([row])
    while batch.rows:
        batch.step()
    return row.new


def until_stop(ids: Sequence[int]) -> list[int]:
    end = next((place for place, token in enumerate(ids) if token in STOPS), len(ids))
    return list(ids[:end])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_answers_are_those_of_generate(layout: str) -> None:
    network, tokenizer = MODELS[layout](), make_tokenizer()
    texts = prompts(9)
    expected = [generate_batch(network, tokenizer, [ids], STOPS, 12)[0] for ids in texts]
    batch, rows, drawn = Batch(network, "fp32", kept_bytes=10**7), [asked(ids) for ids in texts], random.Random(1)
    waiting = list(rows)
    while waiting or batch.rows:  # rows join at different times
        if waiting and (not batch.rows or drawn.random() < 0.5):
            batch.join([waiting.pop(0)])
        batch.step()
    assert [until_stop(row.new) for row in rows] == expected
    assert {row.ended for row in rows} <= {"stop", "length"}
    assert len({len(answer) for answer in expected}) > 1, "they end at different times"
    assert batch.num_tokens == 0
    batch, rows = Batch(network, "fp32"), [asked(ids) for ids in texts]
    parts = batch.parts(rows)
    assert max(map(len, parts)) > 1, "some are read together"
    for part in parts:
        batch.join(part)
    while batch.rows:
        batch.step()
    assert [until_stop(row.new) for row in rows] == expected


def test_a_known_beginning_is_not_read_again() -> None:
    network = make_network("llama")
    shared = list(range(20, 60))
    widths: list[int] = []
    handle = network.register_forward_pre_hook(
        lambda module, args, given: widths.append(given["input_ids"].shape[1]), with_kwargs=True
    )
    batch, found = Batch(network, "fp32", kept_bytes=10**7), []
    for end in ([70, 71], [72], [70, 71]):
        row = asked([*shared, *end], most=1)
        batch.join([row])
        found.append(row.new)
    handle.remove()
    assert widths == [42, 1, 1], "of the second only what differs, of the third the last token"
    assert found == [alone(network, asked([*shared, *end], most=1)) for end in ([70, 71], [72], [70, 71])]
    few = Batch(network, "fp32", kept_bytes=100)
    for _ in range(2):
        row = asked(shared, most=1)
        few.join([row])
        assert row.new == alone(network, asked(shared, most=1))


def test_a_cancelled_answer_leaves_and_changes_no_other() -> None:
    network = make_network("llama")
    texts = prompts(3, seed=4)
    expected = [alone(network, asked(ids)) for ids in texts]
    batch, rows = Batch(network, "fp32"), [asked(ids) for ids in texts]
    for row in rows:
        batch.join([row])
    batch.step()
    rows[1].ended = "cancelled"
    batch.sweep()
    assert rows[1] not in batch.rows
    while batch.rows:
        batch.step()
    assert [rows[0].new, rows[2].new] == [expected[0], expected[2]]
    assert rows[1].new == expected[1][:2]


def test_an_answer_that_is_cancelled_before_its_first_step_leaves_nothing() -> None:
    network = make_network("llama")
    texts = prompts(2, seed=5)
    expected = alone(network, asked(texts[0]))
    batch, rows = Batch(network, "fp32"), [asked(ids) for ids in texts]
    for row in rows:
        batch.join([row])
    assert batch.num_tokens == 2 * max(map(len, texts))
    rows[1].ended = "cancelled"
    batch.sweep()
    assert batch.rows == [rows[0]]
    assert batch.num_tokens == len(texts[0])
    while batch.rows:
        batch.step()
    assert rows[0].new == expected


def test_the_seed_decides_whatever_else_is_answered() -> None:
    network = make_network("llama")
    sampling = Sampling(temperature=1.0, top_p=0.9, seed=7)
    first, other = [5, 9, 100], [8, 70, 33, 41]
    expected = alone(network, asked(first, sampling=sampling))
    batch, row = Batch(network, "fp32"), asked(first, sampling=sampling)
    batch.join([asked(other, sampling=Sampling(temperature=1.0))])
    batch.join([row])
    while batch.rows:
        batch.step()
    assert row.new == expected
    assert alone(network, asked(first, sampling=Sampling(temperature=1.0, seed=8))) != expected


def test_log_probabilities() -> None:
    network = make_network("llama")
    ids = [5, 60, 61, 200]
    batch = Batch(network, "fp32")
    row = asked(ids, most=3, top=4)
    tokens: list[Token] = batch.join([row])
    while batch.rows:
        tokens += [token for _, token in batch.step()]
    with torch.no_grad():
        whole = network(input_ids=torch.tensor([[*ids, *row.new]])).logits[0].log_softmax(-1)
    for place, token in enumerate(tokens):
        expected = whole[len(ids) - 1 + place]
        assert token.log_probability == pytest.approx(float(expected[token.id]), abs=1e-4)
        assert [one for one, _ in token.top] == expected.topk(4).indices.tolist()
        assert token.top[0][0] == token.id
    read = batch.log_probabilities([*ids, *row.new], 2)
    assert read[0].log_probability is None
    assert [one.id for one in read] == [*ids, *row.new]
    assert read[1].log_probability == pytest.approx(float(whole[0, 60]), abs=1e-5)
    assert len(read[1].top) == 2


def test_rows_are_aligned_at_their_last_token() -> None:
    network = make_network("llama")
    caches = []
    for ids in ([5, 6, 7], [8]):
        cache = key_values.empty()
        network(input_ids=torch.tensor([ids]), past_key_values=cache, use_cache=True)
        caches.append(cache)
    both = key_values.joined(caches)
    assert key_values.columns(both) == 3
    layer = both.layers[0]
    assert torch.equal(layer.keys[0], caches[0].layers[0].keys[0])
    assert torch.equal(layer.keys[1, :, 2:], caches[1].layers[0].keys[0])
    assert not layer.keys[1, :, :2].any()
    second = key_values.kept(both, [1], 1)
    assert torch.equal(second.layers[1].values, caches[1].layers[1].values)
    assert key_values.num_bytes(second) == key_values.num_bytes(caches[1])
